"""Mixed load by three processes on one home that are killed at random points, and the proof of what is left.

`python -m tests.faults.soak [ROUNDS [SEED]]` runs it by itself and prints a line for each home of twenty rounds.
"""

from __future__ import annotations

import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import anyio

from keyturn.assembly.build import become_executor
from keyturn.gateway.recover import recover, reprobe
from keyturn.gateway.sweep import sweep
from keyturn.log.entry import Entry
from tests.faults import load
from tests.faults.limits import Recount, Rule
from tests.faults.world import Place, doubled, found, lines, recording
from tests.ledger.processes import CONTEXT, running, told

CONTEXT.set_forkserver_preload(["tests.faults.load"])  # what every process imports anyway, once

ROUNDS_OF_A_HOME = 20  # each round verifies the whole ledger: homes are kept short
LOAD = 80  # acknowledged entries in a round at which the last process is killed, at most
LIFE = 1.2  # seconds after which it is killed in any case: nothing may go on while others are dead
LINE = 68  # bytes of an acknowledgement, about
RULES = (
    Rule(30, "calls", 1, tool="update_ticket"),
    Rule(8, "calls", 1, tool="get_ticket"),
    Rule(10, "recipients", 1, per="target"),
    Rule(6, "pending", None, per="owner"),
)
KINDS: dict[str, Callable[..., None]] = {"asker": load.ask, "worker": load.execute, "people": load.decide}


@dataclass
class Soak:
    """One home, and what has been seen of it so far."""

    place: Place
    chance: random.Random
    seen: Counter[str] = field(default_factory=Counter)
    recount: Recount = field(default_factory=lambda: Recount(RULES))
    entries: list[Entry] = field(default_factory=list)

    @property
    def acknowledged(self) -> Path:
        return self.place.folder.with_name("acknowledged")

    @property
    def tried(self) -> bool:
        """Whether what there is to go wrong came up, and every limit was in use."""
        came_up = all(self.seen[name] for name in ("killed", "left behind", "effects", "acknowledged"))
        return came_up and all(self.recount.peaks[rule] for rule in RULES)

    def round(self) -> None:
        """Let three processes work, kill each at a random point, and prove that nothing was lost or done twice."""
        with ExitStack() as stack:
            crowd = {kind: self._start(kind, stack) for kind in KINDS}
            deaths = sorted((self.chance.randrange(LOAD), kind) for kind in KINDS)
            before, over = self._load, time.monotonic() + LIFE
            for load, kind in deaths:
                self._until(before + load, over, crowd, stack)
                victim = crowd.pop(kind)
                victim.kill()
                self.seen["killed"] += 1
                if self.chance.random() < 0.5:
                    victim.join()
                    crowd[kind] = self._start(kind, stack)
        self.settle()
        self.prove()

    def _start(self, kind: str, stack: ExitStack) -> ForkServerProcess:
        seed = self.chance.getrandbits(32)
        process, said = stack.enter_context(running(KINDS[kind], self.place, self.acknowledged, seed))
        assert told(said) == "ready"
        return process

    @property
    def _load(self) -> int:
        return self.acknowledged.stat().st_size // LINE if self.acknowledged.exists() else 0

    def _until(self, load: int, over: float, crowd: dict[str, ForkServerProcess], stack: ExitStack) -> None:
        """Let them work, and a random moment longer; what dies in an effect meanwhile is replaced."""
        moment = over
        while (now := time.monotonic()) < moment:
            if self._load >= load:
                moment = min(moment, now + self.chance.random() * 0.01)
                load = sys.maxsize
            for kind in _dead(crowd):
                self.seen["died in an effect"] += 1
                crowd[kind] = self._start(kind, stack)

    def settle(self) -> None:
        """Do what the next worker does: settle what dead executors left, and what could not be told at first."""
        gate = recording(self.place.gateway(), self.place.effects, settles=True)
        executor = become_executor(self.place.home)
        try:
            before = len(gate.ledger.look(_running))
            anyio.run(recover, gate, executor, self.place.home.place.run)
            self.seen["left behind"] += before
            self.seen["unknown at first"] += anyio.run(reprobe, gate)
            gate.ledger.transact(sweep)
            assert gate.ledger.look(_running) == []
            new = gate.ledger.look(lambda view: view.entries(len(self.entries)))
        finally:
            gate.close()
            executor.lock.release(forget=True)
        self.entries += new
        self.seen["rounds"] += 1
        for entry in new:
            self.recount.take(entry)

    def prove(self) -> None:
        """Hold what is in the ledger against what was acknowledged, what was done, and what was allowed."""
        acknowledged = {int(seq): leaf for seq, leaf in lines(self.acknowledged)}
        assert {seq: self.entries[seq].leaf for seq in acknowledged if seq < len(self.entries)} == acknowledged
        assert self.recount.above == []
        self._prove_effects()
        report = self.place.verified()
        assert (report.verdict, report.size, report.first_bad) == ("PASS-UNANCHORED", len(self.entries), None)
        self.seen["entries"], self.seen["acknowledged"] = len(self.entries), len(acknowledged)

    def _prove_effects(self) -> None:
        assert doubled(self.place.effects) == []
        told_by_world = {
            word: {action for said, action in lines(self.place.effects) if said == word} for word in ("begun", "done")
        }
        begun, done = told_by_world["begun"], told_by_world["done"]
        kinds: dict[str, list[Entry]] = {}
        for entry in self.entries:
            kinds.setdefault(entry.kind, []).append(entry)
        started = [entry.action for entry in kinds.get("execution.started", [])]
        outcomes = {entry.action: entry.text("outcome") for entry in kinds.get("execution.finished", [])}
        assert len(started) == len(set(started))
        assert len(outcomes) == len(kinds.get("execution.finished", []))
        assert begun <= set(started)
        assert set(outcomes) == set(started)
        outcomes |= {entry.action: entry.text("outcome") for entry in kinds.get("execution.resolved", [])}
        assert {action for action, outcome in outcomes.items() if outcome == "succeeded"} == done
        assert {action for action, outcome in outcomes.items() if outcome == "failed"} == set(started) - done
        for kind in ("action.cancelled", "action.denied", "action.expired", "action.stale"):
            assert not begun & {str(entry.action) for entry in kinds.get(kind, [])}
        answers = lines(self.place.folder.with_name("answers"))
        assert {action for _, status, action in answers if status == "succeeded" and action != "None"} <= done
        self.seen["effects"], self.seen["answers"] = len(begun), len(answers)
        self.seen["half way"] = len(begun - done)


def _dead(crowd: dict[str, ForkServerProcess]) -> list[str]:
    """Wait a moment for one to die by itself; return which did."""
    wait([process.sentinel for process in crowd.values()], 0.002)
    dead = [kind for kind, process in crowd.items() if process.exitcode is not None]
    assert all(crowd[kind].exitcode == -signal.SIGKILL for kind in dead)
    return dead


def _running(view: Any) -> list[str]:
    return [action.id for action, state in view.state.open_actions(view.now) if state in {"running", "unknown"}]


def soak(folder: Path, rounds: int, seed: int) -> Iterator[Soak]:
    """Yield each home of up to twenty rounds, soaked and proved."""
    chance = random.Random(seed)
    for number, first in enumerate(range(0, rounds, ROUNDS_OF_A_HOME)):
        one = Soak(found(folder / str(number), RULES), chance)
        for _ in range(first, min(rounds, first + ROUNDS_OF_A_HOME)):
            one.round()
        while not one.tried and one.seen["rounds"] < 3 * ROUNDS_OF_A_HOME:
            one.round()  # a busy machine gets little done before its processes are killed
        yield one


COLUMNS = (
    "rounds",
    "killed",
    "died in an effect",
    "left behind",
    "unknown at first",
    "half way",
    "effects",
    "answers",
    "entries",
    "acknowledged",
)


def row(one: Soak) -> str:
    """Return what was counted of a home, as a line of a table."""
    return f"| {' | '.join(f'{one.seen[name]:,}' for name in COLUMNS)} |"


def main(rounds: int, seed: int) -> None:
    """Print the table; end with the failure if there is one."""
    print(f"seed {seed}\n| {' | '.join(COLUMNS)} |", flush=True)  # noqa: T201 - a program for people
    total: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for one in soak(Path(folder), rounds, seed):
            print(row(one), flush=True)  # noqa: T201 - as above
            total += one.seen
            print(*(f"{rule.allowed} {rule.unit}: {one.recount.peaks[rule]}" for rule in RULES), sep="; ", flush=True)  # noqa: T201
    print(f"| {' | '.join(f'{total[name]:,}' for name in COLUMNS)} |")  # noqa: T201 - as above


if __name__ == "__main__":
    main(*(int(word) for word in [*sys.argv[1:], "20", "1"][:2]))
