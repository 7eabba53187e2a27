"""A thief of the key that signs entries writes requests that show one thing and do another: none of it is done."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from keyturn import canon
from keyturn.assembly.outside import new_action_id
from keyturn.gateway.core import Job
from keyturn.gateway.payloads import read_value
from keyturn.model.time import format_timestamp
from tests.gateway.world import PRODUCTION, STAGING, World

Forge = Callable[[dict[str, Any], dict[str, Any], dict[str, Any]], None]
"""Changes the facts, the plan and the payloads of a request that was honest."""

PERMITTED = {"decision": "permit", "obligations": [], "reviewers": {}, "excluded": []}


def written(world: World, honest: str, forge: Forge) -> str:
    """Write a request like `honest` but for what `forge` does to it, as whoever holds the entry key can."""

    def job(tx: Job) -> str:
        entry = next(entry for entry in tx.entries(0) if (entry.kind, entry.action) == ("action.requested", honest))
        facts: Any = {**entry.facts, "repeat": True, "expires_at": format_timestamp(tx.now + timedelta(minutes=10))}
        plan: Any = read_value(tx, entry, "plan")
        data: Any = {name: tx.payload(entry, name) for name in entry.data}
        forge(facts, plan, data)
        action = new_action_id(tx.now)
        tx.append("action.requested", facts, action=action, data={**data, "plan": canon.encode(plan)})
        return action

    return world.gate.ledger.transact(job)


def asked(world: World, **arguments: Any) -> str:
    """Ask for a rollback that is never done: it only lends its entry to the thief."""
    world.executing = False
    action = str(world.call("rollback_deployment", **arguments).envelope["action_id"])
    world.call("cancel_action", action_id=action, reason="not now")
    world.executing = True
    return action


def codes(world: World, action: str) -> object:
    return next(entry.facts["codes"] for entry in world.entries("action.stale") if entry.action == action)


def test_a_request_for_staging_that_acts_on_production_changes_nothing(world: World) -> None:
    def forge(facts: dict[str, Any], plan: dict[str, Any], data: dict[str, Any]) -> None:
        plan.update(target="deployments:web/staging", environment="staging")
        facts.update(PERMITTED, target="deployments:web/staging", environment="staging", rules=["staging"])
        data.update({"argument.environment": canon.encode("staging"), "diff": b""})

    before = world.live("production")
    action = written(world, asked(world, **PRODUCTION), forge)
    world.drain()
    assert (world.status(action), world.live("production")) == ("failed", before)
    assert "does something else than it shows" in world.envelope(action)["message"]


def test_a_pull_request_that_shows_notes_and_writes_a_workflow_lands_nothing(world: World) -> None:
    def forge(facts: dict[str, Any], plan: dict[str, Any], data: dict[str, Any]) -> None:
        del facts, data
        path = ".github/workflows/x.yml"
        content = base64.b64encode(b"evil\n").decode()
        plan["change"]["files"] = [{"path": path, "content": content, "mode": "100644"}]
        plan["facts"]["blobs"][0]["path"] = path

    honest = world.held(files=[{"path": "NOTES.md", "content": "hello\n"}])
    world.call("cancel_action", action_id=honest, reason="not now")
    action = written(world, honest, forge)
    world.approve(action)
    world.drain()
    assert world.status(action) == "failed"
    assert "does something else than it shows" in world.envelope(action)["message"]


@pytest.mark.parametrize(
    "fact",
    [
        {"target": "deployments:web/production"},
        {"environment": "production"},
        {"effects": {"calls": 1, "files_changed": 0, "lines_changed": 0, "recipients": 0}},
        {"backend": {"port": "deployments", "name": "web", "kind": "releases", "location": "/", "account": ""}},
    ],
    ids=lambda fact: next(iter(fact)),
)
def test_facts_that_are_not_those_of_the_plan_are_not_begun(world: World, fact: dict[str, Any]) -> None:
    def forge(facts: dict[str, Any], plan: dict[str, Any], data: dict[str, Any]) -> None:
        del plan, data
        facts.update(fact)

    action = written(world, asked(world, **STAGING), forge)
    world.drain()
    assert (world.status(action), codes(world, action)) == ("stale", ["story"])
    assert world.entries("execution") == []


def test_an_environment_that_the_policy_does_not_give_the_target_is_not_begun(world: World) -> None:
    def forge(facts: dict[str, Any], plan: dict[str, Any], data: dict[str, Any]) -> None:
        del data
        facts.update(PERMITTED, environment="staging")
        plan.update(environment=None)

    action = written(world, asked(world, **PRODUCTION), forge)
    world.drain()
    assert (world.status(action), codes(world, action)) == ("stale", ["environment"])
