"""Proof 9 of undoing: what an undo names was done before it, and once; it asks for the way back stated then.

The entries it names are read once more where they stand: the pass has proved them, and keeps none that is over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keyturn import canon
from keyturn.canon import Json
from keyturn.fold.undoing import call_of, normal
from keyturn.log.chain import parse
from keyturn.log.entry import Entry
from keyturn.log.kinds import REQUESTS
from keyturn.model.contract import Contract
from keyturn.model.plan import Inverse
from keyturn.verifier.erased import missing_for_decision
from keyturn.verifier.lives import Lives
from keyturn.verifier.proofs import NotProved, proving
from keyturn.verifier.source import Gone, Row, Source, open_payloads

ARGUMENT = "argument."
_ENDS = frozenset({"execution.finished", "execution.resolved"})


@dataclass(frozen=True, slots=True)
class _Earlier:
    """An entry read again, with its payloads."""

    entry: Entry
    payloads: Mapping[str, bytes]


class Undone:
    """What was undone, or may yet be, for as long as the log goes on: an action is undone once.

    The fold forgets what has been over for long; this grows with what was undone, and with nothing else.
    """

    def __init__(self, lives: Lives) -> None:
        self._lives = lives
        self._by: dict[str, str] = {}
        self._of: dict[str, str] = {}
        self._gone: set[str] = set()

    def check(self, entry: Entry) -> None:
        """Prove that what an `action.undoing` entry names is not undone, and not about to be. Raises `NotProved`."""
        undone = _undone(entry)
        if undone in self._gone:
            raise NotProved(entry.seq, 9, f"action {undone} was undone before")
        if (by := self._by.get(undone)) is not None and self._lives.open(by, entry.at):
            raise NotProved(entry.seq, 9, f"action {undone} is being undone by {by} already")

    def take(self, entry: Entry) -> None:
        """Take an `action.undoing` entry: until its action has come to nothing, no other undoes the same."""
        undone, by = _undone(entry), entry.action or ""
        self._of.pop(self._by.get(undone, ""), None)
        self._by[undone], self._of[by] = by, undone

    def ended(self, entry: Entry) -> None:
        """Take the outcome of any action, or the settling of one."""
        outcome = entry.text("outcome")
        if outcome != "unknown" and (undone := self._of.pop(entry.action or "", None)) is not None:
            del self._by[undone]
            if outcome == "succeeded":
                self._gone.add(undone)


def _undone(entry: Entry) -> str:
    named: Any = entry.facts["undoes"]
    action: str = named["action"]
    return action


def check_undone(
    entry: Entry,
    payloads: Mapping[str, bytes],
    contract: Contract,
    source: Source,
    absent: Gone,
) -> tuple[str, ...]:
    """Prove 9 of an `action.undoing` entry and what it undoes. Raises `NotProved`.

    Returns the payloads of what it undoes that are `absent`, without which nothing tells what the way back was.
    """
    named: Any = entry.facts["undoes"]
    if not named["request"] < named["outcome"] < entry.seq:
        raise NotProved(entry.seq, 9, "it undoes what was not over before it")
    with proving(entry.seq, 9):
        asked, ended = _read(source, named["request"]), _read(source, named["outcome"])
        _check_request(entry, asked[0])
        _check_outcome(entry, ended[0])
        where = asked[0].text("environment")
        request, outcome = (
            _Earlier(one, open_payloads(one, row.payloads, absent, where)) for one, row in (asked, ended)
        )
        lost = tuple(
            f"{field} of entry {earlier.entry.seq}"
            for earlier, field in ((request, "plan"), (outcome, "outcome"))
            if field in earlier.entry.data.keys() - earlier.payloads.keys()
        )
        # Arguments of its own that were erased are no arguments of another call.
        if not lost and not missing_for_decision(entry, payloads):
            _check_call(entry, payloads, contract, _meant(named["action"], request, outcome))
        return lost


def _read(source: Source, seq: int) -> tuple[Entry, Row]:
    row = source.row(seq)
    return parse(seq, row.body, row.signature), row


def _check_request(entry: Entry, request: Entry) -> None:
    named: Any = entry.facts["undoes"]
    if request.kind not in REQUESTS or (request.action, request.digest) != (named["action"], named["digest"]):
        raise NotProved(entry.seq, 9, f"entry {request.seq} does not request the action that it undoes")
    if request.facts["principal"] != entry.facts["principal"]:
        raise NotProved(entry.seq, 9, "it undoes an action of another principal")


def _check_outcome(entry: Entry, outcome: Entry) -> None:
    named: Any = entry.facts["undoes"]
    if outcome.kind not in _ENDS or outcome.action != named["action"] or outcome.facts["effect"] is not True:
        raise NotProved(entry.seq, 9, f"entry {outcome.seq} does not say that what it undoes was done")


def _meant(action: str, request: _Earlier, outcome: _Earlier) -> tuple[str | None, dict[str, Json]]:
    """Return tool and arguments of the inverse, as the plan states it."""
    plan: Any = canon.decode_object(request.payloads["plan"])
    stated = plan["inverse"] or {"summary": "", "tool": None, "arguments": {}}
    inverse = Inverse(summary=stated["summary"], tool=stated["tool"], arguments=stated["arguments"])
    told: Any = canon.decode_object(outcome.payloads["outcome"]) if "outcome" in outcome.payloads else {}
    return inverse.tool, call_of(inverse, action, told.get("result") or {})


def _check_call(
    entry: Entry, payloads: Mapping[str, bytes], contract: Contract, meant: tuple[str | None, dict[str, Json]]
) -> None:
    tool, arguments = meant
    if entry.facts["tool"] != tool:
        raise NotProved(entry.seq, 9, f"what it undoes is undone by {tool or 'no call'}, not by {entry.text('tool')}")
    recorded = {
        field.removeprefix(ARGUMENT): canon.decode(data)
        for field, data in payloads.items()
        if field.startswith(ARGUMENT)
    }
    if recorded != normal(contract, arguments):
        raise NotProved(entry.seq, 9, "its arguments are not those of the inverse that the plan of the action states")
