"""Servers and workers that log JSON and serve metrics, as real processes; and the secrets that stay out of it all."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from prometheus_client.parser import text_string_to_metric_families

from keyturn.assembly.halting import _note_changes, note_suspensions
from keyturn.assembly.standing import take_worker_turn
from keyturn.fold.suspensions import Scope
from keyturn.gateway.review import Actor
from keyturn.gateway.suspensions import set_suspension
from keyturn.model.errors import ConnectorError
from keyturn.telemetry.speech import set_up
from tests.gateway.world import Founded, Simulator, World, raises
from tests.gateway.world import found as found_world
from tests.server.clients import raw, request
from tests.server.home import SECONDS, Place, found, until
from tests.server.web import MODERN, Site

CANARY = "c4n4ry-91a7"
TRACE = "0af7651916cd43dd8448eb211c80319c"
GIVEN = f"00-{TRACE}-b7ad6b7169203331-01"
FIELDS = {
    *("ts", "level", "event", "message", "program", "pid", "trace_id", "span_id"),
    *("principal", "tool", "action", "status", "ms"),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    place = found(tmp_path_factory.mktemp("service"))
    yield place
    place.end_workers()


def lines_of(errors: Path) -> list[dict[str, Any]]:
    """Every line as JSON: there must be nothing else."""
    return [json.loads(line) for line in errors.read_text().splitlines()]


@contextmanager
def process(place: Place, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A program of this home that logs JSON; it is gone afterwards."""
    errors = place.folder.parent / f"stderr-{time.monotonic_ns()}"
    with (
        errors.open("wb") as stderr,
        subprocess.Popen(
            [sys.executable, "-m", "keyturn", "--home", str(place.folder), *arguments, "--log", "json"],
            env={"PATH": os.environ["PATH"]},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
        ) as running,
    ):
        try:
            yield running, errors
        finally:
            if running.poll() is None:
                running.kill()


def awaited(errors: Path, event: str) -> dict[str, Any]:
    """The first line of an event, once it is there."""

    def find() -> dict[str, Any] | None:
        return next((line for line in lines_of(errors) if line["event"] == event), None)

    line: dict[str, Any] = until(find)
    return line


def metrics_at(errors: Path) -> dict[tuple[str, tuple[str, ...]], float]:
    """Every number on the page, by its name and the values of its labels in the order of their names."""
    address = awaited(errors, "metrics.started")["message"].removeprefix("metrics on ")
    with urllib.request.urlopen(address, timeout=SECONDS) as answer:  # noqa: S310 - http, as the line above says
        text = answer.read().decode()
    assert CANARY not in text
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_over_stdio_each_call_is_one_line_under_its_callers_trace(place: Place) -> None:
    with raw(place, "--log", "json") as server:
        server.greet()
        call = request(1, "get_ticket", ticket="OPS-1")
        call["params"]["_meta"] = {"traceparent": GIVEN}
        server.ask(call)
        server.ask(request(2, "get_ticket", ticket=CANARY))
        server.ask(request(3, CANARY, title=CANARY))
        malformed = request(4, "get_ticket", ticket="OPS-1")
        malformed["params"]["_meta"] = {"traceparent": f"00-{CANARY}"}
        server.ask(malformed)
        server.ask({"jsonrpc": "2.0", "id": 5, "method": "tools/list", "params": {}})
        assert server.end() == 0
        said = lines_of(server.errors)
    assert CANARY not in server.said()
    assert place.token not in server.said()
    assert all(set(line) <= FIELDS for line in said)
    assert [line["event"] for line in said] == [
        "process.started",
        *["call.finished"] * 4,
        "tools.listed",
        "process.ended",
    ]
    first, second, third, fourth = (line for line in said if line["event"] == "call.finished")
    assert (first["trace_id"], first["principal"], first["tool"], first["status"]) == (
        TRACE,
        "claude",
        "get_ticket",
        "succeeded",
    )
    assert (second["status"], second["action"]) == ("denied", second["action"])
    assert (third["status"], "tool" in third) == ("unknown_tool", False)
    assert len({line["trace_id"] for line in (first, second, third, fourth)}) == 4
    assert all(re.fullmatch("[0-9a-f]{32}", line["trace_id"]) for line in (second, third, fourth))
    assert all(isinstance(line["ms"], int) for line in (first, second, third, fourth))


def test_a_stdio_server_in_text_says_what_it_always_said(place: Place) -> None:
    with raw(place) as server:
        server.greet()
        server.ask(request(1, "get_ticket", ticket="OPS-1"))
        assert server.end() == 0
        assert server.said() == ""


def test_over_http_logs_and_metrics_tell_the_same_story_and_no_secret(place: Place) -> None:
    token = "kt_" + "h" * 43
    place.issue(token, transports=("http",))
    options = ("serve", "--http", "127.0.0.1:0", "--metrics", "127.0.0.1:0")
    with process(place, *options) as (server, errors):
        name = awaited(errors, "server.listening")["message"].removeprefix("serving on ")
        site = Site(place, server, errors, [name])
        before = metrics_at(errors)
        headed = {"traceparent": GIVEN}
        call = {"name": "get_ticket", "arguments": {"ticket": "OPS-1"}, "_meta": MODERN}
        site.post(token, {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}, **headed)
        site.envelope(token, "update_ticket", ticket="OPS-1", comment=CANARY)
        site.call(token, "get_ticket", ticket=f"no {CANARY}")
        assert site.call(f"kt_{CANARY}", "get_ticket", ticket="OPS-1").status_code == 401
        after = metrics_at(errors)
        assert site.stop() == 0
        said, text = lines_of(errors), errors.read_text()

    def grown(name: str, *labels: str) -> float:
        return after.get((name, labels), 0) - before.get((name, labels), 0)

    assert grown("keyturn_outcomes_total", "succeeded", "update_ticket") == 1
    assert grown("keyturn_refusals_total", "argument_invalid") == 1
    assert grown("keyturn_refused_credentials_total") == 1
    assert after["keyturn_open_calls", ()] == 0
    assert CANARY not in text
    assert token not in text
    finished = [line for line in said if line["event"] == "call.finished"]
    assert finished[0]["trace_id"] == TRACE
    states = [line for line in said if line["event"] in {"action.running", "action.succeeded"}]
    assert [line["status"] for line in states] == ["running", "succeeded"]
    # What a call begins here runs under the trace of that call.
    assert {line["trace_id"] for line in states} == {finished[1]["trace_id"]}
    assert {line["action"] for line in states} == {finished[1]["action"]}
    assert (said[0]["event"], said[-1]["event"]) == ("process.started", "process.ended")


def test_a_worker_tells_what_it_executes_and_serves_metrics_meanwhile(place: Place) -> None:
    place.end_workers()
    give_up = take_worker_turn(place.home)  # or the server would start a worker on demand, which might be first
    assert give_up is not None
    with process(place, "worker", "--metrics", "0") as (worker, errors):
        awaited(errors, "metrics.started")
        with raw(place) as server:
            server.greet()
            server.ask(request(1, "update_ticket", ticket="OPS-1", comment=f"{CANARY} again"))
        done = awaited(errors, "action.succeeded")
        assert metrics_at(errors)["keyturn_outcomes_total", ("succeeded", "update_ticket")] >= 1
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(SECONDS) == 0
        assert (done["tool"], done["principal"], done["program"]) == ("update_ticket", "claude", "keyturn worker")
        assert CANARY not in errors.read_text()
        assert lines_of(errors)[-1]["event"] == "process.ended"
    give_up()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("serve", "--metrics", "9464"), "--metrics is for --http and --socket"),
        (("serve", "--http", "127.0.0.1:0", "--metrics", "nonsense"), "is no address to serve metrics on"),
        (("worker", "--metrics", "nonsense"), "is no address to serve metrics on"),
        (("worker", "--log", "xml"), "'xml' is not one of 'text', 'json'"),
    ],
)
def test_options_that_make_no_sense_are_refused(place: Place, arguments: tuple[str, ...], told: str) -> None:
    command = [sys.executable, "-m", "keyturn", "--home", str(place.folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 2
    assert told in done.stderr


def test_the_server_program_itself_refuses_metrics_over_stdio(place: Place) -> None:
    command = [sys.executable, "-m", "keyturn.server", "--home", str(place.folder), "--metrics", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 2
    assert "comes and goes with its client" in done.stderr


# --- in this process -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def populated(tmp_path_factory: pytest.TempPathFactory) -> Founded:
    return found_world(tmp_path_factory.mktemp("populated"))


@pytest.fixture
def world(tmp_path: Path, populated: Founded) -> Iterator[World]:
    world = World(tmp_path / "home", populated)
    yield world
    world.close()


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], str]]:
    """Log JSON in this process for one test; returns what was said so far."""
    ours, root = logging.getLogger("keyturn"), logging.getLogger()
    before = ours.handlers[:], ours.propagate, root.handlers[:], logging.raiseExceptions
    level = ours.level
    stream = io.StringIO()

    def said() -> str:
        return stream.getvalue()

    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stream)
        patch.setattr("warnings.simplefilter", lambda _: None)
        set_up("json", "tests")
    for handler in ours.handlers:
        assert isinstance(handler, logging.StreamHandler)
        handler.setStream(stream)
    yield said
    ours.handlers[:], ours.propagate, root.handlers[:], logging.raiseExceptions = before
    ours.setLevel(level)


@pytest.mark.parametrize("error", [ConnectorError(CANARY, kind="unknown"), ValueError(CANARY)])
def test_what_a_back_end_says_is_in_no_line(world: World, told: Callable[[], str], error: Exception) -> None:
    real = world.gate.governed["update_ticket"]
    world.with_tool(Simulator(real, executes=raises(error), probes=raises(error)))
    world.comment(CANARY, reason=CANARY)
    assert "action.unknown" in told()
    assert CANARY not in told()
    assert all(set(json.loads(line)) <= FIELDS for line in told().splitlines())


def test_suspensions_are_noted_when_they_come_and_go(world: World, told: Callable[[], str]) -> None:
    actor = Actor("account", "ops")
    scope = Scope("tool", "update_ticket")

    async def noting() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(note_suspensions, world.gate)
            await _until(lambda: "is read-only" in told())
            set_suspension(world.gate.ledger, scope, mode="suspended", by=actor, reason=CANARY)
            await _until(lambda: "is suspended" in told())
            tasks.cancel_scope.cancel()

    set_suspension(world.gate.ledger, scope, mode="read-only", by=actor, reason=CANARY)
    anyio.run(noting)
    assert CANARY not in told()


def test_a_scope_that_goes_on_is_noted(told: Callable[[], str]) -> None:
    scope = Scope("all")
    assert _note_changes(_note_changes({}, {scope: "suspended"}), {}) == {}
    [first, second] = [json.loads(line) for line in told().splitlines()]
    assert (first["event"], first["message"]) == ("suspension.set", "everything is suspended")
    assert (second["event"], second["message"]) == ("suspension.lifted", "everything goes on")


def test_a_ledger_that_is_not_to_be_trusted_ends_the_noting(world: World, told: Callable[[], str]) -> None:
    world.tamper("UPDATE entry SET leaf = zeroblob(32) WHERE seq = 3")

    async def noting() -> None:
        with anyio.fail_after(SECONDS):
            await note_suspensions(world.gate)

    anyio.run(noting)
    assert told() == ""


async def _until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(SECONDS):
        while not condition():  # noqa: ASYNC110 - a log has no event to wait for
            await anyio.sleep(0.05)


def test_where_events_are_not_told_nobody_looks_for_suspensions(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "keyturn")

    async def noting() -> None:
        with anyio.fail_after(SECONDS):
            await note_suspensions(world.gate)

    anyio.run(noting)
