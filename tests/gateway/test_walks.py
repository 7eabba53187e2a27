"""Walks at random through all that may come together: what must always be so holds after each step."""

from __future__ import annotations

from random import Random

import pytest

from tests.gateway.walk import Walk
from tests.gateway.world import World

STEPS = 60


@pytest.mark.parametrize("seed", range(4))
def test_whatever_comes_together_nothing_is_done_twice_or_stuck_and_the_ledger_is_proved(
    world: World, seed: int
) -> None:
    world.whole = False  # processes on the home are replaced: results that write nothing may have no receipt yet
    walk = Walk(world, Random(seed))
    try:
        for _ in range(STEPS):
            walk.step()
        walk.end()
    finally:
        walk.close()
