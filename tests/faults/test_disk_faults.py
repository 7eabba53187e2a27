"""A disk that refuses any one call of a governed action, or all from there on: no effect without a durable intent.

Every fdatasync and every pwrite64 that one action makes on the ledger's thread is failed once, with EIO and with
ENOSPC, alone and with all that follow.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import anyio
import pytest

from keyturn.assembly.build import become_executor
from keyturn.gateway.call import call
from keyturn.gateway.incoming import Incoming
from keyturn.gateway.recover import recover
from tests.faults.governed import MARK, TOKENS
from tests.faults.world import SOAK, Place, doubled, found, lines, recording
from tests.gateway.hands import drain

ROOT = Path(__file__).parents[2]
NUMBER = 200  # which call of a thread fails: more than it makes before the action
TRACED = re.compile(
    r"(?P<thread>\d+) +(?P<call>pwrite64|fdatasync|write)\(\d+<(?P<path>[^>]*)>.* = (?P<result>-?\d+)"
)


@dataclass(frozen=True)
class Fault:
    """What fails: which call of an action that executes `way`, how, and whether all that follow (`+`) do too."""

    way: str
    call: str
    error: str
    then: str

    def __str__(self) -> str:
        return f"{self.way}-{self.call}-{self.error}-{'from then on' if self.then else 'once'}"


@dataclass(frozen=True)
class Traced:
    """One system call of a log that strace wrote: who made it, on which file, and whether it succeeded."""

    thread: str
    call: str
    path: str
    done: bool


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with its tokens beside it; what is of no use here is left out, for it is copied often."""
    folder = tmp_path_factory.mktemp("template")
    place = found(folder)
    (folder / TOKENS).write_text("".join(f"{name} {token}\n" for name, token in place.tokens.items()))
    return folder


def strace(template: Path, cases: Path, fault: Fault, spare: int, last: int) -> list[Traced]:
    """Run the cases up to `last` under strace, or one in which nothing fails (0), and return what it saw."""
    program = shutil.which("strace")
    if program is None:
        pytest.skip("strace is not installed: no fault can be injected into system calls")
    log = cases.with_name(f"{cases.name}.strace")
    options = ["-f", "-y", "-qq", "--seccomp-bpf", "-s", "8", "-o", str(log), "-e", "trace=pwrite64,fdatasync,write"]
    options += ["-e", f"inject={fault.call}:error={fault.error}:when={NUMBER}{fault.then}"] if last else []
    driver = [sys.executable, "-m", "tests.faults.governed", template, cases, fault.way, fault.call]
    done = subprocess.run(
        [program, *options, *map(str, [*driver, spare, min(1, last), last])],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    if "ptrace" in done.stderr:
        pytest.skip(f"strace may not trace here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    matches = (TRACED.match(line) for line in log.read_text(errors="replace").splitlines())
    return [Traced(m["thread"], m["call"], m["path"], int(m["result"]) >= 0) for m in matches if m]


def in_cases(cases: Path, seen: list[Traced]) -> Iterator[tuple[int, list[Traced]]]:
    """Yield the calls of each case in their order."""
    by_case: dict[int, list[Traced]] = {}
    for one in seen:
        if one.path.startswith(f"{cases}/"):
            by_case.setdefault(int(one.path.removeprefix(f"{cases}/").partition("/")[0]), []).append(one)
    yield from by_case.items()


def count(template: Path, cases: Path, fault: Fault) -> tuple[int, int]:
    """Return how often the call is made before an action that nothing disturbs, and how often in it."""
    [(_, calls)] = in_cases(cases, strace(template, cases, fault, 1, 0))
    assert look_at_order(calls) == (3, 2)
    mark = next(number for number, one in enumerate(calls) if one.path.endswith(f"/{MARK}"))
    made = [one.call == fault.call and one.thread == calls[mark].thread for one in calls]
    return sum(made[:mark]), sum(made[mark + 1 :])


def look_at_order(calls: list[Traced]) -> tuple[int, int]:
    """Prove that nothing is acknowledged, and no effect begun, while the log holds what no fdatasync has reached.

    Returns how many acknowledgements and effects there were.
    """
    unsynced = False
    acknowledged = effects = 0
    for one in calls:
        if one.path.endswith("-wal"):
            unsynced = one.call == "pwrite64" if one.done else unsynced
        elif one.path.endswith("/acknowledged"):
            assert not unsynced, "acknowledged before fdatasync"
            acknowledged += 1
        elif one.path.endswith(".effects"):
            assert not unsynced, "an effect before the fdatasync of its intent"
            effects += 1
    return acknowledged, effects


def prove(place: Place) -> str:
    """Prove of one case what has to be true whatever failed; return what became of the action."""
    folder = place.folder.parent
    entries = place.entries()
    assert {seq: entries[int(seq)].leaf for seq, _ in lines(folder / "acknowledged")} == dict(
        lines(folder / "acknowledged")
    )
    begun = {action for word, action in lines(place.effects) if word == "begun"}
    assert begun <= {entry.action for entry in entries if entry.kind == "execution.started"}
    [told] = lines(folder / "told")
    if told == ["succeeded"]:
        assert [entry.text("outcome") for entry in entries if entry.kind == "execution.finished"] == ["succeeded"]
    settle_and_go_on(place)
    assert doubled(place.effects) == []
    finished = [entry for entry in place.entries() if entry.kind == "execution.finished"]
    outcomes = {entry.action: entry.text("outcome") for entry in finished}
    assert len(outcomes) == len(finished)
    done = {action for word, action in lines(place.effects) if word == "done"}
    assert {action for action, outcome in outcomes.items() if outcome == "succeeded"} == done
    report = place.verified()
    assert (report.verdict, report.first_bad) == ("PASS-UNANCHORED", None)
    return told[0]


def settle_and_go_on(place: Place) -> None:
    """Open the ledger as the next process does: settle what was left, and do another action."""
    gate = recording(place.gateway(), place.effects)
    executor = become_executor(place.home)

    async def go_on() -> None:
        await recover(gate, executor, place.home.place.run)
        incoming = Incoming("update_ticket", {"ticket": "OPS-2", "comment": "The disk is well again."}, 60)
        answer = await call(gate, place.caller(gate), incoming)
        assert answer.envelope["status"] == "approved"
        await drain(gate, executor, place.home.place.run)

    anyio.run(go_on)
    assert gate.ledger.look(lambda view: list(view.state.open_actions(view.now))) == []
    gate.close()
    executor.lock.release(forget=True)


# A disk that fails for a moment, and one that is full and stays so; the other two are tried in the long run.
KINDS = [("EIO", ""), ("ENOSPC", "+"), *([("ENOSPC", ""), ("EIO", "+")] if SOAK else [])]
FAULTS = [Fault(*where, *kind) for where in product(("here", "worker"), ("fdatasync", "pwrite64")) for kind in KINDS]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_whichever_call_of_an_action_fails_its_intent_is_durable_before_its_effect(
    template: Path, tmp_path: Path, fault: Fault
) -> None:
    before, times = count(template, tmp_path / "counted", fault)
    assert times >= {"fdatasync": 3, "pwrite64": 20}[fault.call]
    cases = tmp_path / "cases"
    seen = strace(template, cases, fault, NUMBER - before, times)
    failed = [one for one in seen if not one.done]
    assert len(failed) >= times if fault.then else len(failed) == times
    orders = {case: look_at_order(calls) for case, calls in in_cases(cases, seen)}
    tokens = dict(lines(template / TOKENS))
    told = {case: prove(Place(cases / str(case) / "home", tokens)) for case in range(1, times + 1)}
    assert set(orders) == set(told)
    # It was a test: some failures kept the action from beginning, others came when it had begun.
    assert {effects for _, effects in orders.values()} == {0, 2}
    assert set(told.values()) > {"refused"} or fault.then
