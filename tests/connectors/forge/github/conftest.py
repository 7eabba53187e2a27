"""GitHub for the forge's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bed.emulator import Emulator
from tests.bed.fixtures import github_emulator, github_prism
from tests.connectors.forge.github.world import World, world_of

__all__ = ["github_emulator", "github_prism"]


@pytest.fixture
def world(github_emulator: Emulator, tmp_path: Path) -> Iterator[World]:
    """A repository on GitHub that begins as the contract says, and forges that reach it."""
    with world_of(github_emulator, tmp_path) as made:
        yield made
