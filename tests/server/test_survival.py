"""Clients, servers and workers die at the worst moment; what was begun ends once, and is recorded."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.clients import Raw, raw, request
from tests.server.home import Place, found, until

CALL = {"deployment": "web", "environment": "staging"}


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Place]:
    """A home whose rollbacks last until the file `go` is there: the health check waits for it."""
    check = f"until [ -e {tmp_path}/go ]; do sleep 0.05; done"
    place = found(tmp_path, f'health = ["sh", "-c", "{check}"]')
    yield place
    go_on(place)
    place.end_workers()


def go_on(place: Place) -> None:
    (place.folder.parent / "go").touch()


def begin(server: Raw, place: Place, to: str) -> str:
    """Ask for a rollback that is permitted, and return its id once it is running."""
    server.greet()
    server.send(request("slow", "rollback_deployment", to=to, **CALL))
    [started] = until(lambda: place.entries("execution.started"))
    assert started.action is not None
    return str(started.action)


def live(place: Place) -> str:
    return (place.folder / "samples/web/staging/current").readlink().name


def test_a_client_that_dies_in_the_middle_leaves_an_effect_that_ends_once_and_is_recorded(slow: Place) -> None:
    with raw(slow) as server:
        action = begin(server, slow, "2.3.1")
        server.kill_group()
    assert slow.entries("execution.finished") == []
    go_on(slow)
    [finished] = until(lambda: slow.entries("execution.finished", action))
    assert (finished.text("outcome"), finished.facts["recovered"]) == ("succeeded", False)
    assert len(slow.entries("execution.started", action)) == 1
    assert live(slow) == "2.3.1"
    history = (slow.folder / "samples/web/staging/history.jsonl").read_text()
    assert history.count(action) == 1
    with raw(slow) as later:
        later.greet()
        envelope = later.ask(request(1, "get_action", action_id=action))["result"]["structuredContent"]
        assert (envelope["status"], envelope["result"]["to"]) == ("succeeded", "2.3.1")


def test_another_server_leaves_a_running_action_alone_and_settles_it_once_its_worker_is_dead(slow: Place) -> None:
    with raw(slow) as first, raw(slow) as second:
        action = begin(first, slow, "2.3.1")
        second.greet()
        waiting = second.ask(request(1, "get_action", action_id=action, wait_seconds=1))
        assert waiting["result"]["structuredContent"]["status"] == "running"
        [worker] = slow.workers()
        first.kill_group()
        with raw(slow) as third:  # its start looks for what was left behind, and finds that this was not
            third.greet()
            assert third.end() == 0
        assert slow.workers() == [worker]
        assert slow.entries("execution.finished") == []
        os.kill(worker, signal.SIGKILL)
        go_on(slow)
        settled = second.ask(request(2, "get_action", action_id=action, wait_seconds=45))
        assert settled["result"]["structuredContent"]["status"] == "succeeded"
        assert second.end() == 0
    [finished] = slow.entries("execution.finished", action)
    assert finished.facts["recovered"] is True
    assert len(slow.entries("execution.started", action)) == 1
    history = (slow.folder / "samples/web/staging/history.jsonl").read_text()
    assert history.count(action) == 1


def test_a_server_that_starts_has_approved_actions_executed(slow: Place) -> None:
    go_on(slow)
    with raw(slow) as server:
        server.greet()
        arguments = {"deployment": "web", "environment": "production", "to": "2.3.1"}
        held = server.ask(request(1, "rollback_deployment", **arguments))["result"]["structuredContent"]
        assert held["status"] == "pending"
        assert server.end() == 0
    assert slow.review(held["action_id"]) == "approved"
    assert slow.workers() == []
    with raw(slow) as server:
        server.greet()
        done = server.ask(request(1, "get_action", action_id=held["action_id"], wait_seconds=45))
        assert done["result"]["structuredContent"]["status"] == "succeeded"


def test_many_permitted_calls_at_once_are_executed_by_one_worker(slow: Place) -> None:
    go_on(slow)
    with raw(slow) as server:
        server.greet()
        server.send(*(request(n, "update_ticket", ticket="OPS-1", comment=f"note {n}") for n in range(8)))
        seen: set[int] = set()
        statuses = []
        for _ in range(8):
            statuses.append(server.receive()["result"]["structuredContent"]["status"])
            seen.update(slow.workers())
        assert statuses == ["succeeded"] * 8
        assert len(seen) == 1
        assert server.end() == 0
    text = (slow.folder / "samples/tickets/OPS-1.md").read_text()
    assert all(text.count(f"note {n}\n") == 1 for n in range(8))
