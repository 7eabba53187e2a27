"""`keyturn status` where work piles up: for whom, why not, how long, and on one screen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from keyturn.assembly.build import become_executor
from keyturn.assembly.notifier import LOCK
from keyturn.fold.suspensions import Scope
from keyturn.gateway.desk import Look
from keyturn.gateway.execute import finish
from keyturn.gateway.pressure import MOST_REFUSALS, Pressure, decided_at, pressure
from keyturn.gateway.review import Actor
from keyturn.gateway.suspensions import set_suspension
from keyturn.ledger.lock import take_instance
from keyturn.model.outcome import Unknown
from keyturn.model.time import format_timestamp
from tests.cli.operator import Said, tell
from tests.cli.test_terminal import COLUMNS, bare, shown
from tests.gateway.hands import claim_next
from tests.gateway.world import Founded, World


@pytest.fixture
def world(tmp_path: Path, populated: Founded) -> Iterator[World]:
    world = World(tmp_path / "home", populated)
    world.executing = False
    yield world
    world.close()


def status(world: World, *options: str) -> Said:
    return tell("--home", world.home.folder, "status", *options)


def told(world: World, field: str) -> Any:
    return status(world, f"--json={field}").json[field]


def look(world: World) -> Pressure:
    seen: Pressure = world.gate.ledger.look(pressure)
    return seen


def begin(world: World) -> str:
    claimed = claim_next(world.gate, world.executor.instance)
    assert claimed is not None
    return claimed.action.id


def lose(world: World, action: str) -> None:
    instance = world.executor.instance
    world.gate.ledger.transact(lambda tx: finish(tx, action, Unknown("lost"), instance, recovered=False))


def test_what_is_pending_is_grouped_by_whom_it_waits_for(world: World) -> None:
    first, second = world.held(), world.held(title="another")
    third = world.held("codex", title="a third")
    queues = told(world, "waiting")
    assert [(queue["for"], queue["people"], queue["actions"]) for queue in queues] == [
        (["group:sre"], ["alice", "carol"], [first, second]),  # bob answers for claude
        (["group:sre"], ["alice", "bob", "carol"], [third]),
    ]
    assert told(world, "expires_next")["action_id"] == first


def test_half_a_quorum_waits_for_the_others(world: World) -> None:
    world.activate(("quorum = 1", "quorum = 2"))
    action = world.held()
    world.approve(action, "alice")
    [queue] = look(world).queues
    assert queue.people == ("carol",)


def test_an_approved_action_says_why_it_does_not_run(world: World) -> None:
    world.comment("first")
    world.comment("second")
    busy = [(ready["code"], ready["why"]) for ready in told(world, "ready")]
    assert busy == [(None, "about to be taken"), ("target_busy", "an earlier one on the same target goes first")]
    running = begin(world)
    assert told(world, "ready")[0]["why"] == f"{running} is running on the same target"
    actor = Actor("account", "ops")
    set_suspension(world.gate.ledger, Scope("all"), mode="read-only", by=actor, reason="stop")
    assert told(world, "ready")[0]["code"] == "read_only"
    assert told(world, "suspended")[0]["mode"] == "read-only"


def test_what_is_suspended_is_not_said_to_go_before_a_later_one_on_its_target(world: World) -> None:
    world.comment("first")
    world.call("update_ticket", "codex", ticket="OPS-1", comment="second")
    actor = Actor("account", "ops")
    set_suspension(world.gate.ledger, Scope("principal", "claude"), mode="read-only", by=actor, reason="stop")
    assert [ready.code for ready in look(world).ready] == ["read_only", None]


def test_without_anybody_to_run_it_an_approved_action_says_so(world: World) -> None:
    world.comment("first")
    world.executor.lock.release()
    try:
        assert told(world, "ready")[0]["code"] == "no_worker"
        assert told(world, "executors") == 0
    finally:
        world.executor = become_executor(world.home)


def test_a_clock_that_is_not_trusted_keeps_everything(world: World) -> None:
    world.comment("first")
    world.clock.step(hours=-1)
    [ready] = look(world).ready
    assert ready.code == "clock"


def test_one_that_executes_is_found_among_many_that_died(world: World) -> None:
    for number in range(300):
        (world.home.place.run / f"{number:032x}").touch()
    assert told(world, "executors") == 1


def test_what_runs_says_since_when_and_whether_its_process_lives(world: World) -> None:
    world.comment("first")
    action = begin(world)
    [running] = told(world, "running")
    assert (running["action_id"], running["alive"]) == (action, True)
    world.executor.lock.release()
    try:
        assert told(world, "running")[0]["alive"] is False
    finally:
        world.executor = become_executor(world.home)


def test_times_are_of_what_was_decided_and_finished_in_the_last_hour(world: World) -> None:
    old = world.held()
    world.clock.run(minutes=1)
    world.approve(old)
    world.drain()
    world.clock.run(minutes=45)
    for minutes in (2, 4, 30):
        action = world.held(title=f"after {minutes}")
        world.clock.run(minutes=minutes / 3)
        world.review(action, verdict="reject", reason="not now")
    seen = look(world)
    assert seen.deciding is not None
    assert seen.deciding.count == 4
    assert 60 <= seen.deciding.median < 120
    assert 600 <= seen.deciding.p95 < 700
    assert seen.finishing is not None
    assert (seen.finishing.count, 60 <= seen.finishing.p95 < 120) == (1, True)
    world.clock.run(minutes=45)
    later = look(world)
    assert later.deciding is not None
    assert later.deciding.count == 3
    assert later.finishing is None


def test_an_expiry_counts_as_the_decision_that_it_is(world: World) -> None:
    action = world.held()
    world.clock.run(hours=5)
    world.held(title="another")  # sweeps
    known = world.gate.ledger.look(lambda view: view.state.actions[action])
    assert decided_at(known) == known.expires_at


def test_refusals_of_the_last_hour_are_counted_by_code_with_those_not_written_one_by_one(world: World) -> None:
    for _ in range(3):
        world.call("get_ticket", ticket="no ticket")
    facts: dict[str, Any] = {"principal": "claude", "count": 70, "code": "limit"}

    def throttle(times: int) -> None:
        def job(tx: Any) -> None:
            now = format_timestamp(tx.now)
            for _ in range(times):
                tx.append("requests.throttled", {**facts, "since": now, "until": now})

        world.gate.ledger.transact(job)

    throttle(1)
    assert told(world, "refused") == {"limit": 70, "argument_invalid": 3}
    assert told(world, "refused_complete") is True
    throttle(MOST_REFUSALS)
    assert told(world, "refused_complete") is False
    world.clock.run(hours=2)
    world.comment("later")
    assert look(world).refused.codes == {}
    assert look(world).growth[0] < look(world).growth[1]


def test_a_request_that_names_no_code_is_counted_too(world: World) -> None:
    world.call("get_ticket", ticket="no ticket")
    [denied] = world.entries("action.denied")

    def again(tx: Any) -> None:
        tx.append("action.denied", {**denied.facts, "codes": []}, action=world.gate.new_id(tx.now))

    world.gate.ledger.transact(again)
    assert look(world).refused.codes == {"none": 1, "argument_invalid": 1}


def test_the_newest_entries_of_a_kind_are_found(world: World) -> None:
    for number in range(3):
        world.comment(f"comment {number}")

    def newest(view: Look) -> list[int]:
        return [entry.seq for entry in view.newest("action.requested", 2)]

    assert world.gate.ledger.look(newest) == [e.seq for e in reversed(world.entries("action.requested")[-2:])]


def fill(world: World) -> None:
    """Leave something of every sort behind."""
    world.comment("lost")
    lose(world, begin(world))
    world.call("update_ticket", ticket="OPS-2", comment="running")
    begin(world)
    world.call("update_ticket", ticket="OPS-2", comment="blocked")
    for number in range(7):
        world.review(world.held(title=f"decided {number}"), verdict="reject", reason="no")
    world.held(title="waits")
    world.held("codex", title="waits too")
    world.call("get_ticket", ticket="no ticket")
    actor = Actor("account", "ops")
    scope = Scope("tool", "rollback_deployment")
    set_suspension(world.gate.ledger, scope, mode="read-only", by=actor, reason="a \x1b[2J freeze\u202e")


def test_it_all_fits_on_one_screen_and_nothing_on_it_is_interpreted(world: World) -> None:
    fill(world)
    screen = shown(world, "status")
    rows = bare(screen).splitlines()
    assert "\u202e" not in screen
    assert all(len(row) <= COLUMNS for row in rows)
    assert len(rows) <= 40
    labels = [row.split()[0] for row in rows if row and not row.startswith(" ")]
    assert labels == [
        *("Home", "Log", "Entries", "Policy", "Open", "Waiting", "Approved", "Running", "Unknown", "Expires"),
        *("Decided", "Finished", "Refused", "Suspended", "Worker", "Room"),
    ]


def test_more_of_one_sort_than_a_screen_takes_are_counted(world: World) -> None:
    for number in range(8):
        world.call("update_ticket", ticket="OPS-2", comment=f"number {number}")
    screen = shown(world, "status")
    assert "and 3 more: see --json" in screen
    assert len(told(world, "ready")) == 8


def test_failing_notices_are_told(world: World) -> None:
    with (world.home.wiring).open("a") as wiring:
        wiring.write('\n[notify]\ncommand = ["/bin/false"]\n')
    assert told(world, "notify") == {"active": False, "failed": 0, "failed_in_a_row": 0}
    log = told(world, "log")
    told_up_to = {"seq": 0, "moments": []}
    last = {"at": "2026-11-21T09:00:00Z", "place": "held of 7k2m", "why": "it ended with status 1"}
    record = {"log": log.split("+")[0], "told": told_up_to, "sent": 2, "failed": 3, "consecutive": 2, "last": last}
    (world.home.place.folder / "notified").write_text(json.dumps(record))
    assert told(world, "notify") == {"active": False, "failed": 3, "failed_in_a_row": 2}
    assert any("the last 2 notices failed" in warning for warning in told(world, "warnings"))
    assert "Notify" in shown(world, "status")
    turn = take_instance(world.home.place.run, LOCK)
    assert turn is not None
    screen = shown(world, "status")
    turn.release()
    assert "people are told" not in screen
    assert "people are not told; 3 notices failed so far" in screen


def test_a_disk_without_room_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keyturn.assembly.survey.LITTLE", 2**62)
    assert any("MiB are free" in warning for warning in told(world, "warnings"))


def test_looking_takes_little_of_a_long_ledger(world: World) -> None:
    """However many entries there are, no more than some hundreds are read beside those since the last snapshot."""
    now = format_timestamp(world.gate.ledger.look(lambda view: view.now))
    facts: dict[str, Any] = {"principal": "claude", "count": 1, "code": "limit", "since": now, "until": now}
    for _ in range(4):
        world.gate.ledger.transact(lambda tx: [tx.append("requests.throttled", facts) for _ in range(500)] and None)

    def reads(view: Look) -> int:
        count = 0
        real = view.entry

        def counting(seq: int) -> Any:
            nonlocal count
            count += 1
            return real(seq)

        view.entry = counting  # type: ignore[method-assign]  # every entry that is looked at passes here
        pressure(view)
        return count

    assert world.gate.ledger.look(reads) <= 2 * MOST_REFUSALS + 60


def test_spreads_are_measured_times(world: World) -> None:
    action = world.held()
    world.clock.run(seconds=3)
    world.approve(action)
    spread = look(world).deciding
    assert spread is not None
    assert spread.median == spread.p95
    assert timedelta(seconds=3) <= timedelta(seconds=spread.p95) < timedelta(seconds=20)
