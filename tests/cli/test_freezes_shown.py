"""What a person sees of freezes on a real terminal."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.cli.test_terminal import bare, shown
from tests.gateway.test_freezes import freeze_from, override
from tests.gateway.world import Founded, World


@pytest.fixture
def world(tmp_path: Path, populated: Founded) -> Iterator[World]:
    world = World(tmp_path / "home", populated)
    yield world
    world.close()


def test_status_says_what_is_frozen_for_how_long_and_what_waits_for_it(world: World) -> None:
    action = world.held()
    freeze_from(world, timedelta(hours=-1), timedelta(hours=30, minutes=5))
    world.approve(action)
    screen = bare(shown(world, "status"))
    assert "Frozen" in screen
    assert "year end refuses changes for 1d 6h" in screen
    assert "frozen until" in screen
    override(world, timedelta(minutes=90))
    assert "year end is set aside by alice for 1h 29m" in bare(shown(world, "status"))


def test_status_says_when_the_next_freeze_begins(world: World) -> None:
    freeze_from(world, timedelta(hours=50), timedelta(hours=60))
    assert "year end begins next, in 2d 1h" in bare(shown(world, "status"))


def test_the_verbs_say_what_they_did_and_what_is_to_do(world: World) -> None:
    freeze_from(world, timedelta(hours=-1), timedelta(hours=30))
    screen = bare(shown(world, "freeze", "add", "year end", "--from", "2027-12-21", "--until", "2027-12-31"))
    assert "✓ year-end.ics has one more event" in screen
    assert "keyturn policy activate" in screen
    screen = bare(shown(world, "freeze", "remove", "year end", "one"))
    assert "✓ year-end.ics has the event one no more" in screen
    sign = ("--for", "90m", "-m", "an outage", "--key", str(world.keys["alice"]))
    assert "✓ year end is set aside until" in bare(shown(world, "freeze", "override", "year end", *sign))
    assert "set aside" in bare(shown(world, "freeze", "list"))


def test_who_approves_what_is_frozen_reads_that_it_waits(world: World) -> None:
    action = world.held()
    freeze_from(world, timedelta(hours=-1), timedelta(hours=30))
    screen = bare(shown(world, "approve", action, "--key", str(world.keys["alice"])))
    assert "reviews: approved; it waits (frozen until" in screen
    assert "it runs now" not in screen
