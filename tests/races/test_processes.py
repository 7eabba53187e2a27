"""Two approved actions for one thing, claimed by two processes at one moment."""

from __future__ import annotations

import time
from contextlib import ExitStack

import pytest

from tests.bed.kubernetes import Kubernetes
from tests.gateway import processes
from tests.ledger.processes import running, told
from tests.races.hub import WORK, Hub, hub, with_work
from tests.races.stage import Stage
from tests.races.test_deployments import asked as rollback_asked
from tests.races.test_deployments import ours, web
from tests.races.test_merges import asked as merge_asked
from tests.races.test_merges import number

__all__ = ["hub", "number", "web"]


def raced(stage: Stage, *actions: str) -> list[str]:
    """Let two processes execute what is approved at one moment; returns how the actions ended, sorted."""
    for action in actions:
        stage.world.approve(action)
    with ExitStack() as stack:
        racers = [stack.enter_context(running(processes.execute_in_rounds, stage.world.home))[1] for _ in range(2)]
        assert [told(racer, 60) for racer in racers] == ["ready", "ready"]
        at = time.monotonic() + 0.003
        for racer in racers:
            racer.send(at)
        done = [told(racer, 60) for racer in racers]
        for racer in racers:
            racer.send(None)
    stage.world.drain()  # what waited for its target's turn
    assert set(done[0]) | set(done[1]) <= set(actions)
    assert not set(done[0]) & set(done[1])
    ended = [entry for entry in stage.world.entries("execution.finished") if entry.action in actions]
    assert len(ended) == len(actions)
    return sorted(str(entry.facts["outcome"]) for entry in ended)


def test_two_merges_of_one_request_in_two_processes_merge_it_once(stage: Stage, hub: Hub, number: int) -> None:
    first, second = merge_asked(stage, number), merge_asked(stage, number, "codex")
    assert raced(stage, first, second) == ["stale", "succeeded"]
    assert (hub.files(), hub.merges()) == (with_work(WORK), 1)


def test_two_rollbacks_of_one_deployment_in_two_processes_roll_it_back_once(stage: Stage, web: Kubernetes) -> None:
    first, second = rollback_asked(stage), rollback_asked(stage, "codex")
    assert raced(stage, first, second) == ["stale", "succeeded"]
    assert (web.cluster.image(), ours(web)) == ("shop:41", 1)


@pytest.mark.parametrize("system", ["here", "github"])
def test_two_changes_of_one_ticket_in_two_processes_change_it_once(
    stage: Stage, system: str, request: pytest.FixtureRequest
) -> None:
    ticket = "OPS-1"
    if system == "github":
        hub: Hub = request.getfixturevalue("hub")
        stage.wire(tickets=hub.wiring(stage))
        ticket = str(hub.repository.issue())
    first, second = [
        stage.ask("update_ticket", who, ticket=ticket, status="closed", comment=f"Closed for {who}.")
        for who in ("claude", "codex")
    ]
    assert raced(stage, first, second) == ["stale", "succeeded"]
