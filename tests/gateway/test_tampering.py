"""Hands in the file: derived tables decide nothing, and the entry table cannot be touched unnoticed."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from keyturn.assembly.standing import take_worker_turn
from keyturn.canon import Json
from keyturn.fold.state import State
from keyturn.gateway.core import Job
from keyturn.gateway.desk import Look
from keyturn.gateway.finding import find, find_beginning
from keyturn.gateway.review import Actor, cancel
from keyturn.gateway.show import show
from keyturn.gateway.work import work
from keyturn.ledger.errors import LedgerBroken
from keyturn.ledger.snapshot import EVERY
from keyturn.ledger.transaction import View
from keyturn.log.entry import Entry
from keyturn.model.errors import ConfigurationError, LedgerError, Refused
from keyturn.model.time import format_timestamp
from tests.cli.operator import Said, tell
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


ROWS = {
    "all": "1",
    "its requests": "kind = 'action.requested'",
    "its reviews": "kind = 'action.reviewed'",
    "its executions": "kind LIKE 'execution.%'",
    "its beginnings": "kind = 'execution.started'",
    "its ends": "kind = 'execution.finished'",
}


class Operators:
    """What every verb says of one action; a table that others changed must not change a word of it."""

    def __init__(self, world: World, action: str, principal: str = "claude") -> None:
        self.world = world
        self.action = action
        self.principal = principal

    def tell(self, *arguments: str | Path) -> Said:
        return tell("--home", self.world.home.folder, *arguments)

    def said(self, folder: Path) -> dict[str, Any]:
        folder.mkdir()
        export = folder / "request.json"
        views = {
            "show": self.tell("action", "show", self.action, "--json"),
            "diff": self.tell("action", "diff", self.action, "--json"),
            "export": self.tell("action", "export", self.action, "-o", export),
            "wait": self.tell("action", "wait", self.action, "--timeout", "0", "--json"),
            "list": self.tell("action", "list", "--principal", self.principal, "--json"),
            "inbox": self.tell("inbox", "--json"),
            "audit show": self.tell("audit", "show", self.action, "--json"),
            "audit log": self.tell("audit", "log", "--action", self.action, "--json"),
            "audit log of": self.tell("audit", "log", "--principal", self.principal, "--json"),
        }
        told: dict[str, Any] = {
            name: (view.code, json.loads(view.out) if view.out else view.err) for name, view in views.items()
        }
        return {**told, "export": (views["export"].code, export.read_bytes() if export.exists() else "")}


def _open(world: World) -> str:
    action = world.held()
    world.review(action, who="carol", verdict="approve")
    return action


def _held(world: World) -> str:
    return world.held()


def _over(world: World) -> str:
    return str(world.comment("Hello.").envelope["action_id"])


def _reviewed_and_over(world: World) -> str:
    action = world.held()
    world.approve(action)
    world.drain()
    return action


def _rejected(world: World) -> str:
    action = world.held()
    world.review(action, verdict="reject", reason="no")
    return action


def _refused(world: World) -> str:
    envelope = world.call("update_ticket", ticket="OPS-99", comment="Hello.").envelope
    assert envelope["status"] == "denied"
    return str(envelope["action_id"])


MADE = {
    "held": _held,
    "approved": _open,
    "over": _over,
    "reviewed and over": _reviewed_and_over,
    "rejected": _rejected,
    "refused": _refused,
}


def _without(world: World, action: str, rows: str) -> None:
    with closing(sqlite3.connect(world.home.place.database, isolation_level=None, timeout=10)) as db:
        db.execute(f"DELETE FROM lookup WHERE action = ? AND {rows}", (action,))


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("made", MADE)
def test_no_verb_believes_the_rows(world: World, tmp_path: Path, made: str, rows: str) -> None:
    action = MADE[made](world)
    operators = Operators(world, action)
    before = operators.said(tmp_path / "before")
    _without(world, action, ROWS[rows])
    after = operators.said(tmp_path / "after")
    for name in before:
        if made == "refused" and name == "list":
            continue  # of refusals the fold keeps nothing: their rows are all that lists them
        assert after[name] == before[name], name


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("made", ["over", "reviewed and over", "rejected", "refused"])
def test_no_verb_believes_the_rows_of_what_is_long_over(world: World, tmp_path: Path, made: str, rows: str) -> None:
    action = MADE[made](world)
    world.clock.run(hours=2)
    world.gate.ledger.transact(_note)
    assert action not in world.gate.ledger.look(lambda view: view.state.actions)
    operators = Operators(world, action)
    before = operators.said(tmp_path / "before")
    _without(world, action, ROWS[rows])
    after = operators.said(tmp_path / "after")
    for name in before:
        if name == "list":
            continue  # a list of what is long over shows what rows there are
        assert after[name] == before[name], name


def test_a_held_action_without_rows_is_found_by_its_short_id_and_approved(world: World) -> None:
    action = world.held()
    _without(world, action, "1")
    operators = Operators(world, action)
    assert operators.tell("action", "show", action[-6:], "--json=action_id").json == {"action_id": action}
    give_up = take_worker_turn(world.home)  # so that no worker is started
    assert give_up is not None
    said = operators.tell("--no-input", "approve", action[-6:], "-m", "ok", "--key", world.keys["alice"])
    give_up()
    assert (said.code, said.rows[0][3]) == (0, "approved"), said.err


def test_rows_that_name_actions_nobody_asked_for_are_passed_over(world: World) -> None:
    action = world.held()
    ghost = f"{action[:20]}0000{action[24:]}"
    assert ghost != action
    row = "INSERT INTO lookup (seq, kind, action, principal, ts) VALUES (900, 'action.requested', ?, 'claude', '')"
    world.tamper((row, (ghost,)), ("UPDATE lookup SET action = ? WHERE seq = 3", (ghost,)))
    operators = Operators(world, action)
    assert operators.tell("action", "show", action[-6:], "--json=action_id").json == {"action_id": action}
    for verb in (("action", "show"), ("action", "wait"), ("action", "export"), ("audit", "show")):
        said = operators.tell(*verb, ghost)
        assert (said.code, said.err) == (5, f"keyturn: there is no action {ghost}; see keyturn action list\n")


class Counting(View[State]):
    """A view that counts the entries read through it, and hides those of one kind."""

    def __init__(self, view: Look, without: str = "") -> None:
        super().__init__(view._connection, view.state, view.head, view.reading)
        self.without = without
        self.read = 0

    def entry(self, seq: int) -> Entry:
        self.read += 1
        return super().entry(seq)

    def entries(self, first: int, end: int = 2**53) -> list[Entry]:
        found = [entry for entry in super().entries(first, end) if entry.kind != self.without]
        self.read += len(found)
        return found


@pytest.mark.parametrize("given", ["01a1fde9-50d4-78f3-be6f-a6d24f1ffcaa", "f" * 36, "-" * 36, "0" * 36])
def test_an_id_that_nobody_made_is_looked_for_without_reading_the_whole_log(world: World, given: str) -> None:
    for _ in range(6):
        world.gate.ledger.transact(_note)

    def look(view: Look) -> int:
        counting = Counting(view)
        assert find(counting, given) is None
        assert find_beginning(view, given) is None
        return counting.read

    assert world.gate.ledger.look(look) < 60 < len(world.entries())


def test_entries_that_make_no_story_are_a_message_and_no_traceback(world: World) -> None:
    action = _over(world)
    started = world.entries("execution.started")[0]
    world.clock.run(hours=2)
    world.gate.ledger.transact(_note)
    _without(world, action, "1")
    with pytest.raises(LedgerError, match=rf"the entries of action {action} make no story: entry \d+: "):
        world.gate.ledger.look(lambda view: show(Counting(view, without="execution.started"), action))
    world.tamper(("DELETE FROM entry WHERE seq = ?", (started.seq,)))
    said = tell("--home", world.home.folder, "action", "show", action)
    assert (said.code, said.err.startswith("keyturn: entry ")) == (1, True), said.err


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


def test_whose_a_refused_call_was_and_that_it_is_over_is_known_without_the_lookup_table(world: World) -> None:
    denied = str(world.call("update_ticket", ticket="OPS-1", commment="typo").envelope["action_id"])
    world.tamper(("DELETE FROM lookup WHERE action = ?", (denied,)))
    for name, code in (("claude", "already_decided"), ("codex", "not_found")):
        with pytest.raises(Refused) as refused:
            cancel(world.gate, denied, Actor("principal", name), "no")
        assert refused.value.code == code
