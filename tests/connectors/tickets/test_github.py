from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from tests.bed.forge import Forge
from tests.connectors.tickets.contract import TicketsContract
from tests.connectors.tickets.issues import IssuesWorld, open_issues


@pytest.fixture(params=["carol", None], ids=["token", "app"])
def world(tmp_path: Path, github: Forge, request: pytest.FixtureRequest) -> IssuesWorld:
    return IssuesWorld(tmp_path, github, request.param)


class TestGitHubIssues(TicketsContract):
    """The port's promises, kept by GitHub as `emulate` plays it; as a person and as an App."""
