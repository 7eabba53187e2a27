"""Turns to ask other systems: never more at once than the policy says, whichever process asks, and in turns."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from keyturn.gateway.slots import Slots, give_back
from keyturn.gateway.turns import Crowded, Turns
from keyturn.model.plan import Plan
from keyturn.policy import Queue
from tests.gateway.world import PULL_REQUEST, Simulator, World

SOON = 20.0
HOLDER = """
import sys, time
from pathlib import Path
from keyturn.gateway.slots import Slots
taken = Slots(Path(sys.argv[1])).take({"principal claude": int(sys.argv[2])})
print("taken" if taken else "none", flush=True)
time.sleep(60)
"""


def test_a_name_has_as_many_slots_as_said_and_none_is_kept_where_another_name_has_none(tmp_path: Path) -> None:
    slots = Slots(tmp_path / "turns")
    first, second = slots.take({"a": 2, "all": 3}), slots.take({"a": 2})
    assert first is not None
    assert second is not None
    assert slots.take({"a": 2}) is None
    third, fourth = slots.take({"b": 1, "all": 3}), slots.take({"all": 3})
    assert third is not None
    assert fourth is not None
    assert slots.take({"c": 5, "all": 3}) is None
    give_back(first)
    again = slots.take({"c": 5, "all": 3})
    assert again is not None
    assert slots.take({"a": 2}) is not None


def test_a_look_opens_no_slot_twice_and_the_next_look_finds_what_was_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slots = Slots(tmp_path / "turns")
    held = [slots.take({"all": 20}) for _ in range(20)]
    opened: list[str] = []
    real = os.open

    def counting(path: Path, *rest: int) -> int:
        opened.append(path.name)
        return real(path, *rest)

    monkeypatch.setattr(os, "open", counting)
    busy: dict[str, int] = {}
    assert [slots.take({f"principal {number}": 1, "all": 20}, busy) for number in range(30)] == [None] * 30
    assert len(opened) == len(set(opened)) == 21
    assert held[7] is not None
    give_back(held[7])
    assert slots.take({"all": 20}, busy) is None
    assert slots.take({"principal 1": 1, "all": 20}, {}) is not None
    assert slots.take({"principal 0": 1}, busy) is not None


def test_slots_are_had_again_after_their_folder_is_gone(tmp_path: Path) -> None:
    slots = Slots(tmp_path / "turns")
    assert slots.take({"a": 1}) is not None
    shutil.rmtree(tmp_path / "turns")
    assert slots.take({"a": 1}) is not None


def test_slots_hold_over_processes_and_a_killed_one_lets_go(tmp_path: Path) -> None:
    folder = tmp_path / "turns"
    command = [sys.executable, "-c", HOLDER, str(folder), "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "taken\n"
        assert Slots(folder).take({"principal claude": 1}) is None
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait(SOON)
    assert Slots(folder).take({"principal claude": 1}) is not None


@pytest.mark.parametrize(
    ("principals", "reached"),
    [(1, {"principal": 2, "owner": 2, "total": 2}), (2, {"principal": 2, "owner": 3, "total": 3}), (6, {"total": 4})],
)
def test_as_many_at_once_as_the_caps_say_and_never_more_and_everybody_comes_in(
    tmp_path: Path, principals: int, reached: dict[str, int]
) -> None:
    turns, queue = Turns(Slots(tmp_path / "turns")), Queue(per_principal=2, per_owner=3, total=4, waiting=100)
    inside: list[tuple[str, str]] = []
    most = {"principal": 0, "owner": 0, "total": 0}
    done: list[str] = []

    async def one(principal: str, owner: str) -> None:
        async with turns.turn(queue, principal, owner):
            inside.append((principal, owner))
            most["principal"] = max(most["principal"], sum(who == principal for who, _ in inside))
            most["owner"] = max(most["owner"], sum(whose == owner for _, whose in inside))
            most["total"] = max(most["total"], len(inside))
            await anyio.sleep(0.001)
            inside.remove((principal, owner))
            done.append(principal)

    async def main() -> None:
        with anyio.fail_after(SOON):
            async with anyio.create_task_group() as group:
                for number in range(60):
                    principal = f"p{number % principals}"
                    group.start_soon(one, principal, f"o{int(principal[1:]) // 2}")

    anyio.run(main)
    assert most == {**most, **reached}
    assert (most["principal"] <= 2, most["owner"] <= 3, most["total"] <= 4) == (True, True, True)
    assert len(done) == 60


def test_who_sends_many_calls_keeps_another_waiting_for_no_more_than_one_of_them(tmp_path: Path) -> None:
    turns, queue = Turns(Slots(tmp_path / "turns")), Queue(total=1, waiting=1000)
    order: list[str] = []

    async def one(principal: str) -> None:
        async with turns.turn(queue, principal, None):
            await anyio.lowlevel.checkpoint()
            order.append(principal)

    async def main() -> None:
        with anyio.fail_after(SOON):
            async with anyio.create_task_group() as group:
                for _ in range(50):
                    group.start_soon(one, "flood")
                await anyio.lowlevel.checkpoint()
                for _ in range(3):
                    group.start_soon(one, "modest")

    anyio.run(main)
    places = [place for place, who in enumerate(order) if who == "modest"]
    assert len(order) == 53
    assert places[0] <= 3
    assert [later - earlier for earlier, later in pairwise(places)] == [2, 2]


def test_a_process_with_many_calls_keeps_another_waiting_for_few_of_them(tmp_path: Path) -> None:
    """Two processes as far as turns go: what they share is the folder alone."""
    many, few = Turns(Slots(tmp_path / "turns")), Turns(Slots(tmp_path / "turns"))
    queue = Queue(total=1, waiting=1000)
    order: list[str] = []

    async def one(turns: Turns, principal: str) -> None:
        async with turns.turn(queue, principal, None):
            await anyio.sleep(0.002)
            order.append(principal)

    async def flood() -> None:
        while order.count("modest") < 3:
            await one(many, "flood")

    async def main() -> None:
        with anyio.fail_after(SOON):
            async with anyio.create_task_group() as group:
                for _ in range(8):
                    group.start_soon(flood)
                await anyio.sleep(0.02)
                for _ in range(3):
                    group.start_soon(one, few, "modest")

    anyio.run(main)
    places = [place for place, who in enumerate(order) if who == "modest"]
    # Alone it has hundreds of turns a second. Where the machine stands still for a moment, one may slip in.
    assert max(later - earlier for earlier, later in pairwise(places)) <= 10


def test_who_may_not_wait_or_waits_too_long_is_refused_and_leaves_nothing_behind(tmp_path: Path) -> None:
    turns = Turns(Slots(tmp_path / "turns"))
    brief = Queue(per_principal=1, waiting=1, patience=timedelta(milliseconds=50))

    async def main() -> None:
        async with turns.turn(brief, "a", None):
            with pytest.raises(Crowded, match="as many calls of a, of its owner or of all"):
                async with turns.turn(brief, "a", None):
                    raise AssertionError("let in beside the first")
            with pytest.raises(Crowded, match="0 calls of a wait for their turn already"):
                async with turns.turn(Queue(per_principal=1, waiting=0), "a", None):
                    raise AssertionError("let in beside the first")
            async with turns.turn(brief, "b", None):
                pass
        async with turns.turn(brief, "a", None):
            pass

    anyio.run(main)


def test_a_caller_that_goes_away_while_it_waits_takes_nobodys_turn(tmp_path: Path) -> None:
    turns, queue = Turns(Slots(tmp_path / "turns")), Queue(total=1)

    async def main() -> None:
        async with turns.turn(queue, "a", None):
            with anyio.move_on_after(0.02):
                async with turns.turn(queue, "b", None):
                    raise AssertionError("let in beside the first")
        with anyio.fail_after(SOON):
            async with turns.turn(queue, "c", None):
                pass

    anyio.run(main)


def test_a_slot_that_another_process_gives_back_is_found(tmp_path: Path) -> None:
    slots, queue = Slots(tmp_path / "turns"), Queue(total=1)
    taken = slots.take({"all": 1})
    assert taken is not None

    async def main() -> None:
        async with anyio.create_task_group() as group:

            async def give() -> None:
                await anyio.sleep(0.05)
                give_back(taken)

            group.start_soon(give)
            with anyio.fail_after(SOON):
                async with Turns(Slots(tmp_path / "turns")).turn(queue, "a", None):
                    pass

    anyio.run(main)


def test_without_a_folder_for_slots_nobody_is_let_in_and_who_is_in_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "state" / "run" / "turns"
    folder.parent.mkdir(parents=True)
    turns, queue = Turns(Slots(folder)), Queue(total=1)
    said: list[str] = []

    async def late() -> None:
        try:
            async with turns.turn(queue, "b", None):
                raise AssertionError("let in without a slot")
        except Crowded as error:
            said.append(str(error))

    async def main() -> None:
        async with anyio.create_task_group() as group:
            async with turns.turn(queue, "a", None):
                group.start_soon(late)
                await anyio.lowlevel.checkpoint()
                shutil.rmtree(folder)
                folder.write_bytes(b"")
            said.append("a is done")

    anyio.run(main)
    assert said[0] == "a is done"
    assert "no turn can be counted in state/run/turns of the home (Not a directory)" in said[1]
    assert "a folder that Keyturn can write" in said[1]
    assert str(folder) in caplog.text


def test_a_call_that_no_slot_can_be_had_for_is_refused_and_recorded(world: World) -> None:
    world.activate(("# A forbid beats every grant.", "[queue]\nper_principal = 1\n# A forbid beats every grant."))
    (world.home.place.run / "turns").write_bytes(b"")
    for answer in (world.call("open_pull_request", **PULL_REQUEST), world.call("get_ticket", ticket="OPS-1")):
        assert answer.envelope["status"] == "denied"
        assert "state/run/turns" in str(answer.envelope["message"])
    codes = [entry.facts["codes"] for entry in world.entries("action.denied")]
    assert codes == [[{"code": "crowded", "rule": None}]] * 2


def test_calls_are_planned_in_turns_and_refused_as_crowded(world: World) -> None:
    world.activate(
        ("# A forbid beats every grant.", "[queue]\nper_principal = 1\nwaiting = 0\n# A forbid beats every grant.")
    )
    simulator = Simulator(world.gate.governed["open_pull_request"])
    entered: list[str] = []

    def plans(plan: Plan) -> Plan:
        entered.append(plan.target)
        return plan

    simulator.plans = plans
    world.with_tool(simulator)
    held = Slots(world.home.place.run / "turns").take({"principal claude": 1})
    assert held is not None
    refused = world.call("open_pull_request", **PULL_REQUEST)
    assert refused.envelope["status"] == "denied"
    reasons = refused.envelope["reasons"]
    assert isinstance(reasons, list)
    assert [reason["code"] for reason in reasons if isinstance(reason, dict)] == ["crowded"]
    assert entered == []
    give_back(held)
    world.held()
    assert len(entered) == 1
    read = Slots(world.home.place.run / "turns").take({"principal claude": 1})
    assert read is not None
    answer = world.call("get_ticket", ticket="OPS-1")
    assert answer.is_error
    give_back(read)
    assert not world.call("get_ticket", ticket="OPS-1").is_error
