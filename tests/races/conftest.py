"""Homes and systems of others for the races."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.bed.fixtures import github_emulator, kube
from tests.bed.git_http import git_http
from tests.gateway.conftest import founded
from tests.gateway.world import Founded
from tests.races.remotes import Remote
from tests.races.stage import Stage, staged
from tests.races.table import row_of

__all__ = ["founded", "github_emulator", "kube"]


@pytest.fixture(autouse=True)
def _held_to_the_table(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a test sees come of an action is what the table says, which is what the page shows."""
    Stage.outcomes.clear()
    yield
    if request.path.name == "test_page.py":
        return
    given = getattr(request.node, "callspec", None)
    site = "" if given is None else str(given.params.get("site") or given.params.get("tracker") or "")
    row = row_of(request.node.originalname, site)
    for moment, status in Stage.outcomes:
        assert status in row.at(moment).split(" or "), (row, moment, status)


@pytest.fixture
def stages(tmp_path: Path, founded: Founded) -> Iterator[Callable[[str], Stage]]:
    """Make homes by name, each proved in the end."""
    with ExitStack() as stack:
        yield lambda name: stack.enter_context(staged(tmp_path / name, founded))


@pytest.fixture
def stage(stages: Callable[[str], Stage]) -> Stage:
    """One home."""
    return stages("home")


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[Remote]:
    """A git server."""
    with git_http(tmp_path / "git") as server:
        yield Remote(server)
