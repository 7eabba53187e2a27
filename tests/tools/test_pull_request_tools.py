"""The three pull request tools plan by reads alone and execute exactly their plan, on a real repository."""

from __future__ import annotations

import base64
import functools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from keyturn import canon
from keyturn.connectors.forge import Check, PullReview
from keyturn.model.errors import ConnectorError
from keyturn.model.outcome import CannotHappen, CannotTell, Failed, Happened, Outcome, Probe, Stale, Succeeded
from keyturn.model.plan import OWN_ACTION, Effects, Plan, plan_from_json
from keyturn.model.tool import ActionRef, EarlierAction, GovernedTool, ReadTool
from keyturn.tools import get_pull_request, open_pull_request, update_pull_request
from keyturn.tools.arguments.get_pull_request import Arguments as GetArguments
from keyturn.tools.arguments.open_pull_request import Arguments as OpenArguments
from keyturn.tools.arguments.update_pull_request import Arguments as UpdateArguments
from tests.connectors.forge.repository import Repository, action, create
from tests.tools.merging_forge import MergingForge

FILES = [
    {"path": "src/app.py", "edits": [{"old": "print('shop')", "new": "print('hello')"}]},
    {"path": "docs/ä.md", "content": "new\n"},
    {"path": "src/run.sh", "delete": True},
]


@pytest.fixture
def shop(tmp_path: Path) -> Repository:
    return create(tmp_path / "shop.git")


def nothing(action_id: str) -> EarlierAction | None:
    return None


def ask(**changes: Any) -> OpenArguments:
    request = {
        "repository": "shop",
        "base": "main",
        "title": "Say hello",
        "body": "Because.",
        "files": FILES,
    } | changes
    return OpenArguments.model_validate(request)


def plan_opening(shop: Repository, **changes: Any) -> Plan:
    tool = open_pull_request.TOOL({"shop": shop.forge()})
    return anyio.run(tool.plan, ask(**changes), nothing)


def stored(plan: Plan) -> Plan:
    """Return the plan as it comes back from its payload."""
    return plan_from_json(json.loads(canon.encode(plan.to_json())), plan.diff)


def execute(tool: GovernedTool, plan: Plan, ref: ActionRef) -> Outcome:
    return anyio.run(tool.execute, stored(plan), ref)


def probe(tool: GovernedTool, plan: Plan, ref: ActionRef) -> Probe:
    return anyio.run(tool.probe, stored(plan), ref)


def opened(shop: Repository) -> tuple[Plan, Succeeded]:
    plan = plan_opening(shop)
    outcome = execute(open_pull_request.TOOL({"shop": shop.forge()}), plan, action(1))
    assert isinstance(outcome, Succeeded)
    return plan, outcome


def remember(plan: Plan, tool: str = "open_pull_request", status: str = "succeeded") -> Any:
    known = EarlierAction(action=action(1).action, tool=tool, status=status, plan=stored(plan), result={})
    return lambda action_id: known if action_id == known.action else None


def update(shop: Repository, earlier: Any, **changes: Any) -> Plan:
    request = {"action_id": action(1).action, "files": [{"path": "docs/ä.md", "content": "newer\n"}]} | changes
    tool = update_pull_request.TOOL({"shop": shop.forge()})
    return anyio.run(tool.plan, UpdateArguments.model_validate(request), earlier)


def read(shop: Repository, earlier: Any) -> Any:
    tool = get_pull_request.TOOL({"shop": shop.forge()})
    arguments = GetArguments(action_id=action(1).action)
    return anyio.run(tool.read, stored(anyio.run(tool.locate, arguments, earlier)), arguments)


def test_the_tools_are_what_the_gateway_calls(shop: Repository) -> None:
    assert isinstance(open_pull_request.TOOL({}), GovernedTool)
    assert isinstance(update_pull_request.TOOL({}), GovernedTool)
    assert isinstance(get_pull_request.TOOL({}), ReadTool)


def test_planning_writes_nothing_and_says_everything(shop: Repository) -> None:
    before = {str(path): path.stat().st_mtime_ns for path in shop.path.rglob("*")}
    plan = plan_opening(shop)
    assert {str(path): path.stat().st_mtime_ns for path in shop.path.rglob("*")} == before
    assert (plan.target, plan.environment) == ("forge:shop/main", None)
    assert plan.summary == 'Open pull request "Say hello" on shop: 3 files, +2 \u22123, base main'
    assert plan.effects == Effects(files_changed=3, lines_changed=5)
    assert plan.facts["base_commit"] == plan.guard["head"] == shop.head("main")
    assert "-print('shop')\n+print('hello')\n" in plan.diff
    shown = {name: value for name, value in plan.view.items() if name != "files"}
    assert shown == {
        "title": "Say hello",
        "body": "Because.",
        "base": "main",
        "draft": True,
        "preview": "worked out by Keyturn",
    }
    assert plan.inverse is not None
    assert (plan.inverse.tool, plan.inverse.arguments) == ("close_pull_request", {"action_id": OWN_ACTION})


def test_a_stored_plan_is_executed_and_reported(shop: Repository) -> None:
    plan, outcome = opened(shop)
    assert outcome.result == {
        "repository": "shop",
        "branch": action(1).marker,
        "commit": shop.head(action(1).marker),
        "base": "main",
        "base_commit": shop.head("main"),
        "draft": True,
        "number": None,
        "url": None,
    }
    assert shop.show(f"{action(1).marker}:docs/ä.md") == "new"
    assert shop.git("diff-tree", "-r", "--name-status", "main", action(1).marker, "--", "src").split() == [
        "M", "src/app.py", "D", "src/run.sh",
    ]  # fmt: skip
    tool = open_pull_request.TOOL({"shop": shop.forge()})
    assert probe(tool, plan, action(1)) == Happened(outcome.result)
    assert execute(tool, plan, action(1)) == outcome


def test_a_plan_whose_facts_moved_is_stale(shop: Repository) -> None:
    plan = plan_opening(shop)
    shop.commit("main", {"src/app.py": b"other\n"})
    tool = open_pull_request.TOOL({"shop": shop.forge()})
    assert execute(tool, plan, action(1)) == Stale(("src/app.py has changed on main since the review",))
    assert isinstance(probe(tool, plan, action(1)), CannotHappen)


WORKFLOW = [
    {
        "path": ".github/workflows/x.yml",
        "content": base64.b64encode(b"evil\n").decode(),
        "mode": "100644",
    }
]


def forged_files(plan: Plan) -> Plan:
    """A plan that shows what `plan` does, and writes a workflow."""
    blobs = [{"path": WORKFLOW[0]["path"], "blob": None, "mode": None}]
    return replace(plan, change={**plan.change, "files": WORKFLOW}, facts={**plan.facts, "blobs": blobs})


def without_effect(outcome: Outcome, *named: str) -> bool:
    said = f"the plan does something else than it shows ({', '.join(named)} would be different); nothing was done"
    return outcome == Failed(said)


def test_a_plan_that_shows_other_files_than_it_writes_opens_nothing(shop: Repository) -> None:
    plan = plan_opening(shop, files=[{"path": "NOTES.md", "content": "hello\n"}])
    outcome = execute(open_pull_request.TOOL({"shop": shop.forge()}), forged_files(plan), action(1))
    assert without_effect(outcome, "view", "diff")
    assert shop.git("for-each-ref", "refs/heads/keyturn", "refs/keyturn") == ""


@pytest.mark.parametrize(
    ("forged", "named"),
    [
        ({"target": "forge:shop/release"}, "target"),
        ({"environment": "staging"}, "environment"),
        ({"summary": "Open a pull request"}, "summary"),
        ({"effects": Effects(files_changed=3)}, "effects"),
        ({"view": {"files": [], "title": "Say hello", "base": "main"}}, "view"),
        ({"diff": ""}, "diff"),
    ],
)
def test_a_plan_that_shows_something_else_than_it_does_opens_nothing(
    shop: Repository, forged: dict[str, Any], named: str
) -> None:
    plan = replace(plan_opening(shop), **forged)
    assert without_effect(execute(open_pull_request.TOOL({"shop": shop.forge()}), plan, action(1)), named)
    assert shop.git("for-each-ref", "refs/heads/keyturn", "refs/keyturn") == ""


@pytest.mark.parametrize("shown", [{"body": "Nothing of note."}, {"body": ""}, {"draft": False}])
def test_a_plan_that_shows_another_text_or_another_standing_than_it_opens_opens_nothing(
    shop: Repository, shown: dict[str, Any]
) -> None:
    plan = plan_opening(shop)
    forged = replace(plan, view={**plan.view, **shown})
    assert without_effect(execute(open_pull_request.TOOL({"shop": shop.forge()}), forged, action(1)), "view")
    assert shop.git("for-each-ref", "refs/heads/keyturn", "refs/keyturn") == ""


@pytest.mark.parametrize("posted", [{"body": "Merge at once."}, {"body": ""}, {"draft": False}, {"title": "Bye"}])
def test_a_plan_that_opens_another_text_or_another_standing_than_it_shows_opens_nothing(
    shop: Repository, posted: dict[str, Any]
) -> None:
    plan = plan_opening(shop)
    forged = replace(plan, change={**plan.change, **posted})
    outcome = execute(open_pull_request.TOOL({"shop": shop.forge()}), forged, action(1))
    assert isinstance(outcome, Failed)
    assert "view would be different" in outcome.reason
    assert shop.git("for-each-ref", "refs/heads/keyturn", "refs/keyturn") == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"base": "keyturn/x"}, "cannot be a base"),
        ({"title": "Fixes #1"}, "title"),
        ({"body": "hello\n/deploy"}, "body line 2"),
        ({"files": [{"path": "src/app.py", "content": "", "mode": "120000"}]}, "mode"),
        ({"files": [{"path": "none.py", "content": None, "mode": None}]}, "cannot be deleted"),
        ({"files": [{"path": "../x", "content": "", "mode": "100644"}]}, "path"),
    ],
)
def test_a_plan_that_no_call_could_have_made_opens_nothing(
    shop: Repository, change: dict[str, Any], said: str
) -> None:
    plan = plan_opening(shop, files=[{"path": "NOTES.md", "content": "hello\n"}])
    forged = replace(plan, change={**plan.change, **change})
    with pytest.raises(ConnectorError, match=said):
        execute(open_pull_request.TOOL({"shop": shop.forge()}), forged, action(1))


def test_blobs_that_are_not_those_of_the_reviewed_commit_open_nothing(shop: Repository) -> None:
    """The facts of a plan are held against the commit it is made on, not only against the base of today."""
    plan = plan_opening(shop)
    shop.commit("main", {"src/app.py": b"import os\n\nprint('shop')\nevil()\n"})
    now = shop.git("rev-parse", "main:src/app.py")
    blobs: Any = plan.facts["blobs"]
    moved = [{**item, "blob": now} if item["path"] == "src/app.py" else item for item in blobs]
    outcome = execute(
        open_pull_request.TOOL({"shop": shop.forge()}), replace(plan, facts={**plan.facts, "blobs": moved}), action(1)
    )
    assert without_effect(outcome, "facts")


def test_an_update_that_shows_something_else_than_it_does_lands_nothing(shop: Repository) -> None:
    plan, _ = opened(shop)
    shop.git("branch", "release", "main")
    updating, head = update(shop, remember(plan)), shop.head(action(1).marker)
    tool = update_pull_request.TOOL({"shop": shop.forge()})
    for forged, named in (
        (forged_files(updating), ("summary", "effects", "view", "diff")),
        (replace(updating, diff=""), ("diff",)),
        (replace(updating, target="forge:shop/release"), ("target",)),
        (replace(updating, effects=Effects()), ("effects",)),
        (replace(updating, view={**updating.view, "branch": action(3).marker}), ("view",)),
        (replace(updating, change={**updating.change, "base": "release"}), ("change",)),
    ):
        assert without_effect(execute(tool, forged, action(2)), *named)
        assert shop.head(action(1).marker) == head


def test_a_plan_for_another_repository_of_that_name_does_not_run(shop: Repository, tmp_path: Path) -> None:
    plan = plan_opening(shop)
    tool = open_pull_request.TOOL({"shop": create(tmp_path / "other.git").forge()})
    with pytest.raises(ConnectorError, match="another one now"):
        execute(tool, plan, action(1))
    assert isinstance(probe(tool, plan, action(1)), CannotTell)
    earlier = remember(opened(shop)[0])
    updating = update(shop, earlier)
    assert isinstance(probe(update_pull_request.TOOL({}), updating, action(2)), CannotTell)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"repository": "secret"}, 'repository "secret" is not declared'),
        ({"base": "none"}, "no branch"),
        ({"base": "keyturn/x"}, "cannot be a base"),
        ({"title": "Fixes #1"}, "title"),
        ({"body": "hello\n/deploy"}, "body line 2"),
        ({"files": [{"path": "a/../.git/x", "content": ""}]}, "path"),
        ({"files": [{"path": "a", "content": ""}, {"path": "A", "content": ""}]}, "case does not count"),
        ({"files": [{"path": "none", "delete": True}]}, "cannot be deleted"),
    ],
)
def test_requests_that_cannot_be_planned_are_refused(shop: Repository, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConnectorError, match=said) as caught:
        plan_opening(shop, **changes)
    assert caught.value.kind == "refused"


def test_an_update_is_planned_against_the_branch_and_lands_on_it(shop: Repository) -> None:
    plan, first = opened(shop)
    updating = update(shop, remember(plan))
    assert updating.target == "forge:shop/main"
    assert updating.summary == 'Update pull request "Say hello" on shop: 1 file, +1 \u22121, base main'
    assert updating.facts["head"] == first.result["commit"]
    tool = update_pull_request.TOOL({"shop": shop.forge()})
    outcome = execute(tool, updating, action(2))
    assert isinstance(outcome, Succeeded)
    assert outcome.result["commit"] == shop.head(action(1).marker)
    assert outcome.result["previous_commit"] == first.result["commit"]
    assert probe(tool, updating, action(2)) == Happened(outcome.result)


def test_an_update_of_a_branch_that_moved_is_stale_and_can_be_fenced(shop: Repository) -> None:
    plan, _ = opened(shop)
    updating = update(shop, remember(plan))
    shop.commit(action(1).marker, {"x": b"x"})
    tool = update_pull_request.TOOL({"shop": shop.forge()})
    assert isinstance(execute(tool, updating, action(2)), Stale)
    assert isinstance(probe(tool, updating, action(2)), CannotHappen)


def test_only_an_own_open_request_can_be_updated(shop: Repository) -> None:
    plan, _ = opened(shop)
    for earlier, said in (
        (nothing, "not one of yours"),
        (remember(plan, tool="update_ticket"), "not one of yours"),
        (remember(plan, status="pending"), "is pending"),
    ):
        with pytest.raises(ConnectorError, match=said):
            update(shop, earlier)
    shop.git("update-ref", "-d", f"refs/heads/{action(1).marker}")
    with pytest.raises(ConnectorError, match="is deleted"):
        update(shop, remember(plan))


def test_reading_tells_how_the_request_stands(shop: Repository) -> None:
    plan, outcome = opened(shop)
    earlier = remember(plan)
    told = read(shop, earlier)
    assert canon.decode_object(canon.encode(told)) == {
        "repository": "shop",
        "title": "Say hello",
        "state": "open",
        "draft": True,
        "branch": action(1).marker,
        "commit": outcome.result["commit"],
        "commits": 1,
        "base": "main",
        "base_commit": shop.head("main"),
        "base_moved": False,
        "files_changed": 3,
        "files": ["docs/ä.md", "src/app.py", "src/run.sh"],
        "number": None,
        "url": None,
        "checks": None,
        "reviews": None,
    }
    shop.git("update-ref", "refs/heads/main", action(1).marker)
    assert (read(shop, earlier)["state"], read(shop, earlier)["base_moved"]) == ("merged", True)
    shop.git("update-ref", "-d", f"refs/heads/{action(1).marker}")
    assert (read(shop, earlier)["state"], read(shop, earlier)["commit"]) == ("merged", None)


def test_only_an_own_request_that_was_opened_can_be_read(shop: Repository) -> None:
    plan = plan_opening(shop)
    for earlier, said in (
        (nothing, "not one of yours"),
        (remember(plan, status="pending"), "is pending"),
        (remember(plan, status="unknown"), "no pull request"),
    ):
        with pytest.raises(ConnectorError, match=said):
            functools.partial(read, shop, earlier)()


@pytest.fixture
def forge(shop: Repository) -> MergingForge:
    """Return a forge with numbers, checks, reviews and people who are told."""
    return MergingForge(shop, watchers=4)


def test_who_would_be_told_is_counted_and_shown_and_bound(shop: Repository, forge: MergingForge) -> None:
    tool = open_pull_request.TOOL({"shop": forge})
    plan = anyio.run(tool.plan, ask(), nothing)
    assert plan.effects.recipients == plan.facts["recipients"] == 4
    assert plan.summary.endswith("base main, tells 4 people")
    quiet = replace(
        plan,
        effects=replace(plan.effects, recipients=0),
        facts={**plan.facts, "recipients": 0},
        summary=plan.summary.removesuffix(", tells 4 people"),
    )
    assert execute(tool, quiet, action(1)) == Stale(("4 people would be told, 0 at the review",))
    hidden = replace(plan, effects=replace(plan.effects, recipients=0))
    assert without_effect(execute(tool, hidden, action(1)), "effects")
    forge.watchers = 3
    outcome = execute(tool, plan, action(1))
    assert isinstance(outcome, Succeeded)
    assert (outcome.result["number"], outcome.result["url"]) == (7, "https://forge.example/shop/pull/7")


def test_an_update_counts_who_follows_the_pull_request(shop: Repository, forge: MergingForge) -> None:
    opening = open_pull_request.TOOL({"shop": forge})
    plan = anyio.run(opening.plan, ask(), nothing)
    execute(opening, plan, action(1))
    tool = update_pull_request.TOOL({"shop": forge})
    request = {"action_id": action(1).action, "files": [{"path": "docs/ä.md", "content": "newer\n"}]}
    updating = anyio.run(tool.plan, UpdateArguments.model_validate(request), remember(plan))
    assert updating.effects.recipients == updating.facts["recipients"] == 2
    assert updating.summary.endswith("base main, tells 2 people")
    assert updating.inverse is not None
    assert (updating.inverse.tool, updating.inverse.summary[:15]) == (None, "no tool does it")
    forge.pulls[7].recipients = 3
    assert execute(tool, updating, action(2)) == Stale(("3 people would be told, 2 at the review",))
    forge.pulls[7].recipients = 1
    outcome = execute(tool, updating, action(2))
    assert isinstance(outcome, Succeeded)
    assert outcome.result["number"] == 7
    forge.pulls[7].recipients = 9
    assert execute(tool, updating, action(2)) == outcome  # landed already: whoever came since changes nothing


def test_reading_tells_number_checks_and_reviews_where_the_forge_has_them(
    shop: Repository, forge: MergingForge
) -> None:
    opening = open_pull_request.TOOL({"shop": forge})
    plan = anyio.run(opening.plan, ask(), nothing)
    execute(opening, plan, action(1))
    forge.pulls[7].checks = (Check("build\u202e", "failure"),)
    forge.pulls[7].reviews = (
        PullReview("carol", "approved", str(shop.head(action(1).marker))),
        PullReview("dan", "commented", "0" * 40),
    )
    tool, arguments = get_pull_request.TOOL({"shop": forge}), GetArguments(action_id=action(1).action)
    told = anyio.run(tool.read, anyio.run(tool.locate, arguments, remember(plan)), arguments)
    assert (told["number"], told["url"]) == (7, "https://forge.example/shop/pull/7")
    assert told["checks"] == [{"name": "build\\u{202e}", "state": "failure"}]
    assert told["reviews"] == [
        {"reviewer": "carol", "verdict": "approved", "of_newest": True},
        {"reviewer": "dan", "verdict": "commented", "of_newest": False},
    ]


def test_a_forge_that_does_not_answer_is_not_taken_for_one_without_the_pull_request(
    shop: Repository, forge: MergingForge
) -> None:
    tool = open_pull_request.TOOL({"shop": forge})
    plan = anyio.run(tool.plan, ask(), nothing)
    forge.watchers, forge.out_of_reach = 5, True
    with pytest.raises(ConnectorError, match="does not answer") as caught:
        execute(tool, plan, action(1))
    assert caught.value.kind == "retry"
