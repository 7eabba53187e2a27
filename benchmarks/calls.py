"""Governed calls in one process, from the arguments to the answer, with back ends that do nothing."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio

from benchmarks.appends import raw_commits
from benchmarks.homes import Opened, folder, found, opened
from benchmarks.measure import Effort, Row, Topic, p50, p95, rate
from keyturn.canon import Json
from keyturn.gateway.call import call
from keyturn.gateway.incoming import Incoming
from keyturn.gateway.work import work

CALLERS = (1, 8, 64, 256)
CALLS = 1_000
TICKETS = 1_000
AIMS = {("update_ticket", 1): "p50 ≤ 2 ms", ("update_ticket", 64): "≥ 2,000/s"}
WHAT = {"update_ticket": "mutating", "get_ticket": "reading"}
_number = itertools.count()


@dataclass(frozen=True, slots=True)
class Round:
    """Calls per second, and how long each took."""

    rate: float
    seconds: list[float]


def measure(effort: Effort) -> Topic:
    with folder() as where:
        commit = raw_commits(where / "raw.db")
        rate(1_000, commit)
        with opened(found(where / "home")) as world:
            rows = anyio.run(_measured, world, commit, effort)
    return Topic(
        "Governed calls in one process",
        "Permitted by the policy, with tools that do nothing, on a thousand tickets in turn. A mutating call is "
        "three signed entries in two commits before it is answered, a reading call one entry in one; WAL and "
        "`synchronous=FULL`, so fdatasync in each commit, on both sides. Callers are tasks of one event loop that "
        "wait for each answer.",
        rows,
    )


async def _measured(world: Opened, commit: Callable[[], object], effort: Effort) -> list[Row]:
    async with working(world):
        return [await _row(world, tool, callers, commit, effort) for tool in WHAT for callers in CALLERS]


@asynccontextmanager
async def working(world: Opened) -> AsyncIterator[None]:
    """Let the process execute what is permitted, as one that serves over HTTP does."""
    stop = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: work(world.gate, world.executor, world.run, idle=None, stop=stop))
        while not world.executor.accepting:  # noqa: ASYNC110 - nothing tells that it is
            await anyio.sleep(0.01)
        yield
        stop.set()


async def _row(world: Opened, tool: str, callers: int, commit: Callable[[], object], effort: Effort) -> Row:
    rounds, raw = [], []
    for _ in range(effort.rounds):
        rounds.append(await calling(world, tool, callers, effort.count(CALLS)))
        raw.append(rate(effort.count(CALLS), commit))
    seconds = [value for one in rounds for value in one.seconds]
    ours, theirs = statistics.median(one.rate for one in rounds), statistics.median(raw)
    return Row(
        what=f"{WHAT[tool]}, {callers} caller{'s' if callers > 1 else ''}",
        ours=f"{ours:,.0f}/s, p50 {p50(seconds):.1f} ms, p95 {p95(seconds):.1f} ms",
        against="one-row commit of SQLite",
        theirs=f"{theirs:,.0f}/s",
        ratio=ours / theirs,
        aim=AIMS.get((tool, callers), ""),
    )


async def calling(world: Opened, tool: str, callers: int, count: int) -> Round:
    """Make `count` different calls, so many at a time."""
    seconds: list[float] = []

    async def one_after_another(left: int) -> None:
        for _ in range(left):
            begin = time.perf_counter()
            await _call(world, tool)
            seconds.append(time.perf_counter() - begin)

    begin = time.perf_counter()
    async with anyio.create_task_group() as tasks:
        for _ in range(callers):
            tasks.start_soon(one_after_another, -(-count // callers))
    return Round(len(seconds) / (time.perf_counter() - begin), seconds)


async def _call(world: Opened, tool: str) -> None:
    number = next(_number)
    arguments: dict[str, Json] = {"ticket": f"T-{number % TICKETS}"}
    if tool == "update_ticket":
        arguments["comment"] = f"The build that broke is reverted; number {number} is green."
    answer = await call(world.gate, world.caller, Incoming(tool, arguments, 100))
    if answer.envelope["status"] != "succeeded":
        raise RuntimeError(f"a call was not permitted and done: {answer.envelope}")
