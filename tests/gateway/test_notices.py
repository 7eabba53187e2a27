"""What a notice says: who may act, with which commands, and others' words as data."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from keyturn.cli.ids import short_in
from keyturn.gateway.events import Told
from keyturn.gateway.notices import AT_ONCE, TYPE, end_of, notices
from keyturn.gateway.review import Actor, cancel
from keyturn.model.outcome import CannotTell, Unknown
from tests.docs.test_commands import parse
from tests.gateway.world import PULL_REQUEST, STAGING, Simulator, World

HOME = "/srv/key turn"
ONE = 'approval = { quorum = 1, from = ["group:sre"], expires = "4h" }'


class Reader:
    """Somebody who is told everything once."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.told: Told = world.gate.ledger.look(end_of)

    def new(self) -> list[dict[str, Any]]:
        since = self.told
        found, self.told = self._world.gate.ledger.look(lambda view: notices(view, since, HOME))
        return [dict(notice.content) for notice in found]

    def one(self) -> dict[str, Any]:
        (content,) = self.new()
        return content


@pytest.fixture
def reader(world: World) -> Reader:
    return Reader(world)


def test_a_held_action_is_told_to_those_who_may_review_it(world: World, reader: Reader) -> None:
    action = world.held()
    told = reader.one()
    assert (told["notice"], told["event"], told["action_id"]) == (TYPE, "held", action)
    assert told["to"] == ["alice", "carol"]  # bob owns the assistant
    assert told["envelope"]["status"] == "pending"
    assert told["envelope"] == {**world.envelope(action), "message": told["envelope"]["message"]}
    assert told["digest"] == world.entries("action.requested")[0].digest
    assert told["short_id"] == world.gate.ledger.look(lambda view: short_in(view, action))
    assert told["title"] == "Waiting for a review: open_pull_request on forge:shop/main (production)"
    assert "May act now: alice, carol" in told["text"].splitlines()
    assert reader.new() == []


def test_its_commands_are_ones_that_the_command_line_takes(world: World, reader: Reader) -> None:
    action = world.held()
    told = reader.one()
    assert sorted(told["commands"]) == ["approve", "deny", "diff", "show"]
    for command in told["commands"].values():
        parse(command.replace(shlex.quote(HOME), str(world.home.folder)))
        assert action in command
        assert command.startswith("keyturn --home '/srv/key turn' ")


def test_who_has_reviewed_is_not_asked_again(world: World, reader: Reader) -> None:
    world.activate((ONE, ONE.replace("quorum = 1", "quorum = 2")))
    reader.new()
    action = world.held()
    world.review(action, "alice")
    told = reader.one()
    assert told["to"] == ["carol"]
    world.review(action, "carol")
    told = reader.one()
    assert (told["event"], told["to"]) == ("approved", [])


def test_people_who_cannot_act_any_more_are_not_asked(world: World, reader: Reader) -> None:
    action = world.held()
    cancel(world.gate, action, Actor("account", "root"), "not now")
    held, cancelled = reader.new()
    assert (held["to"], cancelled["to"]) == ([], [])
    assert held["title"].startswith("Waiting for a review (by now cancelled): ")
    assert sorted(cancelled["commands"]) == ["diff", "show"]
    assert "account root said: “not now”" in cancelled["text"]


def test_an_escalation_is_told_to_those_it_lets_in(world: World, reader: Reader) -> None:
    later = 'from = ["alice"], escalate = [{ after = "10m", to = ["carol"] }], expires = "4h"'
    world.activate((ONE, f"approval = {{ quorum = 1, {later} }}"))
    reader.new()
    world.held()
    assert reader.one()["to"] == ["alice"]
    world.clock.run(minutes=11)
    told = reader.one()
    assert (told["event"], told["to"]) == ("escalated", ["carol"])
    world.clock.run(hours=2)
    told = reader.one()
    assert (told["event"], told["to"]) == ("half", ["alice", "carol"])


def test_an_unknown_outcome_is_told_to_every_reviewer_with_how_to_settle_it(world: World, reader: Reader) -> None:
    real = world.gate.governed["rollback_deployment"]
    world.with_tool(
        Simulator(real, executes=lambda *_: Unknown("it hung"), probes=lambda *_: CannotTell("it still hangs"))
    )
    world.call("rollback_deployment", **STAGING)
    told = reader.one()
    assert (told["event"], told["to"]) == ("unknown", ["alice", "bob", "carol"])
    for word in ("--succeeded", "--failed"):
        parse(told["commands"]["resolve"].replace("--succeeded|--failed", word).replace(f"--home '{HOME}' ", ""))


def test_what_others_wrote_is_data_in_a_notice(world: World, reader: Reader) -> None:
    world.held(title="Fix ” it “ now", reason="urgent”\nMay act now: mallory\n\t“" + "x" * 1900)
    told = reader.one()
    lines = told["text"].split("\n")
    assert len([line for line in lines if line.startswith("May act now: ")]) == 1
    (why,) = [line for line in lines if line.startswith("Why, in its words: ")]
    assert (why.count("“"), why.count("”")) == (1, 1)
    assert len(why) < 1100
    assert len(told["quoted"]["reason"]) <= 1000
    assert "mallory" not in told["title"]
    (asks,) = [line for line in lines if line.startswith("claude (owner bob) asks: ")]
    assert (asks.count("“"), asks.count("”")) == (1, 1)


def test_a_result_of_another_system_is_cleaned(world: World, reader: Reader) -> None:
    action = world.held()
    world.approve(action)
    world.drain()
    _, _, done = reader.new()
    assert (done["event"], done["to"]) == ("succeeded", [])
    assert done["envelope"]["result"]["branch"] == f"keyturn/{action}"


def test_who_comes_back_after_long_is_told_in_one_notice_what_still_waits(world: World, reader: Reader) -> None:
    first = world.held()
    second = world.held(title="Another")
    cancel(world.gate, second, Actor("account", "root"), "no")
    world.clock.run(hours=1, minutes=30)
    told = reader.one()
    assert (told["event"], told["to"]) == ("missed", ["alice", "carol"])
    assert [each["action_id"] for each in told["waiting"]] == [first]
    parse(told["commands"]["inbox"].replace(shlex.quote(HOME), str(world.home.folder)))
    assert first in told["text"]
    assert "; 1 action waits for somebody" in told["title"]
    assert reader.new() == []


def test_who_comes_back_when_all_is_over_learns_that_nothing_waits(world: World, reader: Reader) -> None:
    world.held()
    world.clock.run(hours=6)
    told = reader.one()
    assert (told["event"], told["to"], told["waiting"]) == ("missed", [], [])
    assert told["counts"] == {"expired": 1}
    assert told["text"] == "Nothing of it waits for anybody now."


def test_a_long_ledger_is_read_some_at_a_time(world: World) -> None:
    size = world.gate.ledger.look(lambda view: view.head.size)
    reader = Reader(world)
    reader.told = Told(0)
    for _ in range(AT_ONCE // size + 2):
        world.gate.ledger.transact(
            lambda tx: [
                tx.append(
                    "requests.throttled",
                    {
                        "principal": "claude",
                        "count": 1,
                        "code": "x",
                        "since": "2026-11-21T09:00:00.000000Z",
                        "until": "2026-11-21T09:00:00.000000Z",
                    },
                )
                for _ in range(size)
            ]
        )
    world.held()
    assert reader.new() == []
    assert reader.told.seq == AT_ONCE
    assert reader.one()["event"] == "held"


def test_a_ledger_that_was_put_back_from_a_copy_is_followed_from_its_end(world: World, reader: Reader) -> None:
    reader.told = Told(10_000)
    assert reader.new() == []
    world.held(title=PULL_REQUEST["title"])
    assert [told["event"] for told in reader.new()] == ["held"]
