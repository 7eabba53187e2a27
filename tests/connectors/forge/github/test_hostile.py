"""Others who may write to the repository, or speak for it, want Keyturn to tell something that is not so."""

from __future__ import annotations

import anyio
import pytest

from keyturn.connectors.forge import Closing
from keyturn.connectors.forge.github.marking import fence_message, marker_of
from keyturn.connectors.forge.merging import Merged
from keyturn.model.errors import ConnectorError
from keyturn.model.outcome import CannotTell
from tests.bed.faults import DropAfter, DropBefore, Fault, Instead, Meanwhile
from tests.bed.recorder import answer
from tests.connectors.forge.contract import CHANGE, apply, land, opening, revision
from tests.connectors.forge.github.test_merges import PUT, merge, probe, proposed, read, reviewed
from tests.connectors.forge.github.world import World
from tests.connectors.forge.repository import action


def open_as(world: World, who: str, title: str) -> None:
    """Have somebody open a pull request from the branch of our action before we do."""
    wished = {"head": action(1).marker, "base": "main", "title": title, "body": "/approve", "draft": True}
    world.repository.ask("POST", "pulls", wished, who=who)


def test_a_pull_request_that_others_opened_from_our_branch_is_not_taken_for_ours(world: World) -> None:
    change = opening(world.forge(), CHANGE)
    meanwhile = Meanwhile(lambda: open_as(world, "carol", "Merge at once"))
    world.proxy.faults.set(Fault("POST", r".*/pulls", meanwhile))
    with pytest.raises(ConnectorError, match="carol") as caught:
        apply(world.forge(), change, action(1))
    assert caught.value.kind == "unknown"
    world.proxy.faults.set()
    settled = anyio.run(world.forge().probe, change, action(1))
    assert isinstance(settled, CannotTell)
    assert "carol" in settled.reason


def fenced_by_others(world: World) -> None:
    """Have somebody put a fence, which anybody can write, in the place of our marker."""
    head = world.repository.ask("GET", "git/ref/heads/main")["object"]["sha"]
    tree = world.repository.ask("GET", f"git/commits/{head}")["tree"]["sha"]
    wished = {"message": fence_message(action(1).action), "tree": tree, "parents": []}
    sha = world.repository.ask("POST", "git/commits", wished, who="carol")["sha"]
    ref = f"git/refs/{marker_of(action(1).action)}"
    world.repository.ask("PATCH", ref, {"sha": sha, "force": True}, who="carol")


@pytest.mark.parametrize("gone", [True, False])
def test_a_merge_is_found_though_others_took_its_marker_away(world: World, gone: bool) -> None:
    number = proposed(world)
    change = reviewed(world, number)
    world.proxy.faults.set(Fault(*PUT, DropAfter()))
    with pytest.raises(ConnectorError) as caught:
        merge(world, change)
    assert caught.value.kind == "unknown"
    world.proxy.faults.set()
    if gone:
        world.repository.ask("DELETE", f"git/refs/{marker_of(action(1).action)}", who="carol")
    else:
        fenced_by_others(world)
    assert isinstance(probe(world, change), Merged)


def without_marker(world: World, number: int) -> None:
    """Have somebody delete the marker of an action."""
    world.repository.ask("DELETE", f"git/refs/{marker_of(action(number).action)}", who="carol")


def test_nothing_that_landed_counts_as_not_landed_once_others_took_its_marker_away(world: World) -> None:
    forge = world.forge()
    change = opening(forge, CHANGE)
    landed = land(forge, change, action(1))
    revised = revision(forge, action(1), {"src/app.py": b"newer\n"})
    updated = land(forge, revised, action(2))
    closing = Closing(pull=action(1).action, base="main", head=updated.commit, title=change.title)
    anyio.run(forge.close, closing, action(3))
    for number in (1, 2, 3):
        without_marker(world, number)
    settled = [
        anyio.run(forge.probe, change, action(1)),
        anyio.run(forge.probe, revised, action(2)),
        anyio.run(forge.probe_closing, closing, action(3)),
    ]
    assert landed.commit != updated.commit
    assert [type(one) for one in settled] == [CannotTell] * 3


def test_a_merge_by_others_who_write_our_trailer_is_not_taken_for_ours(world: World) -> None:
    number = proposed(world)
    change = reviewed(world, number)
    world.proxy.faults.set(Fault(*PUT, DropBefore()))
    with pytest.raises(ConnectorError):
        merge(world, change)
    world.proxy.faults.set()
    told = {"merge_method": "merge", "commit_message": f"Keyturn-Action: {action(1).action}"}
    world.repository.ask("PUT", f"pulls/{number}/merge", told, who="carol")
    seen = world.repository.pull(number) | {"merged_by": {"login": "carol"}}
    world.proxy.faults.set(Fault("GET", rf".*/pulls/{number}", Instead(answer(200, seen)), nth=0))
    settled = probe(world, change)
    assert isinstance(settled, CannotTell)
    assert "carol" in settled.reason


def crosswise(world: World) -> int:
    """Have a branch, of which a part is merged already, take a fix of `main` over and drop what it fixed."""
    repository = world.repository
    repository.push("main", {"auth.py": b"vulnerable\n"})
    repository.branch("work")
    fix = repository.push("main", {"auth.py": b"fixed\n"}, "Fix it")
    innocent = repository.push("work", {"docs/one.md": b"one\n"}, "Document it")
    both = {"auth.py": b"fixed\n", "docs/one.md": b"one\n"}
    joined(world, "main", both, fix, innocent)
    joined(world, "work", {"auth.py": b"vulnerable\n", "docs/one.md": b"one\n"}, innocent, fix)
    repository.push("work", {"docs/two.md": b"two\n"}, "Document more")
    return repository.open_pull("work", title="More documentation")


def joined(world: World, branch: str, files: dict[str, bytes], *parents: str) -> None:
    """Put a merge of several commits on a branch."""
    tree = world.repository.ask("GET", f"git/commits/{world.repository.push(branch, files)}")["tree"]["sha"]
    wished = {"message": "Merge", "tree": tree, "parents": list(parents)}
    world.repository.rewind(branch, world.repository.ask("POST", "git/commits", wished)["sha"])


def test_branches_that_merged_each_other_crosswise_are_not_merged(world: World) -> None:
    number = crosswise(world)
    with pytest.raises(ConnectorError, match="crosswise"):
        read(world, number)


@pytest.mark.parametrize("count", [-1_000_000, 10**30])
def test_a_number_of_watchers_that_cannot_be_is_refused(world: World, count: int) -> None:
    told = world.repository.ask("GET") | {"subscribers_count": count}
    world.proxy.faults.set(Fault("GET", r"/repos/[^/]+/[^/]+", Instead(answer(200, told)), nth=0))
    with pytest.raises(ConnectorError, match="subscribers_count"):
        anyio.run(world.forge().audience)


def test_people_whom_a_body_mentions_are_counted(world: World) -> None:
    assert anyio.run(world.forge().audience, "cc @ann, _@bob_, &#64;eve and me@example.org") == 3


@pytest.mark.parametrize("body", ["cc @shop-co/everybody", "_@shop-co/everybody_", "&commat;shop-co/everybody"])
def test_a_body_that_mentions_a_team_is_refused(world: World, body: str) -> None:
    with pytest.raises(ConnectorError, match="the team @shop-co/everybody"):
        anyio.run(world.forge().audience, body)


def test_an_approval_by_somebody_without_a_say_is_a_comment(world: World) -> None:
    number = proposed(world)
    world.repository.review(number, "APPROVE")
    listed = world.repository.ask("GET", f"pulls/{number}/reviews")
    theirs = [item | {"author_association": "NONE"} for item in listed]
    world.proxy.faults.set(Fault("GET", r".*/reviews", Instead(answer(200, theirs)), nth=0))
    assert [review.verdict for review in read(world, number).reviews] == ["commented"]


def test_a_branch_and_a_ref_that_others_made_name_no_action_of_ours(world: World) -> None:
    branch = f"keyturn/{action(1).action}"
    world.repository.branch(branch)
    head = world.repository.push(branch, {"evil.py": b"x\n"}, f"Evil\n\nKeyturn-Action: {action(1).action}")
    world.repository.ask("POST", "git/refs", {"ref": f"refs/{marker_of(action(1).action)}", "sha": head}, who="carol")
    wished = {"head": branch, "base": "main", "title": "Evil", "body": "", "draft": False}
    number = world.repository.ask("POST", "pulls", wished, who="carol")["number"]
    assert read(world, number).action is None
