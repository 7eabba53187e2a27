"""What is suspended: the scopes in which nothing may happen at present, or nothing that changes anything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from keyturn import canon
from keyturn.log.entry import Entry
from keyturn.model.errors import Refused

SUSPENDED = "suspended"
READ_ONLY = "read-only"
LIFT = "suspension.lift"
POLICY = "policy"


@dataclass(frozen=True, slots=True)
class Scope:
    """What a suspension covers: one principal, tool or environment by `name`, or all (then `name` is None)."""

    type: str
    name: str | None = None

    def __str__(self) -> str:
        return "everything" if self.name is None else f"{self.type} {self.name}"

    @property
    def subject(self) -> str:
        """How a signed act names it: `all`, or type and name with a colon between."""
        return self.type if self.name is None else f"{self.type}:{self.name}"

    def to_json(self) -> dict[str, canon.Json]:
        """Return it as entries write it."""
        return {"type": self.type, "name": self.name}

    def covers(self, principal: str, tool: str | None, environment: str | None) -> bool:
        """Tell whether a call lies in it; what is None is not known and lies in no scope of its type."""
        match self.type:
            case "principal":
                return principal == self.name
            case "tool":
                return tool == self.name
            case "environment":
                return environment == self.name
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspension:
    """One scope that is suspended: how far, by whom, and the `suspension.set` entry that says so.

    `actor` is what `by` names: an account, or a rule of the policy (`policy`).
    """

    scope: Scope
    mode: str
    by: str
    seq: int
    digest: str
    at: datetime
    actor: str = "account"

    def halts(self, *, governed: bool) -> bool:
        """Tell whether it stops governed calls, or reads: those go on in read-only mode."""
        return governed or self.mode == SUSPENDED


class Suspensions:
    """All that is suspended now, by scope. Setting needs nobody's signature and so can only make it stricter."""

    def __init__(self, present: Iterable[Suspension] = ()) -> None:
        self._by_scope = {suspension.scope: suspension for suspension in present}

    def present(self) -> list[Suspension]:
        """Return what is suspended, oldest first."""
        return list(self._by_scope.values())

    def of(self, scope: Scope) -> Suspension | None:
        """Return the suspension of exactly this scope."""
        return self._by_scope.get(scope)

    def halting(
        self, *, principal: str, tool: str | None, environment: str | None, governed: bool
    ) -> Suspension | None:
        """Return a suspension that stops such a call, the strictest first, or None."""
        found = [
            suspension
            for suspension in self._by_scope.values()
            if suspension.halts(governed=governed) and suspension.scope.covers(principal, tool, environment)
        ]
        return min(found, key=lambda suspension: suspension.mode != SUSPENDED, default=None)

    def set(self, entry: Entry) -> None:
        """Take `suspension.set`. Raises `Refused` when the scope is none or it makes nothing stricter."""
        facts: Mapping[str, Any] = entry.facts
        scope, mode = read_scope(facts["scope"]), facts["mode"]
        if not stricter(self.of(scope), mode):
            raise Refused("suspended", f"{scope} is suspended already, no less than this")
        self._by_scope.pop(scope, None)
        self._by_scope[scope] = Suspension(
            scope=scope,
            mode=mode,
            by=facts["by"]["name"],
            seq=entry.seq,
            digest=entry.digest,
            at=entry.at,
            actor=facts["by"]["type"],
        )

    def lift(self, scope: Scope) -> None:
        """Take the suspension of a scope away."""
        del self._by_scope[scope]

    def check(self, entry: Entry, principal: str, tool: str, environment: str, *, governed: bool) -> None:
        """Refuse an entry that lets happen what is suspended."""
        halt = self.halting(principal=principal, tool=tool, environment=environment, governed=governed)
        if halt is not None:
            raise Refused("suspended", f"{entry.kind}, but {halt.scope} is {halt.mode} since entry {halt.seq}")


def read_scope(value: Mapping[str, Any]) -> Scope:
    """Read the scope of an entry. Raises `Refused` when only everything may go without a name and does not."""
    scope = Scope(value["type"], value["name"])
    if (scope.type == "all") != (scope.name is None):
        raise Refused("no_scope", "a scope has a name, and the one of everything has none")
    return scope


def stricter(present: Suspension | None, mode: str) -> bool:
    """Tell whether a mode takes more away than the suspension that is there."""
    return present is None or (present.mode == READ_ONLY and mode == SUSPENDED)


def lift_digest(suspension: str, reason: str | None) -> str:
    """Return what an operator signs when lifting: the digest of the `suspension.set` entry, and of the words.

    So a lift is good for that suspension only, and not for a later one of the same scope.
    """
    return canon.digest({"suspension": suspension, "reason": reason})
