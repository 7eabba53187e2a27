"""Building back ends and tools: everything declared is reached, and all that is wrong is said at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from keyturn.assembly.home import Home
from keyturn.assembly.ports import build_ports, build_tools, world_of
from keyturn.assembly.wiring import Wiring, read_wiring
from keyturn.model.errors import ConfigurationError
from keyturn.tools.arguments import models
from tests.gateway import conftest as gateway
from tests.gateway.world import World

founded = gateway.founded
world = gateway.world


def test_every_declared_back_end_is_reached_by_every_tool_of_its_port(world: World) -> None:
    tools = build_tools(build_ports(read_wiring(world.home.wiring), world_of(world.home, commands=False)))
    assert tools.reach == {("forge", "shop"), ("deployments", "web"), ("tickets", "ops")}
    assert set(tools.governed) == {
        "open_pull_request",
        "update_pull_request",
        "merge_pull_request",
        "revert_pull_request",
        "close_pull_request",
        "rollback_deployment",
        "create_ticket",
        "update_ticket",
    }
    assert set(tools.reading) == {"get_pull_request", "get_deployment", "get_ticket"}
    about_oneself = {"get_permissions", "get_action", "list_actions", "cancel_action", "undo_action"}
    assert set(models()) == {*tools.governed, *tools.reading, *about_oneself}


def test_without_back_ends_there_is_nothing_to_reach(tmp_path: Path) -> None:
    tools = build_tools(build_ports(Wiring(version=1), world_of(Home(tmp_path), commands=False)))
    assert tools.reach == frozenset()
    assert set(tools.governed) >= {"update_ticket"}


def test_all_back_ends_that_cannot_be_built_are_named_at_once(world: World) -> None:
    text = world.home.wiring.read_text()
    text = text.replace('path = "samples/shop.git"', 'path = "samples/nowhere.git"')
    text = text.replace('production = "samples/web/production"', 'production = "samples/web/staging"')
    world.home.wiring.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        build_ports(read_wiring(world.home.wiring), world_of(world.home, commands=False))
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "forge.shop.path",
        "deployments.web.environments.production",
    ]


def test_a_back_end_whose_credential_is_elsewhere_is_left_to_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = world.home.wiring.read_text()
    forge = '[forge.shop]\nkind = "github"\nrepository = "acme/shop"\ncredential = "env:FORGE_TOKEN"\n\n'
    world.home.wiring.write_text(text[: text.index("[forge.shop]")] + forge + text[text.index("[deployments.web]") :])
    monkeypatch.delenv("FORGE_TOKEN", raising=False)

    def reached() -> frozenset[tuple[str, str]]:
        return build_tools(build_ports(read_wiring(world.home.wiring), world_of(world.home, commands=False))).reach

    assert reached() == {("deployments", "web"), ("tickets", "ops")}
    monkeypatch.setenv("FORGE_TOKEN", "hush")
    assert reached() == {("forge", "shop"), ("deployments", "web"), ("tickets", "ops")}
