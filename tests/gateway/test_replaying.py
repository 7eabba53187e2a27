"""Replaying: what other policies would have said to what the ledger recorded, with the usage of its time."""

from __future__ import annotations

import json

import pytest

from keyturn.gateway.acts import read_candidate
from keyturn.gateway.erasing import draft_erasure, erase
from keyturn.gateway.replaying import Replay, compare, recorded, replay
from keyturn.policy import Policy
from tests.gateway.world import PRODUCTION, STAGING, World

LESS = ('limits = ["50 calls per hour"]', 'limits = ["1 calls per hour"]')


def policy(world: World, *changes: tuple[str, str]) -> Policy:
    """Read the policy of the home with changes that stay on no disk."""
    files = world.home.policy_files()
    for old, new in changes:
        assert old in files["policy.toml"], old
        files = {**files, "policy.toml": files["policy.toml"].replace(old, new)}
    return read_candidate(files, world.gate.catalog).policy


def replayed(world: World, *changes: tuple[str, str]) -> Replay:
    wanted = policy(world, *changes)
    return world.gate.ledger.look(lambda view: replay(view, wanted))


@pytest.fixture
def busy(world: World) -> World:
    """A home in which something of everything was asked."""
    world.held()
    world.comment("first")
    world.comment("second")
    world.call("get_ticket", ticket="OPS-1")
    world.call("rollback_deployment", **STAGING)
    world.call("rollback_deployment", **PRODUCTION)
    world.call("update_ticket", ticket="OPS-9", comment="nothing there")
    return world


def test_the_policy_that_decided_would_decide_the_same(busy: World) -> None:
    found = replayed(busy)
    assert found.changes == []
    assert found.played == len(busy.entries("action.requested")) + len(busy.entries("read.served"))
    assert found.refused == len(busy.entries("action.denied")) > 0
    assert all(before == after for before, after in found.verdicts)


def test_limits_see_what_was_used_before_each_request_and_no_more(busy: World) -> None:
    """The second comment is one too many, the first is not; nor is what another tool used in between."""
    found = replayed(busy, LESS)
    (change,) = found.changes
    second = [e for e in busy.entries("action.requested") if e.facts["tool"] == "update_ticket"][1]
    assert (change.seq, change.direction) == (second.seq, "stricter")
    assert (change.before.verdict, change.after.verdict) == ("permit", "deny")
    assert change.after.reasons[0].code == "limit"


def test_more_and_fewer_reviews_are_told_apart(busy: World) -> None:
    pulls = 'limits = ["20 calls per hour", "2000 lines_changed per day", "5 pending"]\napproval = { quorum = 1'
    (stricter,) = replayed(busy, (pulls, pulls.replace("quorum = 1", "quorum = 2"))).changes
    assert (stricter.before.verdict, stricter.after.verdict, stricter.direction) == ("hold", "hold", "stricter")
    rollback = 'approval = { quorum = 1, from = ["group:sre"], expires = "1h" }\n'
    (looser,) = replayed(busy, (rollback, "")).changes
    assert (looser.before.verdict, looser.after.verdict, looser.direction) == ("hold", "permit", "looser")


def test_other_people_for_as_many_reviews_are_a_difference_that_is_neither(busy: World) -> None:
    rollback = 'approval = { quorum = 1, from = ["group:sre"], expires = "1h" }'
    (change,) = replayed(busy, (rollback, rollback.replace("group:sre", "alice"))).changes
    assert change.direction == "other"


def test_a_rule_by_another_name_is_no_difference(busy: World) -> None:
    assert replayed(busy, ('id = "production rollbacks need a person"', 'id = "by another name"')).changes == []


def test_two_policies_are_held_against_each_other_and_not_against_the_record(busy: World) -> None:
    old, new = policy(busy, LESS), policy(busy, LESS)
    same = busy.gate.ledger.look(lambda view: compare(view, old, new))
    assert (same.changes, same.played) == ([], replayed(busy).played)
    loose = busy.gate.ledger.look(lambda view: compare(view, old, policy(busy)))
    assert [change.direction for change in loose.changes] == ["looser"]


def test_what_was_erased_is_counted_and_left_out(busy: World) -> None:
    rollback = next(e for e in busy.entries("action.requested") if e.facts["decision"] == "permit")
    before = replayed(busy)
    field = next(name for name in rollback.data if name.startswith("argument."))
    draft = draft_erasure(busy.gate.ledger, str(rollback.seq), [field], basis="a test", by="alice")
    erase(busy.gate.ledger, draft, lambda message, namespace: busy.sign(message, "alice", namespace))
    after = replayed(busy)
    assert (after.played, after.erased) == (before.played - 1, 1)


def test_a_read_that_selected_an_environment_selects_it_again_where_the_target_has_moved(busy: World) -> None:
    busy.call("get_deployment", deployment="web", environment="staging")
    staging, production = (f'"deployments:web/{name}"' for name in ("staging", "production"))
    moved = [
        (f"targets = [{staging}]", 'targets = ["deployments:web/spare"]'),
        (f"targets = [{production}, ", f"targets = [{production}, {staging}, "),
    ]
    found = {change.tool: change.after for change in replayed(busy, *moved).changes}
    assert {tool: after.reasons[0].code for tool, after in found.items()} == {
        "rollback_deployment": "environment",
        "get_deployment": "environment",
    }


def test_replaying_writes_nothing_and_gives_the_same_each_time(busy: World) -> None:
    size = len(busy.entries())
    assert replayed(busy, LESS).to_json() == replayed(busy, LESS).to_json()
    assert len(busy.entries()) == size
    assert json.loads(json.dumps(replayed(busy, LESS).to_json()))["changed"] == 1


def test_each_request_comes_with_the_fold_as_it_was_before_it(busy: World) -> None:
    contracts = busy.gate.catalog.contracts

    def look(view: object) -> list[tuple[int, bool]]:
        items = recorded(view, contracts)  # type: ignore[arg-type]  # the reader's own view
        return [(item.entry.seq, item.entry.action in item.state.actions) for item in items]

    found = busy.gate.ledger.look(look)
    assert [seq for seq, _ in found] == sorted(seq for seq, _ in found)
    assert not any(known for _, known in found)
