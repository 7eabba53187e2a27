"""Changes of policy that several people must sign for: who guards the policy in force, and who endorsed what.

A policy may ask that a number of people sign before another one takes its place. What it asks stands beside its
activation in an entry of its own, so that whoever reads the log can count without reading policies. Endorsements are
given to one text under one activation: whatever is activated next, the same text again included, voids them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from keyturn.fold.signatures import Act
from keyturn.fold.standing import CatalogInForce, PolicyInForce
from keyturn.log.entry import Entry
from keyturn.model.errors import Refused

ACTIVATE = "policy.activate"
ENDORSE = "policy.endorse"
MOST_PROPOSALS = 64
"""Proposals that may wait under one policy: they cost memory in every process that follows the log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """What the policy in force asks of the one that follows it: `quorum` of `reviewers` must sign.

    sources    the groups and names as the policy wrote them
    """

    seq: int
    quorum: int
    sources: tuple[str, ...]
    reviewers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposed:
    """A text that waits for endorsements: its entry, its digest, and who endorsed it in which entry."""

    seq: int
    policy: str
    at: datetime
    endorsed: Mapping[str, int] = field(default_factory=dict)


def activation(previous: str, policy: str) -> Act:
    """Return what a person signs to put `policy` in the place of `previous`, both as digests."""
    return Act(verb=ACTIVATE, object=previous, digest=policy)


def endorsement(previous: str, policy: str) -> Act:
    """Return what a person signs to endorse that `policy` takes the place of `previous`, both as digests."""
    return Act(verb=ENDORSE, object=previous, digest=policy)


def guard_of(entry: Entry, policy: PolicyInForce | None, catalog: CatalogInForce | None) -> Guard:
    """Read a `policy.guarded` entry. Raises `Refused` unless it stands beside the activation and names its people."""
    facts: Mapping[str, Any] = entry.facts
    if policy is None or facts["policy"] != policy.digest:
        raise Refused("other_policy", "it guards a policy that is not in force")
    beside = {policy.seq + 1}
    if catalog is not None and catalog.seq == policy.seq + 1:
        beside = {policy.seq + 2}
    if entry.seq not in beside:
        raise Refused("guard_alone", "what guards a policy is said directly after its activation")
    names = tuple(facts["reviewers"])
    if strangers := sorted(set(names) - policy.reviewers.keys()):
        raise Refused("other_reviewers", f"it names {strangers[0]!r}, whom the policy in force does not list")
    if len(set(names)) < facts["quorum"]:
        raise Refused("quorum", "it asks for more people than it names")
    return Guard(seq=entry.seq, quorum=facts["quorum"], sources=tuple(facts["from"]), reviewers=names)


def proposed(entry: Entry, policy: PolicyInForce | None, present: Mapping[str, Proposed]) -> Proposed:
    """Read a `policy.proposed` entry. Raises `Refused` when it follows another policy, or waits already."""
    digest = entry.text("policy")
    if policy is None or entry.facts["previous"] != policy.digest:
        raise Refused("other_policy", "it does not follow the policy in force")
    if digest in present:
        raise Refused("already_proposed", f"this policy was proposed in entry {present[digest].seq}")
    return Proposed(seq=entry.seq, policy=digest, at=entry.at)


def waiting_with(found: Proposed, present: Mapping[str, Proposed]) -> dict[str, Proposed]:
    """Return what waits once a further text is proposed: where too many would, the least endorsed makes room.

    Of several it is the oldest. Proposing takes no signature: whoever proposes much must not keep others from it.
    """
    kept = dict(present)
    if len(kept) >= MOST_PROPOSALS:
        del kept[min(kept.values(), key=lambda item: (len(item.endorsed), item.seq)).policy]
    return {**kept, found.policy: found}


def endorsed(entry: Entry, by: str, guard: Guard | None, present: Mapping[str, Proposed]) -> Proposed:
    """Return the proposal with the endorsement that `by` signed in an entry. Raises `Refused` when it cannot."""
    found = present.get(entry.text("policy"))
    if found is None or entry.facts["proposal"] != found.seq:
        raise Refused("not_proposed", "it endorses a policy that is not proposed in the entry it names")
    check_endorser(by, guard, found)
    return replace(found, endorsed={**found.endorsed, by: entry.seq})


def check_endorser(by: str, guard: Guard | None, found: Proposed) -> None:
    """Refuse an endorsement by somebody who is not asked, or was heard already."""
    if guard is None:
        raise Refused("not_guarded", "the policy in force asks for no endorsements: activate the next one")
    if by not in guard.reviewers:
        raise Refused("not_eligible", f"the policy in force does not name {by!r} among those who endorse policies")
    if by in found.endorsed:
        raise Refused("endorsed_already", f"{by!r} endorsed this policy in entry {found.endorsed[by]}")


def signed_by(digest: str, by: str, guard: Guard, present: Mapping[str, Proposed]) -> tuple[str, ...]:
    """Return who of those asked has signed for a policy when `by` signs its activation, sorted by name."""
    heard = present[digest].endorsed if digest in present else {}
    return tuple(sorted({by, *heard} & {*guard.reviewers}))


def check_endorsed(digest: str, by: str, guard: Guard | None, present: Mapping[str, Proposed]) -> None:
    """Refuse an activation signed by `by` for which fewer people have signed than the policy in force asks."""
    if guard is None:
        return
    heard = signed_by(digest, by, guard, present)
    if len(heard) < guard.quorum:
        left = ", ".join(name for name in guard.reviewers if name not in heard)
        raise Refused(
            "not_endorsed",
            f"the policy in force asks that {guard.quorum} of {', '.join(guard.sources)} sign for the next one; "
            f"{', '.join(heard) or 'nobody'} would have; still asked: {left}",
        )
