"""How long another assistant waits while one floods the server, against the same flood at a bare MCP server.

Run: `uv run python benchmarks/flood.py [ROUNDS]`. Both serve Streamable HTTP from one process on loopback. The bare
one is the SDK's low-level `Server` behind uvicorn, with a tool that answers at once with the same text: no policy, no
ledger. Ours proves each token, decides each call, and writes each of the other's reads to the ledger before it is
answered (WAL, synchronous=FULL: one fdatasync each). The flood is the one of the fault tests: malformed, unknown,
refused and held calls on sixteen connections, as fast as they are answered. Rounds alternate between the two.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import multiprocessing
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.synchronize import Event
from pathlib import Path

import anyio
import mcp_types as types
import uvicorn
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.faults import flood  # noqa: E402 - the path comes first
from tests.faults.world import found  # noqa: E402
from tests.server.home import Place  # noqa: E402
from tests.server.web import call, site  # noqa: E402

SECONDS = 4.0  # of each round
QUIET = 0.005  # seconds the other assistant takes between two calls

Address = tuple[str, int]


def main(rounds: int) -> None:
    """Measure in alternating rounds and print one table."""
    with tempfile.TemporaryDirectory() as folder:
        place = found(Path(folder))
        served = Place(place.folder, place.tokens["claude"], Path(folder))
        message = call("get_ticket", ticket="OPS-1")
        with site(served) as ours:
            headers, body = flood.request(message, place.tokens["codex"])
            answer = send(connect(ours.address), headers, body)
            with bare(Path(folder), answer) as address:
                both = {"keyturn": ours.address, "bare Server": address}
                found_: dict[str, list[tuple[float, float, float]]] = {name: [] for name in both}
                for number in range(rounds):
                    for name, where in both.items():
                        found_[name].append(measure(where, place.tokens, number))
    show(found_)


def connect(address: Address) -> http.client.HTTPConnection:
    """Open a connection that sends small requests without delay."""
    connection = http.client.HTTPConnection(*address, timeout=30)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def send(connection: http.client.HTTPConnection, headers: dict[str, str], body: bytes) -> bytes:
    """Send one request and return the body of its answer."""
    connection.request("POST", "/mcp", body, headers)
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"{answer.status}: {content[:300]!r}")
    return content


def measure(address: Address, tokens: dict[str, str], seed: int) -> tuple[float, float, float]:
    """Return the other's 95th percentile without and under the flood, in seconds, and the flood's calls a second."""
    calm = p95(latencies(address, tokens["codex"]))
    counted, over = multiprocessing.Value("i", 0), multiprocessing.Event()
    flooding = multiprocessing.Process(target=_flood, args=(address, tokens["claude"], seed, counted, over))
    flooding.start()
    try:
        while not counted.value:
            time.sleep(0.01)
        flooded = p95(latencies(address, tokens["codex"]))
    finally:
        over.set()
        flooding.join()
    return calm, flooded, counted.value / SECONDS


def _flood(address: Address, token: str, seed: int, counted: object, over: Event) -> None:
    while not over.is_set():
        done = flood.flood(address, token, 320, seed)
        counted.value += done.total()  # type: ignore[attr-defined]  # a multiprocessing.Value
        seed += 1000


def latencies(address: Address, token: str) -> list[float]:
    """Read a ticket again and again, with a breath between, and return how long each answer took."""
    headers, body = flood.request(call("get_ticket", ticket="OPS-1"), token)
    connection, found_ = connect(address), []
    end = time.monotonic() + SECONDS
    while (began := time.monotonic()) < end:
        send(connection, headers, body)
        found_.append(time.monotonic() - began)
        time.sleep(QUIET)
    connection.close()
    return found_


def p95(times: list[float]) -> float:
    return statistics.quantiles(times, n=20)[-1]


def show(found_: dict[str, list[tuple[float, float, float]]]) -> None:
    medians = {
        name: [statistics.median(values) for values in zip(*rows, strict=True)] for name, rows in found_.items()
    }
    for name, (calm, flooded, rate) in medians.items():
        print(
            f"{name:12} p95 alone {calm * 1000:7.2f} ms   under flood {flooded * 1000:7.2f} ms   flood {rate:6.0f}/s"
        )
    ratio = medians["keyturn"][1] / medians["bare Server"][1]
    each = [ours[1] / theirs[1] for ours, theirs in zip(found_["keyturn"], found_["bare Server"], strict=True)]
    print(
        f"ratio under flood {ratio:.2f}   (rounds {', '.join(f'{value:.2f}' for value in each)})   aim: at most 1.33"
    )


# --- the bare server ----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def bare(folder: Path, answer: bytes) -> Iterator[Address]:
    """Run the bare server in a process of its own; it gives the answer's text to every call."""
    told = folder / "answer"
    told.write_bytes(json.dumps(json.loads(answer)["result"]).encode())
    with socket.create_server(("127.0.0.1", 0)) as free:
        address: Address = free.getsockname()[:2]
    with subprocess.Popen([sys.executable, __file__, "--serve", str(address[1]), str(told)]) as process:
        try:
            while True:
                with contextlib.suppress(ConnectionRefusedError):
                    connect(address).close()
                    break
                time.sleep(0.05)
            yield address
        finally:
            process.terminate()


def serve(port: int, told: Path) -> None:
    """Be the bare server."""
    result = types.CallToolResult.model_validate_json(told.read_text())

    async def call_tool(ctx: object, params: types.CallToolRequestParams) -> types.CallToolResult:
        return result

    server: Server = Server("bare", on_call_tool=call_tool)
    server.middleware.clear()
    manager = StreamableHTTPSessionManager(server)

    async def app(scope: object, receive: object, send_: object) -> None:
        await manager.handle_request(scope, receive, send_)  # type: ignore[arg-type]  # ASGI's shapes

    async def run() -> None:
        config = uvicorn.Config(app, port=port, log_config=None, access_log=False, lifespan="off", ws="none")
        async with manager.run():
            await uvicorn.Server(config).serve()

    anyio.run(run)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(int(sys.argv[2]), Path(sys.argv[3]))
    else:
        main(int((sys.argv[1:] or ["5"])[0]))
