"""What a long ledger costs: the start of a process on it, its memory, its file, and the snapshots on the way.

Run as a program of its own, it makes the ledger: whole permitted actions of three entries each, by the real writer in
transactions of a hundred actions, at the pace of some 5,500 actions a day on a clock that is moved on.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

from benchmarks.homes import ROOT, Founded, folder, found
from benchmarks.measure import Effort, Row, Topic
from keyturn.assembly.home import Home
from keyturn.assembly.outside import entropy, moment, new_action_id
from keyturn.canon import Json
from keyturn.fold.state import State
from keyturn.ledger.transaction import Transaction
from keyturn.ledger.writer import Ledger, Surroundings
from keyturn.model.time import Moment, format_timestamp

ENTRIES = 1_000_000
PACE = timedelta(days=60) / (ENTRIES / 3)
BATCH = 100
SMALL = 10_000
PAYLOADS = ("argument.ticket", "argument.comment", "plan", "diff", "decision.reasons")


class Clock:
    """The real clocks, so much later."""

    def __init__(self, later: timedelta = timedelta()) -> None:
        self.later = later

    def __call__(self) -> Moment:
        now = moment()
        return Moment(now.wall + self.later, now.boot, now.up + self.later // timedelta(microseconds=1))


def measure(effort: Effort) -> Topic:
    entries = effort.count(ENTRIES)
    with folder() as where:
        founded = found(where / "home")
        empty = min(_start(founded.home, timedelta()) for _ in range(effort.rounds))
        told = make(founded, entries, PACE)
        start = min(_start(founded.home, timedelta(seconds=told["later"])) for _ in range(effort.rounds))
    grown = (told["rss"] - told["rss_small"]) / 2**20
    return Topic(
        f"A ledger of {entries:,} entries",
        "Opened by the process that writes, with all its checks (the newest 10,000 entries hashed again, what stands "
        "proved from its entries), from a snapshot; the file in the page cache. The ledger holds whole permitted "
        "actions, some 5,500 a day.",
        [
            Row(
                what="start",
                ours=f"{start * 1000:,.0f} ms",
                against="a new ledger",
                theirs=f"{empty * 1000:,.0f} ms",
                ratio=start / empty,
                aim="< 1 s",
            ),
            Row(
                what=f"memory of the writer, {SMALL:,} to {entries:,} entries",
                ours=f"{grown:+.1f} MiB",
                against="its memory before",
                theirs=f"{told['rss_small'] / 2**20:.0f} MiB",
                ratio=None,
                aim="≤ 8 MiB",
            ),
        ],
        f"The file has {told['file'] / entries:,.0f} bytes an entry; a snapshot {told['snapshot'] / 1024:,.0f} kB. "
        f"Making it took {told['took'] / entries * 1e6:,.0f} µs an entry, a hundred actions to a commit.",
    )


def _start(home: Home, later: timedelta) -> float:
    begin = time.perf_counter()
    with closing(Ledger(home.place, State, Surroundings(Clock(later), entropy, "benchmark"))) as ledger:
        ledger.look(lambda view: view.head)
        return time.perf_counter() - begin


def make(founded: Founded, entries: int, pace: timedelta) -> dict[str, Any]:
    """Make a ledger of so many entries in a process of its own; return what that process tells of itself."""
    program = [sys.executable, "-m", "benchmarks.growth", str(founded.home.folder), str(entries)]
    done = subprocess.run([*program, str(pace.total_seconds())], cwd=ROOT, check=True, capture_output=True, text=True)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def main() -> None:
    home, entries, pace = Home(Path(sys.argv[1])), int(sys.argv[2]), timedelta(seconds=float(sys.argv[3]))
    clock, small, begin = Clock(), 0, time.perf_counter()
    with closing(Ledger(home.place, State, Surroundings(clock, entropy, "benchmark"))) as ledger:
        numbers = itertools.count()
        while (size := ledger.look(lambda view: view.head.size)) < entries:
            if size > SMALL and not small:
                small = _resident()
            ledger.transact(_append(numbers))
            clock.later += pace * BATCH
        rss = _resident()
        snapshot = ledger.look(lambda view: len(json.dumps(view.state.to_json())))
    size = home.place.database.stat().st_size
    told = {"rss": rss, "rss_small": small, "file": size, "snapshot": snapshot, "later": clock.later.total_seconds()}
    told["took"] = time.perf_counter() - begin
    print(json.dumps(told))


def _append(numbers: itertools.count[int]) -> Callable[[Transaction[State]], None]:
    def job(tx: Transaction[State]) -> None:
        for _ in range(BATCH):
            _one_action(tx, f"tickets:ops/T-{next(numbers) % 500}")

    return job


def _one_action(tx: Transaction[State], target: str) -> None:
    action, instance, policy = new_action_id(tx.now), "0" * 32, tx.state.policy
    token, catalog = next(iter(tx.state.tokens.values())), tx.state.catalog
    if policy is None or catalog is None:
        raise ValueError("the home is not founded")
    facts: dict[str, Json] = {
        "principal": token.principal,
        "owner": "bob",
        "token": token.digest,
        "transport": "stdio",
        "tool": "update_ticket",
        "contract": catalog.contracts["update_ticket"],
        "backend": {"port": "tickets", "name": "ops", "kind": "nothing", "location": "/dev/null", "account": ""},
        "target": target,
        "environment": "tracker",
        "policy": policy.digest,
        "decision": "permit",
        "rules": ["assistants comment on tickets"],
        "obligations": [],
        "reviewers": {},
        "excluded": [],
        "effects": {"calls": 1, "files_changed": 1, "lines_changed": 1, "recipients": 3},
        "expires_at": format_timestamp(tx.now + timedelta(minutes=15)),
        "repeat": False,
        "supersedes": None,
    }
    tx.append("action.requested", facts, action=action, data=dict.fromkeys(PAYLOADS, b'"some twenty bytes"'))
    started: dict[str, Json] = {"instance": instance, "reviews": [], "policy": policy.digest}
    tx.append("execution.started", started, action=action)
    finished: dict[str, Json] = {"instance": instance, "outcome": "succeeded", "effect": True, "recovered": False}
    tx.append("execution.finished", finished, action=action, data={"outcome": b'{"ticket":"T-1"}'})


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


if __name__ == "__main__":
    main()
