"""A home for each test: founded once, copied."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway.world import Founded, World, found


@pytest.fixture(scope="session")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Founded:
    return found(tmp_path_factory.mktemp("founded"))


@pytest.fixture
def world(tmp_path: Path, founded: Founded) -> Iterator[World]:
    world = World(tmp_path / "home", founded)
    yield world
    world.close()
