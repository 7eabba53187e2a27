"""`revert_pull_request` puts back what a merge changed, as a pull request like any other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from keyturn.canon import Json
from keyturn.model.errors import ConnectorError
from keyturn.model.outcome import CannotHappen, CannotTell, Failed, Happened, Stale, Succeeded
from keyturn.model.plan import OWN_ACTION, Effects, Plan
from keyturn.model.tool import GovernedTool
from keyturn.tools import (
    close_pull_request,
    get_pull_request,
    merge_pull_request,
    revert_pull_request,
    update_pull_request,
)
from keyturn.tools.arguments.get_pull_request import Arguments as GetArguments
from tests.connectors.forge.repository import Repository, action, create
from tests.tools.merging_forge import MergingForge
from tests.tools.pulls import execute, forge_part, planned, probe, remember, says_something_else


class World:
    """A repository in which the tools merged pull request 7: one file each added, changed and deleted."""

    def __init__(self, home: Path) -> None:
        self.shop: Repository = create(home / "shop.git")
        self.before = self.shop.head("main")
        self.shop.git("branch", "feature", "main")
        self.shop.commit("feature", {"NOTES.md": b"hello\n", "README.md": b"# Store\n", "src/run.sh": None})
        self.forge = MergingForge(self.shop, watchers=4)
        self.known = self.forge.known("feature")
        forges = {"shop": self.forge}
        merging = merge_pull_request.TOOL(forges)
        outcome = execute(merging, planned(merging, {"repository": "shop", "number": 7}), action(1))
        assert isinstance(outcome, Succeeded)
        self.merged = outcome.result["commit"]
        self.tool: GovernedTool = revert_pull_request.TOOL(forges)

    def plan(self, **changes: object) -> Plan:
        return planned(self.tool, {"repository": "shop", "number": 7, **changes})

    def ours(self) -> str:
        return self.shop.git("for-each-ref", "refs/heads/keyturn", "refs/keyturn")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_it_is_a_governed_tool_of_the_forge_port(world: World) -> None:
    assert isinstance(world.tool, GovernedTool)
    assert (world.tool.name, revert_pull_request.TOOL.port) == ("revert_pull_request", "forge")


def test_a_plan_is_that_of_a_pull_request_with_the_change_turned_round(world: World) -> None:
    plan = world.plan()
    assert plan.target == "forge:shop/main"
    assert plan.summary == (
        'Revert pull request 7 by one called "Revert "Say hello"" on shop: '
        "3 files, +5 \u22122, base main, tells 4 people"
    )
    assert plan.effects == Effects(files_changed=3, lines_changed=7, recipients=4)
    assert "deleted file mode 100644\n--- a/NOTES.md" in plan.diff
    assert "new file mode 100755\n--- /dev/null\n+++ b/src/run.sh" in plan.diff
    shown = {name: value for name, value in plan.view.items() if name != "files"}
    assert shown == {
        "title": 'Revert "Say hello"',
        "body": f"Reverts pull request 7, which went into main as {world.merged}.",
        "base": "main",
        "draft": True,
        "reverts": 7,
        "reverted_commit": world.merged,
        "preview": "worked out by Keyturn",
    }
    assert plan.facts["base_commit"] == plan.guard["head"] == world.merged
    assert plan.inverse is not None
    assert (plan.inverse.tool, plan.inverse.arguments) == ("close_pull_request", {"action_id": OWN_ACTION})


def test_what_lands_is_what_stood_before_the_merge(world: World) -> None:
    plan = world.plan(title="Take it back", body="It is slow.", draft=False)
    outcome = execute(world.tool, plan, action(2))
    branch = action(2).marker
    assert outcome == Succeeded(
        {
            "repository": "shop",
            "branch": branch,
            "commit": world.shop.head(branch),
            "base": "main",
            "base_commit": world.merged,
            "draft": False,
            "number": 8,
            "url": "https://forge.example/shop/pull/8",
        }
    )
    tree = "{tree}"
    assert world.shop.git("rev-parse", f"{branch}^{tree}") == world.shop.git("rev-parse", f"{world.before}^{tree}")
    assert probe(world.tool, plan, action(2)) == Happened(outcome.result)
    assert execute(world.tool, plan, action(2)) == outcome


def test_work_on_other_files_since_is_left_alone(world: World) -> None:
    world.shop.commit("main", {"src/app.py": b"print('other')\n"})
    assert isinstance(execute(world.tool, world.plan(), action(2)), Succeeded)
    assert world.shop.show(f"{action(2).marker}:src/app.py") == "print('other')"


def test_files_that_changed_since_are_named(world: World) -> None:
    world.shop.commit("main", {"NOTES.md": b"mine\n", "src/run.sh": b"new\n"})
    with pytest.raises(ConnectorError, match=r'changed on main since .* was merged: "NOTES.md", "src/run.sh"; open'):
        world.plan()


def test_many_files_that_changed_are_counted(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.shop.git("branch", "many", "main")
    world.shop.commit("many", {f"m/{number:02}": b"x\n" for number in range(12)})
    known = world.forge.known("many")
    merging = merge_pull_request.TOOL({"shop": world.forge})
    execute(merging, planned(merging, {"repository": "shop", "number": known.number}), action(5))
    world.shop.commit("main", {f"m/{number:02}": b"y\n" for number in range(12)})
    with pytest.raises(ConnectorError, match='"m/09" and 2 more; open'):
        world.plan(number=known.number)


def test_facts_that_moved_since_the_review_open_nothing(world: World) -> None:
    plan = world.plan()
    world.shop.commit("main", {"NOTES.md": b"mine\n"})
    assert execute(world.tool, plan, action(2)) == Stale(("NOTES.md has changed on main since the review",))
    assert isinstance(probe(world.tool, plan, action(2)), CannotHappen)


def test_more_watchers_than_at_the_review_open_nothing_and_fewer_are_no_matter(world: World) -> None:
    plan = world.plan()
    world.forge.watchers = 5
    assert execute(world.tool, plan, action(2)) == Stale(("5 people would be told, 4 at the review",))
    assert world.ours() == ""
    world.forge.watchers = 3
    outcome = execute(world.tool, plan, action(2))
    assert isinstance(outcome, Succeeded)
    world.forge.watchers = 9
    assert execute(world.tool, plan, action(2)) == outcome  # opened already: whoever came since changes nothing


def test_a_title_that_must_not_be_posted_gives_way_to_the_number(world: World) -> None:
    world.known.title = "Say hello, fixes #3"
    plan = world.plan()
    assert plan.view["title"] == "Revert pull request 7"
    with pytest.raises(ConnectorError, match="title"):
        world.plan(title="Fixes #3")
    with pytest.raises(ConnectorError, match="body line 1"):
        world.plan(body="/deploy")


def test_what_was_not_merged_or_changed_nothing_cannot_be_reverted(world: World) -> None:
    world.shop.git("branch", "other", "main")
    number = world.forge.known("other").number
    with pytest.raises(ConnectorError, match="is not merged"):
        world.plan(number=number)
    world.forge.pulls[number].merged = world.shop.git("commit-tree", "main^{tree}", "-p", "main", "-m", "nothing")
    with pytest.raises(ConnectorError, match="changed no file"):
        world.plan(number=number)
    tool = revert_pull_request.TOOL({"shop": world.shop.forge()})
    with pytest.raises(ConnectorError, match="take a change back with open_pull_request"):
        planned(tool, {"repository": "shop", "number": 7})


@pytest.mark.parametrize(
    ("part", "change", "named"),
    [
        ("view", {"body": "Nothing of note."}, ("view",)),
        ("view", {"draft": False}, ("view",)),
        ("view", {"reverted_commit": "0" * 40}, ("view",)),
        ("change", {"body": "Nothing of note."}, ("view",)),
        ("change", {"draft": False}, ("view",)),
        ("facts", {"recipients": 0}, ("summary", "effects")),
    ],
)
def test_a_plan_that_shows_something_else_than_it_opens_opens_nothing(
    world: World, part: str, change: dict[str, Json], named: tuple[str, ...]
) -> None:
    outcome = execute(world.tool, forge_part(world.plan(), part, change), action(2))
    assert says_something_else(outcome, *named)
    assert world.ours() == ""


def test_a_plan_that_writes_something_else_than_the_merge_took_away_opens_nothing(world: World) -> None:
    plan = world.plan()
    files: Any = plan.change["files"]
    blobs: Any = plan.facts["blobs"]
    other = [{**item, "content": "ZXZpbAo="} if item["path"] == "README.md" else item for item in files]
    assert says_something_else(execute(world.tool, forge_part(plan, "change", {"files": other}), action(2)), "change")
    fewer = forge_part(forge_part(plan, "change", {"files": files[1:]}), "facts", {"blobs": blobs[1:]})
    outcome = execute(world.tool, fewer, action(2))
    assert outcome == Failed("the plan touches other files than the merge did; nothing was done")
    assert world.ours() == ""


def test_a_plan_that_names_no_merge_or_another_base_opens_nothing(world: World) -> None:
    plan = world.plan()
    with pytest.raises(ConnectorError, match="which merge it reverts"):
        execute(world.tool, forge_part(plan, "change", {"reverts": "7"}), action(2))
    with pytest.raises(ConnectorError, match="how many people"):
        execute(world.tool, forge_part(plan, "facts", {"recipients": -1}), action(2))
    world.shop.git("branch", "release", "main")
    elsewhere = replace(plan, target="forge:shop/release", change={**plan.change, "base": "release"})
    assert says_something_else(execute(world.tool, elsewhere, action(2)), "target", "change")
    assert isinstance(probe(revert_pull_request.TOOL({}), plan, action(2)), CannotTell)


def test_its_pull_request_is_read_updated_and_closed_like_any_other(world: World) -> None:
    plan = world.plan()
    execute(world.tool, plan, action(2))
    earlier, forges = remember(plan, action(2)), {"shop": world.forge}
    reading, arguments = get_pull_request.TOOL(forges), GetArguments(action_id=action(2).action)
    told = anyio.run(reading.read, anyio.run(reading.locate, arguments, earlier), arguments)
    assert (told["state"], told["number"], told["title"]) == ("open", 8, 'Revert "Say hello"')
    updating = update_pull_request.TOOL(forges)
    files = [{"path": "NOTES.md", "content": "Gone.\n"}]
    further = planned(updating, {"action_id": action(2).action, "files": files}, earlier)
    assert isinstance(execute(updating, further, action(3)), Succeeded)
    closing = close_pull_request.TOOL(forges)
    outcome = execute(closing, planned(closing, {"action_id": action(2).action}, earlier), action(4))
    assert isinstance(outcome, Succeeded)
    assert world.shop.head(action(2).marker) is None
