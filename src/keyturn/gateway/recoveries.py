"""Recoveries: a reviewer's signed word that a ledger was restored from a copy, or that the clock is right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keyturn import canon
from keyturn.approvals.statement import ActStatement
from keyturn.canon import Json
from keyturn.fold.recovery import CLOCK, REASON, RECOVER, RESTORED, recovery_digest
from keyturn.gateway.acts import ActDraft, statement_of
from keyturn.gateway.desk import Desk, Job, Look
from keyturn.gateway.review import check_reason
from keyturn.gateway.voiding import void
from keyturn.ledger.clock import BEHIND, STEP, believed
from keyturn.log.commitment import SALT_BYTES, commit
from keyturn.log.entry import Entry
from keyturn.model.decision import Reason
from keyturn.model.errors import Refused
from keyturn.model.time import Moment, format_timestamp, parse_timestamp


def draft_restored(desk: Desk, missing: tuple[int, str] | None, *, reason: str, by: str) -> ActDraft:
    """Draft the word that this ledger was restored from a copy.

    `missing` is size and last leaf hash (hex) of the ledger that is lost, None when none is known to be. Recorded, it
    makes what was permitted and had not begun stale; what was approved needs its reviews anew. Raises `Refused` when
    entries came in meanwhile, and while the clock is in doubt.
    """
    lost: dict[str, Json] | None = None if missing is None else {"size": missing[0], "leaf": missing[1]}

    def facts(view: Look) -> dict[str, Json]:
        _require_clock(view)
        here: dict[str, Json] = {"reason": RESTORED, "size": view.head.size, "leaf": view.head.leaf}
        return {**here, "missing": lost, "clock": None}

    draft = _Draft(desk, reason)
    drafted = desk.ledger.look(facts)

    def record(tx: Job, act: dict[str, Json]) -> Entry:
        if facts(tx) != drafted:
            raise Refused("superseded", "entries came in while this was signed; do it again")
        entry = draft.append(tx, drafted, act)
        _void_permissions(tx)
        return entry

    return ActDraft(desk.ledger.look(lambda view: draft.statement(view, drafted, by)), record)


def _require_clock(view: Look) -> None:
    """Refuse to say when a ledger was restored by a clock in doubt: reviews in what is lost might seem younger."""
    if view.reading.fault is not None:
        raise Refused(
            "clock",
            "what was signed before a restore counts no more, so the clock has to be right: set it, or, where it is "
            f"right, restart the machine; then restore ({view.reading.fault.partition(';')[0]})",
        )


def doubted(desk: Desk) -> Moment:
    """Return what the clocks say while they are not believed. Raises `Refused` when nothing is wrong with them."""

    def look(view: Look) -> Moment:
        if view.reading.fault is None:
            raise Refused("no_fault", "the clock is believed as it is: there is nothing to sign")
        return view.reading.moment

    return desk.ledger.look(look)


def draft_clock(desk: Desk, *, reason: str, by: str) -> ActDraft:
    """Draft the word that the wall clock is right as it is now. Raises `Refused` when nothing is wrong with it."""
    moment = doubted(desk)
    said: dict[str, Json] = {"boot": moment.boot, "wall": format_timestamp(moment.wall), "up": moment.up}
    draft = _Draft(desk, reason)

    def facts(view: Look) -> dict[str, Json]:
        here: dict[str, Json] = {"reason": CLOCK, "size": view.head.size, "leaf": view.head.leaf}
        return {**here, "missing": None, "clock": said}

    def record(tx: Job, act: dict[str, Json]) -> Entry:
        _check_same(tx.reading.moment, said)
        tx.reading = believed(tx.reading)
        return draft.append(tx, facts(tx), act)

    return ActDraft(desk.ledger.look(lambda view: draft.statement(view, facts(view), by)), record)


class _Draft:
    """The words of one recovery, with the salt of their commitment."""

    def __init__(self, desk: Desk, reason: str) -> None:
        check_reason(reason, "recover")
        self._words, self._salt = canon.encode(reason), desk.entropy(SALT_BYTES)

    def statement(self, view: Look, facts: Mapping[str, Json], by: str) -> ActStatement:
        digest = recovery_digest(facts, commit(self._salt, REASON, self._words))
        return statement_of(view, RECOVER, str(facts["reason"]), digest, by)

    def append(self, tx: Job, facts: Mapping[str, Json], act: dict[str, Json]) -> Entry:
        data, salts = {REASON: self._words}, {REASON: self._salt}
        return tx.append("recovery", {**facts, "act": act}, data=data, salts=salts)


def _void_permissions(tx: Job) -> None:
    for action, state in list(tx.state.open_actions(tx.now)):
        if state == "approved" and action.decision == "permit":
            why = "the ledger was restored from a copy before it had begun: ask again"
            void(tx, action, [Reason("restored", why)])


def _check_same(moment: Moment, said: Mapping[str, Any]) -> None:
    """Refuse when the clock has jumped again since it was read for signing."""
    ran = (moment.up - said["up"]) / 1_000_000
    passed = (moment.wall - parse_timestamp(said["wall"])).total_seconds()
    if moment.boot != said["boot"] or abs(passed - ran) > min(STEP, BEHIND).total_seconds():
        raise Refused("superseded", "the clock moved again while this was signed; do it again")
