from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from keyturn.canon import decode_object, encode
from keyturn.connectors.deployments import Deployments
from keyturn.model.errors import ConnectorError
from keyturn.model.outcome import CannotHappen, CannotTell, Failed, Happened, Stale, Succeeded
from keyturn.model.plan import Effects, Plan, plan_from_json
from keyturn.model.tool import EarlierAction, GovernedTool
from keyturn.tools import rollback_deployment
from keyturn.tools.arguments.rollback_deployment import Arguments
from keyturn.tools.rollback_deployment import TOOL, RollbackDeployment
from tests.connectors.deployments.processes import action
from tests.connectors.deployments.world import World, lay_out, open_port
from tests.connectors.kubernetes.world import ClusterWorld, cluster


def nothing_earlier(action_id: str) -> EarlierAction | None:
    del action_id
    return None


def plan(tool: RollbackDeployment, **arguments: object) -> Plan:
    parsed = Arguments.model_validate({"deployment": "web", "to": "previous", **arguments})
    made: Plan = anyio.run(tool.plan, parsed, nothing_earlier)
    return made


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def tool(world: World) -> RollbackDeployment:
    return TOOL({"web": world.port})


def test_it_is_a_governed_tool_of_the_deployments_port(tool: RollbackDeployment) -> None:
    assert isinstance(tool, GovernedTool)
    assert (TOOL.name, TOOL.port) == ("rollback_deployment", "deployments")


def test_a_plan_says_everything_a_reviewer_and_the_policy_need(world: World, tool: RollbackDeployment) -> None:
    made = plan(tool)
    assert made.target == "deployments:web/staging"
    assert made.backend == world.port.backend("staging")
    assert made.environment == "staging"
    assert made.summary == "Roll back web in staging from 2.4.0 to 2.3.1 (1 file differs)"
    assert made.effects == Effects(files_changed=1, lines_changed=2)
    assert made.view == {
        "from": "2.4.0",
        "to": "2.3.1",
        "diff_complete": True,
        "preview": "worked out by Keyturn",
        "notes": [],
        "files": [{"path": "app.py", "status": "modified"}],
    }
    assert made.facts.keys() == {"current", "target", "manifest", "manifest_from"}
    assert made.guard == {"current_link": "releases/2.4.0", "history_length": 3}
    assert made.change == {"environment": "staging", "from": "2.4.0", "to": "2.3.1"}
    assert made.inverse is not None
    assert made.inverse.arguments == {"deployment": "web", "environment": "staging", "to": "2.4.0"}


def test_a_plan_read_back_from_the_ledger_is_executed_once_and_probed(world: World, tool: RollbackDeployment) -> None:
    made = plan(tool)
    kept = plan_from_json(decode_object(encode(made.to_json())), made.diff)
    outcome = anyio.run(tool.execute, kept, action(1))
    assert isinstance(outcome, Succeeded)
    assert anyio.run(tool.execute, kept, action(1)) == outcome
    assert anyio.run(tool.probe, kept, action(1)) == Happened(outcome.result)
    assert (world.live(), world.switches_of(action(1))) == ("2.3.1", 1)


def test_a_world_that_moved_makes_the_action_stale(world: World, tool: RollbackDeployment) -> None:
    made = plan(tool)
    world.move("2.2.0")
    assert anyio.run(tool.execute, made, action(1)) == Stale(("staging no longer runs 2.4.0",))


def test_a_live_release_that_changed_makes_the_action_stale(world: World, tool: RollbackDeployment) -> None:
    """The diff starts from it: what was shown to be lost and gained is not what would be."""
    made = plan(tool)
    world.alter("2.4.0")
    assert anyio.run(tool.execute, made, action(1)) == Stale(
        ("version 2.4.0, the live one, does not hold what it held at the review",)
    )
    assert world.live() == "2.4.0"


@pytest.mark.parametrize(
    ("forged", "named"),
    [
        ({"target": "deployments:web/production"}, "target"),
        ({"environment": "production"}, "environment"),
        ({"environment": None}, "environment"),
        ({"diff": ""}, "diff"),
        ({"effects": Effects()}, "effects"),
        ({"summary": "Roll back nothing"}, "summary"),
        ({"view": {"from": "2.4.0", "to": "2.2.0", "diff_complete": True, "files": []}}, "view"),
        ({"change": {"environment": "staging", "from": "2.4.0", "to": "2.3.1", "more": 1}}, "change"),
    ],
)
def test_a_plan_that_shows_something_else_than_it_does_is_not_executed(
    world: World, tool: RollbackDeployment, forged: dict[str, Any], named: str
) -> None:
    outcome = anyio.run(tool.execute, replace(plan(tool), **forged), action(1))
    assert outcome == Failed(
        f"the plan does something else than it shows ({named} would be different); nothing was done"
    )
    assert (world.live(), world.switches_of(action(1)), world.marks()) == ("2.4.0", 0, {})


def test_a_plan_for_one_environment_does_not_change_another(tmp_path: Path) -> None:
    lay_out(tmp_path, "production", "staging")
    tool = TOOL({"web": open_port(tmp_path)})
    made = plan(tool, environment="production")
    forged = replace(made, target="deployments:web/staging", environment="staging", diff="")
    outcome = anyio.run(tool.execute, forged, action(1))
    assert isinstance(outcome, Failed)
    assert "target, environment, diff would be different" in outcome.reason
    assert (tmp_path / "production" / "current").readlink() == Path("releases/2.4.0")


def test_another_version_than_the_one_shown_is_stale(world: World, tool: RollbackDeployment) -> None:
    made = plan(tool)
    other = replace(made, change={**made.change, "to": "2.2.0"})
    assert isinstance(anyio.run(tool.execute, other, action(1)), Stale)
    assert world.live() == "2.4.0"


def test_another_back_end_than_the_reviewed_one_is_never_touched(world: World, tool: RollbackDeployment) -> None:
    made = plan(tool)
    other = replace(made, backend=replace(made.backend, location="/elsewhere"))
    assert anyio.run(tool.execute, other, action(1)) == Stale(
        ("the deployment is declared as another system than the one that was reviewed",)
    )
    assert isinstance(anyio.run(tool.probe, other, action(1)), CannotTell)
    assert world.live() == "2.4.0"


def test_a_deployment_that_is_not_declared_any_more_cannot_be_told(tool: RollbackDeployment) -> None:
    made = plan(tool)
    emptied = TOOL({})
    assert isinstance(anyio.run(emptied.probe, made, action(1)), CannotTell)
    with pytest.raises(ConnectorError, match='deployment "web" is not declared'):
        anyio.run(emptied.execute, made, action(1))


def test_a_probe_of_what_never_ran_settles_it(tool: RollbackDeployment) -> None:
    assert isinstance(anyio.run(tool.probe, plan(tool), action(1)), CannotHappen)


def test_an_undeclared_deployment_is_refused_without_naming_the_others(tool: RollbackDeployment) -> None:
    with pytest.raises(ConnectorError) as refusal:
        plan(tool, deployment="shop")
    assert (str(refusal.value), refusal.value.kind) == ('deployment "shop" is not declared', "refused")


def test_of_several_environments_one_must_be_chosen(tmp_path: Path) -> None:
    lay_out(tmp_path, "production", "staging")
    port: Deployments = open_port(tmp_path)
    tool = TOOL({"web": port})
    with pytest.raises(ConnectorError, match="name one of: production, staging"):
        plan(tool)
    with pytest.raises(ConnectorError, match='has no environment "moon"'):
        plan(tool, environment="moon")
    made = plan(tool, environment="production")
    assert (made.target, made.environment) == ("deployments:web/production", "production")


def test_a_list_of_files_too_long_for_the_view_is_left_out_whole(
    world: World, tool: RollbackDeployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollback_deployment, "MAX_FILES", 1)
    (world.root / "releases" / "2.3.1" / "blob").write_bytes(b"\0")
    made = plan(tool)
    assert made.view.keys() == {"from", "to", "diff_complete", "preview", "notes"}
    assert made.view["diff_complete"] is False
    assert made.summary.endswith("(2 files differ, 1 shown by digest only)")
    assert made.effects.files_changed == 2


@pytest.fixture
def in_cluster(tmp_path: Path) -> Iterator[ClusterWorld]:
    with cluster(tmp_path) as world:
        yield world


def test_of_a_cluster_a_plan_says_whose_preview_it_is_and_what_else_to_know(in_cluster: ClusterWorld) -> None:
    made = plan(TOOL({"web": in_cluster.port}))
    assert made.summary == "Roll back web in staging from 3 to 2 (1 file differs)"
    assert made.view == {
        "from": "3",
        "to": "2",
        "diff_complete": True,
        "preview": "the cluster's own dry run",
        "notes": [
            "Container web: registry.example/shop/web:2.4.0 -> registry.example/shop/web:2.3.1.",
            "Strategy: RollingUpdate (at most 25% more and 25% fewer than wanted at a time).",
        ],
        "files": [{"path": "deployment.yaml", "status": "modified"}],
    }
    assert made.inverse is not None
    assert made.inverse.arguments == {"deployment": "web", "environment": "staging", "to": "3"}


def test_in_a_cluster_a_plan_is_executed_once_probed_and_led_back_by_its_inverse(in_cluster: ClusterWorld) -> None:
    tool = TOOL({"web": in_cluster.port})
    made = plan(tool)
    kept = plan_from_json(decode_object(encode(made.to_json())), made.diff)
    in_cluster.server.touch()
    outcome = anyio.run(tool.execute, kept, action(1))
    assert isinstance(outcome, Succeeded)
    assert anyio.run(tool.execute, kept, action(1)) == outcome
    assert anyio.run(tool.probe, kept, action(1)) == Happened(outcome.result)
    assert made.inverse is not None
    back = plan(tool, **{name: value for name, value in made.inverse.arguments.items() if name != "deployment"})
    assert isinstance(anyio.run(tool.execute, back, action(2)), Succeeded)
    assert in_cluster.live() == "2.4.0"


@pytest.mark.parametrize(
    ("forged", "named"),
    [
        ({"diff": ""}, "diff"),
        ({"summary": "Roll back nothing"}, "summary"),
        ({"notes": ["harmless"]}, "view"),
        ({"preview": "somebody's"}, "view"),
    ],
)
def test_in_a_cluster_a_plan_that_shows_something_else_is_not_executed(
    in_cluster: ClusterWorld, forged: dict[str, Any], named: str
) -> None:
    tool = TOOL({"web": in_cluster.port})
    made = plan(tool)
    changed = {"view": {**made.view, **forged}} if named == "view" else forged
    outcome = anyio.run(tool.execute, replace(made, **changed), action(1))
    assert outcome == Failed(
        f"the plan does something else than it shows ({named} would be different); nothing was done"
    )
    assert in_cluster.live() == "2.4.0"


@pytest.mark.parametrize(
    ("meanwhile", "words"),
    [
        (lambda world: world.move("2.2.0"), "staging no longer runs 3"),
        (lambda world: world.replaced(), "the deployment was deleted, or deleted and made anew"),
        (lambda world: world.server.edit(paused=True), "its rollout is paused"),
        (
            lambda world: world.server.edit(strategy={"type": "Recreate"}),
            "a change would be rolled out in another way",
        ),
        (
            lambda world: world.server.labelled(argocd_argoproj_io__instance="x"),
            "somebody else manages the deployment than at the review",
        ),
    ],
)
def test_what_moved_in_a_cluster_is_said_in_words(
    in_cluster: ClusterWorld, meanwhile: Callable[[ClusterWorld], object], words: str
) -> None:
    tool = TOOL({"web": in_cluster.port})
    made = plan(tool)
    meanwhile(in_cluster)
    outcome = anyio.run(tool.execute, made, action(1))
    assert isinstance(outcome, Stale)
    assert any(words in moved for moved in outcome.moved)
