"""The how-to page says what is so: its settings are accepted, and its role is enough and not more than is used."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import anyio
import pytest
import yaml

from keyturn.connectors.deployments.kubernetes import Settings
from keyturn.model.outcome import Succeeded
from tests.connectors.deployments.processes import action
from tests.connectors.kubernetes.doing import apply, preview, probe, snapshot
from tests.connectors.kubernetes.world import ClusterWorld
from tests.docs.pages import ROOT, Page

PAGE = Page(Path(ROOT) / "docs" / "how-to" / "use-kubernetes.md")


def settings() -> list[dict[str, Any]]:
    read = [tomllib.loads(block.text) for block in PAGE.blocks if block.language == "toml"]
    return [one["deployments"]["web"] for one in read if "deployments" in one]


@pytest.mark.parametrize("table", settings(), ids="+".join)
def test_the_settings_on_the_page_are_accepted(table: dict[str, Any]) -> None:
    assert "production" in Settings.model_validate(table).environments


def test_the_keys_on_the_page_are_all_there_are() -> None:
    for name in Settings.model_fields:
        assert f"`{name}`" in PAGE.text or name == "kind"


def test_the_role_on_the_page_is_enough_and_no_more_than_is_used(world: ClusterWorld) -> None:
    documents = list(yaml.safe_load_all(next(block.text for block in PAGE.blocks if "kind: Role\n" in block.text)))
    role = next(one for one in documents if one["kind"] == "Role")
    granted = {f"{verb} {kind}" for rule in role["rules"] for kind in rule["resources"] for verb in rule["verbs"]}
    world.server.may = set(granted)
    snapshot(world)
    seen = preview(world)
    probe(world, seen, action(2))
    assert isinstance(apply(world, seen), Succeeded)
    assert {finding.level for finding in anyio.run(world.port.check)} == {"ok"}
    sent = {(one.method, one.path.split("/")[6]) for one in world.proxy.seen.of("*", ".*/apps/v1/.*")}
    verbs = {("GET", "deployments"): "get", ("PATCH", "deployments"): "patch", ("GET", "replicasets"): "list"}
    assert {f"{verbs[one]} {one[1]}" for one in sent} == granted
