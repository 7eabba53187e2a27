"""`close_pull_request` throws away one's own open pull request at its reviewed head, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from keyturn.canon import Json
from keyturn.model.errors import ConnectorError
from keyturn.model.outcome import CannotHappen, CannotTell, Happened, Stale, Succeeded
from keyturn.model.plan import Effects, Plan
from keyturn.model.tool import GovernedTool
from keyturn.tools import close_pull_request
from tests.connectors.forge.repository import Repository, action, create
from tests.tools.merging_forge import MergingForge
from tests.tools.pulls import execute, forge_part, nothing, opened, planned, probe, remember, says_something_else

PULL = action(1)


class World:
    """A repository with one pull request of ours, on the back end itself or behind a forge with numbers."""

    def __init__(self, home: Path, *, numbers: bool) -> None:
        self.shop: Repository = create(home / "shop.git")
        self.forge: Any = MergingForge(self.shop) if numbers else self.shop.forge()
        self.tool: GovernedTool = close_pull_request.TOOL({"shop": self.forge})
        self.opening, _ = opened(self.forge, PULL)
        self.head = str(self.shop.head(PULL.marker))

    def plan(self, earlier: Any = None) -> Plan:
        return planned(self.tool, {"action_id": PULL.action}, earlier or remember(self.opening, PULL))


@pytest.fixture(params=[False, True], ids=["git", "numbers"])
def world(tmp_path: Path, request: pytest.FixtureRequest) -> World:
    return World(tmp_path, numbers=request.param)


@pytest.fixture
def numbered(tmp_path: Path) -> World:
    return World(tmp_path, numbers=True)


def test_it_is_a_governed_tool_of_the_forge_port(world: World) -> None:
    assert isinstance(world.tool, GovernedTool)
    assert (world.tool.name, close_pull_request.TOOL.port) == ("close_pull_request", "forge")


def test_a_plan_says_what_would_be_thrown_away(numbered: World) -> None:
    numbered.shop.commit(PULL.marker, {"x": b"x"})
    head, plan = numbered.shop.head(PULL.marker), numbered.plan()
    assert plan.target == "forge:shop/main"
    assert plan.summary == (
        'Close pull request "Say hello" unmerged on shop and delete its branch: '
        f"2 commits up to {head} in 4 files, tells 2 people"
    )
    assert (plan.diff, plan.effects) == ("", Effects(recipients=2))
    assert plan.view == {
        "title": "Say hello",
        "base": "main",
        "branch": PULL.marker,
        "opened_by": PULL.action,
        "draft": True,
        "number": 7,
        "url": "https://forge.example/shop/pull/7",
        "commits": 2,
        "files": [{"path": path} for path in ("docs/ä.md", "src/app.py", "src/run.sh", "x")],
    }
    assert plan.facts == {"head": head, "base": "main", "recipients": 2}
    assert plan.inverse is not None
    assert (plan.inverse.tool, plan.inverse.summary[:5]) == (None, "none;")


def test_a_stored_plan_closes_once_and_is_found_again(world: World) -> None:
    plan, main = world.plan(), world.shop.head("main")
    outcome = execute(world.tool, plan, action(2))
    assert isinstance(outcome, Succeeded)
    expected = {"repository": "shop", "pull_request": PULL.action, "branch": PULL.marker, "last_commit": world.head}
    assert {name: outcome.result[name] for name in expected} == expected
    assert (world.shop.head(PULL.marker), world.shop.head("main")) == (None, main)
    assert probe(world.tool, plan, action(2)) == Happened(outcome.result)
    assert execute(world.tool, plan, action(2)) == outcome


def test_a_branch_that_moved_is_stale_and_kept(world: World) -> None:
    plan = world.plan()
    head = world.shop.commit(PULL.marker, {"x": b"x"})
    outcome = execute(world.tool, plan, action(2))
    assert outcome == Stale((f"{PULL.marker} is no longer at the reviewed commit {world.head}",))
    assert world.shop.head(PULL.marker) == head


def test_one_that_was_merged_or_deleted_meanwhile_is_stale(world: World) -> None:
    plan = world.plan()
    world.shop.git("update-ref", "refs/heads/main", PULL.marker)
    assert isinstance(execute(world.tool, plan, action(2)), Stale)
    world.shop.git("update-ref", "refs/heads/main", "main~1")
    world.shop.git("update-ref", "-d", f"refs/heads/{PULL.marker}")
    assert isinstance(execute(world.tool, plan, action(2)), Stale)


def test_more_people_than_at_the_review_are_not_told(numbered: World) -> None:
    plan = numbered.plan()
    numbered.forge.pulls[7].recipients = 3
    assert execute(numbered.tool, plan, action(2)) == Stale(("3 people would be told, 2 at the review",))
    numbered.forge.pulls[7].recipients = 1
    assert isinstance(execute(numbered.tool, plan, action(2)), Succeeded)


def test_only_ones_own_open_pull_request_can_be_closed(world: World) -> None:
    with pytest.raises(ConnectorError, match="not one of yours that opened a pull request"):
        world.plan(nothing)
    with pytest.raises(ConnectorError, match="is pending: its pull request cannot be closed"):
        world.plan(remember(world.opening, PULL, status="pending"))
    world.shop.git("update-ref", "-d", f"refs/heads/{PULL.marker}")
    with pytest.raises(ConnectorError, match="is deleted; there is nothing to close"):
        world.plan()


@pytest.mark.parametrize(
    ("part", "change", "named"),
    [
        ("view", {"title": "Something else"}, ("view",)),
        ("view", {"files": []}, ("view",)),
        ("view", {"commits": 9}, ("view",)),
        ("change", {"title": "Something else"}, ("change",)),
        ("facts", {"base": "release"}, ("facts",)),
    ],
)
def test_a_plan_that_shows_something_else_than_it_closes_closes_nothing(
    world: World, part: str, change: dict[str, Json], named: tuple[str, ...]
) -> None:
    outcome = execute(world.tool, forge_part(world.plan(), part, change), action(2))
    assert says_something_else(outcome, *named)
    assert world.shop.head(PULL.marker) == world.head


def test_a_probe_makes_sure_that_what_did_not_happen_cannot(world: World) -> None:
    plan = world.plan()
    assert isinstance(probe(world.tool, plan, action(2)), CannotHappen)
    with pytest.raises(ConnectorError, match="a probe has settled"):
        execute(world.tool, plan, action(2))
    assert isinstance(probe(close_pull_request.TOOL({}), plan, action(2)), CannotTell)
    assert world.shop.head(PULL.marker) == world.head
