"""Claiming: what is asked once more before an approved action begins."""

from __future__ import annotations

import sqlite3
import subprocess
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from keyturn.approvals.action import Review
from keyturn.assembly.build import become_executor
from keyturn.fold.state import State
from keyturn.gateway.acts import revoke_token
from keyturn.gateway.claim import claim_ready, claimable
from keyturn.gateway.review import Actor
from keyturn.ledger.keys import ENTRY_KEY, load_key
from keyturn.ledger.snapshot import write_snapshot
from keyturn.model.sshkey import PublicKey
from tests.gateway.hands import claim_next
from tests.gateway.world import PRODUCTION, PULL_REQUEST, STAGING, World

ONE_REVIEW = ("quorum = 1", "quorum = 2")
FORBID = (
    "# A forbid beats every grant.",
    '[[forbids]]\nid = "nothing on the shop"\ntool = "open_pull_request"\nwhere = { environment = "production" }\n',
)


def approved(world: World, who: str = "alice") -> str:
    action = world.held()
    world.approve(action, who)
    return action


def stale(world: World, action: str) -> list[str]:
    """Drain; the action was not begun but became stale. Returns the codes."""
    world.drain()
    envelope = world.envelope(action)
    assert (envelope["status"], envelope["terminal"]) == ("stale", True)
    assert "Nothing was done; ask again." in envelope["message"]
    assert world.entries("execution") == []
    found: Any = world.entries("action.stale")[-1].facts["codes"]
    return list(found)


def test_a_stricter_quorum_in_force_by_now_makes_it_stale(world: World) -> None:
    action = approved(world)
    world.activate(ONE_REVIEW)
    assert stale(world, action) == ["obligation"]
    assert "1 of 2 approvals" in world.envelope(action)["message"]


def test_a_stricter_quorum_that_the_reviews_meet_already_lets_it_run(world: World) -> None:
    action = approved(world)
    world.clock.run(seconds=1)
    world.approve(action, "carol")
    world.activate(ONE_REVIEW)
    world.drain()
    assert world.status(action) == "succeeded"


def test_a_rejection_that_ends_it_under_the_policy_in_force_makes_it_stale(world: World) -> None:
    world.activate(("quorum = 1,", "quorum = 1, rejects = 2,"))
    action = world.held()
    world.review(action, "carol", "reject", "not today")
    world.clock.run(seconds=1)
    assert world.approve(action, "alice").status == "approved"
    world.activate(("quorum = 1, rejects = 2,", "quorum = 1,"))
    assert stale(world, action) == ["obligation"]
    assert "rejected by carol" in world.envelope(action)["message"]


def test_a_forbid_in_force_by_now_makes_it_stale(world: World) -> None:
    action = approved(world)
    world.activate(FORBID)
    assert stale(world, action) == ["forbidden"]


def test_a_principal_that_is_gone_by_now_makes_it_stale(world: World) -> None:
    action = approved(world)
    world.activate(("[principals.claude]", "[principals.claudia]"))
    world.drain()
    assert [str(entry.facts["codes"]) for entry in world.entries("action.stale")] == ["['unknown_principal']"]
    assert world.entries("execution") == []
    assert world.entries("action.stale")[0].action == action


def test_a_reviewer_who_is_none_any_more_does_not_count(world: World) -> None:
    action = approved(world, "carol")
    world.activate(("[reviewers.carol]", "[reviewers.caroline]"))
    assert stale(world, action) == ["obligation"]


def test_an_approval_that_is_only_recorded_by_now_is_none(world: World) -> None:
    action = approved(world)
    world.activate(('id = "assistants open pull requests"', 'id = "assistants open pull requests"\nmode = "shadow"'))
    assert stale(world, action) == ["shadow"]


def test_a_change_of_the_policy_that_is_about_something_else_lets_it_run(world: World) -> None:
    action = approved(world)
    world.activate(('limits = ["600 calls per hour"]', 'limits = ["500 calls per hour"]'))
    world.drain()
    assert world.status(action) == "succeeded"


def test_its_own_reservation_does_not_stand_in_its_way(world: World) -> None:
    world.activate(('limits = ["20 calls per hour", ', 'limits = ["1 calls per hour", '))
    action = approved(world)
    world.drain()
    assert world.status(action) == "succeeded"
    assert world.call("open_pull_request", **{**PULL_REQUEST, "title": "Another"}).envelope["status"] == "denied"


def test_of_two_that_a_lowered_limit_does_not_let_run_together_one_runs(world: World) -> None:
    world.executing = False
    asked = [world.call("update_ticket", ticket=ticket, comment="Hello.") for ticket in ("OPS-1", "OPS-2")]
    first, second = (str(answer.envelope["action_id"]) for answer in asked)
    assert [world.status(action) for action in (first, second)] == ["approved", "approved"]
    world.activate(('limits = ["50 calls per hour"]', 'limits = ["1 calls per hour"]'))
    world.drain()
    assert (world.status(first), world.status(second)) == ("stale", "succeeded")
    assert world.entries("action.stale")[0].facts["codes"] == ["limit"]


def test_what_may_not_run_is_judged_again_once_what_began_beside_it_is_written(world: World) -> None:
    world.executing = False
    first = world.call("update_ticket", ticket="OPS-1", comment="Hello.").envelope["action_id"]
    second = world.call("update_ticket", "codex", ticket="OPS-2", comment="Hello.").envelope["action_id"]
    revoke_token(world.gate.ledger, "codex", Actor("account", "root"))
    assert [claimed.action.id for claimed in claim_ready(world.gate, world.executor)] == [first]
    assert world.entries("action.stale") == []
    assert claim_ready(world.gate, world.executor) == []
    assert [entry.action for entry in world.entries("action.stale")] == [second]


def test_what_has_expired_takes_no_room_from_what_is_about_to_begin(world: World) -> None:
    expires = world.held()
    world.clock.run(hours=3)
    action = world.held(title="Another")
    world.approve(action)
    world.clock.run(hours=1, minutes=1)
    world.activate(('"2000 lines_changed per day", "5 pending"', '"2 lines_changed per day", "5 pending"'))
    world.drain()
    assert (world.status(expires), world.status(action)) == ("expired", "succeeded")


def test_a_request_of_a_revoked_token_is_stale(world: World) -> None:
    action = approved(world)
    revoke_token(world.gate.ledger, "claude", Actor("account", "root"))
    world.drain()
    entry = world.entries("action.stale")[-1]
    assert (entry.action, entry.facts["codes"], world.entries("execution")) == (action, ["token_revoked"], [])


def test_with_a_clock_that_cannot_be_right_nothing_is_claimed(world: World) -> None:
    action = approved(world)
    world.clock.step(hours=-1)
    world.drain()
    assert world.status(action) == "approved"
    world.clock.step(hours=1)
    world.drain()
    assert world.status(action) == "succeeded"


def test_an_approval_that_came_in_time_may_expire_before_it_is_claimed(world: World) -> None:
    action = approved(world)
    world.clock.run(hours=4)
    world.drain()
    envelope = world.envelope(action)
    assert (envelope["status"], world.entries("execution")) == ("expired", [])
    assert "nothing was done" in envelope["message"]


def test_two_actions_on_one_target_never_run_at_once_and_the_oldest_goes_first(world: World) -> None:
    world.executing = False
    first, second = (
        str(world.call("rollback_deployment", **{**STAGING, "to": to}).envelope["action_id"])
        for to in ("2.3.1", "2.2.0")
    )
    elsewhere = str(world.comment("Meanwhile.").envelope["action_id"])
    claimed = claim_next(world.gate, world.executor.instance)
    assert claimed is not None
    assert claimed.action.id == first
    other = become_executor(world.home)
    beside = claim_next(world.gate, other.instance)
    assert beside is not None
    assert beside.action.id == elsewhere
    assert claim_next(world.gate, other.instance) is None
    assert world.status(second) == "approved"
    other.lock.release()


def test_what_becomes_stale_makes_room_for_the_next_on_its_target(world: World) -> None:
    """One drain is enough: the first is void by the policy in force, the second still runs."""
    world.activate((FORBID[0], FORBID[0] + "\n"))
    one = approved(world)
    world.clock.run(seconds=1)
    two = world.held(title="Another", body="kept")
    world.approve(two)
    world.activate((FORBID[0], FORBID[1].replace("where = {", 'where = { "arguments.title" = "Raise the timeout",')))
    world.drain()
    assert (world.status(one), world.status(two)) == ("stale", "succeeded")


def test_a_process_claims_only_what_it_reaches(world: World) -> None:
    approved(world)
    elsewhere = replace(world.gate, reach=frozenset({("tickets", "ops")}))
    assert elsewhere.ledger.look(lambda view: claimable(elsewhere, view)) == []
    assert claim_next(elsewhere, world.executor.instance) is None
    assert len(world.gate.ledger.look(lambda view: claimable(world.gate, view))) == 1


@pytest.mark.parametrize("what", ["reviewed base", "touched path"])
def test_a_base_that_moved_counts_only_where_it_was_reviewed(world: World, what: str) -> None:
    """A busy branch does not void a review; a change to what was reviewed does."""
    action = approved(world)
    path = "app/settings.py" if what == "touched path" else "unrelated.txt"
    stream = (
        "commit refs/heads/main\ncommitter X <x@example.org> 1760000000 +0000\ndata 1\nm\n"
        f"from refs/heads/main^0\nM 100644 inline {path}\ndata 4\nnew\n\n"
    )
    repository = world.home.folder / "samples/shop.git"
    subprocess.run(["git", "-C", str(repository), "fast-import", "--quiet"], input=stream.encode(), check=True)
    world.drain()
    assert world.status(action) == ("stale" if what == "touched path" else "succeeded")


def test_a_rollback_reviewed_against_another_live_version_is_stale_and_changes_nothing(world: World) -> None:
    action = str(world.call("rollback_deployment", **PRODUCTION).envelope["action_id"])
    world.approve(action)
    current = world.home.folder / "samples/web/production/current"
    current.unlink()
    current.symlink_to("releases/2.2.0")
    world.drain()
    assert (world.status(action), world.live("production")) == ("stale", "2.2.0")


def test_a_contract_that_is_another_by_now_makes_it_stale(world: World) -> None:
    action = approved(world)
    path = world.home.schemas / "open_pull_request.v1.json"
    text = path.read_text()
    path.write_text(text.replace('"description": "', '"description": "New: ', 1))
    old = world.gate
    world.gate = world.open()
    label = "open_pull_request"
    world.activate((old.catalog.contracts[label].label, world.gate.catalog.contracts[label].label))
    assert stale(world, action) == ["contract_moved"]
    old.ledger.close()


@pytest.mark.parametrize("forgery", ["a review", "a review that is another entry", "no obligations"])
def test_a_snapshot_forged_with_the_entry_key_itself_runs_nothing(world: World, forgery: str) -> None:
    """Requests and reviews are read again from their entries: what the server's keys can sign makes none."""
    action = world.held()
    world.call("get_ticket", ticket="OPS-1")
    head, value = world.gate.ledger.look(lambda view: (view.head, view.state.to_json()))
    state, now = State.from_json(value), world.clock().wall
    held = state.actions[action]
    key = PublicKey.parse(held.reviewers["alice"][0]).fingerprint
    seq = head.size - 1 if "another" in forgery else held.seq
    review = Review(seq=seq, reviewer="alice", verdict="approve", key=key, signed_at=now, recorded_at=now)
    state.actions[action] = (
        replace(held, obligations=(), decision="permit")
        if forgery == "no obligations"
        else replace(held, reviews=(review,))
    )
    with closing(sqlite3.connect(world.home.place.database, isolation_level=None)) as db:
        write_snapshot(db, head, state, load_key(world.home.place.keys / ENTRY_KEY))
    victim = world.open()
    assert len(victim.ledger.look(lambda view: claimable(victim, view))) == 1
    assert claim_next(victim, world.executor.instance) is None
    victim.ledger.close()
    assert world.entries("execution") == []
    assert world.entries("action.stale")[-1].facts["codes"] == ["story"]


def test_many_that_may_not_run_any_more_are_over_in_few_transactions_and_what_may_runs(world: World) -> None:
    world.activate(('limits = ["50 calls per hour"]', 'limits = ["500 calls per hour"]'))
    world.executing = False
    asked = [str(world.comment(f"Comment {n}.").envelope["action_id"]) for n in range(52)]
    world.activate(('where = { "arguments.status" = { exists = false } }', 'where = { environment = "staging" }'))
    good = str(world.call("rollback_deployment", **STAGING).envelope["action_id"])
    [claimed] = claim_ready(world.gate, world.executor)
    assert claimed.action.id == good
    stale = world.entries("action.stale")
    assert [entry.action for entry in stale] == asked
    assert len({entry.at for entry in stale}) == 2  # what is written in one transaction has one time


def test_of_four_that_a_lowered_limit_does_not_let_run_together_as_many_run_as_it_lets(world: World) -> None:
    world.executing = False
    asked = [str(world.comment(f"Comment {n}.").envelope["action_id"]) for n in range(4)]
    world.activate(('limits = ["50 calls per hour"]', 'limits = ["2 calls per hour"]'))
    world.drain()
    assert [world.status(action) for action in asked] == ["stale", "stale", "succeeded", "succeeded"]
