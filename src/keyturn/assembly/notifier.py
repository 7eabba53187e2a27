"""Tells people: runs the command of `[notify]` with one notice at a time, from one process per home at a time.

Whoever holds the lock `state/run/notifier` tells; the others look now and then whether it is free. It follows the
ledger with a reader of its own, after the commits and apart from them: nothing that decides or executes waits for it.
How far telling has come stands in `state/notified`, written once the command has ended. So what a crash cuts off in
the middle is told again, and nothing is told twice otherwise.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
from pydantic import TypeAdapter, ValidationError

from keyturn.assembly.home import Home
from keyturn.assembly.outside import environment, moment
from keyturn.assembly.standing import lock_held, open_reader, watch
from keyturn.assembly.wiring import Notify, read_wiring
from keyturn.canon import Json
from keyturn.fold.state import State
from keyturn.gateway.desk import Look
from keyturn.gateway.events import Event, Told, together
from keyturn.gateway.notices import end_of, news_in, notice
from keyturn.gateway.threads import on_ledger
from keyturn.ledger.errors import LedgerUnavailable
from keyturn.ledger.lock import take_instance
from keyturn.ledger.writer import Reader, Watcher
from keyturn.model.errors import ConfigurationError, LedgerError, Refused

LOCK = "notifier"
RECORD = "notified"
COMMAND_TAKES = 10.0  # seconds a command may take at most
A_MOMENT = 0.5  # seconds it may go on when this program is told to end
LOOK_EVERY = 0.5  # seconds between looks for news: one PRAGMA, no lock
LOOK_ANYWAY = 5.0  # seconds after which it looks without news: what time does is written by nobody
TURN_EVERY = 2.0  # seconds between attempts to become the one who tells
AT_ONCE = 60  # notices in one go: an assistant that asks and cancels for ever must not bury people in them
ONE_MORE_EVERY = 60.0  # seconds after which there may be another
_PASSED_ON = ("PATH", "HOME", "LANG")
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One notice that did not get through: when, which event of which action, and what became of the command."""

    at: datetime
    place: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What `state/notified` holds of telling people about one log.

    told         how far it has come
    restored     when the ledger had been restored last by then: what came after that restore is news
    sent         notices whose command ended with status 0
    failed       notices whose command did not
    consecutive  how many failed since the last that did not
    last         the last failure
    """

    log: str
    told: Told
    restored: datetime | None = None
    sent: int = 0
    failed: int = 0
    consecutive: int = 0
    last: Failure | None = None

    def after(self, event: Event, failure: Failure | None) -> Record:
        """Return the record once the command for an event has ended."""
        told = self.told.after(event)
        if failure is None:
            return replace(self, told=told, sent=self.sent + 1, consecutive=0)
        return replace(self, told=told, failed=self.failed + 1, consecutive=self.consecutive + 1, last=failure)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyState:
    """How telling people stands in a home.

    command  the argv that is run
    active   whether a process tells people now
    record   what has been told and what failed; None before the first time
    """

    command: tuple[str, ...]
    active: bool
    record: Record | None


_RECORD = TypeAdapter(Record)


def notify_state(home: Home) -> NotifyState | None:
    """Return how telling people stands, None where `[notify]` is not set. Raises `ConfigurationError`."""
    settings = read_wiring(home.wiring).notify
    if settings is None:
        return None
    return NotifyState(command=settings.command, active=lock_held(home, LOCK), record=_read(home))


async def tell_people(home: Home) -> None:
    """Tell people what happens in `home` until cancelled, whenever no other process does.

    Returns at once where `[notify]` is not set, and early when the ledger is not to be trusted any more: whoever
    serves it finds that out too. Never raises for anything that has to do with telling.
    """
    try:
        settings = read_wiring(home.wiring).notify
        while settings is not None:
            await _take_turn(home, settings)
            await anyio.sleep(TURN_EVERY)
    except (LedgerError, ConfigurationError) as error:
        _log.error("people are told nothing any more: %s", error)
    except Exception as error:  # noqa: BLE001 - a fault in telling must not end the process that decides and acts
        _log.error("people are told nothing any more: %s", type(error).__name__)


async def _take_turn(home: Home, settings: Notify) -> None:
    """Tell people while this process has the turn; return at once when another has it."""
    try:
        lock = take_instance(home.place.run, LOCK)
        if lock is None:
            return
        try:
            await _tell(home, settings)
        finally:
            lock.release()
    except (LedgerUnavailable, OSError) as error:  # out of file descriptors, say: others give some back
        _log.warning("people cannot be told at present: %s", error)


async def _tell(home: Home, settings: Notify) -> None:
    reader = await on_ledger(open_reader, home, "notifier")
    watcher = await on_ledger(watch, home)
    try:
        await _Teller(home, settings, reader, watcher).run()
    finally:
        watcher.close()
        reader.close()


@dataclass(slots=True)
class _Teller:
    """The one who tells, while it has the turn."""

    home: Home
    settings: Notify
    reader: Reader[State]
    watcher: Watcher
    due: float = field(default=0.0)
    room: _Room = field(default_factory=lambda: _Room(anyio.current_time()))

    async def run(self) -> None:
        record = await on_ledger(self.reader.look, partial(_begin, self.home))
        _write(self.home, record)
        while True:
            if await on_ledger(self.watcher.changed) or anyio.current_time() >= self.due:
                self.due = anyio.current_time() + LOOK_ANYWAY
                record = await self._look(record)
            await anyio.sleep(LOOK_EVERY)

    async def _look(self, record: Record) -> Record:
        """Tell all that is news, one after another; return the record after it."""
        now = anyio.current_time()
        if (wait := self.room.wait(now)) > 0:
            self.due = now + wait
            return record
        events, after = await on_ledger(self.reader.look, partial(news_in, since=record.told))
        for event in self.room.fitted(events):
            record = record.after(event, await self._send(event))
            _write(self.home, record)
        if record.told.seq < after.seq:
            self.due = 0.0  # there may be more
        if after != record.told:
            record = replace(record, told=after)
            _write(self.home, record)
        return record

    async def _send(self, event: Event) -> Failure | None:
        try:
            content = await on_ledger(self.reader.look, partial(notice, event=event, home=str(self.home.folder)))
        except Refused as error:
            why: str | None = str(error)
        else:
            why = await _run(self.settings, self.home.folder, content)
        if why is None:
            return None
        place = f"{event.kind} {event.action}".strip()
        _log.warning("the [notify] command failed (%s): %s", place, why)
        return Failure(at=moment().wall, place=place, why=why)


@dataclass(slots=True)
class _Room:
    """How many notices may be sent by now; where there are more events they go out as one. Times are the loop's."""

    since: float
    left: float = field(default_factory=lambda: float(AT_ONCE))

    def wait(self, now: float) -> float:
        """Return for how many seconds none may be sent."""
        self.left = min(float(AT_ONCE), self.left + (now - self.since) / ONE_MORE_EVERY)
        self.since = now
        return max(0.0, (1 - self.left) * ONE_MORE_EVERY)

    def fitted(self, events: Sequence[Event]) -> Sequence[Event]:
        """Return the events if there is room for all of them, else one of all."""
        if len(events) <= self.left:
            self.left -= len(events)
            return events
        self.left = 0.0
        return [together(events)]


def _begin(home: Home, view: Look) -> Record:
    """Go on where telling ended; begin at the present end where it never did, or was about another log.

    Where the ledger was put back from a copy meanwhile, what came after that is news, whatever was told before.
    """
    log = view.head.verifier.origin if view.head.verifier else ""
    last = view.state.restored
    restored = last.at if last else None
    record = _read(home)
    if record is None or record.log != log:
        return Record(log=log, told=end_of(view), restored=restored)
    if last is None or record.restored == last.at:
        return record
    return replace(record, told=replace(record.told, seq=min(record.told.seq, last.seq)), restored=restored)


async def _run(settings: Notify, folder: Path, content: Mapping[str, Json]) -> str | None:
    """Run the command with a notice on its standard input; return what went wrong, None when nothing did.

    The whole process group is killed at the end, whichever it is; only what made itself a session of its own is left.
    """
    data = json.dumps(content).encode("ascii") + b"\n"
    try:
        process = await anyio.to_thread.run_sync(_start, settings, folder, data)
    except OSError as error:
        return f"it could not be started: {error.strerror}"
    try:
        if not await _end(process):
            return f"it did not end within {COMMAND_TAKES:g} s"
    except OSError as error:
        return f"it could not be waited for, and was killed: {error.strerror}"
    if process.returncode < 0:
        return f"it was ended by signal {-process.returncode}"
    return f"it ended with status {process.returncode}" if process.returncode else None


def _start(settings: Notify, folder: Path, data: bytes) -> subprocess.Popen[bytes]:
    outside = environment()
    # A file and no pipe: a command that does not read its input keeps nobody waiting.
    with os.fdopen(os.memfd_create("notice"), "w+b") as file:
        file.write(data)
        file.seek(0)
        return subprocess.Popen(
            settings.command,
            cwd=folder,
            env={name: outside[name] for name in (*_PASSED_ON, *settings.environment) if name in outside},
            stdin=file,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )


async def _end(process: subprocess.Popen[bytes]) -> bool:
    """Wait for a process, but not for long, and kill its group; say whether it ended by itself.

    Where this program is told to end meanwhile, the process gets a moment more. If that is enough this returns, so
    that the caller can write down what was told; the next `await` ends the caller then.
    """
    handle = -1
    try:
        handle = os.pidfd_open(process.pid)
        with anyio.move_on_after(COMMAND_TAKES) as patience:
            await anyio.wait_readable(handle)
    except anyio.get_cancelled_exc_class():
        with anyio.move_on_after(A_MOMENT, shield=True) as patience:
            await anyio.wait_readable(handle)
        if patience.cancelled_caught:
            raise
    finally:
        if handle >= 0:
            os.close(handle)
        # Before wait() reaps it: until then the group's number cannot be another's.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return not patience.cancelled_caught


def _read(home: Home) -> Record | None:
    try:
        record = _RECORD.validate_json((home.place.folder / RECORD).read_bytes())
    except (OSError, ValidationError):
        return None  # never written, or damaged: telling begins anew at the ledger's end
    return record if record.told.seq >= 0 else None


def _write(home: Home, record: Record) -> None:
    """Replace the record, atomically and durably. A full disk stops no telling, which may then repeat itself."""
    path = home.place.folder / RECORD
    building = path.with_name(f".{RECORD}.new")
    try:
        with os.fdopen(os.open(building, _CREATE, 0o600), "wb") as file:
            file.write(_RECORD.dump_json(record))
            file.flush()
            os.fsync(file.fileno())
        building.replace(path)
    except OSError as error:
        _log.warning("%s cannot be written, so what was told may be told again: %s", path, error.strerror)
