"""Asking again about unknown outcomes: soon, then ever more seldom, for a week, and once for all processes."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.approvals.action import Action
from keyturn.gateway.acts import draft_resolution
from keyturn.gateway.probes import AT_START, FIRST, LAST, Probes
from keyturn.gateway.recover import reprobe_due, unknown_due
from keyturn.model.outcome import CannotTell, Happened, Unknown
from tests.gateway.world import Simulator, World

START = datetime(2026, 11, 21, 9, tzinfo=UTC)
NAME = "019aa5b2-7d80-7000-8000-000000000001"


def unknown_since(at: datetime) -> Action:
    return Action(
        id=NAME,
        seq=1,
        digest="sha256:" + "0" * 64,
        principal="claude",
        owner=None,
        tool="update_ticket",
        contract="v1",
        backend={"port": "tickets", "name": "ops"},
        target="tickets:ops/OPS-1",
        environment="tracker",
        policy="sha256:" + "0" * 64,
        decision="permit",
        rules=(),
        obligations=(),
        reviewers={},
        excluded=(),
        effects={},
        requested_at=at,
        expires_at=at,
        ended="unknown",
        ended_at=at,
    )


def asked(probes: Probes, action: Action, every: timedelta, until: timedelta) -> list[timedelta]:
    """Look every so often and note the times at which it is asked, since the outcome became unknown."""
    times, since = [], timedelta()
    while since <= until:
        now = START + since
        if probes.due(action, now):
            probes.note(action.id, now)
            times.append(since)
        since += every
    return times


def test_the_first_questions_come_within_seconds() -> None:
    times = asked(Probes(), unknown_since(START), timedelta(seconds=1), timedelta(minutes=1))
    assert [time.total_seconds() for time in times] == [5, 10, 15, 23, 35, 53]


@given(st.integers(min_value=5, max_value=300))
def test_pauses_grow_and_there_is_an_end(every: int) -> None:
    times = asked(Probes(), unknown_since(START), timedelta(seconds=every), timedelta(hours=6))
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    grown = [pause for earlier, pause in zip(times, pauses, strict=False) if earlier > timedelta(seconds=10 * every)]
    assert grown == sorted(grown)
    assert all(pause >= FIRST for pause in pauses)
    assert 3 <= len(times) <= 25


def test_after_a_week_nobody_asks_any_more_but_a_process_that_just_started() -> None:
    probes, action = Probes(), unknown_since(START)
    times = asked(probes, action, timedelta(minutes=10), LAST + timedelta(days=60))
    assert times[-1] <= LAST
    assert len(times) < 30
    later = START + timedelta(days=90)
    assert (probes.due(action, later), probes.due(action, later, eager=True)) == (False, True)
    probes.note(action.id, later)
    assert not probes.due(action, later + AT_START / 2, eager=True)
    assert probes.due(action, later + AT_START, eager=True)


def test_processes_of_one_home_share_when_it_was_asked(tmp_path: Path) -> None:
    one, other, action = Probes(tmp_path), Probes(tmp_path), unknown_since(START)
    now = START + timedelta(minutes=10)
    assert one.due(action, now)
    one.note(action.id, now)
    assert not other.due(action, now + timedelta(minutes=4))
    assert other.due(action, now + timedelta(minutes=5))
    assert not Probes(tmp_path / "elsewhere").due(action, START)
    other.keep(frozenset({action.id}))
    assert len(list(tmp_path.iterdir())) == 1
    other.keep(frozenset())
    assert list(tmp_path.iterdir()) == []


def test_what_stands_in_a_file_that_nobody_can_read_is_nothing(tmp_path: Path) -> None:
    path, action = tmp_path / f"{NAME}.probed", unknown_since(START)
    path.write_bytes(b"\xff soon")
    assert Probes(tmp_path).due(action, START + FIRST)
    path.unlink()
    path.mkdir()
    probes = Probes(tmp_path)
    probes.note(action.id, START + FIRST)  # it cannot be written down: this process remembers all the same
    assert not probes.due(action, START + FIRST + FIRST / 2)
    probes.keep(frozenset())
    assert path.is_dir()


def test_an_action_that_ended_at_no_known_time_counts_from_its_request() -> None:
    assert Probes().due(replace(unknown_since(START), ended_at=None), START + FIRST)


def unknown(world: World) -> tuple[str, Simulator]:
    simulator = Simulator(
        world.gate.governed["update_ticket"],
        executes=lambda *_: Unknown("no answer came"),
        probes=lambda *_: CannotTell("the comment is not to be seen yet"),
    )
    world.with_tool(simulator)
    action = str(world.comment("Hello.").envelope["action_id"])
    simulator.probed.clear()
    return action, simulator


def test_a_system_that_shows_it_later_settles_it_by_itself(world: World) -> None:
    action, simulator = unknown(world)
    assert anyio.run(reprobe_due, world.gate) == 0
    world.clock.run(seconds=6)
    assert world.gate.ledger.look(lambda view: [a.id for a in unknown_due(world.gate, view)]) == [action]
    assert anyio.run(reprobe_due, world.gate) == 1
    assert anyio.run(reprobe_due, world.gate) == 0
    assert (world.status(action), simulator.probed) == ("unknown", [action])
    simulator.probes = lambda *_: Happened({"comment": "there"})
    world.clock.run(seconds=6)
    assert anyio.run(reprobe_due, world.gate) == 1
    assert world.status(action) == "succeeded"
    [entry] = world.entries("execution.resolved")
    assert (entry.facts["method"], entry.facts["act"]) == ("probe", None)
    assert anyio.run(reprobe_due, world.gate) == 0
    assert list(world.home.place.run.glob("*.probed")) == []


def test_two_processes_ask_once(world: World) -> None:
    _, simulator = unknown(world)
    world.clock.run(minutes=1)
    other = replace(world.gate, ledger=world.open("another").ledger, probes=Probes(world.home.place.run))
    assert [anyio.run(reprobe_due, gate) for gate in (world.gate, other, world.gate)] == [1, 0, 0]
    assert len(simulator.probed) == 1
    other.ledger.close()


@pytest.mark.parametrize("minutes", [60])
def test_a_day_of_looking_every_minute_is_no_flood(world: World, minutes: int) -> None:
    _, simulator = unknown(world)
    for _ in range(minutes):
        world.clock.run(minutes=1)
        anyio.run(reprobe_due, world.gate)
    assert len(simulator.probed) <= 12


def test_what_runs_here_and_what_is_out_of_reach_is_not_asked_about(world: World) -> None:
    action, simulator = unknown(world)
    world.clock.run(minutes=1)

    async def running() -> int:
        return await reprobe_due(world.gate, {action})

    assert anyio.run(running) == 0
    assert anyio.run(reprobe_due, replace(world.gate, reach=frozenset())) == 0
    assert anyio.run(reprobe_due, world.gate) == 1
    assert simulator.probed == [action]


def test_a_process_that_is_to_stay_asks_at_once(world: World) -> None:
    _, simulator = unknown(world)

    async def starting() -> int:
        return await reprobe_due(world.gate, eager=True)

    assert (anyio.run(starting), anyio.run(starting)) == (1, 0)
    assert len(simulator.probed) == 1


def test_what_a_person_settles_is_asked_about_no_more(world: World) -> None:
    action, simulator = unknown(world)
    world.act(draft_resolution(world.gate, action, happened=False, reason="I looked.", by="alice"))
    world.clock.run(hours=1)
    assert anyio.run(reprobe_due, world.gate) == 0
    assert simulator.probed == []
