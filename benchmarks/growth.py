"""Makes long ledgers that verify: whole permitted actions of three entries each, by the real writer.

Run as a program of its own: transactions of a hundred actions, on a clock that is moved on so that there are some
5,500 actions a day. The first action is one of the gate; the others are like it, on another ticket each.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio

from benchmarks.calls import working
from benchmarks.homes import ROOT, Founded, Opened, found, opened
from keyturn.assembly.home import Home
from keyturn.assembly.outside import entropy, moment, new_action_id
from keyturn.assembly.writing import log_verifier
from keyturn.canon import Json
from keyturn.fold.state import State
from keyturn.gateway.call import call
from keyturn.gateway.incoming import Incoming
from keyturn.ledger.checkpoints import LogSigner, sign_checkpoint
from keyturn.ledger.keys import LOG_KEY, load_key
from keyturn.ledger.transaction import Transaction
from keyturn.ledger.writer import Ledger, Surroundings
from keyturn.log.entry import Entry
from keyturn.model.time import Moment, format_timestamp, parse_timestamp

ENTRIES = 1_000_000
PACE = timedelta(days=60) / (ENTRIES / 3)
BATCH = 100  # actions to a transaction
OFTEN = 10  # transactions to a checkpoint
SMALL = 10_000
TICKETS = 500
_FIRST = b"T-1000"


class Clock:
    """The real clocks, so much later."""

    def __init__(self, later: timedelta = timedelta()) -> None:
        self.later = later

    def __call__(self) -> Moment:
        now = moment()
        return Moment(now.wall + self.later, now.boot, now.up + self.later // timedelta(microseconds=1))


@dataclass(frozen=True, slots=True)
class Made:
    """A long ledger, and what its maker told of itself: bytes of a body, of memory, the file, a snapshot; seconds."""

    founded: Founded
    entries: int
    body: int
    later: timedelta
    memory: int
    memory_small: int
    file: int
    snapshot: int
    took: float

    @property
    def database(self) -> Path:
        """Its file."""
        return self.founded.home.place.database

    def opened(self) -> Ledger[State]:
        """Open it as a process that writes, at the time it has reached."""
        return open_later(self.founded.home, self.later)


def open_later(home: Home, later: timedelta) -> Ledger[State]:
    """Open a ledger whose time runs so much ahead."""
    return Ledger(home.place, State, Surroundings(Clock(later), entropy, "benchmark"))


def make(where: Path, entries: int, small: int = SMALL, pace: timedelta = PACE) -> Made:
    """Found a home in the new folder `where` and let a process of its own fill its ledger to so many entries.

    The maker's memory is taken at `small` entries and at the end.
    """
    founded = found(where)
    program = [sys.executable, "-m", "benchmarks.growth", str(where), founded.token, str(entries), str(small)]
    done = subprocess.run([*program, str(pace.total_seconds())], cwd=ROOT, check=True, capture_output=True, text=True)
    told: dict[str, Any] = json.loads(done.stdout)
    return Made(founded, **{**told, "later": timedelta(seconds=told["later"])})


def main() -> None:
    home, token, entries, small = Home(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    pace, begin = timedelta(seconds=float(sys.argv[5])), time.perf_counter()
    told = fill(home, token, entries, small, pace)
    print(json.dumps({**told, "took": time.perf_counter() - begin}))


def fill(home: Home, token: str, entries: int, small: int, pace: timedelta) -> dict[str, Any]:
    """Fill a fresh ledger."""
    like = _first_action(home, token)
    clock, memory_small = Clock(), 0
    key = load_key(home.place.keys / LOG_KEY)
    signer, numbers = LogSigner(log_verifier(home), key.sign), itertools.count(1)
    with closing(Ledger(home.place, State, Surroundings(clock, entropy, "benchmark"))) as ledger:
        for turn in itertools.count(1):
            size = ledger.look(lambda view: view.head.size)
            if size >= small and not memory_small:
                memory_small = resident()
            if size >= entries:
                break
            clock.later += pace * BATCH
            ledger.transact(_append(like, numbers))
            if turn % OFTEN == 0:
                sign_checkpoint(ledger, signer)
        sign_checkpoint(ledger, signer)
        memory = resident()
        snapshot = ledger.look(lambda view: len(json.dumps(view.state.to_json())))
        body = ledger.look(lambda view: sum(len(entry.body) for entry in view.entries(size - 300, size)) // 300)
    told = {"entries": size, "body": body, "memory": memory, "memory_small": memory_small, "snapshot": snapshot}
    return {**told, "file": home.place.database.stat().st_size, "later": clock.later.total_seconds()}


@dataclass(frozen=True, slots=True)
class _Like:
    """The entries of one action with their payloads, to make others after."""

    story: list[tuple[Entry, Mapping[str, bytes]]]

    @property
    def life(self) -> timedelta:
        """From its request to its expiry."""
        request = self.story[0][0]
        return parse_timestamp(request.text("expires_at")) - request.at


def _first_action(home: Home, token: str) -> _Like:
    """Let the gate do one permitted action, and return its entries."""
    with opened(Founded(home, token)) as world:
        action = anyio.run(_called, world)

        def story(view: Any) -> list[tuple[Entry, Mapping[str, bytes]]]:
            return [
                (entry, {name: view.payload(entry, name) for name in entry.data}) for entry in view.history(action)
            ]

        return _Like(world.gate.ledger.look(story))


async def _called(world: Opened) -> str:
    async with working(world):
        arguments: dict[str, Json] = {"ticket": _FIRST.decode(), "comment": "The build that broke is reverted."}
        answer = await call(world.gate, world.caller, Incoming("update_ticket", arguments, 100))
        if answer.envelope["status"] != "succeeded":
            raise RuntimeError(f"the call was not permitted and done: {answer.envelope}")
        return str(answer.envelope["action_id"])


def _append(like: _Like, numbers: itertools.count[int]) -> Callable[[Transaction[State]], None]:
    def job(tx: Transaction[State]) -> None:
        for _ in range(BATCH):
            _one_action(tx, like, f"T-{1000 + next(numbers) % TICKETS}".encode())

    return job


def _one_action(tx: Transaction[State], like: _Like, ticket: bytes) -> None:
    action = new_action_id(tx.now)
    changed = {
        "target": f"tickets:ops/{ticket.decode()}",
        "expires_at": format_timestamp(tx.now + like.life),
    }
    for entry, payloads in like.story:
        facts = {**entry.facts, **changed} if "target" in entry.facts else entry.facts
        data = {name: value.replace(_FIRST, ticket) for name, value in payloads.items()}
        tx.append(entry.kind, facts, action=action, data=data)


def resident() -> int:
    """Return the bytes of memory that this process has."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


if __name__ == "__main__":
    main()
