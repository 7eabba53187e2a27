"""Merging on GitHub: the reviewed head or nothing, read back, and told truly when something fails on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import cast

import anyio
import pytest

from keyturn.connectors.forge import FileState
from keyturn.connectors.forge.merging import Merge, Merged, MergeMethod, Merges, Merging, Proposal, worst
from keyturn.model.errors import ConnectorError
from keyturn.model.outcome import CannotHappen, CannotTell, Stale
from tests.bed.faults import DoneBut, DropAfter, DropBefore, Fault, Instead, Meanwhile, echo
from tests.bed.faults import refusal as says
from tests.bed.recorder import answer
from tests.connectors.forge.contract import CHANGE, land, opening
from tests.connectors.forge.github.troubles import TROUBLES
from tests.connectors.forge.github.world import World
from tests.connectors.forge.repository import FILES, action

WORK: Mapping[str, bytes | None] = {"src/app.py": b"print('hello')\n", "docs/new.md": b"new\n", "README.md": None}
PUT = ("PUT", r".*/pulls/\d+/merge")


def proposed(world: World, files: Mapping[str, bytes | None] = WORK, *, draft: bool = False) -> int:
    """Have a person open a pull request from branch `work`."""
    world.repository.branch("work")
    world.commit("work", files)
    return world.repository.open_pull("work", title="Greet", draft=draft)


def read(world: World, number: int) -> Proposal:
    return anyio.run(world.forge().proposal, number)


def reviewed(world: World, number: int, method: MergeMethod = "merge") -> Merge:
    """Return the merge as a review would bind it."""
    found = read(world, number)
    base = anyio.run(world.forge().snapshot, found.base, sorted(found.files))
    states: dict[str, FileState | None] = {path: file.state if file else None for path, file in base.files.items()}
    return Merge(
        number=number,
        title=found.title,
        base=found.base,
        base_commit=base.commit,
        head=found.head,
        method=method,
        files=states,
        checks=worst(found.checks),
    )


def merge(world: World, change: Merge, number: int = 1) -> Merged | Stale:
    return anyio.run(world.forge().merge, change, action(number))


def probe(world: World, change: Merge, number: int = 1) -> Merged | CannotHappen | CannotTell:
    return anyio.run(world.forge().probe_merge, change, action(number))


def merging(world: World, number: int) -> Merging:
    return anyio.run(world.forge().merging, number)


def without(files: Mapping[str, bytes | None]) -> dict[str, bytes]:
    """Return the files of main with these changes made."""
    changed = {**FILES, **files}
    return {path: data for path, data in changed.items() if data is not None}


def test_the_forge_merges(world: World) -> None:
    assert isinstance(world.forge(), Merges)


# reading


def test_a_proposal_tells_all_that_a_merge_depends_on(world: World) -> None:
    number = proposed(world)
    head, main = world.repository.head("work"), world.commit("main", {"other.txt": b"busy\n"})
    world.repository.check_run(head, "ci")
    world.manners.statuses[head] = [{"state": "pending", "context": "deploy", "description": None}]
    world.repository.review(number, "COMMENT")
    world.repository.review(number, "APPROVE")
    world.repository.review(number, "COMMENT")
    found = read(world, number)
    assert (found.number, found.title, found.author, found.action) == (number, "Greet", "ada", None)
    assert (found.status, found.draft, found.base, found.base_commit) == ("open", False, "main", main)
    assert (found.branch, found.head, found.commits, found.mergeable) == ("work", head, 1, True)
    assert found.merge_base != main
    assert {(check.name, check.state) for check in found.checks} == {("ci", "success"), ("deploy", "pending")}
    assert [(item.reviewer, item.verdict, item.commit) for item in found.reviews] == [("carol", "approved", head)]
    assert set(found.files) == set(WORK)
    before, after = found.files["src/app.py"]
    assert before is not None
    assert after is not None
    assert (before.content, after.content) == (FILES["src/app.py"], WORK["src/app.py"])
    assert found.files["README.md"][1] is None
    assert found.files["docs/new.md"][0] is None


def test_a_proposal_of_ours_names_the_action_that_opened_it(world: World) -> None:
    landed = land(world.forge(), opening(world.forge(), CHANGE), action(3))
    assert landed.number is not None
    assert read(world, landed.number).action == action(3).action


def test_a_branch_that_only_looks_like_ours_names_no_action(world: World) -> None:
    world.repository.branch(action(3).marker)
    world.commit(action(3).marker, WORK)
    assert read(world, world.repository.open_pull(action(3).marker)).action is None


def test_an_unknown_number_is_refused(world: World) -> None:
    with pytest.raises(ConnectorError, match="no pull request #99"):
        read(world, 99)


def test_a_proposal_of_more_files_than_are_handled_is_refused(world: World) -> None:
    number = proposed(world, {f"many/{index}.txt": b"x\n" for index in range(201)})
    with pytest.raises(ConnectorError, match="changes 201 files; at most 200"):
        read(world, number)


# merging


@pytest.mark.parametrize("method", ["merge", "squash", "rebase"])
def test_what_was_reviewed_is_merged_and_what_the_base_got_meanwhile_stays(world: World, method: str) -> None:
    number = proposed(world)
    busy = world.commit("main", {"other.txt": b"busy\n"})
    change = reviewed(world, number, cast("MergeMethod", method))
    done = merge(world, change)
    assert isinstance(done, Merged)
    assert (done.number, done.commit, done.base) == (number, world.head("main"), "main")
    assert world.files("main") == {**without(WORK), "other.txt": b"busy\n"}
    commit = world.repository.ask("GET", f"git/commits/{done.commit}")
    assert [parent["sha"] for parent in commit["parents"]] == [busy, *([change.head] if method == "merge" else [])]
    assert (f"Keyturn-Action: {action(1).action}" in commit["message"]) is (method != "rebase")
    assert merge(world, change) == done
    assert probe(world, change) == done


def test_a_head_that_moved_is_stale_and_not_merged(world: World) -> None:
    change = reviewed(world, proposed(world))
    world.commit("work", {"evil.txt": b"later\n"})
    stale = merge(world, change)
    assert isinstance(stale, Stale)
    assert "no longer at the reviewed commit" in stale.moved[0]
    assert world.files("main") == FILES


def interleaved(world: World) -> dict[str, Callable[[], object]]:
    """What others do at the moment the merge is on its way."""
    return {
        "the head moves": lambda: world.commit("work", {"evil.txt": b"later\n"}),
        "a touched file changes on the base": lambda: world.commit("main", {"src/app.py": b"theirs\n"}),
        "the request is closed": lambda: world.repository.close(1),
        "the head is set back": lambda: world.repository.rewind("work", world.repository.head("main")),
    }


@pytest.mark.parametrize(
    "deed",
    ["the head moves", "a touched file changes on the base", "the request is closed", "the head is set back"],
)
def test_what_others_do_while_the_merge_is_on_its_way_lands_nothing_unreviewed(world: World, deed: str) -> None:
    change = reviewed(world, proposed(world))
    world.proxy.faults.set(Fault(*PUT, Meanwhile(interleaved(world)[deed])))
    assert isinstance(merge(world, change), Stale)
    assert "docs/new.md" not in world.files("main")
    assert isinstance(probe(world, change), CannotHappen)


def test_a_request_that_is_retargeted_on_the_way_is_told_by_the_base_it_went_to(world: World) -> None:
    number = proposed(world)
    change = reviewed(world, number)
    world.repository.branch("release")
    retarget = Meanwhile(lambda: world.repository.ask("PATCH", f"pulls/{number}", {"base": "release"}))
    world.proxy.faults.set(Fault(*PUT, retarget))
    done = merge(world, change)
    assert isinstance(done, Merged)
    assert done.base == "release"
    assert world.files("main") == FILES


def test_a_request_that_others_merge_first_is_stale(world: World) -> None:
    number = proposed(world)
    change = reviewed(world, number)
    world.proxy.faults.set(Fault(*PUT, Meanwhile(lambda: world.repository.merge(number))))
    stale = merge(world, change)
    assert stale == Stale(("the pull request was merged by others",))
    assert isinstance(probe(world, change), CannotHappen)
    assert isinstance(merge(world, change, 2), Stale)


def test_a_touched_file_or_a_base_that_changed_is_stale(world: World) -> None:
    number, first = proposed(world), world.repository.head()
    world.commit("main", {"other.txt": b"busy\n"})
    change = reviewed(world, number)
    world.commit("main", {"src/app.py": b"theirs\n"})
    stale = merge(world, change)
    assert stale == Stale(("src/app.py has changed on main since the review",))
    world.repository.rewind("main", first)
    stale = merge(world, change)
    assert isinstance(stale, Stale)
    assert "no longer contains" in stale.moved[0]


def test_checks_that_got_worse_are_stale(world: World) -> None:
    number = proposed(world)
    world.repository.check_run(world.repository.head("work"), "ci")
    change = reviewed(world, number)
    assert change.checks == "success"
    world.repository.check_run(change.head, "ci", "failure")
    assert merge(world, change) == Stale(("checks are worse than at the review: failure, not success",))


def test_a_request_that_goes_elsewhere_now_is_stale(world: World) -> None:
    number = proposed(world)
    change = reviewed(world, number)
    world.repository.branch("release")
    world.repository.ask("PATCH", f"pulls/{number}", {"base": "release"})
    assert merge(world, change) == Stale(("the pull request goes to branch release now, not to main",))


def test_a_file_that_changed_on_both_sides_is_refused_before_anything_is_sent(world: World) -> None:
    number = proposed(world)
    world.commit("main", {"src/app.py": b"theirs\n"})
    change = reviewed(world, number)
    with pytest.raises(ConnectorError, match=r"src/app\.py has changed on main too") as caught:
        merge(world, change)
    assert caught.value.kind == "refused"
    assert world.proxy.seen.changes() == []


def test_a_change_that_the_base_has_already_does_not_stand_in_the_way(world: World) -> None:
    number = proposed(world)
    world.commit("main", {"docs/new.md": b"new\n"})
    assert isinstance(merge(world, reviewed(world, number)), Merged)
    assert world.files("main") == without(WORK)


def test_what_github_refuses_is_told_in_its_words_and_taken_back(world: World) -> None:
    change = reviewed(world, proposed(world, draft=True))
    with pytest.raises(ConnectorError, match="still a draft") as caught:
        merge(world, change)
    assert caught.value.kind == "refused"
    assert isinstance(probe(world, change), CannotHappen)
    with pytest.raises(ConnectorError, match="cannot land any more"):
        merge(world, change)


def test_a_base_that_is_just_moving_is_tried_again(world: World) -> None:
    change = reviewed(world, proposed(world))
    busy = Instead(says(405, "Base branch was modified. Review and try the merge again."))
    world.proxy.faults.set(Fault(*PUT, busy, nth=1), Fault(*PUT, busy, nth=2))
    assert isinstance(merge(world, change), Merged)


def test_somebody_who_may_only_read_is_refused(world: World) -> None:
    change = reviewed(world, proposed(world))
    with pytest.raises(ConnectorError, match="not accessible") as caught:
        anyio.run(world.forge(who="bob").merge, change, action(1))
    assert caught.value.kind == "refused"
    assert world.refs() == {}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_whatever_happens_to_the_merge_its_outcome_is_true(world: World, trouble: str) -> None:
    change = reviewed(world, proposed(world))
    before = len(world.repository.log("main"))
    world.proxy.faults.set(Fault(*PUT, TROUBLES[trouble]))
    try:
        told: object = merge(world, change)
    except ConnectorError as error:
        world.proxy.faults.set()
        told = probe(world, change) if error.kind == "unknown" else error
    happened = world.repository.pull(change.number)["merged"]
    assert isinstance(told, Merged) is happened, told
    if isinstance(told, CannotTell):
        assert f"look at {read(world, change.number).url}" in told.reason
    assert len(world.repository.log("main")) == before + happened


def test_a_merge_that_was_never_begun_is_fenced_off(world: World) -> None:
    change = reviewed(world, proposed(world))
    assert isinstance(probe(world, change), CannotHappen)
    with pytest.raises(ConnectorError, match="cannot land any more"):
        merge(world, change)
    assert isinstance(merge(world, change, 2), Merged)


def test_a_merge_that_was_lost_cannot_happen_once_the_head_moves(world: World) -> None:
    change = reviewed(world, proposed(world))
    world.proxy.faults.set(Fault(*PUT, DropBefore()))
    with pytest.raises(ConnectorError) as caught:
        merge(world, change)
    assert caught.value.kind == "unknown"
    assert isinstance(probe(world, change), CannotTell)
    world.commit("work", {"more.txt": b"more\n"})
    assert isinstance(probe(world, change), CannotHappen)


def test_an_executor_that_comes_back_finds_what_it_merged(world: World) -> None:
    change = reviewed(world, proposed(world))
    world.proxy.faults.set(Fault(*PUT, DropAfter()))
    with pytest.raises(ConnectorError):
        merge(world, change)
    done = merge(world, change)
    assert isinstance(done, Merged)
    assert done.commit == world.head("main")


def test_a_merge_that_is_not_what_was_reviewed_is_never_called_one(world: World) -> None:
    change = reviewed(world, proposed(world), "squash")

    def something_else() -> None:
        world.commit("main", {"docs/new.md": b"forged\n"})

    world.proxy.faults.set(Fault(*PUT, Meanwhile(something_else, after=True)))
    done = merge(world, change)
    assert isinstance(done, Merged)
    forged = replace(change, files={**change.files, "docs/new.md": FileState("0" * 40, "100644")})
    with pytest.raises(ConnectorError, match="not as reviewed") as caught:
        merge(world, forged)
    assert caught.value.kind == "unknown"
    assert "it changed something else than the reviewed files" in str(caught.value)
    assert isinstance(probe(world, forged), CannotTell)


@pytest.mark.parametrize(
    ("deed", "words"),
    [
        (Instead(echo(200)), "and did not"),
        (DoneBut(answer(200, {"sha": "0" * 40, "merged": True})), None),
    ],
)
def test_what_the_answer_says_is_not_believed_but_read(world: World, deed: Instead, words: str | None) -> None:
    change = reviewed(world, proposed(world))
    world.proxy.faults.set(Fault(*PUT, deed))
    if words is None:
        assert merge(world, change) == probe(world, change)
        return
    with pytest.raises(ConnectorError, match=words) as caught:
        merge(world, change)
    assert caught.value.kind == "unknown"


# reading merges back


@pytest.mark.parametrize("method", ["merge", "squash"])
def test_a_merge_is_read_back_with_what_stood_before_it(world: World, method: str) -> None:
    number = proposed(world)
    busy = world.commit("main", {"other.txt": b"busy\n"})
    done = merge(world, reviewed(world, number, cast("MergeMethod", method)))
    assert isinstance(done, Merged)
    found = merging(world, number)
    assert (found.number, found.title, found.base, found.commit) == (number, "Greet", "main", done.commit)
    assert found.before == busy
    assert set(found.files) == set(WORK)
    before, after = found.files["README.md"]
    assert before is not None
    assert (before.content, after) == (FILES["README.md"], None)


def test_what_is_not_merged_is_not_read_as_a_merge(world: World) -> None:
    with pytest.raises(ConnectorError, match="has not been merged"):
        merging(world, proposed(world))


def test_a_merge_whose_commit_holds_something_else_is_refused(world: World) -> None:
    number = proposed(world)
    world.commit("work", {"second.txt": b"second\n"})
    done = merge(world, reviewed(world, number))
    assert isinstance(done, Merged)
    told = world.repository.pull(number) | {"merged_at": "2026-11-21T00:00:00Z"}
    last = answer(200, told | {"merge_commit_sha": world.repository.head("work")})
    world.proxy.faults.set(Fault("GET", r".*/pulls/\d+", Instead(last), nth=0))
    with pytest.raises(ConnectorError, match="cannot be told from what others did"):
        merging(world, number)
