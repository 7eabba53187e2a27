"""Every request that the tracker on GitHub sends is valid by GitHub's own description of its API."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from tests.bed.faults import Fault, Twice
from tests.bed.forge import Forge
from tests.bed.node import EMULATE, OPENAPI, PRISM, missing
from tests.bed.prism import Prism, all_valid
from tests.connectors.deployments.processes import action
from tests.connectors.tickets.contract import draft, preview
from tests.connectors.tickets.issues import IssuesWorld

ABSENT = missing(EMULATE, PRISM, OPENAPI)
pytestmark = pytest.mark.skipif(ABSENT is not None, reason=ABSENT or "")


def everything(world: IssuesWorld) -> None:
    """Use all that the tracker can do, so that every operation is called."""
    port, ticket = world.port, draft(world, labels=["shop", "urgent"]).ticket
    twice = Fault("POST", r".*/comments", Twice())
    world.forge.faults.set(twice)
    for number, status in enumerate(["closed", "open", "not planned"], 1):
        change = preview(world, status, "Bye.").change
        anyio.run(port.apply, change, action(number))
        anyio.run(port.probe, change, action(number))
    world.set_status("open")
    anyio.run(port.probe, change, action(3))
    anyio.run(port.create, ticket, action(4))
    anyio.run(port.probe_creation, ticket, action(4))
    anyio.run(port.snapshot, world.ticket)
    anyio.run(port.check)


def test_every_request_is_valid_by_githubs_own_description(
    tmp_path: Path, github: Forge, github_prism: Prism
) -> None:
    for who in ("carol", None):
        everything(IssuesWorld(tmp_path, github, who))
    sent = list(github.seen.exchanges)
    all_valid(github_prism, sent)
    used = {(exchange.method, exchange.path.rsplit("/", 1)[-1]) for exchange in sent}
    assert {("POST", "comments"), ("POST", "issues"), ("GET", "events"), ("GET", "urgent")} <= used
    assert {method for method, _ in used} == {"GET", "POST", "PATCH", "DELETE"}


def test_requests_name_the_version_and_the_media_type(tmp_path: Path, github: Forge) -> None:
    preview(IssuesWorld(tmp_path, github), "closed")
    for exchange in github.seen.exchanges:
        assert exchange.header("x-github-api-version") == "2022-11-28"
        assert exchange.header("accept") == "application/vnd.github+json"
