"""`merge_pull_request` merges what was reviewed or nothing, on a real repository behind a forge that merges."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from keyturn.connectors.forge import Check, PullReview
from keyturn.model.errors import ConnectorError
from keyturn.model.outcome import CannotHappen, CannotTell, Failed, Happened, Stale, Succeeded
from keyturn.model.plan import Effects, Plan
from keyturn.model.tool import GovernedTool
from keyturn.tools import merge_pull_request
from tests.connectors.forge.repository import Repository, action, create
from tests.tools.merging_forge import Known, MergingForge
from tests.tools.pulls import execute, forge_part, opened, planned, probe, says_something_else


class World:
    """A repository, a branch `feature` of ann's, and pull request 7 for it."""

    def __init__(self, home: Path) -> None:
        self.shop: Repository = create(home / "shop.git")
        self.shop.git("branch", "feature", "main")
        self.shop.commit("feature", {"src/app.py": b"import os\n\nprint('hello')\n", "data/logo.bin": b"\0\3"})
        self.head = self.shop.commit("feature", {"NOTES.md": b"hello\n"})
        self.forge = MergingForge(self.shop)
        self.known: Known = self.forge.known("feature")
        self.tool: GovernedTool = merge_pull_request.TOOL({"shop": self.forge})

    def plan(self, **changes: object) -> Plan:
        return planned(self.tool, {"repository": "shop", "number": 7, **changes})


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_it_is_a_governed_tool_of_the_forge_port(world: World) -> None:
    assert isinstance(world.tool, GovernedTool)
    assert (world.tool.name, merge_pull_request.TOOL.port) == ("merge_pull_request", "forge")


def test_a_plan_shows_the_whole_change_and_how_the_pull_request_stands(world: World) -> None:
    world.known.reviews = (
        PullReview("carol", "approved", world.head),
        PullReview("dan", "approved", "0" * 40),
        PullReview("eve", "changes_requested", world.head),
    )
    plan = world.plan()
    assert plan.target == "forge:shop/main"
    assert plan.summary == (
        'Merge pull request 7 "Say hello" of ann into main on shop with a merge commit: 3 files, +3 \u22122, '
        f"1 shown by digest only, 2 commits up to {world.head}, tells 2 people; "
        "checks: success, 1 approval there, changes wanted by 1"
    )
    assert plan.effects == Effects(files_changed=3, lines_changed=5, recipients=2)
    assert "-print('shop')\n+print('hello')\n" in plan.diff
    assert "Binary content: sha256:" in plan.diff
    shown = {name: value for name, value in plan.view.items() if name not in ("files", "reviews")}
    assert shown == {
        "diff_complete": False,
        "number": 7,
        "url": "https://forge.example/shop/pull/7",
        "title": "Say hello",
        "author": "ann",
        "action": None,
        "base": "main",
        "branch": "feature",
        "method": "merge",
        "commits": 2,
        "checks": {"state": "success", "seen": [{"name": "build", "state": "success"}]},
        "preview": "worked out by Keyturn",
    }
    files: Any = plan.view["files"]
    assert [(item["path"], item["status"]) for item in files] == [
        ("NOTES.md", "added"), ("data/logo.bin", "modified"), ("src/app.py", "modified"),
    ]  # fmt: skip
    reviews: Any = plan.view["reviews"]
    assert [(item["reviewer"], item["verdict"]) for item in reviews] == [
        ("carol", "approved"), ("dan", "approved"), ("eve", "changes_requested"),
    ]  # fmt: skip


def test_the_facts_are_what_the_merge_depends_on_and_the_bases_head_is_the_guard(world: World) -> None:
    plan, main = world.plan(), world.shop.head("main")
    blob = world.shop.git("rev-parse", "main:src/app.py")
    logo = world.shop.git("rev-parse", "main:data/logo.bin")
    assert plan.facts == {
        "number": 7,
        "head": world.head,
        "base": "main",
        "merge_base": main,
        "blobs": [
            {"path": "NOTES.md", "blob": None, "mode": None},
            {"path": "data/logo.bin", "blob": logo, "mode": "100644"},
            {"path": "src/app.py", "blob": blob, "mode": "100644"},
        ],
        "checks": "success",
        "recipients": 2,
    }
    assert plan.guard == {"base_commit": main}
    assert plan.inverse is not None
    assert plan.inverse.tool == "revert_pull_request"
    assert plan.inverse.arguments == {"repository": "shop", "number": 7}


@pytest.mark.parametrize(
    ("method", "words", "parents"),
    [
        ("merge", "with a merge commit", 2),
        ("squash", "squashed into one commit", 1),
        ("rebase", "rebased", 1),
    ],
)
def test_a_stored_plan_merges_once_and_is_found_again(world: World, method: str, words: str, parents: int) -> None:
    plan = world.plan(method=method)
    assert words in plan.summary
    outcome = execute(world.tool, plan, action(1))
    merged = world.shop.head("main")
    assert outcome == Succeeded(
        {
            "repository": "shop",
            "number": 7,
            "base": "main",
            "head": world.head,
            "commit": merged,
            "method": method,
            "url": "https://forge.example/shop/pull/7",
        }
    )
    assert len(world.shop.git("log", "-1", "--format=%P", "main").split()) == parents
    assert world.shop.show("main:NOTES.md") == "hello"
    assert probe(world.tool, plan, action(1)) == Happened(outcome.result)
    assert execute(world.tool, plan, action(1)) == outcome
    assert world.shop.head("main") == merged


def push(world: World) -> None:
    world.shop.commit("feature", {"NOTES.md": b"other\n"})


def retarget(world: World) -> None:
    world.shop.git("branch", "release", "main")
    world.known.base = "release"


def touch(world: World) -> None:
    world.shop.commit("main", {"NOTES.md": b"mine\n"})


def take_in_part(world: World) -> None:
    world.shop.git("update-ref", "refs/heads/main", "feature~1")


def rename(world: World) -> None:
    world.known.title = "Say goodbye"


def withdraw(world: World) -> None:
    world.known.draft = True


def conflict(world: World) -> None:
    world.known.mergeable = False


def close(world: World) -> None:
    world.known.status = "closed"


def fail(world: World) -> None:
    world.known.checks = (Check("build", "failure"),)


def lose_check(world: World) -> None:
    world.known.checks = ()


def new_check(world: World) -> None:
    world.known.checks = (*world.known.checks, Check("lint", "pending"))


def object_to(world: World) -> None:
    world.known.reviews = (PullReview("eve", "changes_requested", world.head),)


def be_watched(world: World) -> None:
    world.known.recipients = 3


@pytest.mark.parametrize(
    ("meanwhile", "said"),
    [
        (push, "its branch is no longer at the reviewed commit"),
        (retarget, "its base is release and no longer main"),
        (touch, "NOTES.md has changed on main"),
        (take_in_part, "it parts from its base at another commit"),
        (rename, "it has another title"),
        (withdraw, "it is a draft again"),
        (conflict, "it cannot be merged into main as it is any more"),
        (close, "it is closed"),
        (fail, "the check 'build' was success at the review and is failure"),
        (lose_check, "the check 'build' is not there any more"),
        (new_check, "the check 'lint' was not there at the review and is pending"),
        (object_to, "'eve' has asked for changes on the forge since the review"),
        (be_watched, "3 people would be told, 2 at the review"),
    ],
)
def test_what_moved_since_the_review_keeps_it_from_being_merged(world: World, meanwhile: Any, said: str) -> None:
    plan = world.plan()
    meanwhile(world)
    main = world.shop.head("main")
    outcome = execute(world.tool, plan, action(1))
    assert isinstance(outcome, Stale)
    assert any(said in moved for moved in outcome.moved), outcome.moved
    assert (world.shop.head("main"), world.known.merged) == (main, None)


def test_what_turned_out_better_or_lies_elsewhere_voids_no_review(world: World) -> None:
    world.known.checks = (Check("build", "pending"),)
    plan = world.plan()
    assert plan.facts["checks"] == "pending"
    world.known.checks = (Check("build", "success"), Check("docs", "success"))
    world.known.reviews = (PullReview("carol", "approved", world.head), PullReview("dan", "commented", world.head))
    world.known.recipients = 1
    world.shop.commit("main", {"README.md": b"# Shop\n"})
    assert isinstance(execute(world.tool, plan, action(1)), Succeeded)


def test_an_approval_that_was_shown_has_to_be_there_still(world: World) -> None:
    world.known.reviews = (PullReview("carol", "approved", world.head),)
    plan = world.plan()
    world.known.reviews = ()
    outcome = execute(world.tool, plan, action(1))
    assert outcome == Stale(("the approval of 'carol' on the forge is not there any more",))


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"status": "merged"}, "is merged; there is nothing to merge"),
        ({"status": "closed"}, "is closed; there is nothing to merge"),
        ({"draft": True}, "is a draft; its author has to mark it ready first"),
        ({"mergeable": False}, "solve conflicts"),
    ],
)
def test_what_cannot_be_merged_is_refused_with_advice(world: World, about: dict[str, Any], said: str) -> None:
    for name, value in about.items():
        setattr(world.known, name, value)
    with pytest.raises(ConnectorError, match=said):
        world.plan()


def test_checks_that_fail_are_shown_and_left_to_the_policy(world: World) -> None:
    world.known.checks = (Check("build", "success"), Check("lint", "failure"), Check("lint", "success"))
    plan = world.plan()
    assert plan.view["checks"] == {
        "state": "failure",
        "seen": [{"name": "build", "state": "success"}, {"name": "lint", "state": "failure"}],
    }
    assert "checks: failure" in plan.summary
    assert isinstance(execute(world.tool, plan, action(1)), Succeeded)


def test_a_pull_request_without_checks_says_so(world: World) -> None:
    world.known.checks, world.known.mergeable, world.known.recipients = (), None, 1
    plan = world.plan()
    assert plan.summary.endswith("tells 1 person; no checks, no approvals there")
    assert plan.view["checks"] == {"state": "none", "seen": []}


def test_a_forge_that_does_not_merge_is_refused_with_advice(world: World) -> None:
    tool = merge_pull_request.TOOL({"shop": world.shop.forge()})
    with pytest.raises(ConnectorError, match="neither merges nor knows what was merged; ask people to merge"):
        planned(tool, {"repository": "shop", "number": 7})
    with pytest.raises(ConnectorError, match="has no pull request 8"):
        world.plan(number=8)
    assert isinstance(probe(tool, world.plan(), action(1)), CannotTell)


def test_a_file_that_changed_on_both_sides_is_refused_for_no_diff_shows_what_becomes_of_it(world: World) -> None:
    world.shop.commit("main", {"src/app.py": b"import os\n\nprint('shop')\n\n\nprint('more')\n"})
    with pytest.raises(ConnectorError, match=r'"src/app.py" has changed on main too .* bring the branch up to date'):
        world.plan()


def test_a_plan_that_was_forged_for_a_file_that_changed_on_both_sides_merges_nothing(world: World) -> None:
    plan = world.plan()
    blobs: Any = plan.facts["blobs"]
    world.shop.commit("main", {"src/app.py": b"import os\n\nprint('shop')\n\n\nprint('more')\n"})
    now = world.shop.git("rev-parse", "main:src/app.py")
    moved = [{**item, "blob": now} if item["path"] == "src/app.py" else item for item in blobs]
    outcome = execute(world.tool, forge_part(plan, "facts", {"blobs": moved}), action(1))
    assert isinstance(outcome, Failed)
    assert "has changed on main too" in outcome.reason
    assert world.known.merged is None


def test_what_the_base_has_already_can_be_merged_all_the_same(world: World) -> None:
    world.shop.commit("main", {"NOTES.md": b"hello\n"})
    assert isinstance(execute(world.tool, world.plan(), action(1)), Succeeded)


def test_ones_own_pull_request_is_named_by_its_action(world: World) -> None:
    opened(world.forge, action(3))
    number = next(known.number for known in world.forge.pulls.values() if known.branch == action(3).marker)
    world.forge.pulls[number].draft = False
    assert world.plan(number=number).view["action"] == action(3).action


FORGED: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({"target": "forge:shop/release"}, ("target",)),
    ({"environment": "staging"}, ("environment",)),
    ({"summary": "Merge"}, ("summary",)),
    ({"effects": Effects()}, ("effects",)),
    ({"diff": ""}, ("diff",)),
    ({"inverse": None}, ("inverse",)),
]


@pytest.mark.parametrize(("forged", "named"), FORGED)
def test_a_plan_that_shows_something_else_than_it_merges_merges_nothing(
    world: World, forged: dict[str, Any], named: tuple[str, ...]
) -> None:
    main = world.shop.head("main")
    outcome = execute(world.tool, replace(world.plan(), **forged), action(1))
    assert says_something_else(outcome, *named)
    assert world.shop.head("main") == main


@pytest.mark.parametrize(
    ("part", "change", "named"),
    [
        ("view", {"files": []}, ("view",)),
        ("view", {"title": "Say nothing"}, ("view",)),
        ("view", {"author": "alice"}, ("view",)),
        ("view", {"method": "squash"}, ("view",)),
        ("view", {"diff_complete": False}, ("view",)),
        ("view", {"checks": {"state": "none", "seen": []}}, ("summary", "facts")),
        ("view", {"checks": {"state": "pending", "seen": [{"name": "build", "state": "success"}]}}, ("view",)),
        ("change", {"method": "squash"}, ("summary", "view")),
        ("facts", {"blobs": []}, ("facts",)),
        ("facts", {"checks": "failure"}, ("facts",)),
        ("facts", {"recipients": 5}, ("summary", "effects")),
    ],
)
def test_a_plan_of_which_one_part_was_forged_merges_nothing(
    world: World, part: str, change: dict[str, Any], named: tuple[str, ...]
) -> None:
    world.shop.git("update-ref", "refs/heads/feature", world.shop.commit("main", {"NOTES.md": b"hi\n"}))
    world.shop.git("update-ref", "refs/heads/main", "main~1")
    plan, main = world.plan(), world.shop.head("main")
    outcome = execute(world.tool, forge_part(plan, part, change), action(1))
    assert says_something_else(outcome, *named)
    assert world.shop.head("main") == main


def test_checks_and_reviews_that_were_invented_merge_nothing(world: World) -> None:
    world.known.checks = (Check("build", "failure"),)
    plan = world.plan()
    seen = {"state": "success", "seen": [{"name": "build", "state": "success"}]}
    forged = forge_part(forge_part(plan, "view", {"checks": seen}), "facts", {"checks": "success"})
    forged = replace(forged, summary=plan.summary.replace("checks: failure", "checks: success"))
    assert isinstance(execute(world.tool, forged, action(1)), Stale)
    praised = [{"reviewer": "carol", "verdict": "approved", "commit": world.head}]
    assert isinstance(execute(world.tool, forge_part(plan, "view", {"reviews": praised}), action(1)), Stale)


@pytest.mark.parametrize(
    ("part", "change", "said"),
    [
        ("view", {"checks": "fine"}, "checks and reviews"),
        ("view", {"checks": {"seen": "fine"}}, "checks and reviews"),
        ("view", {"checks": {"seen": [{"name": "x", "state": "wonderful"}]}}, "checks and reviews"),
        ("view", {"reviews": None}, "checks and reviews"),
        ("facts", {"number": "7"}, "what is merged"),
        ("change", {"method": "force"}, "what is merged"),
        ("facts", {"blobs": "none"}, "not a list"),
    ],
)
def test_a_plan_that_no_call_could_have_made_is_refused(
    world: World, part: str, change: dict[str, Any], said: str
) -> None:
    forged = forge_part(world.plan(), part, change)
    with pytest.raises(ConnectorError, match=said):
        execute(world.tool, forged, action(1))
    answer = probe(world.tool, forged, action(1))
    assert isinstance(answer, CannotTell)


def test_a_plan_without_a_number_of_recipients_merges_nothing(world: World) -> None:
    outcome = execute(world.tool, forge_part(world.plan(), "facts", {"recipients": None}), action(1))
    assert isinstance(outcome, Stale | Failed)


def test_a_probe_tells_what_it_can_prove(world: World) -> None:
    plan = world.plan()
    assert isinstance(probe(world.tool, plan, action(1)), CannotTell)
    world.shop.commit("feature", {"NOTES.md": b"other\n"})
    assert isinstance(probe(world.tool, plan, action(1)), CannotHappen)
