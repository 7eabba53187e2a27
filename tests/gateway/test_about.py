"""Tools about oneself: what one may do, and one's own actions; others' are as if there were none."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest

from keyturn.gateway.about import about
from keyturn.gateway.envelope import build
from keyturn.gateway.wait import wait_for
from keyturn.model.decision import Reason
from keyturn.model.errors import Refused
from tests.gateway.world import ENVELOPE, PULL_REQUEST, SCHEMAS, World, result

NOWHERE = "01a1fdf3-4f74-7fc7-b1f4-6db076494d59"


def test_permissions_say_what_one_may_call_under_which_rules_and_what_is_left(world: World) -> None:
    world.comment("Hello.")
    size = len(world.entries())
    answer = world.call("get_permissions")
    told = result(answer)
    assert (told["principal"], told["owner"]) == ("claude", "bob")
    tools = {tool["tool"]: tool for tool in told["tools"]}
    assert tools["update_ticket"]["rules"] == ["assistants comment on tickets", "ticket status needs a person"]
    used = {limit["rule"]: limit for limit in told["limits"] if limit["unit"] == "calls"}
    comments = used["assistants comment on tickets"]
    assert (comments["used"], comments["allowed"]) == (1, 50)
    assert comments["resets_at"] is not None
    assert used["assistants look at tickets"]["resets_at"] is None
    assert (len(world.entries()), answer.receipt) == (size, world.entries("action.requested")[-1])


def test_ones_actions_are_listed_newest_first_and_by_status(world: World) -> None:
    held, done = world.held(), str(world.comment("Hello.").envelope["action_id"])
    refused = str(world.call("update_ticket", wrong=1).envelope["action_id"])
    world.call("get_ticket", ticket="OPS-1")

    def ids(**arguments: Any) -> list[str]:
        return [row["action_id"] for row in result(world.call("list_actions", **arguments))["actions"]]

    assert ids() == [refused, done, held]
    assert ids(limit=2) == [refused, done]
    assert (ids(status="pending"), ids(status="denied"), ids(status="stale")) == ([held], [refused], [])
    assert world.call("list_actions", "codex").envelope["result"] == {"actions": []}


def test_others_actions_are_answered_like_none_at_all(world: World) -> None:
    """Pending, over, refused, and never there: the same words, so that ids tell nothing."""
    pending, done = world.held(), str(world.comment("Hello.").envelope["action_id"])
    refused = str(world.call("update_ticket", wrong=1).envelope["action_id"])
    world.clock.run(hours=2)
    for _ in range(64):  # the fold forgets what is long over
        world.call("get_ticket", ticket="OPS-1")
    for tool in ("get_action", "cancel_action"):
        said = set()
        for action in (pending, done, refused, NOWHERE):
            answer = world.call(tool, "codex", action_id=action)
            assert (answer.is_error, answer.envelope["action_id"]) == (True, None)
            said.add(json.dumps(answer.envelope).replace(action, "ID"))
        assert len(said) == 1
        assert "there is no action ID" in said.pop()
    assert world.status(pending) == "pending"
    assert (world.status(done), world.status(refused)) == ("succeeded", "denied")


def test_one_cancels_ones_own_while_it_waits(world: World) -> None:
    action = world.held()
    answer = world.call("cancel_action", action_id=action, reason="not needed")
    assert (answer.envelope["status"], answer.is_error) == ("cancelled", True)
    assert world.entries("action.cancelled")[-1].facts["by"] == {"type": "principal", "name": "claude"}
    again = world.call("cancel_action", action_id=action)
    assert "already_decided" in str(again.envelope["reasons"])
    done = str(world.comment("Hello.").envelope["action_id"])
    late = world.call("cancel_action", action_id=done)
    assert "it can no longer be cancelled" in str(late.envelope["message"])


def test_waiting_ends_with_the_action_and_reports_each_state(world: World) -> None:
    action = world.held()
    seen: list[str] = []

    async def report(_action: object, state: str) -> None:
        seen.append(state)
        if state == "pending":
            await anyio.to_thread.run_sync(world.approve, action)
        if state == "approved":
            await anyio.to_thread.run_sync(world.drain)

    answer = anyio.run(world.calling, "get_action", {"action_id": action, "wait_seconds": 20}, "claude", report)
    assert answer.envelope["status"] == "succeeded"
    assert seen in (["pending", "approved", "succeeded"], ["pending", "approved", "running", "succeeded"])


def test_waiting_ends_when_the_action_expires_although_nobody_writes_it(world: World) -> None:
    action = world.held()
    world.clock.run(hours=3, minutes=59, seconds=59.5)
    answer = world.call("get_action", action_id=action, wait_seconds=20)
    assert answer.envelope["status"] == "expired"


def test_waiting_ends_with_its_time(world: World) -> None:
    action = world.held()
    assert world.call("get_action", action_id=action, wait_seconds=1).envelope["status"] == "pending"
    assert anyio.run(wait_for, world.gate, action, 0.01) == "pending"
    with pytest.raises(Refused):
        anyio.run(wait_for, world.gate, NOWHERE, 1)


def test_an_action_that_expired_gives_back_what_it_took_and_is_written_down(world: World) -> None:
    world.activate(('limits = ["20 calls per hour", ', 'limits = ["1 pending", "20 calls per day", '))
    action = world.held()
    assert world.call("open_pull_request", **{**PULL_REQUEST, "title": "B"}).envelope["status"] == "denied"
    world.clock.run(hours=5)
    assert world.held(title="B") != action
    assert [entry.action for entry in world.entries("action.expired")] == [action]
    assert world.status(action) == "expired"


def test_no_handler_is_needed_for_a_tool_about_oneself_that_has_none(world: World) -> None:
    with pytest.raises(LookupError):
        anyio.run(about, world.gate, world.caller(), "get_weather", {}, None)


def test_an_envelope_is_bounded_and_clean_whatever_it_is_made_of(world: World) -> None:
    wild = "\x1b]0;\x07\u202e\ud800\x00" + "é" * 20_000
    envelope = build(
        tool="update_ticket",
        status="failed",
        message=wild,
        action_id=NOWHERE,
        reasons=[Reason(wild, wild, wild)] * 500,
        target=wild,
        environment="production",
        plan_summary=wild,
        result={"any": "thing"},
    )
    ENVELOPE.validate(envelope)
    assert json.dumps(envelope, ensure_ascii=False).isprintable()
    contract = json.loads((SCHEMAS / "update_ticket.v1.json").read_text())
    assert set(contract["output"]["required"] if "output" in contract else envelope) == set(envelope)


def test_what_expired_is_written_down_by_the_next_request_that_is_let_through(world: World) -> None:
    action = world.held()
    world.clock.run(hours=5)
    assert world.comment("Hello.").envelope["status"] == "succeeded"
    assert [entry.action for entry in world.entries("action.expired")] == [action]


def test_what_nobody_sees_is_not_told_although_python_calls_it_printable() -> None:
    """Blank letters, and a joiner without an effect; a space of another script stays."""
    told = build(tool="get_action", status="failed", message="a\u3164b\u034f c\u200dd\u3000e")
    assert told["message"] == "ab cd\u3000e"
