"""Closing in a git repository: crashes at every step, other people's pushes, and what a look at it finds."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from keyturn.connectors.forge import Closed, Forge
from keyturn.connectors.forge.git import GitForge
from keyturn.connectors.forge.process import Git
from keyturn.model.errors import ConnectorError
from keyturn.model.outcome import CannotHappen, CannotTell, Stale
from tests.connectors.forge.contract import CHANGE, close, closing, land, opening, pull, revision
from tests.connectors.forge.repository import Repository, action, create

RECORD = f"refs/keyturn/pull/{action(1).action}"
BRANCH = f"refs/heads/{action(1).marker}"
MARKER = f"refs/keyturn/close/{action(2).action}"
ROOT = str(Path(__file__).parents[3])


@pytest.fixture
def shop(tmp_path: Path) -> Repository:
    return create(tmp_path / "shop.git")


def test_the_record_tells_who_closed_it_and_keeps_the_commits(shop: Repository) -> None:
    forge = shop.forge()
    landed = land(forge, opening(forge, CHANGE), action(1))
    theirs = shop.commit(landed.branch, {"more.txt": b"pushed by others\n"})
    assert close(forge, closing(forge, action(1)), action(2)) == Closed(landed.branch, theirs)
    record = json.loads(shop.show(f"{RECORD}:pull.json"))
    assert (record["closed"], record["commit"]) == (action(2).action, theirs)
    assert "+pushed by others" in shop.show(f"{RECORD}:change.patch")
    shop.git("gc", "--quiet", "--prune=now")
    stands = pull(forge, action(1))
    assert (stands.status, stands.head, stands.commits, "more.txt" in stands.files) == ("closed", None, 2, True)


@pytest.mark.parametrize("left", [(RECORD,), (MARKER,), (RECORD, MARKER)])
@pytest.mark.parametrize("probing", [False, True])
def test_what_a_crash_left_of_a_closing_is_completed(shop: Repository, left: tuple[str, ...], probing: bool) -> None:
    forge = shop.forge()
    land(forge, opening(forge, CHANGE), action(1))
    change, before = closing(forge, action(1)), shop.refs()
    done = close(forge, change, action(2))
    whole = shop.refs()
    shop.git("update-ref", BRANCH, change.head)
    for ref in {RECORD, MARKER} - set(left):
        shop.git("update-ref", *(("-d", ref) if ref == MARKER else (ref, before[ref])))
    call = forge.probe_closing if probing else forge.close
    assert anyio.run(call, change, action(2)) == done
    assert shop.refs() == whole


def test_a_branch_that_others_pushed_after_a_crash_is_left_to_them(shop: Repository) -> None:
    forge = shop.forge()
    land(forge, opening(forge, CHANGE), action(1))
    change = closing(forge, action(1))
    done = close(forge, change, action(2))
    shop.git("update-ref", BRANCH, change.head)
    theirs = shop.commit(action(1).marker, {"later.txt": b"later\n"})
    assert close(forge, change, action(2)) == done
    assert shop.head(action(1).marker) == theirs
    assert pull(forge, action(1)).status == "closed"


def test_an_update_of_a_closed_request_whose_branch_was_pushed_again_is_stale(shop: Repository) -> None:
    forge = shop.forge()
    land(forge, opening(forge, CHANGE), action(1))
    update, change = revision(forge, action(1), {"docs/new.md": b"newer\n"}), closing(forge, action(1))
    close(forge, change, action(2))
    shop.git("update-ref", BRANCH, change.head)
    stale = anyio.run(forge.apply, update, action(3))
    assert stale == Stale((f"the pull request of action {action(1).action} has been closed",))


STEPS = (
    "import sys, anyio; from pathlib import Path; sys.path.insert(0, sys.argv[1]);"
    "from tests.connectors.forge.test_closing import wrapped; from tests.connectors.forge.contract import *;"
    "shop = Path(sys.argv[2]); plain = wrapped(shop, 'exec /usr/bin/git \"$@\"');"
    "change = closing(plain, action(1)) if sys.argv[3] == 'close' else opening(plain, CHANGE);"
    "forge = wrapped(shop, Path(sys.argv[4]).read_text());"
    "anyio.run(getattr(forge, sys.argv[3]), change, action(2))"
)


def wrapped(folder: Path, script: str) -> GitForge:
    """Return a forge whose git is a script."""
    program = folder.parent / f"git-{abs(hash(script))}"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return GitForge("shop", Git(program=str(program), folder=folder, path="/usr/bin:/bin"))


def killed_at(shop: Repository, verb: str, step: int) -> bool:
    """Run a process that is killed when it calls git for the `step`th time, before or after the call; say if it was.

    Odd steps kill before git runs, even ones after it did its work.
    """
    count = shop.path.parent / f"count-{verb}-{step}"
    script = shop.path.parent / "script"
    fatal, kill = (step + 1) // 2, "kill -9 $PPID"
    before, after = (kill, "true") if step % 2 else ("true", kill)
    script.write_text(
        f'echo x >> {count}; n=$(wc -l < {count}); if [ "$n" -eq {fatal} ]; then {before}; '
        f'[ {step % 2} = 1 ] && exit 9; /usr/bin/git "$@"; {after}; exit; fi; exec /usr/bin/git "$@"'
    )
    ran = subprocess.run(
        [sys.executable, "-c", STEPS, ROOT, str(shop.path), verb, str(script)], check=False, capture_output=True
    )
    assert ran.returncode in (0, -9), ran.stderr.decode()
    return ran.returncode == -9


@pytest.mark.parametrize("probing", [False, True])
def test_a_closing_killed_at_any_call_of_git_is_done_or_can_be(shop: Repository, probing: bool) -> None:
    forge = shop.forge()
    land(forge, opening(forge, CHANGE), action(1))
    change, before = closing(forge, action(1)), shop.refs()
    step = 3
    closed: list[bool] = []
    while killed_at(shop, "close", step):
        answer = anyio.run(forge.probe_closing if probing else forge.close, change, action(2))
        gone = shop.head(action(1).marker) is None
        assert isinstance(answer, Closed if gone else CannotHappen)
        assert gone or probing
        closed.append(gone)
        for ref in shop.refs().keys() - before.keys():
            shop.git("update-ref", "-d", ref)
        for ref, oid in before.items():
            shop.git("update-ref", ref, oid)
        step += 4
    assert len(closed) >= 4
    assert closed[-1]


def test_a_record_that_is_missing_and_a_marker_that_is_none_are_refused(shop: Repository) -> None:
    forge = shop.forge()
    land(forge, opening(forge, CHANGE), action(1))
    change = closing(forge, action(1))
    shop.git("update-ref", MARKER, "main")
    with pytest.raises(ConnectorError, match="holds something else"):
        close(forge, change, action(2))
    assert isinstance(anyio.run(forge.probe_closing, change, action(2)), CannotHappen)
    shop.git("update-ref", "-d", RECORD)
    with pytest.raises(ConnectorError, match="missing"):
        close(forge, change, action(3))
    assert shop.head(action(1).marker) == change.head


def test_a_closing_whose_base_is_gone_still_closes(shop: Repository) -> None:
    forge = shop.forge()
    land(forge, opening(forge, CHANGE), action(1))
    change = closing(forge, action(1))
    shop.git("update-ref", "-d", "refs/heads/main")
    assert isinstance(close(forge, change, action(2)), Closed)


def test_a_branch_checked_out_in_a_work_tree_is_not_deleted(tmp_path: Path) -> None:
    shop = create(tmp_path / "shop", bare=False)
    forge = shop.forge()
    land(forge, opening(forge, CHANGE), action(1))
    shop.git("checkout", "--quiet", action(1).marker)
    with pytest.raises(ConnectorError, match="checked out"):
        close(forge, closing(forge, action(1)), action(2))
    assert shop.head(action(1).marker)


@pytest.mark.parametrize("pull", ["x", "../../x", "-d"])
def test_a_pull_request_that_is_no_action_id_never_becomes_a_ref(shop: Repository, pull: str) -> None:
    forge = shop.forge()
    land(forge, opening(forge, CHANGE), action(1))
    odd = replace(closing(forge, action(1)), pull=pull)
    with pytest.raises(ConnectorError, match="not a lower-case UUIDv7"):
        close(forge, odd, action(2))
    assert isinstance(anyio.run(forge.probe_closing, odd, action(2)), CannotTell)


def test_a_lock_left_behind_keeps_a_closing_and_its_probe_waiting(shop: Repository) -> None:
    forge = shop.forge()
    land(forge, opening(forge, CHANGE), action(1))
    change = closing(forge, action(1))
    impatient = GitForge("shop", Git(program="/usr/bin/git", folder=shop.path, path="/usr/bin:/bin", patience=1))
    (shop.path / "refs/keyturn/fence").mkdir(parents=True, exist_ok=True)
    (shop.path / f"refs/keyturn/fence/{action(2).action}.lock").touch()
    with pytest.raises(ConnectorError, match="cannot be closed") as caught:
        close(impatient, change, action(2))
    assert caught.value.kind == "retry"
    assert isinstance(anyio.run(impatient.probe_closing, change, action(2)), CannotTell)


# what a look finds


def said(forge: Forge, level: str) -> list[str]:
    return [f"{item.text} {item.advice}" for item in anyio.run(forge.check) if item.level == level]


def test_a_look_names_git_and_what_is_in_the_way(tmp_path: Path) -> None:
    shop = create(tmp_path / "shop", bare=False)
    forge = shop.forge()
    land(forge, opening(forge, CHANGE), action(1))
    shop.git("checkout", "--quiet", action(1).marker)
    hook = shop.path / ".git/hooks/pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\n")
    hook.chmod(0o755)
    shop.git("config", "hook.evil.command", "/bin/true")
    assert any("git version" in text for text in said(forge, "ok"))
    assert any("checked out at" in text for text in said(forge, "note"))
    assert any("pre-receive" in text for text in said(forge, "note"))
    assert any("hook.*" in text for text in said(forge, "wrong"))


def test_a_look_names_a_branch_that_blocks(shop: Repository) -> None:
    shop.git("update-ref", "refs/heads/keyturn", "main")
    assert any("called keyturn" in text for text in said(shop.forge(), "wrong"))


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ('case "$*" in *version*) echo git version 2.20.1;; *) exec /usr/bin/git "$@";; esac', "too old"),
        ("exit 5", "cannot be read"),
    ],
)
def test_a_look_names_a_git_that_will_not_do(shop: Repository, script: str, words: str) -> None:
    assert any(words in text for text in said(wrapped(shop.path, script), "wrong"))


def test_a_look_names_what_cannot_be_written(shop: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    forge = shop.forge()
    # the tests may run as root, who may write everywhere: what the system would answer is put in its place
    monkeypatch.setattr("os.access", lambda *_: False)
    assert any("may not be written" in text for text in said(forge, "wrong"))
