"""Undoing: an action that takes an earlier one back, once, and what a person signs who asks for that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from keyturn import canon
from keyturn.approvals.action import OPEN, Action
from keyturn.fold.signatures import Act
from keyturn.log.entry import Entry
from keyturn.model.contract import Contract
from keyturn.model.errors import Refused
from keyturn.model.plan import Inverse

UNDO = "action.undo"
UNDOING = OPEN | {"succeeded"}
"""States of an undoing action in which what it undoes is not undone a second time."""

MOST = 1_000  # undone actions that are remembered of one principal, the youngest: of older ones it undoes none then
_UNSIGNED = frozenset({"decision.values", "risk"})  # reasons and score of the decision, which comes after it

APART = frozenset({"reason", "repeat"})
"""Arguments of every governed tool that say something about the request, not about what it does."""

Pairs: TypeAlias = list[tuple[str, str, str]]
"""Principal, action undone, action that undoes it."""


class Undos:
    """Which action undoes which, the newest try for each."""

    def __init__(self, pairs: Iterable[tuple[str, str, str]] = ()) -> None:
        self._by: dict[str, dict[str, str]] = {}
        self._undoing: dict[str, str] = {}
        for principal, undone, undoing in pairs:
            self.take(principal, undone, undoing)

    def of(self, undone: str) -> str | None:
        """Return the id of the newest action that undoes this one, or None."""
        return self._undoing.get(undone)

    def take(self, principal: str, undone: str, undoing: str) -> None:
        """Remember that `undoing`, an action of `principal`, undoes `undone`."""
        mine = self._by.setdefault(principal, {})
        mine[undone] = self._undoing[undone] = undoing
        if len(mine) > MOST:
            oldest = min(mine)  # ids begin with their time
            del mine[oldest], self._undoing[oldest]

    def forgotten(self, principal: str, undone: str) -> bool:
        """Tell whether an action may have been undone and that forgotten: it is older than all remembered ones."""
        mine = self._by.get(principal, {})
        return len(mine) >= MOST and undone < min(mine)

    def pairs(self) -> Pairs:
        """Return all of it for a snapshot."""
        return [
            (principal, undone, undoing) for principal, mine in self._by.items() for undone, undoing in mine.items()
        ]


def undo_digest(undone: str, tool: str, payloads: Mapping[str, str]) -> str:
    """Return what a person signs who asks for an undo: what is undone, and all that is asked for in its place.

    `undone` is the digest of the action undone; `payloads` are the commitments of the new request. So an act is good
    for exactly the plan that the person was shown.
    """
    signed: dict[str, canon.Json] = {name: value for name, value in payloads.items() if name not in _UNSIGNED}
    return canon.digest({"action": undone, "tool": tool, "payloads": signed})


def call_of(inverse: Inverse, action: str, result: Mapping[str, canon.Json]) -> dict[str, canon.Json]:
    """Return the arguments of the call that undoes `action`: of its plan's inverse, filled in from its `result`.

    Raises `Refused` ("no_inverse") when they name something that the result does not say.
    """
    return {name: _filled(value, action, result) for name, value in inverse.arguments.items()}


def _filled(value: canon.Json, action: str, result: Mapping[str, canon.Json]) -> canon.Json:
    match value:
        case {"from": "action", **rest} if not rest:
            return action
        case {"from": "result", "name": str(name), **rest} if not rest:
            if result.get(name) is None:
                raise Refused("no_inverse", f"to undo it takes its {name}, which its recorded result does not say")
            return result[name]
    return value


def normal(contract: Contract, arguments: Mapping[str, canon.Json]) -> dict[str, canon.Json]:
    """Return arguments as a request records them: the defaults of the contract written out, without those apart."""
    properties: Any = contract.input["properties"]
    defaults = {name: shape["default"] for name, shape in properties.items() if "default" in shape}
    return {name: value for name, value in {**defaults, **arguments}.items() if name not in APART}


def act_of(entry: Entry) -> Act:
    """Return what the act in an `action.undoing` entry must say to count."""
    undone: Any = entry.facts["undoes"]
    return Act(
        verb=UNDO, object=undone["action"], digest=undo_digest(undone["digest"], entry.text("tool"), entry.data)
    )


def check_undone(entry: Entry, undone: Action | None) -> None:
    """Refuse an `action.undoing` entry that names what it cannot undo.

    `undone` is None where the fold has forgotten the action: it is over for long then, and a verifier looks it up.
    """
    facts: Any = entry.facts
    named = facts["undoes"]
    if not named["request"] < named["outcome"] < entry.seq:
        raise Refused("other_place", "it undoes what was not over before it")
    if undone is None:
        return
    if (undone.principal, undone.digest, undone.seq) != (facts["principal"], named["digest"], named["request"]):
        raise Refused("other_action", f"it undoes {undone.id}, which is not the action that it names")
    if undone.effect is not True:
        raise Refused("not_done", f"it undoes {undone.id}, of which nothing is known to have been done")
