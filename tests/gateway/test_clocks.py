"""A clock that jumps: back an hour, forward ten years, over another boot; and a person who signs that it is right."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from keyturn.gateway.recoveries import draft_clock
from keyturn.log.entry import Entry
from keyturn.model.errors import Refused
from keyturn.model.time import Moment
from keyturn.verifier import verify_ledger
from tests.gateway.world import Clock, Founded, World

HOUR = timedelta(hours=1)
TEN_YEARS = timedelta(days=3652)


@dataclass
class Boots(Clock):
    """A clock of a machine that may be started again."""

    boot: str = ""
    up: int = 0

    def __call__(self) -> Moment:
        now = super().__call__()
        return replace(now, boot=self.boot or now.boot, up=now.up - self.up)

    def start_again(self) -> None:
        self.boot, self.up = "11111111-0000-4000-8000-000000000000", self().up - 30_000_000


@pytest.fixture
def clock() -> Boots:
    return Boots()


@pytest.fixture
def world(tmp_path: Path, founded: Founded, clock: Boots) -> Iterator[World]:
    world = World(tmp_path / "home", founded)
    world.gate.ledger.close()
    world.clock = clock
    world.gate = world.open()
    yield world
    world.close()


def sign_for_the_clock(world: World) -> Entry:
    return world.act(draft_clock(world.gate, reason="I looked at it", by="alice"))


def fault(world: World) -> str | None:
    return world.gate.ledger.look(lambda view: view.reading.fault)


def refused_by_the_clock(world: World) -> bool:
    answer = world.comment("What time is it?")
    reasons: Any = answer.envelope["reasons"]
    return [reason["code"] for reason in reasons] == ["clock"]


def verdict(world: World) -> str:
    return verify_ledger(world.home.place.database).verdict


def test_an_hour_back_governed_actions_are_refused_until_somebody_signs(world: World, clock: Boots) -> None:
    action = world.held()
    world.approve(action)
    clock.step(hours=-1)
    assert refused_by_the_clock(world)
    world.drain()
    assert world.status(action) == "approved"
    before = world.gate.ledger.look(lambda view: view.now)
    entry = sign_for_the_clock(world)
    assert entry.at >= before
    assert fault(world) is None
    world.drain()
    assert world.status(action) == "succeeded"
    assert world.comment("Time goes on.").envelope["status"] == "succeeded"
    assert verdict(world) == "PASS-UNANCHORED"


def test_after_that_signature_the_log_is_an_hour_ahead_and_another_jump_is_seen(world: World, clock: Boots) -> None:
    clock.step(hours=-1)
    sign_for_the_clock(world)
    wall, now = clock().wall, world.gate.ledger.look(lambda view: view.now)
    assert abs(now - wall - HOUR) < timedelta(seconds=5)
    clock.run(minutes=30)
    assert fault(world) is None
    clock.step(hours=1)
    assert refused_by_the_clock(world)


def test_what_expired_stays_expired_when_the_clock_goes_back(world: World, clock: Boots) -> None:
    action = world.held()
    clock.run(days=2)
    assert world.status(action) == "expired"
    world.comment("This is later.")
    clock.step(days=-2)
    assert world.status(action) == "expired"
    sign_for_the_clock(world)
    assert world.status(action) == "expired"
    with pytest.raises(Refused, match="expired"):
        world.approve(action)


def test_ten_years_forward_nothing_is_done_and_nothing_expires_until_somebody_signs(
    world: World, clock: Boots
) -> None:
    action = world.held()
    clock.step(days=TEN_YEARS.days)
    assert refused_by_the_clock(world)
    assert world.status(action) == "pending"
    clock.step(days=-TEN_YEARS.days)
    assert fault(world) is None
    assert world.comment("It was a slip.").envelope["status"] == "succeeded"
    clock.step(days=TEN_YEARS.days)
    entry = sign_for_the_clock(world)
    assert abs(entry.at - clock().wall) < timedelta(seconds=5)
    assert fault(world) is None
    assert not world.gate.ledger.look(lambda view: [*view.state.open_actions(view.now)])


def test_after_another_boot_a_clock_behind_the_log_is_refused_until_somebody_signs(
    world: World, clock: Boots
) -> None:
    world.comment("Before the machine stopped.")
    clock.start_again()
    clock.step(hours=-1)
    assert refused_by_the_clock(world)
    sign_for_the_clock(world)
    assert world.comment("It runs again.").envelope["status"] == "succeeded"
    clock.run(hours=5)
    assert world.comment("And on.").envelope["status"] == "succeeded"
    assert verdict(world) == "PASS-UNANCHORED"


def test_the_log_stays_ahead_over_another_boot(world: World, clock: Boots) -> None:
    clock.step(hours=-1)
    sign_for_the_clock(world)
    clock.run(hours=8)
    clock.start_again()
    assert world.comment("It runs again.").envelope["status"] == "succeeded"
    now = world.gate.ledger.look(lambda view: view.now)
    assert abs(now - clock().wall - HOUR) < timedelta(seconds=5)


def test_a_clock_that_is_believed_is_not_signed_for(world: World) -> None:
    with pytest.raises(Refused, match="believed as it is"):
        draft_clock(world.gate, reason="I looked at it", by="alice")


def test_a_clock_that_moves_while_it_is_signed_for_is_refused(world: World, clock: Boots) -> None:
    clock.step(hours=-1)
    draft = draft_clock(world.gate, reason="I looked at it", by="alice")
    clock.step(minutes=3)
    with pytest.raises(Refused, match="moved again"):
        world.act(draft)
    assert fault(world) is not None


def test_refusals_recorded_meanwhile_do_not_void_the_signature(world: World, clock: Boots) -> None:
    clock.step(hours=-1)
    draft = draft_clock(world.gate, reason="I looked at it", by="alice")
    assert refused_by_the_clock(world)
    world.act(draft)
    assert fault(world) is None
