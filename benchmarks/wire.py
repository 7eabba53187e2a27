"""Calls over stdio and HTTP, against a bare MCP server with the same tools on the same tracker."""

from __future__ import annotations

import itertools
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio
import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

from benchmarks.homes import ROOT, Founded, copy_tickets, folder, found
from benchmarks.measure import Effort, Row, Topic

CALLS = 160
TICKETS = 4_000
AIMS = {("get_ticket", 1): "≤ 1.6", ("update_ticket", 1): "≤ 2.5"}
WHAT = {"get_ticket": "reading", "update_ticket": "mutating"}
Door = Callable[[Founded], AbstractAsyncContextManager[Client]]
_number = itertools.count()


def measure(effort: Effort) -> Topic:
    with folder() as where:
        sides = [found(where / name) for name in ("keyturn", "bare")]
        for side in sides:
            copy_tickets(side.home, TICKETS)
        rows = anyio.run(_measured, sides, effort)
    return Topic(
        "Calls over the wire",
        "The folder tracker of the samples behind both servers, one new ticket for each mutating call; the same SDK "
        "client, its newest era. Keyturn writes signed entries with `synchronous=FULL` before it answers, the bare "
        "server writes the ticket and nothing else. Over stdio a mutating call runs in a worker, another process; "
        "over HTTP in the server itself.",
        rows,
    )


async def _measured(sides: list[Founded], effort: Effort) -> list[Row]:
    rows = []
    for door, (ours, theirs) in {"stdio": (_stdio, _bare_stdio), "HTTP": (_http, _bare_http)}.items():
        async with ours(sides[0]) as keyturn, theirs(sides[1]) as bare:
            for tool, callers in itertools.product(WHAT, (1, 16)):
                rows.append(await _row(f"{WHAT[tool]} over {door}", (keyturn, bare), tool, callers, effort))
    return rows


async def _row(what: str, clients: tuple[Client, Client], tool: str, callers: int, effort: Effort) -> Row:
    for client in clients:
        await _calling(client, tool, callers, 2 * callers)
    rounds = [
        [await _calling(client, tool, callers, effort.count(CALLS)) for client in clients]
        for _ in range(effort.rounds)
    ]
    ours, theirs = (statistics.median(side) * 1000 for side in zip(*rounds, strict=True))
    return Row(
        what=f"{what}, {callers} in flight",
        ours=f"p50 {ours:.1f} ms",
        against="bare `Server`",
        theirs=f"p50 {theirs:.1f} ms",
        ratio=ours / theirs,
        aim=AIMS.get((tool, callers), "≤ 1.7"),
    )


async def _calling(client: Client, tool: str, callers: int, count: int) -> float:
    """Make `count` calls, so many at a time; return the median time of one."""
    seconds: list[float] = []

    async def one_after_another(left: int) -> None:
        for _ in range(left):
            begin = time.perf_counter()
            await _call(client, tool)
            seconds.append(time.perf_counter() - begin)

    async with anyio.create_task_group() as tasks:
        for _ in range(callers):
            tasks.start_soon(one_after_another, -(-count // callers))
    return statistics.median(seconds)


async def _call(client: Client, tool: str) -> None:
    arguments: dict[str, Any] = {"ticket": f"BENCH-{next(_number) % TICKETS}"}
    if tool == "update_ticket":
        arguments["comment"] = "The build that broke is reverted; the next one is green."
    result = await client.call_tool(tool, arguments)
    told: dict[str, Any] = result.structured_content or {}
    if result.is_error or told.get("status", "succeeded") not in {"succeeded", "open"}:
        raise RuntimeError(f"a call was not done: {told or result.content}")


@asynccontextmanager
async def _stdio(founded: Founded) -> AsyncIterator[Client]:
    arguments = ["-m", "keyturn.server", "--home", str(founded.home.folder)]
    async with _over_stdio(arguments, {"KEYTURN_TOKEN": founded.token}) as client:
        yield client


@asynccontextmanager
async def _bare_stdio(founded: Founded) -> AsyncIterator[Client]:
    async with _over_stdio(["-m", "benchmarks.bare", str(founded.home.folder)], {}) as client:
        yield client


@asynccontextmanager
async def _over_stdio(arguments: list[str], environment: dict[str, str]) -> AsyncIterator[Client]:
    parameters = StdioServerParameters(
        command=sys.executable, args=arguments, env={"PATH": os.defpath, **environment}, cwd=ROOT
    )
    async with Client(stdio_client(parameters)) as client:
        yield client


@asynccontextmanager
async def _http(founded: Founded) -> AsyncIterator[Client]:
    port = _free_port()
    home = str(founded.home.folder)
    argv = [sys.executable, "-m", "keyturn.server", "--home", home, "--http", f"127.0.0.1:{port}"]
    async with _over_http(argv, port, {"Authorization": f"Bearer {founded.token}"}) as client:
        yield client


@asynccontextmanager
async def _bare_http(founded: Founded) -> AsyncIterator[Client]:
    port = _free_port()
    argv = [sys.executable, "-m", "benchmarks.bare", str(founded.home.folder), str(port)]
    async with _over_http(argv, port, {}) as client:
        yield client


@asynccontextmanager
async def _over_http(argv: list[str], port: int, headers: dict[str, str]) -> AsyncIterator[Client]:
    async with await anyio.open_process(argv, cwd=ROOT, stderr=subprocess.DEVNULL) as server:
        try:
            await _listening(port)
            async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
                url = f"http://127.0.0.1:{port}/mcp"
                async with Client(streamable_http_client(url, http_client=http)) as client:
                    yield client
        finally:
            server.terminate()


async def _listening(port: int) -> None:
    with anyio.fail_after(30):
        while True:
            try:
                await (await anyio.connect_tcp("127.0.0.1", port)).aclose()
            except OSError:
                await anyio.sleep(0.05)
            else:
                return


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
