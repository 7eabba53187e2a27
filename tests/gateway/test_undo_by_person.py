"""A person asks for an undo: signed, in the name of the assistant, and never reviewed by who asks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import anyio
import pytest

from keyturn.approvals.statement import ACT_NAMESPACE
from keyturn.fold.suspensions import SUSPENDED, Scope
from keyturn.gateway.acts import revoke_token
from keyturn.gateway.core import Gateway
from keyturn.gateway.envelope import Answer
from keyturn.gateway.journal import sentence
from keyturn.gateway.review import Actor
from keyturn.gateway.show import Shown, details, show
from keyturn.gateway.suspensions import set_suspension
from keyturn.gateway.undoing import UndoDraft, draft_undo, submit_undo
from keyturn.model.errors import ConnectorError, Refused
from keyturn.model.plan import Inverse, Plan
from keyturn.verifier import verify_ledger
from tests.gateway.world import PRODUCTION, STAGING, Simulator, World, raises

CLAUDE = Actor("account", "root")


@pytest.fixture(autouse=True)
def _provable(world: World) -> Iterator[None]:
    """Whatever a test does, the ledger it leaves can be proved."""
    yield
    report = verify_ledger(world.home.place.database)
    assert (report.verdict, report.first_bad) == ("PASS-UNANCHORED", None)


def rolled_back(world: World, principal: str = "claude", **changes: Any) -> str:
    action = str(world.call("rollback_deployment", principal, **{**STAGING, **changes}).envelope["action_id"])
    if world.envelope(action, principal)["status"] == "pending":
        world.approve(action)
        world.drain()
    return action


def draft(world: World, action: str, who: str = "alice", reason: str = "Errors went up.") -> UndoDraft | Answer:
    async def drafting() -> UndoDraft | Answer:
        return await draft_undo(world.gate, action, reason=reason, by=who)

    return anyio.run(drafting)


def asked(world: World, action: str, who: str = "alice", signer: str | None = None) -> Answer:
    """Draft, sign with the person's real key, and submit."""
    drafted = draft(world, action, who)
    return drafted if isinstance(drafted, Answer) else submitted(world.gate, world, drafted, signer or who)


def submitted(gate: Gateway, world: World, drafted: UndoDraft, signer: str) -> Answer:
    signature = world.sign(drafted.to_sign, signer, ACT_NAMESPACE)
    return anyio.run(submit_undo, gate, drafted, signature)


def refused(world: World, action: str, who: str = "alice", signer: str | None = None) -> tuple[str, str]:
    """Ask for what must not be begun; nothing is recorded then."""
    size = len(world.entries())
    with pytest.raises(Refused) as caught:
        asked(world, action, who, signer)
    assert len(world.entries()) == size
    return caught.value.code, str(caught.value)


def test_a_person_undoes_what_the_policy_lets_run_by_itself(world: World) -> None:
    first = rolled_back(world)
    answer = asked(world, first)
    assert (answer.envelope["status"], answer.envelope["tool"]) == ("approved", "rollback_deployment")
    [entry] = world.entries("action.undoing")
    facts: dict[str, Any] = dict(entry.facts)
    assert (facts["principal"], facts["token"], facts["transport"], facts["decision"]) == (
        "claude",
        None,
        "signed",
        "permit",
    )
    statement = facts["act"]["statement"]
    assert (statement["verb"], statement["object"], statement["by"]) == ("action.undo", first, "alice")
    told = world.gate.ledger.look(lambda view: sentence(view, entry))
    assert told.startswith("alice, for claude, asks for rollback_deployment on deployments:web/staging, to undo")
    world.drain()
    assert world.live("staging") == "2.4.0"
    # The assistant sees it among its own, and what is undone stays undone for it too.
    again = world.call("undo_action", action_id=first)
    assert (again.envelope["action_id"], again.envelope["repeated"]) == (entry.action, True)


def test_who_asks_does_not_review(world: World) -> None:
    first = rolled_back(world, "codex", **PRODUCTION)
    second = str(asked(world, first).envelope["action_id"])
    [entry] = world.entries("action.undoing")
    assert entry.facts["excluded"] == ["alice"]
    shown = world.gate.ledger.look(lambda view: show(view, second))
    assert isinstance(shown, Shown)
    assert (details(shown)["asked_by"], shown.tallies[0].eligible) == ("alice", ("bob", "carol"))
    with pytest.raises(Refused) as caught:
        world.review(second, "alice")
    assert (caught.value.code, str(caught.value)) == ("asker_excluded", "alice asks for it and may not review it")
    assert world.envelope(second, "codex")["status"] == "pending"
    world.approve(second, "carol")
    world.drain()
    assert (world.envelope(second, "codex")["status"], world.live("production")) == ("succeeded", "2.4.0")


def test_owner_and_asker_are_both_left_out(world: World) -> None:
    first = rolled_back(world, **PRODUCTION)
    second = str(asked(world, first).envelope["action_id"])
    assert world.entries("action.undoing")[0].facts["excluded"] == ["bob", "alice"]
    for who in ("alice", "bob"):
        with pytest.raises(Refused, match="may not review"):
            world.review(second, who)
    world.approve(second, "carol")
    world.drain()
    assert world.live("production") == "2.4.0"


def test_where_nobody_would_be_left_to_review_it_is_not_begun(world: World) -> None:
    world.activate(
        (
            'limits = ["5 calls per hour"]\napproval = { quorum = 1, from = ["group:sre"], expires = "1h" }',
            'limits = ["5 calls per hour"]\napproval = { quorum = 2, from = ["group:sre"], expires = "1h" }',
        )
    )
    first = str(world.call("rollback_deployment", **PRODUCTION).envelope["action_id"])
    world.approve(first, "alice")
    world.approve(first, "carol")
    world.drain()
    code, text = refused(world, first)
    assert code == "no_reviewer_left"
    assert "alice, who asks for it, may not be one of them: 1 would be left" in text
    # The assistant may: then both of them review.
    assert world.call("undo_action", action_id=first).envelope["status"] == "pending"


def test_only_a_listed_persons_own_signature_asks(world: World) -> None:
    first = rolled_back(world)
    assert refused(world, first, signer="mallory")[0] == "not_a_reviewer"
    assert refused(world, first, "alice", signer="carol")[0] == "not_a_reviewer"
    assert refused(world, first, "mallory")[0] == "not_a_reviewer"


def test_an_act_is_good_for_the_call_and_the_plan_that_was_shown(world: World) -> None:
    first = rolled_back(world)
    drafted = draft(world, first)
    assert isinstance(drafted, UndoDraft)
    assert not drafted.held
    for other in (
        replace(drafted, plan=replace(drafted.plan, summary="something else")),
        replace(drafted, call=replace(drafted.call, plain={**drafted.call.plain, "to": "2.2.0"})),
        replace(drafted, call=replace(drafted.call, size=3, caller=replace(drafted.call.caller, client="another"))),
    ):
        with pytest.raises(Refused) as caught:
            submitted(world.gate, world, other, "alice")
        assert caught.value.code == "other_act"
    with pytest.raises(Refused) as caught:
        submitted(world.gate, world, replace(drafted, call=replace(drafted.call, signed=None)), "alice")
    assert caught.value.code == "not_signed"
    with pytest.raises(Refused) as caught:
        submitted(world.gate, world, replace(drafted, call=replace(drafted.call, undoes=None)), "alice")
    assert caught.value.code == "not_signed"
    assert world.entries("action.undoing") == []


def test_an_act_signed_under_another_policy_does_not_count(world: World) -> None:
    first = rolled_back(world)
    drafted = draft(world, first)
    assert isinstance(drafted, UndoDraft)
    world.activate(('limits = ["10 calls per hour"]', 'limits = ["11 calls per hour"]'))
    with pytest.raises(Refused) as caught:
        submitted(world.gate, world, drafted, "alice")
    assert caught.value.code == "superseded"


def test_a_revoked_token_hinders_no_person(world: World) -> None:
    """An assistant that went wrong loses its token first; what it did can be undone all the same."""
    first = rolled_back(world)
    revoke_token(world.gate.ledger, "claude", CLAUDE)
    assert asked(world, first).envelope["status"] == "approved"
    world.drain()
    assert world.live("staging") == "2.4.0"


def test_a_principal_that_is_gone_or_suspended_is_named(world: World) -> None:
    first = rolled_back(world)
    set_suspension(world.gate.ledger, Scope("principal", "claude"), mode=SUSPENDED, by=CLAUDE, reason="It errs.")
    code, text = refused(world, first)
    assert code == "suspended"
    assert "an operator suspended principal claude" in text


def test_a_principal_that_the_policy_has_no_more_is_named(world: World) -> None:
    first = rolled_back(world, "codex")
    text = (world.home.folder / "policy.toml").read_text()
    codex = text[text.index("[principals.codex]") :]
    block = codex[: codex.index("\n\n") + 2]
    world.activate((block, ""))
    assert refused(world, first) == (
        "unknown_principal",
        "the policy in force has no principal 'codex' any more, in whose name it would run",
    )


def test_a_policy_that_denies_it_and_a_world_that_cannot_be_planned_are_told_before_anybody_signs(
    world: World,
) -> None:
    first = rolled_back(world)
    real = world.gate.governed["rollback_deployment"]

    def fails(_plan: Plan) -> Plan:
        raise ConnectorError("the system is away", kind="retry")

    world.with_tool(Simulator(real, plans=fails))
    assert refused(world, first) == ("plan_retry", "the system is away")
    world.with_tool(real)
    world.activate(
        ('where = { environment = "staging" }', 'where = { environment = "staging", "plan.to" = "2.3.1" }')
    )
    with pytest.raises(Refused) as caught:
        draft(world, first)
    assert caught.value.code == "no_grant"


def test_a_scope_that_is_gone_is_told_before_planning(world: World) -> None:
    first = rolled_back(world)
    world.activate(('"deploy:rollback", ', ""))
    assert refused(world, first)[0] in {"scope", "no_grant"}


def test_what_is_undone_or_waits_is_answered_without_a_signature(world: World) -> None:
    first = rolled_back(world, "codex", **PRODUCTION)
    waiting = world.call("undo_action", "codex", action_id=first).envelope["action_id"]
    answer = draft(world, first)
    assert isinstance(answer, Answer)
    assert (answer.envelope["action_id"], answer.envelope["repeated"]) == (waiting, True)
    world.approve(str(waiting))
    world.drain()
    answer = draft(world, first)
    assert isinstance(answer, Answer)
    assert answer.envelope["action_id"] == waiting


def test_two_people_who_ask_at_once_get_one_action(world: World) -> None:
    first = rolled_back(world)
    drafts = [draft(world, first, who) for who in ("alice", "carol")]
    answers = [
        submitted(world.gate, world, drafted, who)
        for drafted, who in zip(drafts, ("alice", "carol"), strict=True)
        if isinstance(drafted, UndoDraft)
    ]
    assert [answer.envelope["repeated"] for answer in answers] == [False, True]
    assert len({answer.envelope["action_id"] for answer in answers}) == 1


def test_a_plan_that_does_not_fit_into_an_entry_is_told(world: World) -> None:
    first = rolled_back(world)
    real = world.gate.governed["rollback_deployment"]
    large = {"location": "/" + "y" * 1001}
    world.with_tool(Simulator(real, plans=lambda plan: replace(plan, backend=replace(plan.backend, **large))))
    assert refused(world, first)[0] == "entry_too_large"


def test_what_has_expired_holds_no_persons_place(world: World) -> None:
    first = rolled_back(world)
    waiting = world.held()
    world.clock.run(hours=5)
    assert asked(world, first).envelope["status"] == "approved"
    assert world.status(waiting) == "expired"
    assert [entry.action for entry in world.entries("action.expired")] == [waiting]


def test_an_inverse_that_its_contract_refuses_is_told(world: World) -> None:
    real = world.gate.governed["rollback_deployment"]
    inverse = Inverse(summary="x", tool="update_ticket", arguments={"ticket": "OPS-1"})
    world.with_tool(Simulator(real, plans=lambda plan: replace(plan, inverse=inverse)))
    first = rolled_back(world)
    world.with_tool(real)
    assert refused(world, first)[0].startswith("argument")


def test_a_person_who_may_sign_no_more_when_it_begins_has_asked_in_vain(world: World) -> None:
    first = rolled_back(world)
    world.executing = False
    second = str(asked(world, first, "carol").envelope["action_id"])
    text = (world.home.folder / "policy.toml").read_text()
    carol = text[text.index("[reviewers.carol]") :]
    world.activate((carol[: carol.index("\n\n") + 2], ""))
    world.drain()
    assert (world.status(second), world.live("staging")) == ("stale", "2.3.1")
    assert world.entries("action.stale")[0].facts["codes"] == ["act"]


def test_a_reason_is_text_of_a_bounded_length(world: World) -> None:
    first = rolled_back(world)
    for reason in ("x" * 2001, "\udcff"):
        with pytest.raises(Refused) as caught:
            draft(world, first, reason=reason)
        assert caught.value.code == "usage"


def test_a_failing_step_of_a_stranger_is_not_swallowed(world: World) -> None:
    first = rolled_back(world)
    world.with_tool(Simulator(world.gate.governed["rollback_deployment"], plans=raises(ValueError("a mistake"))))
    with pytest.raises(ValueError, match="a mistake"):
        draft(world, first)
