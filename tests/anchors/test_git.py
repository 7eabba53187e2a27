"""A git repository as an anchor: a branch that only grows, here and behind a URL."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from keyturn.anchors import Judged, Keeper, Seen, git
from keyturn.anchors.git import GitAnchor
from keyturn.anchors.judging import Contradicted
from keyturn.model.errors import ConfigurationError, ConnectorError
from tests.anchors.world import NAME, ORIGIN, offer, settings, size_of, world
from tests.connectors.forge.remote.served import served
from tests.witness.test_witness import FORKED, TREE

BRANCH = f"refs/heads/keyturn-checkpoints/{NAME}"
PATH = os.environ["PATH"]


def run(repository: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(repository), *arguments], capture_output=True, text=True, check=True, timeout=30
    )
    return done.stdout


@pytest.fixture(params=["sha1", "sha256"])
def repository(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    path = tmp_path / "notes.git"
    run(tmp_path, "init", "-q", "--bare", f"--object-format={request.param}", str(path))
    return path


def anchor_at(path: Path, **given: Any) -> GitAnchor:
    return git.build("notes", settings(git, kind="git", path=str(path), **given), world(path.parent, PATH=PATH))


def test_each_checkpoint_is_a_commit_on_the_one_before(repository: Path) -> None:
    anchor = anchor_at(repository)
    assert isinstance(anchor, Keeper)
    assert anchor.near
    assert anchor.newest(ORIGIN) is None
    for size in (5, 9, 255):
        assert anchor.put(offer(size)) == bytes(TREE.note(size))
    assert anchor.newest(ORIGIN) == Seen(bytes(TREE.note(255)))
    commits = run(repository, "rev-list", "--reverse", BRANCH).split()
    kept = [run(repository, "show", f"{commit}:checkpoint").encode() for commit in commits]
    assert [size_of(note) for note in kept] == [5, 9, 255]
    run(repository, "fsck", "--strict")


def test_a_newer_note_that_is_there_stays_and_no_commit_is_made(repository: Path) -> None:
    anchor = anchor_at(repository)
    anchor.put(offer(20))
    tip = run(repository, "rev-parse", BRANCH)
    assert anchor.put(offer(7)) == bytes(TREE.note(20))
    assert run(repository, "rev-parse", BRANCH) == tip


def test_what_contradicts_the_note_there_moves_nothing(repository: Path) -> None:
    anchor = anchor_at(repository)
    anchor.put(offer(20))
    tip = run(repository, "rev-parse", BRANCH)
    with pytest.raises(Contradicted):
        anchor.put(offer(30, FORKED))
    assert run(repository, "rev-parse", BRANCH) == tip


def test_a_step_back_that_is_explained_is_a_further_commit(repository: Path) -> None:
    anchor = anchor_at(repository)
    anchor.put(offer(20))
    anchor.put(offer(9, FORKED, step="leaf"))
    assert anchor.newest(ORIGIN) == Seen(bytes(FORKED.note(9)), frozenset({"leaf"}))
    with pytest.raises(Contradicted):
        anchor.put(offer(8, TREE, step="leaf"))
    anchor.put(offer(10, FORKED, step="leaf"))
    assert anchor.newest(ORIGIN) == Seen(bytes(FORKED.note(10)), frozenset({"leaf"}))
    assert len(run(repository, "rev-list", BRANCH).split()) == 3


def test_of_two_that_write_at_once_the_second_looks_again(repository: Path) -> None:
    anchor = anchor_at(repository)
    anchor.put(offer(4))
    mine = offer(40)

    def meanwhile(seen: Seen) -> Judged:
        anchor_at(repository).put(offer(41, TREE))
        return mine.judge(seen)

    with pytest.raises(ConnectorError) as refused:
        anchor.put(replace(mine, judge=meanwhile))
    assert refused.value.kind == "retry"
    assert anchor.newest(ORIGIN) == Seen(bytes(TREE.note(41)))


def test_a_branch_that_holds_something_else_is_told(repository: Path) -> None:
    tree = run(repository, "hash-object", "-w", "-t", "tree", "/dev/null").strip()
    author = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    commit = run(repository, *author, "commit-tree", "-m", "x", tree).strip()
    run(repository, "update-ref", BRANCH, commit)
    with pytest.raises(ConnectorError, match="holds no checkpoint"):
        anchor_at(repository).newest(ORIGIN)


def test_a_repository_that_went_away_is_told(repository: Path) -> None:
    anchor = anchor_at(repository)
    repository.rename(repository.with_name("elsewhere"))
    with pytest.raises(ConnectorError):
        anchor.newest(ORIGIN)
    with pytest.raises(ConfigurationError, match=r"anchors\.notes\.path: .*is not a git repository"):
        anchor_at(repository)


@pytest.mark.parametrize(
    "given",
    [{}, {"path": "/a", "url": "https://git.example.org/b"}, {"path": "/a", "credential": "env:TOKEN"}],
)
def test_a_repository_is_here_or_elsewhere(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="path"):
        settings(git, kind="git", **given)


def test_a_repository_behind_a_url_is_pushed_to_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "served" / "notes.git"
    path.mkdir(parents=True)
    run(tmp_path, "init", "-q", "--bare", str(path))
    run(path, "config", "http.receivepack", "true")
    with served(tmp_path / "served") as server:
        given = settings(git, kind="git", url=server.url("notes.git"), private=True)
        anchor = git.build("notes", given, world(tmp_path, PATH=PATH))
        assert not anchor.near
        assert anchor.newest(ORIGIN) is None
        anchor.put(offer(5))
        anchor.put(offer(9))
        with pytest.raises(Contradicted):
            anchor.put(offer(12, FORKED))
        assert anchor.newest(ORIGIN) == Seen(bytes(TREE.note(9)))
    assert len(run(path, "rev-list", BRANCH).split()) == 2
    with pytest.raises(ConnectorError):
        anchor.put(offer(12))
    with pytest.raises(ConfigurationError, match=r"anchors\.notes\.url"):
        git.build("notes", settings(git, kind="git", url="ftp://x/y"), world(tmp_path, PATH=PATH))
