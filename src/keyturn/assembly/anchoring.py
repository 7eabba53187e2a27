"""The anchors of a home: built from its wiring, and held against its ledger before anything is written."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from keyturn.anchors import Anchor, Keeper
from keyturn.anchors.judging import Contradicted, judge
from keyturn.anchors.patience import Patient
from keyturn.assembly.back_ends import anchor_end
from keyturn.connectors.world import World
from keyturn.fold.state import State
from keyturn.ledger.errors import LedgerBroken
from keyturn.ledger.writer import Ledger
from keyturn.log.keys import LogVerifier
from keyturn.model.errors import ConfigurationError, ConnectorError
from keyturn.model.time import parse_duration

START = 5.0
"""Seconds that a start waits for an anchor, each beside the others."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Declared:
    """An anchor, and how often it gets a checkpoint, in seconds.

    required  it must have an intent before its effect begins, where a grant asks for that
    """

    anchor: Anchor
    every: float
    required: bool = False

    @property
    def title(self) -> str:
        """What messages call it."""
        return f"anchor {self.anchor.name} ({self.anchor.type})"


def build_anchors(declared: Mapping[str, Any], world: World) -> tuple[Declared, ...]:
    """Build the anchors that the wiring declares. Raises `ConfigurationError` with all that cannot be built."""
    problems: list[str] = []
    built: list[Declared] = []
    for name, settings in declared.items():
        try:
            anchor = anchor_end(settings.kind).build(name, settings, world)
            built.append(Declared(anchor, parse_duration(settings.every).total_seconds(), settings.required))
        except ConfigurationError as error:
            problems.extend(error.problems)
    if problems:
        raise ConfigurationError(*problems)
    return tuple(built)


def nearby(declared: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of those anchors that answer at once: folders, and repositories on this machine."""
    return {
        name: settings
        for name, settings in declared.items()
        if settings.kind == "file" or (settings.kind == "git" and settings.path is not None)
    }


def hold_against(ledger: Ledger[State], verifier: LogVerifier, declared: Iterable[Declared]) -> None:
    """Hold the ledger against the newest note of each anchor that gives one back, all of them asked at once.

    One that cannot be asked is told. Raises `LedgerBroken` for a ledger that went backwards or forked.
    """
    asked = [
        (one, Patient(one.anchor.name, partial(one.anchor.newest, verifier.origin)))
        for one in declared
        if isinstance(one.anchor, Keeper)
    ]
    for one, call in asked:
        try:
            seen = call.wait(min(one.anchor.seconds, START))
            if seen is not None:
                ledger.look(lambda view, seen=seen: judge(view, seen, verifier))  # type: ignore[misc]  # bound now
        except Contradicted as error:
            raise broken(one, error) from error
        except ConnectorError as error:
            _log.warning("%s cannot be asked how far the ledger was: %s", one.title, str(error))


def broken(one: Declared, error: Contradicted) -> LedgerBroken:
    """Return what to raise where an anchor contradicts the ledger."""
    return LedgerBroken(
        f"{one.title}: {error}; nothing is written. Check with `keyturn audit verify`, and put the right copy back; "
        "if what is missing is lost, have somebody sign for that: keyturn audit restore FILE -m REASON"
    )


def kept_notes(declared: Iterable[Declared], verifier: LogVerifier) -> Iterator[tuple[Declared, bytes]]:
    """Yield the note that each anchor which gives one back keeps; those that cannot be asked are told."""
    for one in declared:
        if not isinstance(one.anchor, Keeper):
            continue
        try:
            seen = Patient(one.anchor.name, partial(one.anchor.newest, verifier.origin)).wait(
                min(one.anchor.seconds, START)
            )
        except ConnectorError as error:
            _log.warning("%s cannot be asked how far the ledger was: %s", one.title, str(error))
        else:
            if seen is not None:
                yield one, seen.note
