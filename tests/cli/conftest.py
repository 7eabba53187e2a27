from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyturn.assembly.standing import take_worker_turn
from tests.assembly.people import make_key, public
from tests.cli.operator import Operator, tell
from tests.gateway.world import Founded, World, found


@pytest.fixture(scope="session")
def alice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_key(tmp_path_factory.mktemp("alice"), "alice")


@pytest.fixture(scope="session")
def mallory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_key(tmp_path_factory.mktemp("mallory"), "mallory")


@pytest.fixture(scope="session")
def founded(tmp_path_factory: pytest.TempPathFactory, alice: Path) -> Operator:
    """A home that is only copied."""
    home = tmp_path_factory.mktemp("founded") / "home"
    said = tell("init", home, "--principal", "claude=bob", "--reviewer", f"alice={public(alice)}", "--json")
    assert said.code == 0, said.err
    return Operator(home, alice, json.loads(said.out)["tokens"]["claude"])


@pytest.fixture
def operator(founded: Operator, tmp_path: Path) -> Operator:
    """An operator with a home of their own."""
    shutil.copytree(founded.home, tmp_path / "home", symlinks=True)
    return Operator(tmp_path / "home", founded.key, founded.token)


@pytest.fixture(scope="session")
def populated(tmp_path_factory: pytest.TempPathFactory) -> Founded:
    """A home with claude (bob answers for it), codex (nobody does), and the reviewers alice, carol and bob."""
    return found(tmp_path_factory.mktemp("populated"))


@pytest.fixture
def world(tmp_path: Path, populated: Founded) -> Iterator[World]:
    """A copy of it, for which no worker is started beside the test."""
    world = World(tmp_path / "home", populated)
    give_up = take_worker_turn(world.home)
    assert give_up is not None
    yield world
    give_up()
    world.close()
