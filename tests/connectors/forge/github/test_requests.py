"""Every request that the forge sends is valid by GitHub's own description of its API."""

from __future__ import annotations

import anyio

from tests.bed.prism import Prism, all_valid
from tests.connectors.forge.contract import CHANGE, close, closing, land, opening, pull, revision
from tests.connectors.forge.github.test_merges import merge, merging, proposed, reviewed
from tests.connectors.forge.github.world import World
from tests.connectors.forge.repository import action

CHANGES = {**CHANGE, "data/logo.bin": b"\xff\0\xfe"}


def test_everything_that_is_sent_is_valid_by_githubs_description(world: World, github_prism: Prism) -> None:
    forge = world.app(world.emulator.pem, world.emulator.app_id)
    land(forge, opening(forge, CHANGES), action(1))
    land(forge, revision(forge, action(1), {"docs/new.md": b"newer\n"}), action(2))
    pull(forge, action(1))
    change = closing(forge, action(1))
    anyio.run(forge.probe_closing, change, action(3))
    close(forge, change, action(4))
    number = proposed(world)
    merge(world, reviewed(world, number), 5)
    merging(world, number)
    anyio.run(forge.check)
    anyio.run(world.forge().check)
    anyio.run(forge.audience)
    assert len({(sent.method, sent.path) for sent in world.proxy.seen.exchanges}) > 40
    all_valid(github_prism, world.proxy.seen.exchanges)
    for sent in world.proxy.seen.exchanges:
        assert sent.header("accept") == "application/vnd.github+json"
        assert sent.header("x-github-api-version") == "2022-11-28"
        assert sent.header("user-agent") == "keyturn"
