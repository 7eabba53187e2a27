"""Freezes on the path of an action: refused when asked for, waiting when approved, let through when set aside."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keyturn.assembly.outside import moment
from keyturn.canon import Json, encode
from keyturn.fold.freezes import OVERRIDE, overriding
from keyturn.gateway.acts import ActDraft, statement_of
from keyturn.gateway.claim import claimable
from keyturn.gateway.desk import Job
from keyturn.gateway.freeze_states import ON, freeze_states
from keyturn.gateway.overriding import draft_override
from keyturn.log.commitment import SALT_BYTES, commit
from keyturn.log.entry import Entry
from keyturn.model.errors import Refused
from keyturn.model.time import format_timestamp
from keyturn.policy import Policy
from tests.gateway.world import World
from tests.policy.freezes.calendars import calendar, event, freeze

HELD = {"effect": '"hold"', "approval": '{ quorum = 1, from = ["carol"] }'}


def stamp(at: datetime) -> str:
    return f":{at.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def freeze_from(world: World, begin: timedelta, end: timedelta, **more: str) -> None:
    """Put a freeze in force, from and until so long from now."""
    now = moment().wall + world.clock.passed
    text = calendar(event(stamp(now + begin), stamp(now + end)))
    (world.home.folder / "year-end.ics").write_text(text)
    path = world.home.folder / "policy.toml"
    path.write_text(path.read_text() + freeze("year end", "year-end.ics", **more))
    world.activate()


def override(world: World, until: timedelta, who: str = "alice") -> None:
    end = moment().wall + world.clock.passed + until
    draft = draft_override(world.gate, world.gate.policies, "year end", until=end, reason="an outage", by=who)
    world.act(draft, who)


def in_force(world: World) -> Policy:
    return world.gate.ledger.look(world.gate.policies.in_force)


def waiting(world: World) -> list[str]:
    return [action.id for action in world.gate.ledger.look(lambda view: claimable(world.gate, view))]


def test_a_governed_call_is_refused_with_the_time_the_freeze_ends_and_reading_goes_on(world: World) -> None:
    freeze_from(world, timedelta(hours=-1), timedelta(hours=2))
    answer = world.comment("Hello.")
    assert (answer.envelope["status"], answer.is_error) == ("denied", True)
    reasons: Any = answer.envelope["reasons"]
    [reason] = reasons
    assert (reason["code"], reason["rule"]) == ("frozen", "year end")
    [frozen] = in_force(world).freezes
    stretch = frozen.at(moment().wall)
    assert stretch is not None
    assert stretch.end is not None
    assert answer.envelope["result"] == {"retry_at": f"{stretch.end:%Y-%m-%dT%H:%M:%S}.000000Z"}
    assert world.call("get_ticket", ticket="OPS-1").envelope["status"] == "succeeded"
    world.clock.run(hours=3)
    assert world.comment("Hello.").envelope["status"] == "succeeded"


def test_what_is_approved_when_a_freeze_begins_waits_for_its_end_and_runs_then(world: World) -> None:
    action = world.held()
    freeze_from(world, timedelta(hours=-1), timedelta(hours=2))
    world.approve(action)
    world.drain()
    assert (world.status(action), waiting(world)) == ("approved", [])
    world.clock.run(hours=3)
    assert waiting(world) == [action]
    world.drain()
    assert world.status(action) == "succeeded"


def test_what_is_approved_in_a_freeze_expires_when_the_freeze_lasts_longer(world: World) -> None:
    action = world.held()
    freeze_from(world, timedelta(hours=-1), timedelta(days=3))
    world.approve(action)
    world.clock.run(hours=30)
    world.drain()
    assert world.status(action) == "expired"
    assert "execution.started" not in world.kinds()


def test_a_freeze_set_aside_by_signature_lets_through_until_the_override_ends(world: World) -> None:
    action = world.held()
    freeze_from(world, timedelta(hours=-1), timedelta(days=3))
    world.approve(action)
    override(world, timedelta(minutes=30))
    world.drain()
    assert world.status(action) == "succeeded"
    assert world.comment("Hello.").envelope["status"] == "succeeded"
    world.clock.run(minutes=31)
    assert world.comment("Hello again.").envelope["status"] == "denied"
    [entry] = world.entries("freeze.overridden")
    assert entry.facts["freeze"] == "year end"


def test_an_activation_ends_every_override(world: World) -> None:
    freeze_from(world, timedelta(hours=-1), timedelta(days=3))
    override(world, timedelta(minutes=30))
    path = world.home.folder / "policy.toml"
    path.write_text(path.read_text() + "\n# a word\n")
    world.activate()
    assert world.comment("Hello.").envelope["status"] == "denied"


def test_only_whom_the_freeze_names_may_set_it_aside(world: World) -> None:
    freeze_from(world, timedelta(hours=-1), timedelta(days=3), override='["carol"]')
    with pytest.raises(Refused, match="alice may not set 'year end' aside; carol may"):
        override(world, timedelta(minutes=30))
    override(world, timedelta(minutes=30), "carol")


def test_an_override_that_came_past_the_gateway_counts_only_by_whom_the_freeze_names(world: World) -> None:
    freeze_from(world, timedelta(hours=-1), timedelta(days=3), override='["carol"]')
    words, salt = encode("an outage"), bytes(SALT_BYTES)
    end = moment().wall + world.clock.passed + timedelta(minutes=30)
    facts: dict[str, Json] = {"freeze": "year end", "until": format_timestamp(end)}
    meant = overriding(facts, commit(salt, "reason", words))
    said = world.gate.ledger.look(lambda view: statement_of(view, OVERRIDE, meant.object, meant.digest, "alice"))

    def record(tx: Job, act: dict[str, Json]) -> Entry:
        whole: dict[str, Json] = {**facts, "act": act}
        return tx.append("freeze.overridden", whole, data={"reason": words}, salts={"reason": salt})

    world.act(ActDraft(said, record))
    assert world.comment("Hello.").envelope["status"] == "denied"
    policy = in_force(world)
    [state] = world.gate.ledger.look(lambda view: freeze_states(policy, view))
    assert state.state == ON


@pytest.mark.parametrize(
    ("until", "said"), [(timedelta(minutes=-1), "is past"), (timedelta(days=8), "within 7 days")]
)
def test_an_override_has_an_end_that_is_near(world: World, until: timedelta, said: str) -> None:
    freeze_from(world, timedelta(hours=-1), timedelta(days=30))
    with pytest.raises(Refused, match=said):
        override(world, until)


def test_a_freeze_that_is_not_there_is_not_set_aside(world: World) -> None:
    with pytest.raises(Refused, match="has no freeze 'year end'; it has: none"):
        override(world, timedelta(minutes=30))


def test_a_holding_freeze_keeps_what_its_people_have_not_approved_waiting(world: World) -> None:
    action = world.held()
    freeze_from(world, timedelta(hours=-1), timedelta(hours=2), **HELD)
    world.approve(action)
    world.drain()
    assert world.status(action) == "approved"
    world.clock.run(hours=3)
    world.drain()
    assert world.status(action) == "succeeded"


def test_a_holding_freeze_lets_through_what_its_people_approved(world: World) -> None:
    freeze_from(world, timedelta(hours=-1), timedelta(hours=2), **HELD)
    answer = world.comment("Hello.")
    assert answer.envelope["status"] == "pending"
    action = str(answer.envelope["action_id"])
    world.approve(action, "carol")
    world.drain()
    assert world.status(action) == "succeeded"
