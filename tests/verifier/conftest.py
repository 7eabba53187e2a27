"""One good ledger for all tests, and a copy of it for each."""

from pathlib import Path

import pytest

from tests.verifier.world import Thief, World, build


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The ledger of a home whose gate did one of everything; never changed by a test."""
    return build(tmp_path_factory.mktemp("good"))


@pytest.fixture
def world(good: World, tmp_path: Path) -> World:
    """A copy of the good ledger, to attack."""
    return good.copied(tmp_path)


@pytest.fixture
def thief(world: World) -> Thief:
    """Somebody who holds the entry key of the copy."""
    return Thief(world)
