from __future__ import annotations

from pathlib import Path

import pytest

from keyturn.assembly.founding import Order, read_public_key
from keyturn.assembly.starter import NewPrincipal, NewReviewer
from tests.assembly.people import make_key, public


@pytest.fixture(scope="session")
def alice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_key(tmp_path_factory.mktemp("keys"), "alice")


@pytest.fixture
def order(tmp_path: Path, alice: Path) -> Order:
    return Order(
        folder=tmp_path / "home",
        principals=[NewPrincipal("claude", "bob")],
        reviewers=[NewReviewer("alice", read_public_key(public(alice)))],
    )
