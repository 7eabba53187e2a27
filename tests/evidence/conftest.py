"""One good ledger and its bundle for all tests, and a copy of the ledger to attack."""

import shutil
from pathlib import Path

import pytest

from tests.evidence.bundling import Members, bundle_in, members_of
from tests.verifier.world import Thief, World, build


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The ledger of a home whose gate did one of everything; never changed by a test."""
    return build(tmp_path_factory.mktemp("good"))


@pytest.fixture(scope="session")
def bundle(good: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of it, with all payloads."""
    return bundle_in(tmp_path_factory.mktemp("bundle"), good)


@pytest.fixture(scope="session")
def members(bundle: Path) -> Members:
    """What the bundle holds, by name."""
    return members_of(bundle.read_bytes())


@pytest.fixture
def thief(good: World, tmp_path: Path) -> Thief:
    """Somebody who holds the entry key of a copy of the ledger."""
    return Thief(good.copied(tmp_path))


@pytest.fixture(scope="session")
def home(good: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the home whose ledger the good world has."""
    folder = tmp_path_factory.mktemp("copied") / "home"
    shutil.copytree(good.database.parent.parent, folder)
    return folder
