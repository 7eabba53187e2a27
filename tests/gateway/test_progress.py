"""Progress: whoever waits hears how far an effect is, in this process or another, and nothing of it stays."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import anyio
import pytest

import keyturn.gateway.call
import keyturn.gateway.progress
import keyturn.gateway.wait
from keyturn.approvals.action import Action
from keyturn.gateway.progress import Progress
from keyturn.model.outcome import Outcome, Succeeded
from keyturn.model.plan import Plan
from keyturn.model.tool import ActionRef
from tests.gateway import processes
from tests.gateway.test_executing_here import COMMENT, serving
from tests.gateway.test_work import until, working
from tests.gateway.world import STAGING, Simulator, World
from tests.ledger.processes import running

ME, ACTION = "1" * 32, "0198"


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyturn.gateway.wait, "HEAR_EVERY", 0.02)
    monkeypatch.setattr(keyturn.gateway.call, "HEAR_EVERY", 0.02)


class Hearing:
    """A client that asked for progress: what it was told, and effects that say their steps once that was heard."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    async def report(self, _: Action, state: str) -> None:
        self.heard.append(state)

    async def effect(self, _plan: Plan, action: ActionRef) -> Outcome:
        for step in ("check 1 of 2", "check 2 of 2"):
            action.progress(step)
            await until(lambda step=step: f"running: {step}" in self.heard)  # type: ignore[misc]
        return Succeeded({})


def test_a_caller_of_a_process_that_executes_itself_hears_each_step(world: World) -> None:
    hearing = Hearing()
    world.with_tool(Simulator(world.gate.governed["update_ticket"], executes=hearing.effect))

    async def calls(_: anyio.Event) -> None:
        answer = await world.calling("update_ticket", COMMENT, report=hearing.report)
        assert answer.envelope["status"] == "succeeded"

    serving(world, calls)
    assert [text for text in hearing.heard if "check" in text] == ["running: check 1 of 2", "running: check 2 of 2"]
    assert not list(world.home.place.run.glob("*.progress*"))


def test_one_that_waits_elsewhere_hears_it_through_a_file(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyturn.gateway.progress, "WRITE_EVERY", 0.0)
    hearing = Hearing()
    world.with_tool(Simulator(world.gate.governed["update_ticket"], executes=hearing.effect))
    world.executing = False
    action = str(world.comment("Hello.").envelope["action_id"])
    executing, world.gate = world.gate, world.open("another process")
    waiting = world.gate

    async def meanwhile(stop: anyio.Event) -> None:
        world.gate = waiting
        answer = await world.calling("get_action", {"action_id": action, "wait_seconds": 20}, report=hearing.report)
        assert answer.envelope["status"] == "succeeded"
        stop.set()

    world.gate = executing
    working(world, meanwhile)
    waiting.close()
    world.gate = executing
    assert [text for text in hearing.heard if "check" in text] == ["running: check 1 of 2", "running: check 2 of 2"]
    assert not list(world.home.place.run.glob("*.progress*"))


def test_a_rollback_says_that_health_is_being_checked(world: World) -> None:
    text = world.home.wiring.read_text()
    world.home.wiring.write_text(text.replace("[deployments.web]", '[deployments.web]\nhealth = ["sleep", "0.3"]'))
    world.gate.close()
    world.gate = world.open()
    hearing = Hearing()

    async def calls(_: anyio.Event) -> None:
        await world.calling("rollback_deployment", STAGING, report=hearing.report)

    serving(world, calls)
    assert any("2.3.1 is live; its health is checked" in text for text in hearing.heard)


def test_the_file_is_private_bounded_clean_and_written_at_most_once_a_second(tmp_path: Path) -> None:
    progress, other = Progress(tmp_path), Progress(tmp_path)
    say = progress.reporter(ME, ACTION)
    say("a\x1b[31m" + "b" * 1000)
    path = tmp_path / f"{ME}.progress"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    read = other.read(ME, ACTION)
    assert read is not None
    assert len(read) <= 220
    assert "\x1b" not in read
    say("second")
    assert (progress.read(ME, ACTION), other.read(ME, ACTION)) == ("second", read)
    assert other.read(ME, "another") is None
    progress.end(ME, "another")
    progress.end(ME, ACTION)
    assert (progress.read(ME, ACTION), other.read(ME, ACTION), list(tmp_path.iterdir())) == (None, None, [])


def test_what_a_dead_executor_left_goes_when_its_actions_are_settled(world: World) -> None:
    world.executing = False
    world.comment("Hello.")
    with running(processes.die, world.home, "before the effect") as (process, _):
        process.join(20)
    (started,) = world.entries("execution.started")
    left = world.home.place.run / f"{started.facts['instance']}.progress"
    left.write_text("{}")
    world.drain()
    assert not left.exists()


@pytest.mark.parametrize("junk", [b"", b"[]", b'{"0198": 5}', b"[" * 60_000, b"\xff"])
def test_what_is_no_progress_says_nothing(tmp_path: Path, junk: bytes) -> None:
    (tmp_path / f"{ME}.progress").write_bytes(junk)
    assert Progress(tmp_path).read(ME, ACTION) is None
    assert Progress().read(ME, ACTION) is None


def test_a_disk_that_is_full_stops_no_effect(tmp_path: Path) -> None:
    progress = Progress(tmp_path / "nowhere")
    say: Any = progress.reporter(ME, ACTION)
    say("on it")
    assert progress.read(ME, ACTION) == "on it"
    progress.end(ME, ACTION)
