"""Reads the `approval` of a grant and refuses one that nobody could ever give."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from keyturn.policy.rules import KEY_CLASSES, Approval, Widening
from keyturn.policy.shown import shown
from keyturn.policy.tables import Table
from keyturn.policy.world import World

DEFAULT_EXPIRY = timedelta(hours=4)
LONGEST_EXPIRY = timedelta(days=7)
_MOST_PEOPLE = 100


def read_approval(table: Table, world: World, principals: Iterable[str]) -> Approval | None:
    """Read the approval asked for `principals`; None after recording a problem that leaves nothing to use."""
    before = len(table.problems)
    table.only("quorum", "from", "keys", "expires", "rejects", "escalate")
    quorum = table.integer("quorum", low=1, high=_MOST_PEOPLE)
    rejects = table.integer("rejects", low=1, high=_MOST_PEOPLE, default=1)
    keys = table.choice("keys", *KEY_CLASSES)
    expires = table.duration("expires", longest=LONGEST_EXPIRY, default=DEFAULT_EXPIRY)
    sources = table.texts("from", required=True)
    reviewers = _with_keys(world, world.reviewers_in(table, "from", sources), keys)
    escalate = tuple(_widening(step, world, keys, expires) for step in table.tables("escalate"))
    if quorum is None or rejects is None or expires is None or len(table.problems) != before:
        return None
    approval = Approval(
        quorum=quorum,
        sources=sources,
        reviewers=reviewers,
        keys=keys,
        expires=expires,
        rejects=rejects,
        escalate=tuple(sorted((step for step in escalate if step), key=lambda step: (step.after, step.sources))),
    )
    check_givable(table, approval, {world.principals[name].owner for name in principals if name in world.principals})
    return approval


def _widening(table: Table, world: World, keys: str, expires: timedelta | None) -> Widening | None:
    table.only("after", "to")
    after = table.duration("after", longest=LONGEST_EXPIRY)
    written = table.raw.get("to")
    target = (
        (table.text("to", required=True) or "",)
        if not isinstance(written, list)
        else table.texts("to", required=True)
    )
    if after is None or not all(target):
        return None
    if expires is not None and after >= expires:
        table.wrong("after", "comes no sooner than the request expires")
    reviewers = _with_keys(world, world.reviewers_in(table, "to", target), keys)
    return Widening(after=after, sources=target, reviewers=reviewers)


def _with_keys(world: World, names: frozenset[str], keys: str) -> tuple[str, ...]:
    """Keep those who own a key of the class: nobody else's signature could count."""
    able = (name for name in names if keys == "any" or any(key.hardware for key in world.reviewers[name].keys))
    return tuple(sorted(able))


def check_givable(table: Table, approval: Approval, owners: Iterable[str | None]) -> None:
    """Record that the approval in `table` could not be given for assistants of one of these owners."""
    for owner in sorted(owners, key=str):
        able = approval.eligible(owner)
        if len(able) >= approval.quorum:
            continue
        kind = "" if approval.keys == "any" else f" with a {approval.keys} key"
        without = "" if owner is None else f" when the owner {shown(owner)} is left out"
        table.wrong(
            "quorum",
            f"{_people(approval.quorum)}{kind} must agree, but only {len(able)} can{without}: "
            "lower it, or add reviewers or keys",
        )


def _people(count: int) -> str:
    return "1 person" if count == 1 else f"{count} people"
