"""A home surveyed for its operator: its ledger, its proposed policy, who executes, and what to worry about."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from keyturn.assembly.boundary import SAME_ACCOUNT, shared
from keyturn.assembly.build import check_consent, open_gateway
from keyturn.assembly.home import Home
from keyturn.assembly.notifier import notify_state
from keyturn.assembly.proposal import check_proposal
from keyturn.assembly.required import check_anchors
from keyturn.assembly.room import Room, room_of
from keyturn.assembly.standing import lock_held, open_reader, require_pinned, worker_present
from keyturn.gateway.overview import Overview, overview
from keyturn.model.errors import ConfigurationError, LedgerError

LITTLE = 256 * 2**20
"""Bytes free on the ledger's disk below which it is time to worry."""

_INSTANCE = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Notifying:
    """How telling people stands: whether a process does, how many notices failed, how many of them in a row."""

    active: bool
    failed: int
    consecutive: int
    last: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """How a home stands.

    proposal   the policy file against the policy in force: "in force", "differs", or why it is of no use
    worker     whether an on-demand worker has its turn now
    executors  instances that live: workers, and servers that execute by themselves
    notifying  None where nobody is to be notified
    obstacles  why neither server nor worker could start here now; empty when they could
    warnings   what to worry about, the account that Keyturn shares included
    """

    home: Path
    seen: Overview
    proposal: str
    worker: bool
    executors: frozenset[str]
    notifying: Notifying | None
    room: Room
    obstacles: tuple[str, ...]
    warnings: tuple[str, ...]


def survey(home: Home) -> Survey:
    """Look at a home whole, and try what a server tries before it serves; nothing is recorded.

    Raises `ConfigurationError` without a ledger, `LedgerError` when it cannot be read.
    """
    require_pinned(home)
    seen, obstacles = _look(home)
    room, notifying = room_of(home.place), _notifying(home)
    worries = (
        *_faults(seen),
        *_shortages(room, notifying),
        *seen.warnings,
        *((SAME_ACCOUNT,) if shared(home.folder) else ()),
    )
    return Survey(
        home=home.folder,
        seen=seen,
        proposal=_proposal(home, seen),
        worker=worker_present(home),
        executors=frozenset(_living(home)),
        notifying=notifying,
        room=room,
        obstacles=obstacles,
        warnings=worries,
    )


def _look(home: Home) -> tuple[Overview, tuple[str, ...]]:
    """Look through what a server would serve with; where none could be built, say why and look without."""
    try:
        gate = open_gateway(home, "keyturn status")
    except (ConfigurationError, LedgerError) as error:
        with closing(open_reader(home, "keyturn status")) as reader:
            return reader.look(overview), _problems(error)
    with closing(gate.ledger):
        try:
            check_consent(gate)
            check_anchors(gate, home)
        except (ConfigurationError, LedgerError) as error:
            return gate.ledger.look(overview), _problems(error)
        return gate.ledger.look(lambda view: overview(view, gate.policies)), ()


def _problems(error: ConfigurationError | LedgerError) -> tuple[str, ...]:
    return error.problems if isinstance(error, ConfigurationError) else (str(error),)


def _proposal(home: Home, seen: Overview) -> str:
    try:
        if home.policy_files() == dict(seen.policy.files):
            return "in force"
    except ConfigurationError as error:
        return f"unreadable: {'; '.join(error.problems)}"
    errors = len(check_proposal(home).errors)
    return f"does not load: {errors} error{'s' if errors > 1 else ''}" if errors else "differs"


def _living(home: Home) -> Iterator[str]:
    """Yield the instances whose processes hold their locks; dead ones leave their files behind."""
    with suppress(OSError):
        for path in home.place.run.iterdir():
            if _INSTANCE.fullmatch(path.name) and lock_held(home, path.name):
                yield path.name


def _notifying(home: Home) -> Notifying | None:
    """Read how telling people stands."""
    try:
        state = notify_state(home)
    except ConfigurationError:
        return None  # that is an obstacle, and told as one
    if state is None:
        return None
    record = state.record
    return Notifying(
        active=state.active,
        failed=0 if record is None else record.failed,
        consecutive=0 if record is None else record.consecutive,
        last=None if record is None or record.last is None else record.last.why,
    )


def _faults(seen: Overview) -> Iterator[str]:
    if seen.fault is not None:
        yield f"governed actions are refused: {seen.fault}"
    if seen.unknown:
        yield f"nobody knows whether these happened: {', '.join(seen.unknown)}; see keyturn action show ID"


def _shortages(room: Room, notifying: Notifying | None) -> Iterator[str]:
    if room.free < LITTLE:
        yield f"{room.free // 2**20} MiB are free on the ledger's disk: without room nothing is recorded, or done"
    if notifying is not None and notifying.consecutive:
        yield f"people are not told: the last {notifying.consecutive} notices failed, {notifying.last}"
