"""What every back end of the forge port promises; a back end's test inherits `ForgeContract` and gives a world."""

from __future__ import annotations

import base64
import threading
from collections.abc import Mapping
from typing import Protocol

import anyio
import pytest

from keyturn.connectors.forge import Closed, Closing, Forge, Landed, Opening, Pull, Revision, Snapshot
from keyturn.connectors.forge.changes import Worked, read_wishes, work_out
from keyturn.model.errors import ConnectorError
from keyturn.model.outcome import CannotHappen, Stale
from keyturn.model.tool import ActionRef
from tests.connectors.forge.repository import FILES, action


class World(Protocol):
    """The system behind a forge, as other people change it. It begins with `FILES` on main."""

    def forge(self, name: str = "shop") -> Forge: ...

    def commit(self, branch: str, files: Mapping[str, bytes | None]) -> str: ...

    def rewind(self, branch: str) -> str: ...

    def head(self, branch: str) -> str | None: ...


def snapshot(forge: Forge, branch: str, *paths: str) -> Snapshot:
    return anyio.run(forge.snapshot, branch, paths)


def worked(forge: Forge, branch: str, files: Mapping[str, bytes | None]) -> tuple[str, Worked]:
    items: list[dict[str, object]] = [
        {"path": path, "delete": True}
        if content is None
        else {"path": path, "content": base64.b64encode(content).decode(), "encoding": "base64"}
        for path, content in files.items()
    ]
    wishes = read_wishes(items)
    seen = snapshot(forge, branch, *files)
    return seen.commit, work_out(wishes, seen)


def opening(forge: Forge, files: Mapping[str, bytes | None], base: str = "main") -> Opening:
    commit, result = worked(forge, base, files)
    return Opening(
        base=base,
        base_commit=commit,
        files=result.files,
        title="Say hello",
        body="Because.",
        draft=True,
        patch=result.patch,
    )


def revision(forge: Forge, opened: ActionRef, files: Mapping[str, bytes | None]) -> Revision:
    head, result = worked(forge, opened.marker, files)
    return Revision(pull=opened.action, base="main", head=head, title="Say hello", files=result.files)


def apply(forge: Forge, change: Opening | Revision, ref: ActionRef) -> Landed | Stale:
    return anyio.run(forge.apply, change, ref)


def land(forge: Forge, change: Opening | Revision, ref: ActionRef) -> Landed:
    landed = apply(forge, change, ref)
    assert isinstance(landed, Landed)
    return landed


def place(landed: Landed | Stale) -> tuple[str, str]:
    """Return branch and commit; number and page are the forge's own."""
    assert isinstance(landed, Landed)
    return landed.branch, landed.commit


def closing(forge: Forge, opened: ActionRef) -> Closing:
    stands = pull(forge, opened)
    return Closing(pull=opened.action, base=stands.base, head=stands.head or "", title=stands.title)


def close(forge: Forge, change: Closing, ref: ActionRef) -> Closed | Stale:
    return anyio.run(forge.close, change, ref)


def pull(forge: Forge, ref: ActionRef) -> Pull:
    return anyio.run(forge.pull, ref.action)


CHANGE: Mapping[str, bytes | None] = {"src/app.py": b"print('hello')\n", "docs/new.md": b"new\n", "README.md": None}


class ForgeContract:
    """Behaviour that every forge shows."""

    def test_a_snapshot_holds_commit_and_content_and_none_for_missing_files(self, world: World) -> None:
        seen = snapshot(world.forge(), "main", "README.md", "src/none.py", "src/run.sh", "no/such/folder")
        assert seen.commit == world.head("main")
        assert seen.files["src/none.py"] is None
        assert seen.files["no/such/folder"] is None
        readme, script = seen.files["README.md"], seen.files["src/run.sh"]
        assert readme is not None
        assert script is not None
        assert (readme.content, readme.state.mode, script.state.mode) == (FILES["README.md"], "100644", "100755")

    @pytest.mark.parametrize("path", ["src", "README.md/x", "../x", "/etc/passwd", ".git/config", "src//app.py", ""])
    def test_a_snapshot_of_a_path_that_cannot_be_changed_is_refused(self, world: World, path: str) -> None:
        with pytest.raises(ConnectorError, match="path"):
            snapshot(world.forge(), "main", path)

    @pytest.mark.parametrize("branch", ["none", "-x", "--all", "main..x", "refs/heads/main", "", "HEAD", "ma in"])
    def test_a_snapshot_of_an_unknown_or_malformed_branch_is_refused(self, world: World, branch: str) -> None:
        with pytest.raises(ConnectorError, match="branch"):
            snapshot(world.forge(), branch, "README.md")

    def test_opening_makes_a_branch_and_leaves_the_base(self, world: World) -> None:
        forge, base = world.forge(), world.head("main")
        landed = land(forge, opening(forge, CHANGE), action(1))
        assert place(landed) == (action(1).marker, world.head(action(1).marker))
        assert world.head("main") == base
        files = snapshot(forge, action(1).marker, *CHANGE).files
        assert {path: file.content if file else None for path, file in files.items()} == CHANGE

    def test_applying_twice_lands_once(self, world: World) -> None:
        forge = world.forge()
        change = opening(forge, CHANGE)
        first = land(forge, change, action(1))
        world.commit("main", {"src/app.py": b"moved on\n"})
        assert land(forge, change, action(1)) == first

    def test_a_base_that_moved_elsewhere_does_not_void_the_review(self, world: World) -> None:
        forge = world.forge()
        change = opening(forge, CHANGE)
        world.commit("main", {"other.txt": b"busy\n"})
        assert land(forge, change, action(1)).commit == world.head(action(1).marker)
        assert pull(forge, action(1)).base_moved

    @pytest.mark.parametrize(
        "files",
        [{"src/app.py": b"theirs\n"}, {"docs/new.md": b"theirs\n"}, {"README.md": None}, {"docs": b"a file now\n"}],
    )
    def test_a_touched_path_that_changed_is_stale(self, world: World, files: Mapping[str, bytes | None]) -> None:
        forge = world.forge()
        change = opening(forge, CHANGE)
        world.commit("main", files)
        stale = apply(forge, change, action(1))
        assert isinstance(stale, Stale)
        assert "has changed on main since the review" in stale.moved[0]
        assert world.head(action(1).marker) is None

    def test_a_base_that_was_replaced_is_stale(self, world: World) -> None:
        forge = world.forge()
        change = opening(forge, CHANGE)
        world.rewind("main")
        stale = apply(forge, change, action(1))
        assert isinstance(stale, Stale)
        assert "no longer contains the reviewed commit" in stale.moved[0]

    def test_a_probe_finds_what_landed(self, world: World) -> None:
        forge = world.forge()
        change = opening(forge, CHANGE)
        landed = land(forge, change, action(1))
        assert anyio.run(forge.probe, change, action(1)) == landed

    def test_a_probe_that_finds_nothing_keeps_a_late_executor_out(self, world: World) -> None:
        forge = world.forge()
        change = opening(forge, CHANGE)
        assert isinstance(anyio.run(forge.probe, change, action(1)), CannotHappen)
        assert isinstance(anyio.run(forge.probe, change, action(1)), CannotHappen)
        with pytest.raises(ConnectorError, match="cannot land any more"):
            apply(forge, change, action(1))
        assert world.head(action(1).marker) is None
        assert place(land(forge, change, action(2))) == (action(2).marker, world.head(action(2).marker))

    def test_probe_and_executor_racing_never_disagree(self, world: World) -> None:
        forge = world.forge()
        change = opening(forge, {"x.txt": b"x\n"})
        for number in range(6):
            answers: dict[str, object] = {}

            def execute(ref: ActionRef, answers: dict[str, object] = answers) -> None:
                try:
                    answers["apply"] = apply(forge, change, ref)
                except ConnectorError as error:
                    answers["apply"] = str(error)

            thread = threading.Thread(target=execute, args=(action(number),))
            thread.start()
            probe = anyio.run(forge.probe, change, action(number))
            thread.join()
            landed = world.head(action(number).marker) is not None
            assert isinstance(answers["apply"], Landed) is landed
            assert isinstance(probe, Landed if landed else CannotHappen)

    def test_eight_executors_of_one_action_make_one_commit(self, world: World) -> None:
        change = opening(world.forge(), CHANGE)
        answers: list[Landed | Stale] = []
        threads = [
            threading.Thread(target=lambda: answers.append(apply(world.forge(), change, action(1)))) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [place(answer) for answer in answers] == [(action(1).marker, world.head(action(1).marker))] * 8

    def test_an_update_adds_a_commit_to_the_open_branch(self, world: World) -> None:
        forge = world.forge()
        first = land(forge, opening(forge, CHANGE), action(1))
        change = revision(forge, action(1), {"docs/new.md": b"newer\n", "docs/more.md": b"more\n"})
        second = land(forge, change, action(2))
        assert second.branch == action(1).marker
        assert second.commit == world.head(action(1).marker) != first.commit
        assert land(forge, change, action(2)) == second
        assert anyio.run(forge.probe, change, action(2)) == second
        stands = pull(forge, action(1))
        assert (stands.status, stands.commits, stands.head) == ("open", 2, second.commit)
        assert stands.files == ("README.md", "docs/more.md", "docs/new.md", "src/app.py")

    def test_the_opening_is_still_found_after_an_update(self, world: World) -> None:
        forge = world.forge()
        change = opening(forge, CHANGE)
        first = land(forge, change, action(1))
        land(forge, revision(forge, action(1), {"docs/new.md": b"newer\n"}), action(2))
        assert land(forge, change, action(1)) == first
        assert anyio.run(forge.probe, change, action(1)) == first

    def test_an_update_of_a_branch_that_moved_is_stale(self, world: World) -> None:
        forge = world.forge()
        land(forge, opening(forge, CHANGE), action(1))
        change = revision(forge, action(1), {"docs/new.md": b"newer\n"})
        theirs = world.commit(action(1).marker, {"elsewhere.txt": b"pushed\n"})
        assert isinstance(apply(forge, change, action(2)), Stale)
        assert world.head(action(1).marker) == theirs

    def test_an_update_of_a_merged_request_is_stale(self, world: World) -> None:
        forge = world.forge()
        landed = land(forge, opening(forge, CHANGE), action(1))
        change = revision(forge, action(1), {"docs/new.md": b"newer\n"})
        self.merge(world, landed)
        assert isinstance(apply(forge, change, action(2)), Stale)
        assert pull(forge, action(1)).status == "merged"

    def test_a_probe_keeps_a_late_update_out(self, world: World) -> None:
        forge = world.forge()
        first = land(forge, opening(forge, CHANGE), action(1))
        change = revision(forge, action(1), {"docs/new.md": b"newer\n"})
        assert isinstance(anyio.run(forge.probe, change, action(2)), CannotHappen)
        with pytest.raises(ConnectorError, match="cannot land any more"):
            apply(forge, change, action(2))
        assert world.head(action(1).marker) == first.commit

    def test_an_unknown_pull_request_is_refused(self, world: World) -> None:
        with pytest.raises(ConnectorError, match="no pull request"):
            pull(world.forge(), action(9))

    def test_closing_deletes_the_branch_and_leaves_the_base(self, world: World) -> None:
        forge, base = world.forge(), world.head("main")
        landed = land(forge, opening(forge, CHANGE), action(1))
        done = close(forge, closing(forge, action(1)), action(2))
        assert isinstance(done, Closed)
        assert (done.branch, done.head) == (landed.branch, landed.commit)
        assert world.head(landed.branch) is None
        assert world.head("main") == base
        stands = pull(forge, action(1))
        assert (stands.status, stands.head, stands.commits) == ("closed", None, 1)

    def test_closing_twice_is_closing_once(self, world: World) -> None:
        forge = world.forge()
        land(forge, opening(forge, CHANGE), action(1))
        change = closing(forge, action(1))
        first = close(forge, change, action(2))
        assert close(forge, change, action(2)) == first
        assert anyio.run(forge.probe_closing, change, action(2)) == first

    def test_closing_what_was_closed_already_is_stale(self, world: World) -> None:
        forge = world.forge()
        land(forge, opening(forge, CHANGE), action(1))
        change = closing(forge, action(1))
        close(forge, change, action(2))
        assert isinstance(close(forge, change, action(3)), Stale)
        assert isinstance(anyio.run(forge.probe_closing, change, action(3)), CannotHappen)

    def test_closing_a_branch_that_moved_is_stale_and_keeps_it(self, world: World) -> None:
        forge = world.forge()
        land(forge, opening(forge, CHANGE), action(1))
        change = closing(forge, action(1))
        theirs = world.commit(action(1).marker, {"elsewhere.txt": b"pushed\n"})
        assert isinstance(close(forge, change, action(2)), Stale)
        assert world.head(action(1).marker) == theirs
        assert pull(forge, action(1)).status == "open"

    def test_closing_a_merged_request_is_stale(self, world: World) -> None:
        forge = world.forge()
        landed = land(forge, opening(forge, CHANGE), action(1))
        change = closing(forge, action(1))
        self.merge(world, landed)
        assert isinstance(close(forge, change, action(2)), Stale)
        assert world.head(landed.branch) == landed.commit

    def test_a_closed_request_is_not_updated(self, world: World) -> None:
        forge = world.forge()
        land(forge, opening(forge, CHANGE), action(1))
        change = revision(forge, action(1), {"docs/new.md": b"newer\n"})
        close(forge, closing(forge, action(1)), action(2))
        assert isinstance(apply(forge, change, action(3)), Stale)
        assert world.head(action(1).marker) is None

    def test_the_opening_and_its_update_are_still_found_after_the_closing(self, world: World) -> None:
        forge = world.forge()
        change = opening(forge, CHANGE)
        first = land(forge, change, action(1))
        update = revision(forge, action(1), {"docs/new.md": b"newer\n"})
        second = land(forge, update, action(2))
        close(forge, closing(forge, action(1)), action(3))
        assert land(forge, change, action(1)) == first
        assert land(forge, update, action(2)) == second
        assert world.head(first.branch) is None

    def test_a_probe_keeps_a_late_closing_out(self, world: World) -> None:
        forge = world.forge()
        landed = land(forge, opening(forge, CHANGE), action(1))
        change = closing(forge, action(1))
        assert isinstance(anyio.run(forge.probe_closing, change, action(2)), CannotHappen)
        assert isinstance(anyio.run(forge.probe_closing, change, action(2)), CannotHappen)
        with pytest.raises(ConnectorError, match="cannot land any more"):
            close(forge, change, action(2))
        assert world.head(landed.branch) == landed.commit
        assert isinstance(close(forge, change, action(3)), Closed)

    def test_probe_and_closing_racing_never_disagree(self, world: World) -> None:
        forge = world.forge()
        for number in range(4):
            opened, ref = action(2 * number), action(2 * number + 1)
            land(forge, opening(forge, {"x.txt": b"x\n"}), opened)
            change = closing(forge, opened)
            answers: list[object] = []

            def execute(change: Closing = change, ref: ActionRef = ref, answers: list[object] = answers) -> None:
                try:
                    answers.append(close(forge, change, ref))
                except ConnectorError as error:
                    answers.append(str(error))

            thread = threading.Thread(target=execute)
            thread.start()
            probe = anyio.run(forge.probe_closing, change, ref)
            thread.join()
            gone = world.head(opened.marker) is None
            assert isinstance(answers[0], Closed) is gone
            assert isinstance(probe, Closed if gone else CannotHappen)

    def test_an_update_and_a_closing_racing_leave_one_of_the_two(self, world: World) -> None:
        forge = world.forge()
        land(forge, opening(forge, CHANGE), action(1))
        update, change = revision(forge, action(1), {"docs/new.md": b"newer\n"}), closing(forge, action(1))
        answers: list[object] = []
        thread = threading.Thread(target=lambda: answers.append(apply(world.forge(), update, action(2))))
        thread.start()
        closed = close(forge, change, action(3))
        thread.join()
        assert {type(closed), type(answers[0])} in ({Closed, Stale}, {Stale, Landed})
        assert (world.head(action(1).marker) is None) is isinstance(closed, Closed)

    def test_a_new_pull_request_is_told_to_nobody_unseen(self, world: World) -> None:
        assert anyio.run(world.forge().audience) >= 0

    def test_a_repository_in_order_has_nothing_wrong(self, world: World) -> None:
        found = anyio.run(world.forge().check)
        assert found
        assert [finding for finding in found if finding.level == "wrong"] == []

    def merge(self, world: World, landed: Landed) -> None:
        """Move main to the pull request's commit."""
        raise NotImplementedError
