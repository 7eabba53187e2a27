"""GitHub for the forge's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest

from tests.bed.emulator import Emulator, emulator
from tests.bed.fixtures import github_prism
from tests.connectors.forge.github.world import World, world_of

__all__ = ["github_prism"]

USES = 15
"""Tests that one emulator serves: it answers no token more than 5000 times an hour."""


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Emulator]]:
    """Return an emulator, another one after some uses."""
    with ExitStack() as stack:
        numbers, kept = count(), list[Emulator]()

        def emulators() -> Emulator:
            if next(numbers) % USES == 0:
                stack.close()
                kept[:] = [stack.enter_context(emulator(tmp_path_factory.mktemp("emulate")))]
            return kept[0]

        yield emulators


@pytest.fixture
def world(fresh: Callable[[], Emulator], tmp_path: Path) -> Iterator[World]:
    """A repository on GitHub that begins as the contract says, and forges that reach it."""
    with world_of(fresh(), tmp_path) as made:
        yield made
