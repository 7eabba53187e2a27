"""Hands in the file: derived tables decide nothing, and the entry table cannot be touched unnoticed."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import anyio
import pytest

from keyturn.canon import Json
from keyturn.gateway.core import Job
from keyturn.gateway.work import work
from keyturn.ledger.errors import LedgerBroken
from keyturn.ledger.snapshot import EVERY
from keyturn.model.errors import ConfigurationError, Refused
from keyturn.model.time import format_timestamp
from tests.gateway.world import PULL_REQUEST, World, result


def effects(world: World) -> list[str | None]:
    return [entry.action for entry in world.entries("execution.started")]


def test_a_row_that_says_approved_approves_nothing(world: World) -> None:
    action = world.held()
    row = "INSERT INTO lookup (seq, kind, action, principal, ts) VALUES (?, ?, ?, 'claude', '')"
    world.tamper((row, (900, "action.reviewed", action)), (row, (901, "execution.started", action)))
    world.drain()
    assert (world.status(action), effects(world)) == ("pending", [])


def test_removing_what_says_it_ran_does_not_run_it_again(world: World) -> None:
    done = str(world.comment("Hello.").envelope["action_id"])
    world.tamper(("DELETE FROM lookup WHERE action = ? AND kind LIKE 'execution.%'", (done,)))
    fresh = world.open()
    for gate in (world.gate, fresh):
        world.gate = gate
        world.drain()
        assert world.status(done) == "succeeded"
        assert world.comment("Hello.").envelope["repeated"] is True
    assert (effects(world), world.ticket.count("Hello.")) == ([done], 1)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM lookup",
        "UPDATE lookup SET action = (SELECT max(action) FROM lookup), principal = 'codex'",
        "UPDATE lookup SET kind = 'action.requested'",
        "DELETE FROM lookup WHERE kind = 'action.requested'",
        "DELETE FROM lookup WHERE kind LIKE 'execution.%'",
        "DELETE FROM snapshot",
        "UPDATE snapshot SET body = CAST(replace(CAST(body AS TEXT), 'approve', 'reject_') AS BLOB)",
        "UPDATE snapshot SET sig = zeroblob(64)",
        "UPDATE snapshot SET seq = seq + 1000",
    ],
)
def test_whatever_is_done_to_derived_tables_runs_nothing_and_nothing_twice(world: World, statement: str) -> None:
    done = str(world.comment("Hello.").envelope["action_id"])
    held, other = world.held(), world.held(title="Another")
    world.approve(other)
    world.drain()
    if "snapshot" in statement:
        while len(world.entries()) < EVERY + 2:
            world.gate.ledger.transact(_note)
    ran = effects(world)
    world.whole = "lookup" not in statement
    world.tamper(statement)
    for gate in (world.gate, world.open()):
        world.gate = gate
        world.drain()
        assert effects(world) == ran == [done, other]
        assert gate.ledger.look(lambda view: view.state.actions[held].started) is None
        again = world.comment("Hello.").envelope
        assert (again["action_id"], again["status"], again["repeated"]) == (done, "succeeded", True)
        assert again["result"] == {"commented": True, "status": "open", "ticket": "OPS-1", "tracker": "ops"}
        assert world.call("open_pull_request", **PULL_REQUEST).envelope["action_id"] == held
        assert effects(world) == ran
    world.approve(held)
    world.drain()
    assert effects(world) == [done, other, held]


def _note(tx: Job) -> None:
    now = format_timestamp(tx.now)
    facts: dict[str, Json] = {"principal": "codex", "count": 1, "code": "limit", "since": now, "until": now}
    for _ in range(64):
        tx.append("requests.throttled", facts)


@pytest.mark.parametrize(
    "rows", ["kind LIKE 'execution.%'", "kind = 'execution.finished'", "kind = 'action.requested'"]
)
def test_of_an_action_long_over_the_entries_tell_the_truth_and_not_the_rows(world: World, rows: str) -> None:
    done = str(world.comment("Hello.").envelope["action_id"])
    world.clock.run(hours=2)
    world.gate.ledger.transact(_note)
    assert done not in world.gate.ledger.look(lambda view: view.state.actions)
    assert world.status(done) == "succeeded"
    world.tamper((f"DELETE FROM lookup WHERE action = ? AND {rows}", (done,)))
    assert world.status(done) == "succeeded"
    listed = [row["action_id"] for row in result(world.call("list_actions"))["actions"]]
    assert listed == ([] if "requested" in rows else [done])


def test_a_person_who_rejected_long_ago_is_still_told_from_the_rows(world: World) -> None:
    action = world.held()
    world.review(action, verdict="reject", reason="no")
    world.clock.run(hours=2)
    world.gate.ledger.transact(_note)
    assert world.status(action) == "rejected"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entry SET body = CAST(replace(CAST(body AS TEXT), 'claude', 'claudE') AS BLOB) WHERE seq = 4",
        "UPDATE entry SET body = CAST(replace(CAST(body AS TEXT), '\"hold\"', '\"permit\"') AS BLOB)",
        "UPDATE entry SET sig = zeroblob(64), leaf = zeroblob(32) WHERE seq = (SELECT max(seq) FROM entry)",
        "DELETE FROM entry WHERE seq = (SELECT max(seq) FROM entry)",
        "DELETE FROM payload WHERE field = 'plan'",
        "UPDATE payload SET data = CAST(replace(CAST(data AS TEXT), '60', '61') AS BLOB) WHERE field = 'diff'",
    ],
)
def test_a_changed_entry_or_payload_stops_everybody(world: World, statement: str) -> None:
    action = world.held()
    world.approve(action)
    world.tamper(statement)
    with pytest.raises(LedgerBroken):
        world.drain()
    if "payload" not in statement:
        # From here this process refuses everything, and a new one does not begin.
        with pytest.raises(LedgerBroken):
            world.call("get_permissions")
        with pytest.raises((LedgerBroken, ConfigurationError, Refused)):
            world.open().ledger.look(lambda view: view.now)
    with closing(sqlite3.connect(world.home.place.database)) as db:
        assert not db.execute("SELECT 1 FROM lookup WHERE kind LIKE 'execution.%'").fetchall()


def test_a_worker_ends_when_the_ledger_is_not_the_one_it_followed(world: World) -> None:
    """With the ledger's error itself, so that whoever started it can say what is wrong."""

    async def running() -> None:
        async def tamper() -> None:
            await anyio.sleep(0.2)
            await anyio.to_thread.run_sync(world.tamper, "DELETE FROM entry WHERE seq = (SELECT max(seq) FROM entry)")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tamper)
            with pytest.raises(LedgerBroken, match="went backwards"), anyio.fail_after(20):
                await work(world.gate, world.executor, world.home.place.run, idle=None, stop=anyio.Event())

    anyio.run(running)
