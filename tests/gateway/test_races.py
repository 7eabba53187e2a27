"""Many processes on one home: an approved action runs once, and a limit is exact."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import anyio
import anyio.to_thread

from tests.gateway import processes
from tests.gateway.world import PULL_REQUEST, World
from tests.ledger.processes import running, told

ROUNDS = 50


@contextmanager
def machine_gaps() -> Iterator[list[float]]:
    """Measure, in a thread of its own, how long a wait of 10 ms takes on this machine meanwhile."""
    gaps = [0.0]
    over = threading.Event()

    def beat() -> None:
        while not over.is_set():
            before = time.monotonic()
            over.wait(0.01)
            gaps.append(time.monotonic() - before)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield gaps
    finally:
        over.set()
        thread.join()


def test_two_executors_racing_one_approved_action_perform_it_once(world: World) -> None:
    world.activate(('limits = ["50 calls per hour"]', 'limits = ["500 calls per hour"]'))
    world.executing = False
    with ExitStack() as stack:
        racers = [stack.enter_context(running(processes.execute_in_rounds, world.home))[1] for _ in range(2)]
        assert [told(racer) for racer in racers] == ["ready", "ready"]
        winners: set[int] = set()
        handicaps = [0.0, 0.0]
        rounds = 0
        while rounds < ROUNDS or (len(winners) < 2 and rounds < 4 * ROUNDS):
            action = world.comment(f"Round {rounds}.").envelope["action_id"]
            at = time.monotonic() + 0.003
            for racer, handicap in zip(racers, handicaps, strict=True):
                racer.send(at + handicap)
            done = [told(racer) for racer in racers]
            assert sorted(done) == [[], [action]], f"round {rounds}"
            winner = done.index([action])
            winners.add(winner)
            # A machine may favour one of them: who has won starts a little later, until the other wins too.
            handicaps = [handicap + 0.0005 if who == winner else 0.0 for who, handicap in enumerate(handicaps)]
            rounds += 1
        for racer in racers:
            racer.send(None)
    assert winners == {0, 1}  # it was a race
    assert all(world.ticket.count(f"Round {number}.") == 1 for number in range(rounds))
    assert len(world.entries("execution.started")) == len(world.entries("execution.finished")) == rounds


def test_eight_processes_racing_a_limit_of_fifty_get_exactly_fifty(world: World) -> None:
    with ExitStack() as stack:
        askers = [
            stack.enter_context(running(processes.ask_often, world.home, world.tokens["claude"], who, 25))[1]
            for who in range(8)
        ]
        assert [told(asker, 60) for asker in askers] == ["ready"] * 8
        for asker in askers:
            asker.send("go")
        states = [state for asker in askers for state in told(asker, 60)]
    assert (len(states), states.count("approved"), states.count("denied")) == (200, 50, 150)
    assert len(world.entries("action.requested")) == 50
    assert len(world.entries("action.denied")) <= 20
    # The seats are taken for good: nobody gets one more after the processes are gone.
    assert world.comment("One more.").envelope["status"] == "denied"


def test_sixty_four_calls_at_once_of_mixed_tools_are_all_answered(world: World) -> None:
    """On one event loop, which stays responsive meanwhile."""
    held = world.held()
    files = [{"path": ".github/x.yml", "content": "x"}]
    kinds: list[tuple[str, dict[str, object], str]] = [
        ("get_ticket", {"ticket": "OPS-1"}, "succeeded"),
        ("get_permissions", {}, "succeeded"),
        ("list_actions", {}, "succeeded"),
        ("get_action", {"action_id": held, "wait_seconds": 1}, "pending"),
        ("open_pull_request", PULL_REQUEST, "pending"),
        ("update_ticket", {"ticket": "OPS-2"}, "succeeded"),
        ("open_pull_request", {**PULL_REQUEST, "files": files}, "denied"),
        ("get_deployment", {"deployment": "web", "environment": "staging"}, "succeeded"),
    ]
    answers: list[tuple[str, str]] = []
    gaps: list[float] = []

    async def one(number: int) -> None:
        tool, arguments, expected = kinds[number % len(kinds)]
        if tool == "update_ticket":
            arguments = {**arguments, "comment": f"Call {number}."}
        answer = await world.calling(tool, arguments)
        answers.append((str(answer.envelope["status"]), expected))

    async def heartbeat() -> None:
        while len(answers) < 64:
            before = anyio.current_time()
            await anyio.sleep(0.01)
            gaps.append(anyio.current_time() - before)

    async def all_at_once() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(heartbeat)
            for number in range(64):
                tasks.start_soon(one, number)

    with machine_gaps() as others:
        anyio.run(all_at_once)
    assert len(answers) == 64
    assert all(got == expected for got, expected in answers), answers
    # What also holds up a thread that only waits is the machine's doing, not a call that blocks the loop.
    assert max(gaps) < 1.0 + max(others)
    assert world.call("get_action", action_id=held).envelope["status"] == "pending"


def test_systems_that_keep_every_thread_busy_do_not_keep_the_ledger_from_answering(world: World) -> None:
    hanging = threading.Event()

    async def hang() -> None:
        await anyio.to_thread.run_sync(hanging.wait)

    async def crowd() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(100):
                tasks.start_soon(hang)
            with anyio.fail_after(30):
                answer = await world.calling("get_permissions", {})
            hanging.set()
            assert answer.envelope["status"] == "succeeded"

    try:
        anyio.run(crowd)
    finally:
        hanging.set()
