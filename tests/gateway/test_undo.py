"""Undoing: the way back that a plan names, asked for once by its assistant, and decided like any call."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from keyturn.gateway.acts import draft_resolution
from keyturn.gateway.call import visible_contracts
from keyturn.gateway.detached import export_request, read_request
from keyturn.gateway.envelope import Answer
from keyturn.gateway.journal import sentence
from keyturn.gateway.show import Shown, details, show
from keyturn.log.entry import Entry
from keyturn.model.outcome import CannotTell, Failed, Outcome, Succeeded, Unknown
from keyturn.model.plan import Inverse, Plan, from_result
from keyturn.verifier import verify_ledger
from tests.gateway import processes
from tests.gateway.world import PRODUCTION, STAGING, Simulator, World
from tests.ledger.processes import running, told


@pytest.fixture(autouse=True)
def _provable(world: World) -> Any:
    """Whatever a test does, the ledger it leaves can be proved."""
    yield
    report = verify_ledger(world.home.place.database)
    assert (report.verdict, report.first_bad) == ("PASS-UNANCHORED", None)


def rolled_back(world: World, principal: str = "claude", **changes: Any) -> str:
    answer = world.call("rollback_deployment", principal, **{**STAGING, **changes})
    assert answer.envelope["status"] == "succeeded", answer.envelope["message"]
    return str(answer.envelope["action_id"])


def undo(world: World, action: str, principal: str = "claude", **more: Any) -> Answer:
    return world.call("undo_action", principal, action_id=action, **more)


def refusal(world: World, action: str, principal: str = "claude") -> tuple[str, str]:
    """Ask for an undo that must not be begun; return why: code and sentence."""
    size = len(world.entries())
    answer = undo(world, action, principal)
    assert (answer.is_error, answer.envelope["status"], len(world.entries())) == (True, "denied", size)
    [reason] = result_reasons(answer)
    return reason["code"], reason["text"]


def result_reasons(answer: Answer) -> Any:
    return answer.envelope["reasons"]


def undoings(world: World) -> list[Entry]:
    return world.entries("action.undoing")


def test_a_rollback_that_needed_nobody_is_undone_at_once(world: World) -> None:
    action = rolled_back(world)
    assert world.live("staging") == "2.3.1"
    answer = undo(world, action, reason="Errors went up.")
    assert (answer.is_error, answer.envelope["status"], answer.envelope["tool"]) == (
        False,
        "succeeded",
        "rollback_deployment",
    )
    assert world.live("staging") == "2.4.0"
    assert str(answer.envelope["plan_summary"]).startswith(f"To undo {action}: Roll back web in staging from 2.3.1")
    [entry] = undoings(world)
    requested, finished = world.entries("action.requested")[0], world.entries("execution.finished")[0]
    assert entry.facts["undoes"] == {
        "action": action,
        "digest": requested.digest,
        "request": requested.seq,
        "outcome": finished.seq,
    }
    assert (entry.facts["act"], entry.facts["principal"]) == (None, "claude")
    assert world.payload(entry, "reason") == b'"Errors went up."'
    told_of = world.gate.ledger.look(lambda view: sentence(view, entry))
    assert told_of.startswith(f"claude asks for rollback_deployment on deployments:web/staging, to undo {action}:")


def test_what_is_held_by_policy_is_held_when_it_is_undone_and_reviewers_see_what_it_undoes(world: World) -> None:
    first = str(world.call("rollback_deployment", **PRODUCTION).envelope["action_id"])
    world.approve(first)
    world.drain()
    answer = undo(world, first, reason="Not that one.")
    assert (answer.envelope["status"], world.live("production")) == ("pending", "2.3.1")
    second = str(answer.envelope["action_id"])
    shown = world.gate.ledger.look(lambda view: show(view, second))
    assert isinstance(shown, Shown)
    assert (details(shown)["undoes"], details(shown)["asked_by"], shown.action.undoes) == (first, None, first)
    carried = read_request(world.gate.ledger.look(lambda view: export_request(view, second)))
    assert (carried.action.undoes, carried.reason) == (first, "Not that one.")
    world.approve(second)
    world.drain()
    assert (world.status(second), world.live("production")) == ("succeeded", "2.4.0")


def test_a_ticket_gets_its_status_back(world: World) -> None:
    first = str(world.call("update_ticket", ticket="OPS-1", status="resolved").envelope["action_id"])
    assert "status: open" in world.ticket
    world.approve(first)
    world.drain()
    assert "status: resolved" in world.ticket
    second = str(undo(world, first).envelope["action_id"])
    world.approve(second)
    world.drain()
    assert world.status(second) == "succeeded"
    assert "status: open" in world.ticket


def test_an_undo_is_undone_and_a_redo_is_no_repeat_of_the_first(world: World) -> None:
    first = rolled_back(world)
    second = str(undo(world, first).envelope["action_id"])
    third = undo(world, second)
    assert (third.envelope["status"], third.envelope["repeated"]) == ("succeeded", False)
    assert world.live("staging") == "2.3.1"
    assert [entry.facts["undoes"]["action"] for entry in undoings(world)] == [first, second]  # type: ignore[index, call-overload]
    # The first is undone all the same: what undid it is what has to be undone.
    assert undo(world, first).envelope["action_id"] == second


def test_what_is_undone_is_not_undone_again(world: World) -> None:
    first = rolled_back(world)
    done = undo(world, first)
    size = len(world.entries())
    again = undo(world, first, reason="Once more.")
    assert (again.envelope["action_id"], again.envelope["repeated"]) == (done.envelope["action_id"], True)
    assert (len(world.entries()), world.live("staging")) == (size, "2.4.0")


def test_an_undo_that_waits_answers_until_the_world_moves_and_is_replaced_then(world: World) -> None:
    first = str(world.call("rollback_deployment", **PRODUCTION).envelope["action_id"])
    world.approve(first)
    world.drain()
    waiting = str(undo(world, first).envelope["action_id"])
    assert undo(world, first).envelope["action_id"] == waiting
    other = str(world.call("rollback_deployment", "codex", **{**PRODUCTION, "to": "2.2.0"}).envelope["action_id"])
    world.approve(other)
    world.drain()
    assert world.live("production") == "2.2.0"
    answer = undo(world, first)
    assert (answer.envelope["status"], world.status(waiting)) == ("pending", "stale")
    assert answer.envelope["action_id"] != waiting
    [stale] = world.entries("action.stale")
    assert stale.facts["superseded_by"] == answer.envelope["action_id"]


def test_an_approved_undo_of_a_world_that_moved_does_nothing(world: World) -> None:
    first = str(world.call("rollback_deployment", **PRODUCTION).envelope["action_id"])
    world.approve(first)
    world.drain()
    waiting = str(undo(world, first).envelope["action_id"])
    other = str(world.call("rollback_deployment", "codex", **{**PRODUCTION, "to": "2.2.0"}).envelope["action_id"])
    world.approve(other)
    world.drain()
    world.approve(waiting)
    world.drain()
    assert (world.status(waiting), world.live("production")) == ("stale", "2.2.0")
    # Nothing came of it, so the way is free for another try.
    assert undo(world, first).envelope["status"] == "pending"


def test_an_undo_that_cannot_be_planned_any_more_is_refused_with_the_reason(world: World) -> None:
    first = rolled_back(world)
    releases = world.home.folder / "samples/web/staging/releases"
    (releases / "2.4.0").rename(releases / "gone")
    answer = undo(world, first)
    assert (answer.envelope["status"], answer.envelope["tool"]) == ("denied", "rollback_deployment")
    assert world.entries("action.denied")[-1].facts["stage"] == "plan"
    (releases / "gone").rename(releases / "2.4.0")
    assert undo(world, first).envelope["status"] == "succeeded"


def test_another_principals_action_is_as_unknown_as_none(world: World) -> None:
    first = rolled_back(world)
    other, nobody = refusal(world, first, "codex"), refusal(world, first[:-1] + "0", "codex")
    assert (other[0], other[1].replace(first, "")) == (nobody[0], nobody[1].replace(first[:-1] + "0", ""))
    assert other[0] == "not_found"


def test_what_is_not_over_or_did_nothing_is_not_undone(world: World) -> None:
    waiting = world.held()
    assert refusal(world, waiting)[0] == "not_over"
    assert "cancel it" in refusal(world, waiting)[1]
    world.review(waiting, verdict="reject", reason="no")
    assert refusal(world, waiting) == (
        "not_done",
        f"action {waiting} is rejected and changed nothing: there is nothing to undo",
    )
    world.executing = False
    begun = str(world.comment("Hello.").envelope["action_id"])
    with running(processes.hold_on, world.home) as (_, said):
        assert told(said) == begun
        code, text = refusal(world, begun)
        assert (code, "get_action" in text) == ("not_over", True)


def test_what_is_unknown_is_settled_first(world: World) -> None:
    def nobody_knows(*_: object) -> Outcome:
        return Unknown("no answer came")

    world.with_tool(
        Simulator(world.gate.governed["rollback_deployment"], nobody_knows, lambda *_: CannotTell("no answer"))
    )
    first = str(world.call("rollback_deployment", **STAGING).envelope["action_id"])
    code, text = refusal(world, first)
    assert (code, "keyturn action resolve" in text) == ("unknown_outcome", True)
    world.act(draft_resolution(world.gate, first, happened=True, reason="I looked.", by="alice"))
    # By a person's word it happened; that the way back cannot be planned is another matter.
    answer = undo(world, first)
    assert answer.envelope["tool"] == "rollback_deployment"


def test_what_failed_after_it_had_an_effect_can_be_undone(world: World) -> None:
    real = world.gate.governed["rollback_deployment"]

    async def unhealthy(plan: Plan, action: Any) -> Outcome:
        await real.execute(plan, action)
        return Failed("the health check did not pass", effect=True)

    simulator = Simulator(real, unhealthy)
    world.with_tool(simulator)
    answer = world.call("rollback_deployment", **STAGING)
    assert (answer.envelope["status"], world.live("staging")) == ("failed", "2.3.1")
    world.with_tool(real)
    assert undo(world, str(answer.envelope["action_id"])).envelope["status"] == "succeeded"
    assert world.live("staging") == "2.4.0"


def with_inverse(world: World, inverse: Inverse | None) -> str:
    """Make a rollback whose plan names another way back; return the action."""
    real = world.gate.governed["rollback_deployment"]
    world.with_tool(Simulator(real, plans=lambda plan: replace(plan, inverse=inverse)))
    action = str(world.call("rollback_deployment", **STAGING).envelope["action_id"])
    world.with_tool(real)
    return action


@pytest.mark.parametrize(
    ("inverse", "says"),
    [
        (None, "no call undoes action"),
        (Inverse(summary="delete the branch by hand"), "“delete the branch by hand”"),
        (Inverse(summary="x", tool="close_everything"), "which this home does not have"),
        (Inverse(summary="x", tool="get_ticket", arguments={"ticket": "OPS-1"}), "which this home does not have"),
        (
            Inverse(summary="x", tool="update_ticket", arguments={"ticket": from_result("ticket"), "comment": "x"}),
            "which its recorded result does not say",
        ),
    ],
)
def test_where_there_is_no_way_back_the_answer_says_what_to_do(
    world: World, inverse: Inverse | None, says: str
) -> None:
    code, text = refusal(world, with_inverse(world, inverse))
    assert code == "no_inverse"
    assert says in text


def test_an_inverse_that_its_contract_refuses_is_a_recorded_refusal(world: World) -> None:
    action = with_inverse(world, Inverse(summary="x", tool="update_ticket", arguments={"ticket": "OPS-1"}))
    answer = undo(world, action)
    assert (answer.envelope["status"], world.entries("action.denied")[-1].facts["stage"]) == ("denied", "contract")


def test_an_inverse_is_filled_in_from_the_id_and_the_result_of_what_it_undoes(world: World) -> None:
    arguments: dict[str, Any] = {"ticket": from_result("ticket"), "comment": {"from": "action"}}
    real = world.gate.governed["rollback_deployment"]
    inverse = Inverse(summary="x", tool="update_ticket", arguments=arguments)
    world.with_tool(
        Simulator(real, lambda *_: Succeeded({"ticket": "OPS-1"}), plans=lambda plan: replace(plan, inverse=inverse))
    )
    action = str(world.call("rollback_deployment", **STAGING).envelope["action_id"])
    world.with_tool(real)
    assert undo(world, action).envelope["status"] == "succeeded"
    assert action in world.ticket


def test_a_principal_without_a_grant_for_the_way_back_is_refused_by_the_policy(world: World) -> None:
    first = rolled_back(world)
    world.activate(
        ('where = { environment = "staging" }', 'where = { environment = "staging", "plan.to" = "2.3.1" }')
    )
    answer = undo(world, first)
    assert (answer.envelope["status"], world.live("staging")) == ("denied", "2.3.1")
    assert {reason["code"] for reason in result_reasons(answer)} == {"no_grant"}
    assert undoings(world) == []


def test_an_undo_long_ago_is_remembered(world: World) -> None:
    first = rolled_back(world)
    done = undo(world, first).envelope["action_id"]
    world.clock.run(hours=3)
    for _ in range(70):  # so that the fold tidies up
        world.call("get_ticket", ticket="OPS-1")
    assert first not in world.gate.ledger.look(lambda view: dict(view.state.actions))
    assert undo(world, first).envelope["action_id"] == done


def test_what_may_have_been_undone_and_forgotten_is_undone_by_hand(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keyturn.fold.undoing.MOST", 1)
    first = rolled_back(world)
    second = str(undo(world, first).envelope["action_id"])
    assert undo(world, second).envelope["status"] == "succeeded"
    answer = undo(world, first)
    assert answer.envelope["status"] == "denied"
    assert {reason["code"] for reason in result_reasons(answer)} == {"no_inverse"}


def test_a_snapshot_keeps_what_was_undone(world: World) -> None:
    first = rolled_back(world)
    done = undo(world, first).envelope["action_id"]

    def again(view: Any) -> str | None:
        found: str | None = type(view.state).from_json(view.state.to_json()).undos.of(first)
        return found

    assert world.gate.ledger.look(again) == done


@pytest.mark.parametrize(
    ("step", "live"), [("before the claim", "2.4.0"), ("before the effect", "2.3.1"), ("after the effect", "2.4.0")]
)
def test_an_undo_whose_executor_is_killed_happens_once_or_not_at_all(world: World, step: str, live: str) -> None:
    first = rolled_back(world)
    world.executing = False
    second = str(undo(world, first).envelope["action_id"])
    with running(processes.die, world.home, step) as (process, _):
        process.join(20)
        assert process.exitcode == -signal.SIGKILL
    world.drain()
    assert world.live("staging") == live
    assert world.status(second) == ("failed" if live == "2.3.1" else "succeeded")
    world.executing = True
    if live == "2.3.1":  # nothing came of it: another try is another action
        assert undo(world, first).envelope["action_id"] != second
        assert world.live("staging") == "2.4.0"


def test_eight_processes_that_undo_the_same_make_one_action(world: World) -> None:
    first = rolled_back(world)
    with ExitStack() as stack:
        askers = [
            stack.enter_context(running(processes.undo_often, world.home, world.tokens["claude"], first, 5))[1]
            for _ in range(8)
        ]
        assert [told(asker, 60) for asker in askers] == ["ready"] * 8
        for asker in askers:
            asker.send("go")
        ids = {action for asker in askers for action in told(asker, 60)}
    assert len(ids) == len(undoings(world)) == 1
    world.drain()
    assert world.live("staging") == "2.4.0"


def test_the_tool_is_shown_to_every_principal(world: World) -> None:
    for principal in ("claude", "codex"):
        shown = {contract.tool for contract in visible_contracts(world.gate, world.caller(principal))}
        assert "undo_action" in shown
