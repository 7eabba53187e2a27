"""Rare turns on GitHub: markers of others, what cannot be taken back, and what probes find begun."""

from __future__ import annotations

from functools import partial

import anyio
import pytest

from keyturn.connectors.forge import Closed, Closing, Landed, Opening, Revision
from keyturn.connectors.forge.github import PERMISSIONS
from keyturn.model.errors import ConnectorError
from keyturn.model.outcome import CannotHappen, CannotTell, Stale
from tests.bed.faults import DropAfter, DropBefore, Fault, Instead, Meanwhile, echo
from tests.bed.faults import refusal as says
from tests.bed.recorder import answer
from tests.connectors.forge.contract import CHANGE, apply, close, closing, land, opening, pull, revision
from tests.connectors.forge.github.test_merges import merge, proposed, reviewed
from tests.connectors.forge.github.test_merges import probe as probe_merge
from tests.connectors.forge.github.world import World
from tests.connectors.forge.repository import action

NEWER = {"docs/new.md": b"newer\n"}
REFUSED = Instead(says(403, "Resource not accessible by integration"))
MARKER = ("POST", r".*/git/refs")
FENCING = ("PATCH", r".*/git/refs/keyturn/.*")
LOST = (
    Fault(*MARKER, DropAfter()),
    Fault("GET", r".*/git/ref/keyturn/action/.*", REFUSED, nth=2),  # the first asks whether it has begun already
)
"""The answer about the marker is lost, and GitHub does not tell either whether it stands."""


def mark(world: World, number: int, sha: str) -> None:
    """Have somebody write the marker of an action."""
    wished = {"ref": f"refs/keyturn/action/{action(number).action}", "sha": sha}
    world.repository.ask("POST", "git/refs", wished)


def opened(world: World) -> tuple[Revision, Closing]:
    land(world.forge(), opening(world.forge(), CHANGE), action(1))
    return revision(world.forge(), action(1), NEWER), closing(world.forge(), action(1))


def probe(world: World, change: Opening | Revision, number: int) -> Landed | CannotHappen | CannotTell:
    return anyio.run(world.forge().probe, change, action(number))


def probe_closing(world: World, change: Closing, number: int) -> Closed | CannotHappen | CannotTell:
    return anyio.run(world.forge().probe_closing, change, action(number))


def begun(world: World, change: Revision | Closing, *faults: Fault) -> None:
    """Let action 2 fail where its outcome is unknown."""
    world.proxy.faults.set(*faults)
    forge = world.forge()
    effect = partial(forge.close, change) if isinstance(change, Closing) else partial(forge.apply, change)
    with pytest.raises(ConnectorError) as caught:
        anyio.run(effect, action(2))
    assert caught.value.kind == "unknown"
    world.proxy.faults.set()


def test_the_identity_is_the_repositorys_address(world: World) -> None:
    backend = world.forge("payments").identity
    assert (backend.port, backend.name, backend.kind, backend.account) == ("forge", "payments", "github", "")
    assert backend.location == f"{world.proxy.url}/repos/{world.repository.full_name}"
    assert world.app(world.emulator.pem, 4242).identity.account == "app 4242"


def test_what_was_reviewed_is_read_from_the_reviewed_commit(world: World) -> None:
    change = opening(world.forge(), CHANGE)
    world.commit("main", {"src/app.py": b"later\n"})
    seen = anyio.run(world.forge().reviewed, change)
    assert seen.commit == change.base_commit
    file = seen.files["src/app.py"]
    assert file is not None
    assert file.content != b"later\n"


def test_watchers_are_told_of_a_new_pull_request(world: World) -> None:
    told = world.repository.ask("GET")
    world.proxy.faults.set(
        Fault("GET", r"/repos/[^/]+/[^/]+", Instead(answer(200, told | {"subscribers_count": 41})))
    )
    assert anyio.run(world.forge().audience) == 41


def test_what_is_asked_of_an_app_is_what_the_page_says() -> None:
    assert PERMISSIONS == {
        "checks": "read",
        "contents": "write",
        "metadata": "read",
        "pull_requests": "write",
        "statuses": "read",
    }


def test_checks_and_reviews_are_told_of_a_pull_request_of_ours(world: World) -> None:
    opened(world)
    head = world.repository.head(action(1).marker)
    world.repository.check_run(head, "ci", None)
    world.repository.check_run(head, "lint", "failure")
    world.manners.statuses[head] = [{"state": "success", "context": "ci", "description": None}]
    world.repository.review(1, "REQUEST_CHANGES")
    world.repository.review(1, "COMMENT", who="ada")
    stands = pull(world.forge(), action(1))
    assert stands.checks is not None
    assert {(check.name, check.state) for check in stands.checks} == {("ci", "pending"), ("lint", "failure")}
    assert stands.reviews is not None
    assert [(item.reviewer, item.verdict) for item in stands.reviews] == [
        ("carol", "changes_requested"),
        ("ada", "commented"),
    ]
    assert stands.recipients == 2


def test_a_review_that_was_dismissed_counts_no_more(world: World) -> None:
    opened(world)
    world.repository.review(1, "APPROVE")
    [review] = world.repository.ask("GET", "pulls/1/reviews")
    world.repository.ask("PUT", f"pulls/1/reviews/{review['id']}/dismissals", {"message": "no"})
    assert pull(world.forge(), action(1)).reviews == ()


def test_a_branch_that_only_looks_like_ours_is_no_pull_request_of_an_action(world: World) -> None:
    world.repository.branch(action(1).marker)
    world.commit(action(1).marker, NEWER)
    world.repository.open_pull(action(1).marker)
    with pytest.raises(ConnectorError, match="no pull request of action"):
        pull(world.forge(), action(1))
    root = world.repository.log("main")[-1]["sha"]
    mark(world, 1, root)
    with pytest.raises(ConnectorError, match="not the commit that an action opened"):
        pull(world.forge(), action(1))


# markers of others


def test_a_marker_that_holds_something_else_is_refused_by_every_effect(world: World) -> None:
    update, ending = opened(world)
    fresh = opening(world.forge(), {"x.txt": b"x\n"})
    theirs = reviewed(world, proposed(world))
    for number in (2, 3, 4, 5):
        mark(world, number, world.repository.head("main"))
    with pytest.raises(ConnectorError, match="holds something else"):
        apply(world.forge(), fresh, action(2))
    with pytest.raises(ConnectorError, match="holds something else"):
        apply(world.forge(), update, action(3))
    with pytest.raises(ConnectorError, match="holds something else"):
        close(world.forge(), ending, action(4))
    with pytest.raises(ConnectorError, match="holds something else"):
        merge(world, theirs, 5)
    for told in (
        probe(world, fresh, 2),
        probe(world, update, 3),
        probe_closing(world, ending, 4),
        probe_merge(world, theirs, 5),
    ):
        assert isinstance(told, CannotTell)
        assert "holds something else" in told.reason
    assert world.head(action(2).marker) is None


# begun, and found by a probe


def test_an_update_that_was_begun_and_overtaken_by_others_cannot_land(world: World) -> None:
    update, _ = opened(world)
    begun(world, update, *LOST)
    theirs = world.commit(action(1).marker, {"theirs.txt": b"x\n"})
    told = probe(world, update, 2)
    assert isinstance(told, CannotHappen)
    assert "no longer at the reviewed commit" in told.reason
    assert world.head(action(1).marker) == theirs
    world.repository.rewind(action(1).marker, update.head)
    with pytest.raises(ConnectorError, match="cannot land any more"):
        apply(world.forge(), update, action(2))


def test_a_closing_that_was_begun_and_overtaken_by_others_cannot_go_on(world: World) -> None:
    _, ending = opened(world)
    begun(world, ending, *LOST)
    world.commit(action(1).marker, {"theirs.txt": b"x\n"})
    assert isinstance(probe_closing(world, ending, 2), CannotHappen)
    with pytest.raises(ConnectorError, match="cannot land any more"):
        close(world.forge(), ending, action(2))


def test_what_a_probe_is_refused_to_complete_is_taken_back(world: World) -> None:
    update, ending = opened(world)
    fresh = opening(world.forge(), {"x.txt": b"x\n"})
    begun(world, update, *LOST)
    world.proxy.faults.set(Fault("PATCH", r".*/git/refs/heads/.*", REFUSED))
    told = probe(world, update, 2)
    assert isinstance(told, CannotHappen)
    assert "taken back" in told.reason
    world.proxy.faults.set(*LOST)
    with pytest.raises(ConnectorError):
        apply(world.forge(), fresh, action(3))
    world.proxy.faults.set(Fault("POST", r".*/pulls", REFUSED))
    assert isinstance(probe(world, fresh, 3), CannotHappen)
    assert world.head(action(3).marker) is None
    world.proxy.faults.set(*LOST)
    with pytest.raises(ConnectorError):
        close(world.forge(), ending, action(4))
    world.proxy.faults.set(Fault("PATCH", r".*/pulls/\d+", REFUSED))
    assert isinstance(probe_closing(world, ending, 4), CannotHappen)
    assert [name for name in world.refs() if "/turn/" in name] == []


def test_what_cannot_be_taken_back_is_unknown_and_settled_later(world: World) -> None:
    update, ending = opened(world)
    begun(world, update, Fault("PATCH", r".*/git/refs/heads/.*", REFUSED), Fault(*FENCING, DropBefore(), nth=0))
    assert isinstance(probe(world, update, 2), Landed)
    _, ending = revision(world.forge(), action(1), {"y.txt": b"y\n"}), closing(world.forge(), action(1))
    world.proxy.faults.set(Fault("PATCH", r".*/pulls/\d+", REFUSED), Fault(*FENCING, DropBefore(), nth=0))
    with pytest.raises(ConnectorError, match="could not be taken back") as caught:
        close(world.forge(), ending, action(3))
    assert caught.value.kind == "unknown"
    world.proxy.faults.set()
    assert isinstance(probe_closing(world, ending, 3), Closed)


def test_a_fence_that_comes_first_stops_an_executor_on_its_way(world: World) -> None:
    change = opening(world.forge(), CHANGE)
    deed = Meanwhile(lambda: probe(world, change, 1))
    world.proxy.faults.set(Fault("GET", r".*/compare/.*", deed), Fault("GET", r".*/git/ref/heads/main", deed))
    with pytest.raises(ConnectorError, match="cannot land any more"):
        apply(world.forge(), change, action(1))
    assert world.head(action(1).marker) is None


def test_a_request_merged_while_it_is_closed_is_told(world: World) -> None:
    _, ending = opened(world)
    world.proxy.faults.set(Fault("PATCH", r".*/pulls/\d+", Meanwhile(lambda: world.merge(1))))
    assert close(world.forge(), ending, action(2)) == Stale(("the pull request has been merged into main",))
    assert world.repository.pull(1)["merged"]
    assert world.head(action(1).marker) == ending.head


def test_an_update_that_was_only_said_to_land_is_not_believed(world: World) -> None:
    update, _ = opened(world)
    world.proxy.faults.set(Fault("PATCH", r".*/git/refs/heads/.*", Instead(echo(200)), nth=0))
    with pytest.raises(ConnectorError, match="and did not") as caught:
        apply(world.forge(), update, action(2))
    assert caught.value.kind == "unknown"


def test_a_base_branch_that_is_gone_is_stale_or_refused(world: World) -> None:
    world.repository.branch("release")
    change = opening(world.forge(), CHANGE, "release")
    world.repository.branch("work")
    number = world.repository.open_pull("work", "release")
    world.repository.delete("release")
    assert apply(world.forge(), change, action(1)) == Stale(("branch release is gone",))
    with pytest.raises(ConnectorError, match="branch release, which pull request"):
        anyio.run(world.forge().proposal, number)


def test_histories_that_share_nothing_are_refused(world: World) -> None:
    number = proposed(world)
    told = world.repository.pull(number)
    orphan = world.rewind("main")
    world.proxy.faults.set(Fault("GET", r".*/pulls/\d+", Instead(answer(200, told)), nth=0))
    with pytest.raises(ConnectorError, match=f"commits {orphan} and .* have no history in common"):
        anyio.run(world.forge().proposal, number)


def test_an_empty_repository_is_told(world: World) -> None:
    world.proxy.faults.set(Fault("GET", r".*/git/ref/.*", Instead(says(404)), nth=0))
    said = [finding.text for finding in anyio.run(world.forge().check) if finding.level == "wrong"]
    assert said == ["branch main cannot be read"]


def test_a_forge_that_fails_in_the_middle_of_a_look_is_told(world: World) -> None:
    world.proxy.faults.set(Fault("GET", r".*/git/ref/.*", Instead(says(400)), nth=0))
    said = [finding for finding in anyio.run(world.forge().check) if finding.level == "wrong"]
    assert len(said) == 1
    assert "githubstatus" in said[0].advice


def test_a_merge_that_fails_before_it_is_sent_is_taken_back(world: World) -> None:
    change = reviewed(world, proposed(world))
    world.proxy.faults.set(Fault("GET", r".*/pulls/\d+", Instead(says(400)), nth=2))
    with pytest.raises(ConnectorError) as caught:
        merge(world, change)
    assert caught.value.kind == "refused"
    world.proxy.faults.set()
    assert isinstance(probe_merge(world, change), CannotHappen)


def test_a_merge_that_cannot_be_read_back_is_unknown_and_found_later(world: World) -> None:
    change = reviewed(world, proposed(world))
    world.proxy.faults.set(Fault("GET", r".*/pulls/\d+", Instead(says(400)), nth=3))
    with pytest.raises(ConnectorError) as caught:
        merge(world, change)
    assert caught.value.kind == "unknown"
    world.proxy.faults.set()
    assert probe_merge(world, change) == merge(world, change)


def test_a_claim_of_a_merge_that_others_settled_is_stale(world: World) -> None:
    number = proposed(world)
    change = reviewed(world, number)
    world.proxy.faults.set(Fault("PUT", r".*/merge", DropBefore()))
    with pytest.raises(ConnectorError):
        merge(world, change)
    world.proxy.faults.set()
    world.repository.merge(number)
    assert merge(world, change) == Stale(("the pull request was merged by others",))
