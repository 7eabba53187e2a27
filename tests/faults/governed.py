"""One governed action, from its call to its outcome, in a process whose disk fails at one exact call.

Run under strace: `python -m tests.faults.governed TEMPLATE CASES WAY CALL SPARE FIRST LAST`. strace counts the calls
of each thread and fails one by its number. So here all is done on one thread, and for each case a process is forked
off that makes SPARE - case such calls on a file of no importance and then the action: it is the action's case-th call
that fails. Each works on a copy of its own of the home in TEMPLATE, CASES/<case>.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

import keyturn.gateway.execute
from keyturn.assembly.build import become_executor
from keyturn.gateway.call import call
from keyturn.gateway.core import Gateway
from keyturn.gateway.executor import Executor
from keyturn.gateway.incoming import Incoming
from keyturn.gateway.work import work
from keyturn.model.errors import LedgerError
from tests.faults.world import Place, Record, acknowledging, recording
from tests.gateway.hands import drain

COMMENT = {"ticket": "OPS-1", "comment": "Done by one governed action.", "reason": "It is to be told."}
TOKENS = "tokens"
MARK = "unimportant"


def spend(folder: Path, call_: str, times: int) -> None:
    """Use up calls of this thread on a file that is none of the ledger's."""
    descriptor = os.open(folder / MARK, os.O_WRONLY | os.O_CREAT, 0o600)
    for _ in range(times):
        if call_ == "pwrite64":
            os.pwrite(descriptor, b"x", 0)
        else:
            os.fdatasync(descriptor)
    os.close(descriptor)


async def inline(job: Callable[..., Any], *arguments: Any, **_: Any) -> Any:
    """Do what would be done in a thread of its own."""
    return job(*arguments)


async def act(gate: Gateway, executor: Executor, place: Place, here: bool) -> str:
    """Take one call to its outcome: with its effect in this process at once, or by a later claim."""
    incoming = Incoming("update_ticket", COMMENT, 90)
    if here:
        async with anyio.create_task_group() as tasks:
            stop = anyio.Event()
            tasks.start_soon(_work, gate, executor, place, stop)
            await anyio.wait_all_tasks_blocked()
            assert executor.accepting
            try:
                answer = await call(gate, place.caller(gate), incoming)
            finally:
                stop.set()
    else:
        answer = await call(gate, place.caller(gate), incoming)
        await drain(gate, executor, place.home.place.run)
    return str(answer.envelope["status"])


async def _work(gate: Gateway, executor: Executor, place: Place, stop: anyio.Event) -> None:
    await work(gate, executor, place.home.place.run, idle=None, stop=stop)


def one(place: Place, here: bool, call_: str, spent: int) -> None:
    """Do the action in this process, and write down what its caller was told."""
    folder = place.folder.parent
    executor = become_executor(place.home)
    gate = acknowledging(place, "governed", Record(folder / "acknowledged"), executor=executor if here else None)
    gate = recording(gate, place.effects)
    told = Record(folder / "told")

    async def steps() -> None:
        spend(folder, call_, spent)
        try:
            told.add(await act(gate, executor, place, here))
        except* LedgerError as errors:
            told.add("refused", *(type(error).__name__ for error in errors.exceptions))

    anyio.run(steps)


def main(template: Path, cases: Path, way: str, call_: str, *numbers: str) -> None:
    """Fork off one process for each case, one after another."""
    spare, first, last = map(int, numbers)
    vars(keyturn.gateway.execute).update(RETRY_EVERY=0.01, LEDGER_PATIENCE=0.1)
    vars(anyio.to_thread)["run_sync"] = inline
    logging.disable()
    tokens = dict(line.split() for line in (template / TOKENS).read_text().splitlines())
    gc.freeze()
    for case in range(first, last + 1):
        place = Place(template / "home", tokens).copied(cases / str(case) / "home")
        child = os.fork()
        if child == 0:
            status = 1
            try:
                one(place, way == "here", call_, max(1, spare - case))
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0, f"case {case} ended with an error"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
