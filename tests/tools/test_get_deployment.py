from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from keyturn.canon import Json, encode
from keyturn.model.errors import ConnectorError
from keyturn.model.tool import EarlierAction, ReadTool
from keyturn.tools.arguments.get_deployment import Arguments
from keyturn.tools.get_deployment import MAX_CHANGES, MAX_REVISIONS, TOOL
from tests.connectors.deployments.world import World, lay_out, open_port
from tests.connectors.kubernetes.world import cluster


def nothing_earlier(action_id: str) -> EarlierAction | None:
    del action_id
    return None


def read(world: World) -> Mapping[str, Json]:
    tool, arguments = TOOL({"web": world.port}), Arguments(deployment="web")
    plan = anyio.run(tool.locate, arguments, nothing_earlier)
    assert (plan.target, plan.environment) == ("deployments:web/staging", "staging")
    assert plan.backend == world.port.backend("staging")
    told: Mapping[str, Json] = anyio.run(tool.read, plan, arguments)
    encode(told)
    return told


def test_it_is_a_read_tool_of_the_deployments_port(tmp_path: Path) -> None:
    assert isinstance(TOOL({"web": World(tmp_path).port}), ReadTool)
    assert (TOOL.name, TOOL.port) == ("get_deployment", "deployments")


def test_it_tells_what_runs_what_could_and_what_was(tmp_path: Path) -> None:
    told = read(World(tmp_path))
    assert told == {
        "deployment": "web",
        "environment": "staging",
        "current": "2.4.0",
        "previous": "2.3.1",
        "health": None,
        "owner": None,
        "revisions": [
            {"version": "2.4.0", "current": True, "live_at": "2026-11-03T08:00:00.000000Z", "images": []},
            {"version": "2.3.1", "current": False, "live_at": "2026-11-02T08:00:00.000000Z", "images": []},
            {"version": "2.2.0", "current": False, "live_at": "2026-11-01T08:00:00.000000Z", "images": []},
        ],
        "revisions_count": 3,
        "changes": [
            {"from": old, "to": new, "principal": "deploy", "at": f"2026-11-0{day}T08:00:00.000000Z", "action": None}
            for day, old, new in [(3, "2.3.1", "2.4.0"), (2, "2.2.0", "2.3.1"), (1, None, "2.2.0")]
        ],
        "changes_count": 3,
    }


def test_long_lists_are_bounded_and_counted(tmp_path: Path) -> None:
    world = World(tmp_path)
    for number in range(60):
        (world.root / "releases" / f"3.0.{number}").mkdir()
        world.move("2.3.1" if number % 2 else "2.4.0")
    told = read(world)
    assert isinstance(told["revisions"], list)
    assert isinstance(told["changes"], list)
    assert (len(told["revisions"]), told["revisions_count"]) == (MAX_REVISIONS, 63)
    assert (len(told["changes"]), told["changes_count"]) == (MAX_CHANGES, 63)
    assert told["revisions"][-1] == {"version": "3.0.50", "current": False, "live_at": None, "images": []}


def test_text_that_others_wrote_into_the_history_is_cleaned(tmp_path: Path) -> None:
    world = World(tmp_path)
    path = world.root / "history.jsonl"
    path.write_text('{"to":"2.4.0","from":"2.3.1","principal":"\\u001b[2J","at":"now","more":1}\n')
    changes = read(world)["changes"]
    assert isinstance(changes, list)
    assert changes[0]["principal"] == "\\u{1b}[2J"


def test_an_environment_is_chosen_as_for_a_rollback(tmp_path: Path) -> None:
    lay_out(tmp_path, "production", "staging")
    tool = TOOL({"web": open_port(tmp_path)})
    with pytest.raises(ConnectorError, match="has several environments"):
        anyio.run(tool.locate, Arguments(deployment="web"), nothing_earlier)
    with pytest.raises(ConnectorError, match='deployment "shop" is not declared'):
        anyio.run(tool.locate, Arguments(deployment="shop"), nothing_earlier)
    chosen = anyio.run(tool.locate, Arguments(deployment="web", environment="staging"), nothing_earlier)
    assert chosen.target == "deployments:web/staging"


def test_of_a_cluster_it_tells_health_owner_and_images(tmp_path: Path) -> None:
    with cluster(tmp_path) as world:
        world.server.annotate({"meta.helm.sh/release-name": "shop"})
        tool, arguments = TOOL({"web": world.port}), Arguments(deployment="web")
        told: dict[str, Any] = dict(
            anyio.run(tool.read, anyio.run(tool.locate, arguments, nothing_earlier), arguments)
        )
    encode(told)
    assert (told["current"], told["previous"]) == ("3", "2")
    assert (told["health"], told["owner"]) == ("6 of 6 replicas are available", "Helm release shop")
    assert told["revisions"][0] == {
        "version": "3",
        "current": True,
        "live_at": "2026-11-03T08:00:00Z",
        "images": ["registry.example/shop/web:2.4.0"],
    }
    assert told["changes"][0]["principal"] == "not known"
    assert "canary" not in str(told)
