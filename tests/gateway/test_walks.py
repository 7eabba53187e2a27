"""Walks at random through all that may come together: what must always be so holds after each step."""

from __future__ import annotations

from random import Random

import pytest

from tests.gateway.walk import Walk
from tests.gateway.world import World

STEPS = 80


@pytest.mark.parametrize(
    ("theme", "favourite"),
    [
        ("two comments", "update_ticket"),
        ("two must agree", "open_pull_request"),
        ("one outcome is enough", "rollback_deployment"),
    ],
)
def test_whatever_comes_together_nothing_is_done_twice_or_stuck_and_the_ledger_is_proved(
    world: World, theme: str, favourite: str
) -> None:
    world.whole = False  # processes on the home are replaced: results that write nothing may have no receipt yet
    walk = Walk(world, Random(f"{theme}, {favourite}"), theme, favourite)
    try:
        for _ in range(STEPS):
            walk.step()
        walk.end()
    finally:
        walk.close()
