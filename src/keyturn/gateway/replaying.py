"""Replaying: what another policy would have said to the requests in the ledger, with the usage of their time.

Every recorded request and read is built again from its entry and decided on the fold as it was then. So limits see
what was really used before, not what would have been used had the other policy been in force. Refused calls cannot
be replayed: what they asked for is not kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from keyturn.approvals.life import obligation_to_json
from keyturn.canon import Json
from keyturn.fold.state import State
from keyturn.gateway.asked import recorded_request
from keyturn.gateway.desk import Look
from keyturn.gateway.payloads import ARGUMENT
from keyturn.log.entry import Entry
from keyturn.log.fold import FoldError
from keyturn.log.kinds import REQUESTS
from keyturn.model.contract import Contract
from keyturn.model.decision import Decision, Hold, Permit, Reason, Request
from keyturn.model.errors import LedgerError
from keyturn.model.time import format_timestamp
from keyturn.policy import Policy, evaluate

PLAYED = REQUESTS | {"read.served"}
_CHUNK = 512
_ORDER = ("permit", "hold", "shadow", "deny")


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a policy says to a request, as far as two of them can be compared.

    verdict      "permit", "hold", "shadow" or "deny"
    rules        ids of the rules that let it through or refuse it
    obligations  who must agree, as entries write it; empty unless it is held
    manual       whether a person has to sign for its execution; None of what is recorded, which says so elsewhere
    """

    verdict: str
    environment: str | None
    rules: tuple[str, ...]
    obligations: tuple[Mapping[str, Json], ...] = ()
    reasons: tuple[Reason, ...] = ()
    manual: bool | None = None

    @property
    def asks(self) -> tuple[Mapping[str, Json], ...]:
        """Who must agree, whatever the rules that ask it are called."""
        return tuple({name: value for name, value in item.items() if name != "rule"} for item in self.obligations)

    def to_json(self) -> dict[str, Json]:
        """Return it as `--json` prints it."""
        return {
            "verdict": self.verdict,
            "environment": self.environment,
            "rules": list(self.rules),
            "obligations": [dict(item) for item in self.obligations],
            "manual": self.manual,
            "reasons": [reason.to_json() for reason in self.reasons],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One request of the ledger: its entry, what a policy is asked, and the fold as it was before the entry."""

    entry: Entry
    request: Request
    state: State

    @property
    def at(self) -> datetime:
        """When it was decided."""
        return self.entry.at

    def said_by(self, policy: Policy) -> Said:
        """Return what a policy would have said then."""
        usage, set_aside = self.state.usage, self.state.circumstances
        return said(evaluate(policy, self.request, usage, self.at, set_aside))

    def said_then(self) -> Said:
        """Return what was decided, as the entry has it."""
        facts: Mapping[str, Any] = self.entry.facts
        return Said(
            verdict=facts.get("decision", "permit"),
            environment=facts["environment"],
            rules=tuple(facts["rules"]),
            obligations=tuple(facts.get("obligations", ())),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One recorded request that would have been decided otherwise. `action` is None for a read."""

    seq: int
    at: datetime
    action: str | None
    principal: str
    tool: str
    target: str
    before: Said
    after: Said

    @property
    def direction(self) -> str:
        """Which way it goes: "looser", "stricter", or "other" where neither can be said."""
        before, after = (_ORDER.index(said.verdict) for said in (self.before, self.after))
        if "shadow" in {self.before.verdict, self.after.verdict}:
            return "other"
        if before != after:
            return "looser" if after < before else "stricter"
        asked, asks = _needed(self.before), _needed(self.after)
        if asked == asks:
            return "other"
        return "looser" if asks < asked else "stricter"

    def to_json(self) -> dict[str, Json]:
        """Return it as `--json` prints it."""
        return {
            "entry": self.seq,
            "at": format_timestamp(self.at),
            "action": self.action,
            "principal": self.principal,
            "tool": self.tool,
            "target": self.target,
            "direction": self.direction,
            "before": self.before.to_json(),
            "after": self.after.to_json(),
        }


@dataclass(slots=True)
class Replay:
    """What came of a replay: how many were decided again, which would differ, and which could not be decided.

    erased   requests whose payloads were erased
    refused  recorded refusals, whose arguments were never kept
    """

    played: int = 0
    changes: list[Change] = field(default_factory=list)
    erased: int = 0
    refused: int = 0
    verdicts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def to_json(self) -> dict[str, Json]:
        """Return it as `--json` prints it."""
        return {
            "played": self.played,
            "changed": len(self.changes),
            "erased": self.erased,
            "refused": self.refused,
            "verdicts": [
                {"before": before, "after": after, "count": count}
                for (before, after), count in sorted(self.verdicts.items())
            ],
            "changes": [change.to_json() for change in self.changes],
        }


def replay(view: Look, policy: Policy) -> Replay:
    """Decide every recorded request by `policy`, and return where that differs from what was decided."""
    return _replay(view, None, policy)


def compare(view: Look, old: Policy, new: Policy) -> Replay:
    """Decide every recorded request by two policies, and return where the second differs from the first."""
    return _replay(view, old, new)


def _replay(view: Look, old: Policy | None, new: Policy) -> Replay:
    found = Replay()
    for item in recorded(view, new.contracts, found):
        before = item.said_then() if old is None else item.said_by(old)
        after = item.said_by(new)
        found.played += 1
        found.verdicts[before.verdict, after.verdict] += 1
        if _differs(before, after):
            found.changes.append(_change(item, before, after))
    return found


def recorded(view: Look, contracts: Mapping[str, Contract], found: Replay | None = None) -> Iterator[Recorded]:
    """Yield the requests and reads of the ledger, the oldest first, each with the fold as it was; count the others.

    `contracts` say which tools select an environment. The fold is one object that moves on: what is yielded holds
    until the next is asked for. Raises `LedgerError`.
    """
    counted, state = found or Replay(), State.empty()
    for entry in _entries(view):
        if entry.kind == "action.denied":
            counted.refused += 1
        elif entry.kind in PLAYED:
            request = _request(view, state, entry, contracts)
            if request is None:
                counted.erased += 1
            else:
                yield Recorded(entry=entry, request=request, state=state)
        try:
            state.apply(entry)
        except FoldError as error:
            raise LedgerError(f"{error}; check with `keyturn audit verify`") from error


def said(decision: Decision) -> Said:
    """Return what a decision says, in a form that two of them can be compared in."""
    held = decision.obligations if isinstance(decision, Hold) else ()
    return Said(
        verdict=type(decision).__name__.lower(),
        environment=decision.environment,
        rules=decision.rules,
        obligations=tuple(obligation_to_json(item) for item in held),
        reasons=decision.reasons,
        manual=isinstance(decision, Permit | Hold) and bool(decision.manual),
    )


def _entries(view: Look) -> Iterator[Entry]:
    for first in range(0, view.head.size, _CHUNK):
        yield from view.entries(first, min(first + _CHUNK, view.head.size))


def _request(view: Look, state: State, entry: Entry, contracts: Mapping[str, Contract]) -> Request | None:
    """Return what the policy was asked; None where a payload that it follows from was erased."""
    if any(view.erased(entry, name) for name in entry.data if name in {"plan", "diff"} or name.startswith(ARGUMENT)):
        return None
    return recorded_request(view, entry, state.tokens, contracts)


def _differs(before: Said, after: Said) -> bool:
    by_hand = None not in {before.manual, after.manual} and before.manual != after.manual
    same = (before.verdict, before.environment, before.asks) == (after.verdict, after.environment, after.asks)
    return by_hand or not same


def _needed(said_: Said) -> int:
    """Return how many reviews a held request needs over all its obligations."""
    return sum(int(str(item["quorum"])) for item in said_.obligations)


def _change(item: Recorded, before: Said, after: Said) -> Change:
    return Change(
        seq=item.entry.seq,
        at=item.at,
        action=item.entry.action,
        principal=item.request.principal,
        tool=item.request.tool,
        target=item.request.target or "",
        before=before,
        after=after,
    )
