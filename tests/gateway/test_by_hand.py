"""Actions that a person executes: nobody begins them before somebody has signed for exactly that request."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from keyturn.fold.suspensions import SUSPENDED, Scope
from keyturn.gateway.acts import ActDraft, submit_act
from keyturn.gateway.claim import claimable
from keyturn.gateway.events import Told
from keyturn.gateway.journal import sentence
from keyturn.gateway.notices import end_of, notices
from keyturn.gateway.pressure import pressure
from keyturn.gateway.releasing import draft_release
from keyturn.gateway.review import Actor
from keyturn.gateway.suspensions import set_suspension
from keyturn.log.entry import Entry
from keyturn.model.errors import Refused
from keyturn.verifier import verify_ledger
from tests.gateway.world import PRODUCTION, STAGING, World

STAGED = 'id = "staging rolls back by itself"'
LIVE = 'id = "production rollbacks need a person"'


def manual(world: World, *more: tuple[str, str]) -> World:
    world.activate(*((line, f'{line}\nexecute = "manual"') for line in (STAGED, LIVE)), *more)
    return world


def permitted(world: World) -> str:
    answer = world.call("rollback_deployment", **STAGING).envelope
    assert answer["status"] == "approved"
    return str(answer["action_id"])


def held(world: World) -> str:
    answer = world.call("rollback_deployment", **PRODUCTION).envelope
    assert answer["status"] == "pending"
    return str(answer["action_id"])


def execute(world: World, action: str, who: str = "alice", digest: str = "") -> Entry:
    return world.act(draft_release(world.gate, action, by=who, digest_prefix=digest), who)


@pytest.fixture
def by_hand(world: World) -> Iterator[World]:
    """A home whose rollbacks are executed by hand; whatever a test does there can be proved."""
    yield manual(world)
    report = verify_ledger(world.home.place.database)
    assert (report.verdict, report.first_bad) == ("PASS-UNANCHORED", None)


def test_what_the_policy_permits_waits_until_somebody_signs_and_then_runs(by_hand: World) -> None:
    before = by_hand.live("staging")
    action = permitted(by_hand)
    by_hand.drain()
    assert (by_hand.status(action), by_hand.live("staging")) == ("approved", before)
    envelope = by_hand.envelope(action)
    assert "a person has to sign for its execution" in str(envelope["message"])
    assert envelope["poll_after_ms"] == 5000
    execute(by_hand, action)
    by_hand.drain()
    assert by_hand.status(action) == "succeeded"
    assert by_hand.live("staging") != before
    mine = [entry.kind for entry in by_hand.entries() if entry.action == action]
    assert mine == [
        "action.requested",
        "action.withheld",
        "action.released",
        "execution.started",
        "execution.finished",
    ]


def test_what_people_approve_waits_for_the_hand_as_well(by_hand: World) -> None:
    action = held(by_hand)
    with pytest.raises(Refused, match="is pending"):
        draft_release(by_hand.gate, action, by="alice")
    by_hand.approve(action)
    by_hand.drain()
    assert by_hand.status(action) == "approved"
    execute(by_hand, action, "carol")
    by_hand.drain()
    assert by_hand.status(action) == "succeeded"


def test_the_call_that_asks_is_answered_at_once(by_hand: World) -> None:
    """It does not stay for what may take hours, and no worker is started for it."""
    by_hand.executing = False
    assert by_hand.call("rollback_deployment", **STAGING).envelope["status"] == "approved"


def test_a_signature_is_good_for_one_digest_alone(by_hand: World) -> None:
    one, other = permitted(by_hand), held(by_hand)
    by_hand.approve(other)
    draft = draft_release(by_hand.gate, one, by="alice")
    digest = by_hand.gate.ledger.look(lambda view: view.state.actions[one].digest)
    assert (draft.statement.verb, draft.statement.object, draft.statement.digest) == ("action.execute", one, digest)
    forged = ActDraft(draft_release(by_hand.gate, other, by="alice").statement, draft.record)
    with pytest.raises(Refused, match="does not verify"):
        submit_act(by_hand.gate.ledger, forged, by_hand.sign(draft.to_sign, "alice", "keyturn.act.v1"))
    by_hand.drain()
    assert {by_hand.status(one), by_hand.status(other)} == {"approved"}


def test_who_is_no_reviewer_executes_nothing(by_hand: World) -> None:
    action = permitted(by_hand)
    with pytest.raises(Refused, match="no reviewer 'mallory'"):
        execute(by_hand, action, "mallory")
    by_hand.drain()
    assert by_hand.status(action) == "approved"


def test_a_signature_under_somebody_elses_key_does_not_count(by_hand: World) -> None:
    action = permitted(by_hand)
    draft = draft_release(by_hand.gate, action, by="alice")
    with pytest.raises(Refused, match="lists no reviewer"):
        by_hand.act(draft, "mallory")


def test_a_digest_that_was_pinned_must_be_that_of_the_action(by_hand: World) -> None:
    action = permitted(by_hand)
    with pytest.raises(Refused, match="not the one you pinned"):
        draft_release(by_hand.gate, action, by="alice", digest_prefix="0" * 12)
    digest = by_hand.gate.ledger.look(lambda view: view.state.actions[action].digest)
    execute(by_hand, action, digest=digest[7:21])


def test_nobody_signs_twice_nor_for_what_runs_by_itself(by_hand: World) -> None:
    action = permitted(by_hand)
    execute(by_hand, action)
    with pytest.raises(Refused, match="alice has signed"):
        draft_release(by_hand.gate, action, by="carol")
    by_hand.executing = False
    other = str(by_hand.comment("By itself.").envelope["action_id"])
    with pytest.raises(Refused, match="without anybody's hand"):
        draft_release(by_hand.gate, other, by="alice")
    by_hand.executing = True
    by_hand.drain()
    with pytest.raises(Refused, match="is succeeded"):
        draft_release(by_hand.gate, action, by="alice")
    with pytest.raises(Refused, match="there is no action"):
        draft_release(by_hand.gate, "019aa5b2-7d80-7000-8000-000000000001", by="alice")


def test_it_expires_if_nobody_signs_and_runs_no_more(by_hand: World) -> None:
    action = permitted(by_hand)
    draft = draft_release(by_hand.gate, action, by="alice")
    by_hand.clock.run(hours=4)
    assert by_hand.status(action) == "expired"
    with pytest.raises(Refused, match="is expired"):
        by_hand.act(draft)
    by_hand.drain()
    assert not by_hand.entries("execution.started")


def test_what_waits_for_a_hand_keeps_nobody_else_off_its_target(by_hand: World) -> None:
    waiting = permitted(by_hand)
    by_hand.activate((f'{STAGED}\nexecute = "manual"', STAGED))
    answer = by_hand.call("rollback_deployment", **STAGING, repeat=True).envelope
    assert answer["status"] == "succeeded"
    assert by_hand.status(waiting) == "approved"


def test_a_policy_that_asks_for_a_hand_only_now_makes_what_was_approved_stale(world: World) -> None:
    world.executing = False
    action = permitted(world)
    manual(world)
    world.drain()
    envelope = world.envelope(action)
    assert envelope["status"] == "stale"
    assert "asks that a person signs for its execution" in str(envelope["message"])


def test_a_key_that_is_taken_out_of_the_policy_executes_nothing_any_more(by_hand: World) -> None:
    by_hand.executing = False
    action = permitted(by_hand)
    execute(by_hand, action, "carol")
    path = by_hand.home.folder / "policy.toml"
    block = path.read_text().split("[reviewers.carol]")[1].split("\n\n")[0]
    by_hand.activate((f"[reviewers.carol]{block}\n\n", ""))
    by_hand.drain()
    envelope = by_hand.envelope(action)
    assert (envelope["status"], "does not count" in str(envelope["message"])) == ("stale", True)


def test_a_suspension_is_stronger_than_the_hand(by_hand: World) -> None:
    action = permitted(by_hand)
    by_hand.executing = False
    execute(by_hand, action)
    scope, operator = Scope("environment", "staging"), Actor("account", "root")
    halted = set_suspension(by_hand.gate.ledger, scope, mode=SUSPENDED, by=operator, reason="")
    assert [found.id for found in halted.cancelled] == [action]


def test_it_is_told_where_work_piles_up_and_in_the_log(by_hand: World) -> None:
    action = permitted(by_hand)
    ready = by_hand.gate.ledger.look(pressure).ready
    assert [(item.action.id, item.code) for item in ready] == [(action, "by_hand")]
    assert by_hand.gate.ledger.look(lambda view: claimable(by_hand.gate, view)) == []
    execute(by_hand, action)
    entries = [*by_hand.entries("action.withheld"), *by_hand.entries("action.released")]
    told = by_hand.gate.ledger.look(lambda view: [sentence(view, entry) for entry in entries])
    assert told == [
        "nobody executes it before a person has signed for that (staging rolls back by itself)",
        "alice signed for its execution",
    ]


def test_it_waits_across_a_restart_and_so_does_the_signature(by_hand: World) -> None:
    action = permitted(by_hand)
    with closing(by_hand.open("another process")) as gate:
        act = draft_release(gate, action, by="alice")
    by_hand.executing = False
    by_hand.act(act)
    with closing(by_hand.open("one more")) as gate:
        assert [found.id for found in gate.ledger.look(lambda view: claimable(gate, view))] == [action]


def noticed(world: World, since: Told) -> list[dict[str, Any]]:
    found, _ = world.gate.ledger.look(lambda view: notices(view, since, "/home"))
    return [dict(notice.content) for notice in found]


def test_people_are_told_what_waits_for_their_hand(by_hand: World) -> None:
    since = by_hand.gate.ledger.look(end_of)
    one, other = permitted(by_hand), held(by_hand)
    by_hand.approve(other)
    withheld, _, approved = noticed(by_hand, since)
    assert [withheld["event"], approved["event"]] == ["withheld", "approved"]
    for told, action in ((withheld, one), (approved, other)):
        assert told["to"] == ["alice", "bob", "carol"]
        assert told["commands"]["execute"] == f"keyturn --home /home action execute {action}"
        assert "somebody has signed for its execution" in told["text"]
    execute(by_hand, one)
    assert "execute" not in noticed(by_hand, since)[0]["commands"]
