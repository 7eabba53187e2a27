"""Who gains and who loses what: calls that are decided otherwise, and reviews that somebody may give."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from keyturn.policy.difference.change import Change
from keyturn.policy.policy import Policy
from keyturn.policy.reach.changes import Outlook, Shift, shifts
from keyturn.policy.rules import Approval
from keyturn.policy.shown import shown


def calls(old: Policy, new: Policy, outlook: Outlook) -> Iterator[Change]:
    """Yield the calls that one policy lets through further than the other, limits, freezes and risk left out."""
    return map(_shifted, shifts(old, new, outlook))


def reviews(old: Policy, new: Policy) -> Iterator[Change]:
    """Yield who may review what now, or not any more, of what both policies ask to be reviewed."""
    before, after = _approvals(old), _approvals(new)
    for name in sorted({*old.reviewers, *new.reviewers}):
        had, has = ({rule for rule, one in side.items() if name in one.eligible(None)} for side in (before, after))
        gained, lost = sorted(has - had), sorted(had - has)
        if gained:
            yield Change(kind="gains", who=name, text=f"may review {_listed(gained)}", rules=tuple(gained))
        if lost:
            yield Change(kind="loses", who=name, text=f"may not review {_listed(lost)} any more", rules=tuple(lost))


def _shifted(shift: Shift) -> Change:
    call = f"{shift.tool} in {shift.environment}"
    match shift.before, shift.after:
        case "deny", "permit":
            text = f"may call {call} without a review, and was refused"
        case "hold", "permit":
            text = f"may call {call} without a review, and needed one"
        case "deny", "hold":
            text = f"may ask for {call}, to be reviewed, and was refused"
        case "permit", "deny":
            text = f"may not call {call} any more, and needed no review"
        case "permit", "hold":
            text = f"needs a review to call {call}, and needed none"
        case _:
            text = f"may not ask for {call} any more, not even to be reviewed"
    return Change(
        kind="gains" if shift.gains else "loses",
        who=shift.principal,
        text=text,
        rules=shift.rules,
        request=shift.request,
        open=shift.open,
    )


def _approvals(policy: Policy) -> dict[str, Approval]:
    """Return every approval a policy asks, by the rule that asks it."""
    grants = {grant.id: grant.approval for grant in policy.grants}
    lanes = {lane.rule: lane.approval for lane in policy.lanes.values()}
    return {rule: approval for rule, approval in {**grants, **lanes}.items() if approval is not None}


def _listed(names: Sequence[str]) -> str:
    return ", ".join(shown(name) for name in names)
