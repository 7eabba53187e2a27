"""What the policy suspends by itself when something is wrong, who notices, and that only a person lifts it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from keyturn.canon import Json
from keyturn.fold.state import State
from keyturn.fold.suspensions import POLICY, READ_ONLY, SUSPENDED, Scope
from keyturn.gateway.suspensions import draft_lift
from keyturn.gateway.tightening import tighten
from keyturn.log.entry import Entry
from keyturn.model.errors import ConnectorError
from keyturn.policy.alarms import Alarms
from keyturn.verifier import verify_ledger
from tests.gateway.test_clocks import sign_for_the_clock
from tests.gateway.test_suspensions import suspend
from tests.gateway.world import PRODUCTION, STAGING, Simulator, World, raises

ALL = Scope("all")
UNKNOWN = '\n[degrade]\non_unknown_outcomes = { over = 0, mode = "read-only" }\n'
LAG = '\n[degrade]\non_anchor_lag = { over = "2h", mode = "suspended", environments = ["staging"] }\n'
INCIDENT = '\n[degrade]\non_incident = { mode = "read-only" }\n'


def degrading(world: World, text: str) -> None:
    world.activate(("# A forbid beats every grant.", text + "# A forbid beats every grant."))


def unknown(world: World, ticket: str = "OPS-1") -> str:
    simulator = Simulator(world.gate.governed["update_ticket"])
    error = ConnectorError("the line was cut", kind="unknown")
    simulator.executes, simulator.probes = raises(error), raises(error)
    world.with_tool(simulator)
    answer = world.call("update_ticket", ticket=ticket, comment="Hello.")
    assert answer.envelope["status"] == "unknown"
    return str(answer.envelope["action_id"])


def codes(world: World, tool: str, **arguments: object) -> list[str]:
    reasons = world.call(tool, **arguments).envelope["reasons"]
    assert isinstance(reasons, list)
    return [str(reason["code"]) for reason in reasons if isinstance(reason, dict)]


def by(entry: Entry) -> dict[str, Any]:
    facts: Mapping[str, Any] = entry.facts
    return dict(facts["by"])


def lift(world: World, scope: Scope = ALL) -> None:
    world.act(draft_lift(world.gate, scope, reason="looked into", by="alice"))


def test_an_unknown_outcome_makes_everything_read_only_with_the_next_decision(world: World) -> None:
    degrading(world, UNKNOWN)
    unknown(world)
    assert codes(world, "rollback_deployment", **STAGING) == ["read_only"]
    entry = world.entries("suspension.set")[-1]
    assert entry.facts["by"] == {"type": "policy", "name": "on_unknown_outcomes"}
    assert (entry.facts["mode"], entry.facts["scope"]) == (READ_ONLY, {"type": "all", "name": None})
    assert world.call("get_deployment", **{k: STAGING[k] for k in ("deployment", "environment")}).is_error is False
    refusal = world.entries("action.denied")[-1]
    assert refusal.seq > entry.seq
    assert world.live("staging") == "2.4.0"


def test_the_words_say_which_rule_of_the_policy_it_was(world: World) -> None:
    degrading(world, UNKNOWN)
    unknown(world)
    answer = world.call("rollback_deployment", **STAGING)
    reasons: Any = answer.envelope["reasons"]
    assert reasons[0]["text"] == (
        "everything is read-only at present: the policy stopped all changes: "
        '"on_unknown_outcomes: 1 outcome is unknown, more than 0"'
    )


def test_what_was_lifted_for_is_no_reason_again_and_what_comes_later_is(world: World) -> None:
    degrading(world, UNKNOWN)
    unknown(world)
    assert codes(world, "rollback_deployment", **STAGING) == ["read_only"]
    lift(world)
    world.gate = replace(world.gate, governed=world.open("another").governed)
    assert world.call("rollback_deployment", **STAGING).envelope["status"] == "succeeded"
    unknown(world, "OPS-2")
    assert codes(world, "rollback_deployment", **PRODUCTION) == ["read_only"]
    assert len(world.entries("suspension.set")) == 2


def test_a_person_who_suspended_as_far_is_not_overruled_and_lifting_does_not_help_while_it_is_wrong(
    world: World,
) -> None:
    degrading(world, UNKNOWN)
    unknown(world)
    suspend(world, ALL, SUSPENDED)
    world.gate.ledger.transact(lambda tx: tighten(world.gate, tx))
    assert [by(entry)["type"] for entry in world.entries("suspension.set")] == ["policy", "account"]
    lift(world)
    assert codes(world, "rollback_deployment", **STAGING) == ["read_only"]
    assert world.entries("suspension.set")[-1].facts["by"] == {"type": POLICY, "name": "on_unknown_outcomes"}


def test_without_an_anchor_for_too_long_the_named_environments_stop_and_no_others(world: World) -> None:
    degrading(world, LAG)
    held = world.held()
    world.clock.run(hours=2, minutes=1)
    assert codes(world, "rollback_deployment", **STAGING) == ["suspended"]
    scope = Scope("environment", "staging")
    assert [s.scope for s in world.gate.ledger.look(lambda view: view.state.suspensions.present())] == [scope]
    assert world.status(held) == "pending"
    lift(world, scope)
    assert world.call("rollback_deployment", **STAGING).envelope["status"] == "succeeded"
    world.clock.run(hours=2, minutes=1)
    assert codes(world, "rollback_deployment", **STAGING) == ["suspended"]


def test_an_anchor_that_covers_the_ledger_ends_the_lag_to_the_minute(world: World) -> None:
    degrading(world, LAG)

    def anchored(size: int) -> None:
        facts: dict[str, Json] = {"anchor": "own", "type": "file", "size": size, "root": "0" * 64}
        world.gate.ledger.transact(lambda tx: tx.append("anchor.recorded", facts))

    def alarms() -> Alarms:
        return world.gate.ledger.look(lambda view: view.state.alarms())

    world.clock.run(hours=1)
    world.comment("Hello.")
    size = len(world.entries())
    anchored(size)
    assert alarms().unanchored is None
    world.comment("Later.")
    later = world.entries()[size + 1].at
    assert alarms().unanchored == later
    anchored(size)
    assert alarms().unanchored == later
    world.clock.run(hours=1)
    assert world.call("rollback_deployment", **STAGING).envelope["status"] == "succeeded"


def test_an_approved_action_does_not_begin_where_something_is_wrong(world: World) -> None:
    degrading(world, UNKNOWN)
    held = world.held()
    unknown(world)
    world.approve(held)
    world.drain()
    assert world.status(held) == "approved"
    assert [entry for entry in world.entries("execution.started") if entry.action == held] == []


@pytest.mark.parametrize("text", [UNKNOWN, LAG, INCIDENT])
def test_a_ledger_that_tightened_by_itself_verifies(world: World, text: str) -> None:
    degrading(world, text)
    unknown(world)
    world.clock.run(hours=2, minutes=1)
    world.call("rollback_deployment", **STAGING)
    assert verify_ledger(world.home.place.database).verdict == "PASS-UNANCHORED"


def test_what_went_on_although_the_policy_wanted_it_stopped_fails(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    degrading(world, UNKNOWN)
    monkeypatch.setattr("keyturn.gateway.tightening.still_due", lambda rules, state, now: iter(()))
    unknown(world)
    assert world.call("rollback_deployment", **STAGING).envelope["status"] == "succeeded"
    report = verify_ledger(world.home.place.database)
    assert report.verdict == "FAIL"
    assert report.first_bad is not None
    assert "on_unknown_outcomes of the policy" in report.first_bad.reason


def test_an_incident_that_came_after_the_suspension_suspends_anew_once_that_is_lifted(world: World) -> None:
    degrading(world, INCIDENT)
    world.clock.step(hours=-1)
    sign_for_the_clock(world)
    assert codes(world, "rollback_deployment", **STAGING) == ["read_only"]
    world.clock.step(hours=-1)
    sign_for_the_clock(world)
    lift(world)
    assert codes(world, "rollback_deployment", **STAGING) == ["read_only"]
    lift(world)
    assert world.call("rollback_deployment", **STAGING).envelope["status"] == "succeeded"


def test_a_snapshot_keeps_what_was_lifted_and_since_when_no_anchor_covers_the_ledger(world: World) -> None:
    degrading(world, UNKNOWN)
    unknown(world)
    world.call("rollback_deployment", **STAGING)
    lift(world)
    state = world.gate.ledger.look(lambda view: view.state)
    again = State.from_json(state.to_json())
    assert again.watch == state.watch
    assert state.watch.accepted


@pytest.mark.parametrize("mode", [READ_ONLY, SUSPENDED])
def test_two_rules_that_are_due_together_suspend_one_after_the_other(world: World, mode: str) -> None:
    held = world.held()
    unknown(world)
    world.clock.run(hours=2, minutes=1)
    rules = UNKNOWN.replace("read-only", mode)
    rules += 'on_anchor_lag = { over = "2h", mode = "suspended", environments = ["staging", "production"] }\n'
    degrading(world, rules)
    assert codes(world, "rollback_deployment", **STAGING) == ["suspended"]
    names = [by(entry)["name"] for entry in world.entries("suspension.set")]
    assert names == ["on_unknown_outcomes", "on_anchor_lag", "on_anchor_lag"]
    assert [entry.action for entry in world.entries("action.cancelled")] == [held]
    assert world.status(held) == "cancelled"
    assert verify_ledger(world.home.place.database).verdict == "PASS-UNANCHORED"
