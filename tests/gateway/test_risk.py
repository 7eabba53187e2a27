"""Risk on the whole way: scored, recorded, shown part by part, judged again at the claim, and proved afterwards."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from keyturn import canon
from keyturn.approvals.statement import ACT_NAMESPACE
from keyturn.gateway.detached import export_request, read_request
from keyturn.gateway.envelope import Answer
from keyturn.gateway.show import Shown, details, read_asked, show
from keyturn.gateway.undoing import UndoDraft, draft_undo, submit_undo
from keyturn.model.outcome import Failed
from tests.gateway.risky import ASKED, ask, score, verdict
from tests.gateway.world import PULL_REQUEST, STAGING, Simulator, World, files_under
from tests.policy.risk.samples import credentials


@pytest.fixture(autouse=True)
def _provable(world: World) -> Any:
    """Whatever a test does, the ledger it leaves can be proved."""
    yield
    assert verdict(world) == ("PASS-UNANCHORED", None)


def codes(answer: Answer) -> list[str]:
    reasons: Any = answer.envelope["reasons"]
    return [reason["code"] for reason in reasons]


def seen(world: World, action: str) -> Shown:
    shown = world.gate.ledger.look(lambda view: show(view, action))
    assert isinstance(shown, Shown)
    return shown


def test_a_score_holds_runs_or_refuses_and_falls_as_the_tool_becomes_known(world: World) -> None:
    score(world)
    first = ask(world, "docs/one.md")
    assert first.envelope["status"] == "pending"
    world.approve(str(first.envelope["action_id"]))
    world.drain()
    assert ask(world, "docs/two.md").envelope["status"] == "succeeded"
    assert ask(world, "auth/package.json").envelope["status"] == "pending"
    many = [{"path": f"auth/{n}/package.json", "content": "x = 1\n" * 30} for n in range(20)]
    refused = world.call("open_pull_request", **{**PULL_REQUEST, "files": many})
    assert (refused.envelope["status"], codes(refused)[:1]) == ("denied", ["risk"])


def test_the_parts_are_recorded_with_the_request_and_shown_to_reviewer_and_assistant(world: World) -> None:
    score(world)
    answer = ask(world, "auth/one.py")
    action = str(answer.envelope["action_id"])
    assert answer.envelope["status"] == "pending"
    [request] = world.entries("action.requested")
    recorded = canon.decode(world.payload(request, "risk"))
    shown = seen(world, action)
    assert details(shown)["risk"] == recorded
    assert shown.asked.risk is not None
    assert (shown.asked.risk.points["paths"], shown.asked.risk.points["first_use"]) == (20, 30)
    assert "time" not in shown.asked.risk.points
    told: Any = world.envelope(action)["reasons"]
    assert {reason["code"] for reason in told} == {"approval", "risk", "risk_part"}
    assert any(reason["text"].startswith('paths 20 of 20: "auth/one.py" touched') for reason in told)


def test_who_reviews_on_another_machine_sees_the_same_parts(world: World) -> None:
    score(world)
    action = str(ask(world, "auth/one.py").envelope["action_id"])
    carried = read_request(world.gate.ledger.look(lambda view: export_request(view, action)))
    assert carried.risk == seen(world, action).asked.risk


def test_without_risk_in_the_policy_nothing_is_recorded_of_it(world: World) -> None:
    action = world.held()
    [request] = world.entries("action.requested")
    assert "risk" not in request.data
    assert details(seen(world, action))["risk"] is None


def test_a_credential_is_refused_and_not_one_byte_of_it_is_kept(world: World) -> None:
    line = credentials()["a GitHub token"][0]
    answer = ask(world, "app/config.py", f"{line}\n")
    assert (answer.envelope["status"], codes(answer)) == ("denied", ["secret"])
    assert "app/config.py" in str(answer.envelope["message"])
    assert line not in str(answer.envelope)
    assert line.encode() not in files_under(world.home.folder)
    [denied] = world.entries("action.denied")
    assert denied.facts["codes"] == [{"code": "secret", "rule": "assistants open pull requests"}]


def test_a_grant_that_means_it_lets_a_credential_through(world: World) -> None:
    world.activate((ASKED, 'secrets = "allowed"\n' + ASKED))
    answer = ask(world, "app/config.py", credentials()["a GitHub token"][0])
    assert answer.envelope["status"] == "pending"


def test_a_credential_in_a_ticket_is_refused_as_well(world: World) -> None:
    answer = world.comment(credentials()["an npm token"][0])
    assert codes(answer) == ["secret"]


def test_what_failed_on_the_target_counts_at_the_claim_too(world: World) -> None:
    score(world, ("first_use = 30", "first_use = 30, history = 60"))
    world.executing = False
    waiting, *failing = [str(ask(world, f"docs/{n}.md").envelope["action_id"]) for n in range(3)]
    real = world.gate.governed["open_pull_request"]
    world.with_tool(Simulator(real, executes=lambda plan, action: Failed("it broke")))
    for action in failing:
        world.approve(action)
        world.drain()
        assert world.status(action) == "failed"
    world.approve(waiting)
    world.drain()
    assert world.status(waiting) == "stale"
    [stale] = world.entries("action.stale")
    assert stale.facts["codes"][:1] == ["risk"]  # type: ignore[index]  # a list
    assert codes(ask(world, "docs/new.md"))[0] == "risk"


def test_what_was_undone_counts_for_its_target(world: World) -> None:
    answer = world.call("rollback_deployment", **STAGING)
    world.call("undo_action", action_id=answer.envelope["action_id"])
    known: Any = world.gate.ledger.look(lambda view: view.state.usage.history.to_json())
    assert [row[0] for row in known["undone"]] == ["deployments:web/staging"]
    assert known["known"] == [["claude", "rollback_deployment"]]
    assert known["failed"] == []


def test_what_a_person_asks_for_is_scored_after_the_signature(world: World) -> None:
    path = world.home.folder / "policy.toml"
    path.write_text(path.read_text() + "\n[risk]\n")
    world.activate()
    first = str(world.call("rollback_deployment", **STAGING).envelope["action_id"])

    async def drafting() -> UndoDraft | Answer:
        return await draft_undo(world.gate, first, reason="Errors went up.", by="alice")

    draft = anyio.run(drafting)
    assert isinstance(draft, UndoDraft)
    answer = anyio.run(submit_undo, world.gate, draft, world.sign(draft.to_sign, "alice", ACT_NAMESPACE))
    assert answer.envelope["status"] == "approved"
    [undoing] = world.entries("action.undoing")
    assert "risk" in undoing.data
    world.drain()
    assert world.status(str(undoing.action)) == "succeeded"


def test_the_request_is_read_the_same_from_its_payloads_alone(world: World) -> None:
    score(world)
    action = str(ask(world, "auth/one.py").envelope["action_id"])
    [request] = world.entries("action.requested")
    assert read_asked(request, lambda name: world.payload(request, name)).risk == seen(world, action).asked.risk
    broken = read_asked(request, lambda name: b"3" if name == "risk" else world.payload(request, name))
    assert broken.risk is None
