"""Metrics of a home: follows its entries beside everything else, and serves what they add up to.

The follower has a connection of its own and takes no lock. It reads in short steps, none of which is open while
somebody is waited for, and nothing is decided on what it counts.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from importlib.metadata import version

from keyturn.assembly.home import Home
from keyturn.assembly.notifier import notify_state
from keyturn.assembly.outside import moment
from keyturn.assembly.room import room_of
from keyturn.assembly.standing import open_reader
from keyturn.gateway.desk import Look
from keyturn.ledger.clock import read_clock
from keyturn.ledger.errors import LedgerUnavailable
from keyturn.ledger.tail import Tail
from keyturn.log.chain import Head
from keyturn.model.errors import ConfigurationError, LedgerError
from keyturn.telemetry import exposition
from keyturn.telemetry.counts import Counts
from keyturn.telemetry.exposition import Process, Seen, written
from keyturn.telemetry.listener import Listener, read_address
from keyturn.telemetry.speech import say

STEP = 500  # entries read at a time
CATCH_UP_EVERY = 2.0  # seconds between looks for new entries when nobody asks
AT_A_SCRAPE = 1.0  # seconds a scrape spends at most on entries that are not counted yet

_log = logging.getLogger(__name__)


class Metrics:
    """The metrics of one home, kept up to date by a thread. Raises `LedgerError` when the ledger cannot be read."""

    def __init__(self, home: Home, process: Process) -> None:
        self._home = home
        self._process = process
        self._version = version("keyturn")
        self._turn = threading.Lock()
        self._over = threading.Event()
        with closing(open_reader(home, "keyturn metrics")) as reader:
            self._counts, head = reader.look(_begin)
        self._tail = Tail(home.place, head)
        self._readable = True
        self._thread = threading.Thread(target=self._keep_up, name="metrics", daemon=True)
        self._thread.start()

    def page(self) -> bytes:
        """Return the text of one scrape."""
        self._catch_up(AT_A_SCRAPE)
        with self._turn:
            reading = read_clock(moment(), self._tail.head)
            self._counts.settle(reading.now)
            return written(
                Seen(
                    counts=self._counts,
                    open=self._counts.open(reading.now),
                    home=self._standing(fault=reading.fault is not None),
                    process=self._process,
                    version=self._version,
                    readable=self._readable,
                )
            )

    def close(self) -> None:
        """Stop following."""
        self._over.set()
        self._thread.join()
        with self._turn:
            self._tail.close()

    def _keep_up(self) -> None:
        while not self._over.wait(CATCH_UP_EVERY):
            self._catch_up(CATCH_UP_EVERY)

    def _catch_up(self, seconds: float) -> None:
        """Count what is new, for so long; what is left is counted the next time."""
        end = time.monotonic() + seconds
        while self._readable and not self._over.is_set() and time.monotonic() < end:
            with self._turn:
                if not self._step():
                    return

    def _step(self) -> bool:
        """Count the next entries; say whether there may be more."""
        try:
            found = self._tail.read(STEP)
        except LedgerUnavailable as error:
            _log.warning("metrics wait: %s", error)
            return False
        except LedgerError as error:
            self._readable = False
            _log.error("metrics end at entry %d: %s", self._tail.head.size, error)
            return False
        for entry in found:
            self._counts.take(entry)
        return len(found) == STEP

    def _standing(self, *, fault: bool) -> exposition.Home:
        room = room_of(self._home.place)
        return exposition.Home(
            entries=self._size(),
            counted=self._tail.head.size,
            ledger_bytes=room.ledger,
            wal_bytes=room.wal,
            free_bytes=room.free,
            fault=fault,
            notify_failures=_failed_notices(self._home),
        )

    def _size(self) -> int:
        with suppress(LedgerError):  # the record of it is gone or half written: what was counted is there at least
            return self._tail.size()
        return self._tail.head.size


class Served:
    """Metrics behind an address: `address` says which, also where any free port was asked for."""

    def __init__(self, home: Home, address: str, process: Process) -> None:
        place = read_address(address)
        self._metrics = Metrics(home, process)
        try:
            self._listener = Listener(place, self._metrics.page, exposition.CONTENT_TYPE)
        except BaseException:
            self._metrics.close()
            raise
        self.address = str(self._listener.address)

    def close(self) -> None:
        """Stop serving."""
        self._listener.close()
        self._metrics.close()


def serve_metrics(home: Home, address: str, process: Process | None = None) -> Served:
    """Serve the metrics of `home` on `HOST:PORT` (loopback when only a port is named) until closed.

    `process` says what this process counts of itself. Raises `ConfigurationError` for an address that cannot be
    listened on, `LedgerError` when the ledger cannot be read.
    """
    return Served(home, address, process or Process())


@contextmanager
def metrics_served(home: Home, address: str | None, process: Process | None = None) -> Iterator[None]:
    """Serve metrics for the time of the block and say where; with no address nothing is served."""
    if address is None:
        yield
        return
    served = serve_metrics(home, address, process)
    say(f"metrics on http://{served.address}/metrics", event="metrics.started")
    try:
        yield
    finally:
        served.close()


def _begin(view: Look) -> tuple[Counts, Head]:
    present = view.state.suspensions.present()
    return Counts(view.now, view.state.actions.values(), [one.scope for one in present]), view.head


def _failed_notices(home: Home) -> int | None:
    """Return how many notices failed, None where nobody is to be told or that cannot be read."""
    try:
        state = notify_state(home)
    except ConfigurationError:
        return None
    return None if state is None else state.record.failed if state.record is not None else 0
