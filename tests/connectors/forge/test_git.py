"""The git back end keeps the forge's contract on real repositories, and runs nobody else's code."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from pydantic import ValidationError

from keyturn import canon
from keyturn.connectors.forge import FileChange, Landed
from keyturn.connectors.forge.git import GitForge, Settings, build
from keyturn.connectors.forge.objects import object_id
from keyturn.connectors.forge.process import Git
from keyturn.connectors.forge.record import read_record
from keyturn.model.errors import ConfigurationError, ConnectorError
from keyturn.model.outcome import CannotHappen, CannotTell, Stale
from keyturn.model.tool import ActionRef
from tests.connectors.forge.contract import (
    CHANGE,
    ForgeContract,
    World,
    apply,
    land,
    opening,
    pull,
    revision,
    snapshot,
)
from tests.connectors.forge.repository import ENVIRONMENT, FILES, Repository, action, create
from tests.connectors.surroundings import world_at


class TestGitForge(ForgeContract):
    @pytest.fixture(params=["bare", "work tree", "sha256"])
    def world(self, request: pytest.FixtureRequest, tmp_path: Path) -> Repository:
        algorithm = "sha256" if request.param == "sha256" else "sha1"
        return create(tmp_path / "shop", bare=request.param != "work tree", algorithm=algorithm)

    def merge(self, world: World, landed: Landed) -> None:
        assert isinstance(world, Repository)
        world.git("update-ref", "refs/heads/main", landed.commit)


@pytest.fixture
def shop(tmp_path: Path) -> Repository:
    return create(tmp_path / "shop.git")


@pytest.fixture
def checkout(tmp_path: Path) -> Repository:
    return create(tmp_path / "shop", bare=False)


def tree_of(path: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in sorted(path.rglob("*"))
        if file.is_file() and ".git" not in file.parts[len(path.parts) : -1]
    }


# what is left in the repository


def test_the_commit_carries_message_trailers_and_the_time_of_the_action(shop: Repository) -> None:
    forge = shop.forge()
    landed = land(forge, opening(forge, CHANGE), action(1))
    text = shop.show(landed.commit)
    assert "author claude (Keyturn) <keyturn@keyturn.invalid> 1795000000 +0000" in text
    assert text.endswith(
        f"\n\nSay hello\n\nBecause.\n\nKeyturn-Action: {action(1).action}\nKeyturn-Principal: claude"
    )
    trailers = shop.git("log", "-1", "--format=%(trailers:key=Keyturn-Action,valueonly)", landed.branch)
    assert trailers.strip() == action(1).action
    assert shop.git("fsck", "--strict") == ""


def test_the_record_holds_request_and_patch_and_survives_the_branch(shop: Repository) -> None:
    forge = shop.forge()
    change = opening(forge, CHANGE)
    landed = land(forge, change, action(1))
    ref = f"refs/keyturn/pull/{action(1).action}"
    record = json.loads(shop.show(f"{ref}:pull.json"))
    assert record["body"] == f"Opened by Keyturn for claude, action {action(1).action}.\n\nBecause."
    assert (record["title"], record["commit"], record["updates"]) == ("Say hello", landed.commit, [])
    assert shop.show(f"{ref}:change.patch") + "\n" == change.patch
    shop.git("update-ref", "-d", f"refs/heads/{landed.branch}")
    shop.git("gc", "--quiet", "--prune=now")
    assert pull(forge, action(1)).status == "deleted"
    assert land(forge, change, action(1)) == landed
    assert shop.head(landed.branch) is None


def test_the_record_of_an_update_holds_the_whole_patch(shop: Repository) -> None:
    forge = shop.forge()
    base = shop.head("main")
    land(forge, opening(forge, CHANGE), action(1))
    second = land(forge, revision(forge, action(1), {"docs/new.md": b"newer\n"}), action(2))
    patch = shop.show(f"refs/keyturn/pull/{action(1).action}:change.patch")
    index = {"GIT_INDEX_FILE": str(shop.path / "scratch-index")}
    for command in (["read-tree", base or ""], ["apply", "--cached", "-"]):
        subprocess.run(
            ["git", *command], cwd=shop.path, env=ENVIRONMENT | index, input=(patch + "\n").encode(), check=True
        )
    made = subprocess.run(
        ["git", "write-tree"], cwd=shop.path, env=ENVIRONMENT | index, capture_output=True, check=True
    )
    assert made.stdout.decode().strip() == shop.git("rev-parse", f"{second.commit}^{{tree}}")
    assert shop.refs()[f"refs/keyturn/update/{action(2).action}"] == second.commit


def test_work_tree_and_index_are_left_alone(checkout: Repository) -> None:
    (checkout.path / "src/app.py").write_text("half done\n")
    files, index = tree_of(checkout.path), (checkout.path / ".git/index").read_bytes()
    forge = checkout.forge()
    land(forge, opening(forge, CHANGE), action(1))
    land(forge, revision(forge, action(1), {"docs/new.md": b"newer\n"}), action(2))
    assert tree_of(checkout.path) == files
    assert (checkout.path / ".git/index").read_bytes() == index
    assert checkout.git("status", "--porcelain") == " M src/app.py"


def test_a_branch_checked_out_in_a_work_tree_is_not_updated(checkout: Repository) -> None:
    forge = checkout.forge()
    first = land(forge, opening(forge, CHANGE), action(1))
    checkout.git("checkout", "--quiet", first.branch)
    change = revision(forge, action(1), {"docs/new.md": b"newer\n"})
    with pytest.raises(ConnectorError, match="checked out"):
        apply(forge, change, action(2))
    assert checkout.head(first.branch) == first.commit


def test_deleting_every_file_leaves_an_empty_tree(shop: Repository) -> None:
    forge = shop.forge()
    landed = land(forge, opening(forge, dict.fromkeys(FILES)), action(1))
    assert shop.git("ls-tree", "-r", landed.commit) == ""


def test_many_files_in_deep_folders_land(shop: Repository) -> None:
    forge = shop.forge()
    files = {"/".join(["d"] * 60 + [f"f{number}"]): b"%d\n" % number for number in range(40)}
    landed = land(forge, opening(forge, files), action(1))
    assert len(shop.git("ls-tree", "-r", "--name-only", landed.commit).splitlines()) == 44


# crashes


@pytest.mark.parametrize("lost", ["pull", "update"])
def test_what_a_crash_left_out_is_completed(shop: Repository, lost: str) -> None:
    forge = shop.forge()
    first = opening(forge, CHANGE)
    land(forge, first, action(1))
    before = shop.refs()
    change, ref = first, action(1)
    if lost == "pull":
        shop.git("update-ref", "-d", f"refs/keyturn/pull/{action(1).action}")
        assert land(forge, change, ref).commit == before[f"refs/heads/{action(1).marker}"]
        assert shop.refs() == before
        shop.git("update-ref", "-d", f"refs/keyturn/pull/{action(1).action}")
        assert isinstance(anyio.run(forge.probe, change, ref), Landed)
        assert shop.refs() == before
        return
    update = revision(forge, action(1), {"docs/new.md": b"newer\n"})
    land(forge, update, action(2))
    whole = shop.refs()
    record = f"refs/keyturn/pull/{action(1).action}"
    shop.git("update-ref", record, before[record])
    shop.git("update-ref", "-d", f"refs/keyturn/update/{action(2).action}")
    land(forge, update, action(2))
    assert shop.refs() == whole


def test_an_executor_killed_at_any_point_leaves_one_whole_request_after_another_run(shop: Repository) -> None:
    code = (
        "import sys, anyio; from pathlib import Path; sys.path.insert(0, sys.argv[1]);"
        "from tests.connectors.forge.contract import *; from tests.connectors.forge.repository import Repository;"
        "forge = Repository(Path(sys.argv[2])).forge(); change = opening(forge, CHANGE); print('go', flush=True);"
        "apply(forge, change, action(int(sys.argv[3])))"
    )
    root = str(Path(__file__).parents[3])
    for number in range(4):
        with subprocess.Popen(
            [sys.executable, "-c", code, root, str(shop.path), str(number)], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"go\n"
            deadline = time.monotonic() + number * 0.015
            while time.monotonic() < deadline and process.poll() is None:
                os.sched_yield()
            process.send_signal(signal.SIGKILL)
        landed = land(shop.forge(), opening(shop.forge(), CHANGE), action(number))
        assert shop.head(action(number).marker) == landed.commit
        assert pull(shop.forge(), action(number)).commits == 1


# nobody else's code


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """A program that leaves a trace when it runs; the trace must not be there in the end."""
    trace = tmp_path / "canary-ran"
    script = tmp_path / "canary"
    script.write_text(f'#!/bin/sh\necho ran "$0" >> {trace}\ncat\n')
    script.chmod(0o755)
    yield script
    assert not trace.exists(), trace.read_text()


def everything(forge: GitForge) -> None:
    """Call every method of a forge."""
    land(forge, opening(forge, CHANGE), action(1))
    land(forge, revision(forge, action(1), {"docs/new.md": b"newer\n"}), action(2))
    pull(forge, action(1))
    anyio.run(forge.probe, opening(forge, {"y": b"y\n"}), action(3))


def test_hooks_of_the_repository_never_run(checkout: Repository, canary: Path) -> None:
    hooks = checkout.path / ".git/hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("reference-transaction", "pre-receive", "update", "post-update", "post-commit", "pre-auto-gc"):
        hook = hooks / name
        hook.write_text(canary.read_text())
        hook.chmod(hook.stat().st_mode | stat.S_IXUSR)
    everything(checkout.forge())


def test_the_canary_would_run_for_a_plain_git(checkout: Repository, tmp_path: Path) -> None:
    hook = checkout.path / ".git/hooks/reference-transaction"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    hook.chmod(0o755)
    checkout.git("update-ref", "refs/heads/x", "main")
    assert (tmp_path / "ran").exists()


def test_programs_named_in_the_configuration_never_run(checkout: Repository, canary: Path) -> None:
    for key in (
        "core.hooksPath", "core.fsmonitor", "core.sshCommand", "core.askPass", "core.pager", "core.editor",
        "core.gitProxy", "diff.external", "diff.evil.textconv", "filter.evil.clean", "filter.evil.smudge",
        "filter.evil.process", "gpg.program", "credential.helper", "core.alternateRefsCommand",
        "uploadpack.packObjectsHook", "sequence.editor", "alias.cat-file", "alias.update-ref",
    ):  # fmt: skip
        checkout.git("config", key, str(canary.parent if key == "core.hooksPath" else canary))
    checkout.git("config", "commit.gpgSign", "true")
    (canary.parent / "reference-transaction").symlink_to(canary)
    (checkout.path / ".git/info").mkdir(exist_ok=True)
    (checkout.path / ".git/info/attributes").write_text("* filter=evil diff=evil\n")
    everything(checkout.forge())


def test_a_missing_object_is_not_fetched_by_a_command_of_the_repository(shop: Repository, canary: Path) -> None:
    blob = shop.git("rev-parse", "main:README.md")
    shop.git("repack", "-adq")
    shop.git("unpack-objects", "-q", feed=b"", check=False)
    pack = next((shop.path / "objects/pack").glob("*.pack"))
    data = pack.read_bytes()
    for leftover in (shop.path / "objects/pack").iterdir():
        leftover.unlink()
    shop.git("unpack-objects", "-q", feed=data)
    (shop.path / "objects" / blob[:2] / blob[2:]).unlink()
    for key, value in {
        "core.repositoryFormatVersion": "1",
        "extensions.partialClone": "origin",
        "remote.origin.url": f"ext::{canary}",
        "remote.origin.promisor": "true",
        "protocol.ext.allow": "always",
        "protocol.allow": "always",
    }.items():
        shop.git("config", key, value)
    with pytest.raises(ConnectorError, match="lacks object"):
        snapshot(shop.forge(), "main", "README.md")
    forge = shop.forge()
    land(forge, opening(forge, {"x.txt": b"x\n"}), action(1))  # the tree still names the missing blob


def test_hooks_named_in_the_configuration_are_refused_before_anything_is_written(shop: Repository) -> None:
    shop.git("config", "hook.evil.command", "/bin/true")
    forge = shop.forge()
    with pytest.raises(ConnectorError, match="hook"):
        apply(forge, opening(forge, CHANGE), action(1))
    assert list(shop.refs()) == ["refs/heads/main"]


def test_settings_of_the_caller_do_not_reach_git(shop: Repository, tmp_path: Path) -> None:
    other = create(tmp_path / "other.git")
    environment = ENVIRONMENT | {"GIT_DIR": str(other.path), "GIT_OBJECT_DIRECTORY": str(other.path / "objects")}
    forge = build("shop", Settings(path="shop.git"), world_at(tmp_path, environment))
    land(forge, opening(forge, CHANGE), action(1))
    assert shop.head(action(1).marker)
    assert list(other.refs()) == ["refs/heads/main"]


def test_replaced_objects_and_grafts_do_not_deceive(shop: Repository) -> None:
    forge = shop.forge()
    change = opening(forge, CHANGE)
    old = shop.head("main") or ""
    new = shop.rewind("main")
    (shop.path / "info").mkdir(exist_ok=True)
    (shop.path / "info/grafts").write_text(f"{new} {old}\n")
    shop.git("replace", "--force", new, shop.git("commit-tree", f"{old}^{{tree}}", "-p", old, "-m", "fake"))
    assert isinstance(apply(forge, change, action(1)), Stale)


# hostile repositories


def hostile_tree(shop: Repository, *entries: str) -> str:
    """Put a tree with odd entries on main; `entries` are `mode type oid<TAB>name`."""
    blob = shop.git("hash-object", "-w", "--stdin", feed=b"evil\n")
    inner = shop.git("mktree", feed=f"100644 blob {blob}\tconfig\n".encode())
    lines = "".join(entry.format(blob=blob, tree=inner, commit="1" * 40) + "\0" for entry in entries)
    tree = shop.git("mktree", "-z", "--missing", feed=lines.encode())
    commit = shop.git("commit-tree", tree, "-p", "main", "-m", "hostile")
    shop.git("update-ref", "refs/heads/main", commit)
    return commit


def test_hostile_names_in_a_tree_are_carried_and_never_followed(shop: Repository) -> None:
    names = [".git", ".GIT", "..", "git~1", "a\\b", "\x1b[31m"]
    commit = hostile_tree(
        shop,
        *("040000 tree {tree}\t" + name for name in names),
        "120000 blob {blob}\tlink",
        "160000 commit {commit}\tsub",
    )
    forge = shop.forge()
    landed = land(forge, opening(forge, {"x.txt": b"x\n"}), action(1))
    assert shop.git("diff-tree", "-r", "--name-status", commit, landed.commit) == "A\tx.txt"
    assert pull(forge, action(1)).files == ("x.txt",)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("link", "symbolic link"),
        ("link/x", "below a symbolic link"),
        ("sub", "submodule"),
        ("sub/x", "below a submodule"),
        ("dir", "folder"),
        ("dir/config/x", "below a file"),
    ],
)
def test_links_submodules_and_folders_are_not_changed(shop: Repository, path: str, said: str) -> None:
    hostile_tree(shop, "120000 blob {blob}\tlink", "160000 commit {commit}\tsub", "040000 tree {tree}\tdir")
    with pytest.raises(ConnectorError, match=said):
        snapshot(shop.forge(), "main", path)


def test_a_touched_path_that_became_a_link_is_stale(shop: Repository) -> None:
    forge = shop.forge()
    change = opening(forge, {"src/app.py": b"ours\n"})
    hostile_tree(shop, "120000 blob {blob}\tsrc")
    assert isinstance(apply(forge, change, action(1)), Stale)


def write_loose(shop: Repository, oid: str, kind: str, body: bytes) -> None:
    path = shop.path / "objects" / oid[:2] / oid[2:]
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_bytes(zlib.compress(f"{kind} {len(body)}\0".encode() + body))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"100644 a\0" + b"\1" * 20 + b"100644 a\0" + b"\2" * 20, "twice"),
        (b"100644 a\0" + b"\1" * 19, "damaged"),
        (b"nonsense", "damaged"),
    ],
)
def test_a_tree_that_is_damaged_or_names_an_entry_twice_is_refused(shop: Repository, body: bytes, said: str) -> None:
    oid = object_id("tree", body, 40)
    write_loose(shop, oid, "tree", body)
    commit = f"tree {oid}\nauthor A <a> 1 +0000\ncommitter A <a> 1 +0000\n\nx\n".encode()
    name = shop.git("hash-object", "-t", "commit", "-w", "--literally", "--stdin", feed=commit)
    shop.git("update-ref", "refs/heads/main", name)
    with pytest.raises(ConnectorError, match=said):
        snapshot(shop.forge(), "main", "a")


def test_content_that_is_not_what_its_id_says_is_refused(shop: Repository) -> None:
    oid = shop.git("rev-parse", "main:README.md")
    write_loose(shop, oid, "blob", b"swapped\n")
    for pack in (shop.path / "objects/pack").glob("*"):
        pack.unlink()
    with pytest.raises(ConnectorError):
        snapshot(shop.forge(), "main", "README.md")


def test_files_above_the_bound_are_refused(shop: Repository) -> None:
    shop.commit("main", {"big": b"x" * (5 * 2**20 + 1)} | {f"m{n}": bytes([n]) * (4 * 2**20 + n) for n in range(5)})
    with pytest.raises(ConnectorError, match="at most"):
        snapshot(shop.forge(), "main", "big")
    with pytest.raises(ConnectorError, match="name fewer"):
        snapshot(shop.forge(), "main", "m0", "m1", "m2", "m3", "m4")


def test_a_name_below_refs_is_never_taken_for_the_branch_asked_for(shop: Repository) -> None:
    shop.git("update-ref", "refs/heads/refs/heads/ghost", "main")
    shop.git("update-ref", "refs/heads/folder/inner", "main")
    for branch in ("ghost", "folder"):
        with pytest.raises(ConnectorError, match="no branch"):
            snapshot(shop.forge(), branch, "README.md")


def test_a_symbolic_ref_in_the_markers_place_does_not_lead_elsewhere(shop: Repository) -> None:
    forge = shop.forge()
    change = opening(forge, CHANGE)
    shop.git("symbolic-ref", f"refs/heads/{action(1).marker}", "refs/heads/victim")
    land(forge, change, action(1))
    assert shop.head("victim") is None


def test_a_branch_of_somebody_elses_in_the_markers_place_is_refused(shop: Repository) -> None:
    forge = shop.forge()
    change = opening(forge, CHANGE)
    shop.git("update-ref", f"refs/heads/{action(1).marker}", "main")
    with pytest.raises(ConnectorError, match="holds something else"):
        apply(forge, change, action(1))
    assert isinstance(anyio.run(forge.probe, change, action(1)), CannotHappen)
    assert shop.head(action(1).marker) == shop.head("main")


def test_a_branch_called_keyturn_blocks_with_a_reason(shop: Repository) -> None:
    forge = shop.forge()
    change = opening(forge, CHANGE)
    shop.git("update-ref", "refs/heads/keyturn", "main")
    with pytest.raises(ConnectorError, match="cannot be written") as caught:
        apply(forge, change, action(1))
    assert caught.value.kind == "refused"


def test_a_lock_left_behind_is_a_reason_to_retry_and_a_probe_cannot_tell(shop: Repository) -> None:
    forge = GitForge("shop", Git(program="/usr/bin/git", folder=shop.path, path="/usr/bin:/bin", patience=1))
    change = opening(forge, CHANGE)
    (shop.path / "refs/keyturn/fence").mkdir(parents=True)
    (shop.path / f"refs/keyturn/fence/{action(1).action}.lock").touch()
    with pytest.raises(ConnectorError, match="cannot be written") as caught:
        apply(forge, change, action(1))
    assert caught.value.kind == "retry", str(caught.value)
    assert isinstance(anyio.run(forge.probe, change, action(1)), CannotTell)
    assert shop.head(action(1).marker) is None


RECORD: dict[str, canon.Json] = {
    "version": 1,
    "action": "a",
    "principal": "p",
    "reason": "",
    "title": "t",
    "body": "",
    "base": "main",
    "base_commit": "1" * 40,
    "branch": "b",
    "commit": "2" * 40,
    "draft": True,
    "updates": [],
}


def test_a_record_of_this_shape_is_read() -> None:
    assert read_record(canon.encode(RECORD)).commit == RECORD["commit"]


@pytest.mark.parametrize(
    "record",
    [
        b"{}",
        b"not json",
        canon.encode(RECORD | {"version": 2}),
        canon.encode(RECORD | {"base_commit": "--output=x"}),
        canon.encode(RECORD | {"commit": "HEAD"}),
        canon.encode(RECORD | {"draft": 1}),
        canon.encode(RECORD | {"title": 1}),
        canon.encode(RECORD | {"updates": [1]}),
        canon.encode(RECORD | {"more": "x"}),
    ],
)
def test_a_record_written_by_others_is_refused(shop: Repository, record: bytes) -> None:
    blob = shop.git("hash-object", "-w", "--stdin", feed=record)
    tree = shop.git("mktree", feed=f"100644 blob {blob}\tpull.json\n".encode())
    shop.git("update-ref", f"refs/keyturn/pull/{action(1).action}", shop.git("commit-tree", tree, "-m", "x"))
    with pytest.raises(ConnectorError, match=r"pull\.json"):
        pull(shop.forge(), action(1))


def test_a_record_without_its_file_is_refused(shop: Repository) -> None:
    shop.git("update-ref", f"refs/keyturn/pull/{action(1).action}", "main")
    with pytest.raises(ConnectorError, match="not a pull request's record"):
        pull(shop.forge(), action(1))


def test_an_update_without_a_record_is_refused(shop: Repository) -> None:
    forge = shop.forge()
    land(forge, opening(forge, CHANGE), action(1))
    change = revision(forge, action(1), {"docs/new.md": b"newer\n"})
    shop.git("update-ref", "-d", f"refs/keyturn/pull/{action(1).action}")
    with pytest.raises(ConnectorError, match="record"):
        apply(forge, change, action(2))


def test_an_update_whose_base_is_gone_is_stale(shop: Repository) -> None:
    forge = shop.forge()
    land(forge, opening(forge, CHANGE), action(1))
    change = revision(forge, action(1), {"docs/new.md": b"newer\n"})
    shop.git("update-ref", "-d", "refs/heads/main")
    assert apply(forge, change, action(2)) == Stale(("branch main is gone",))
    assert pull(forge, action(1)).status == "open"


def test_a_patch_too_large_to_keep_is_named_instead(shop: Repository) -> None:
    forge = shop.forge()
    land(forge, opening(forge, CHANGE), action(1))
    shop.commit(action(1).marker, {"huge": b"x" * (5 * 2**20 + 1)})
    land(forge, revision(forge, action(1), {"docs/new.md": b"newer\n"}), action(2))
    assert shop.show(f"refs/keyturn/pull/{action(1).action}:change.patch").startswith("Too large to be kept here")


def test_a_submodule_others_pushed_is_part_of_the_whole_patch(shop: Repository) -> None:
    forge = shop.forge()
    land(forge, opening(forge, CHANGE), action(1))
    tree = shop.git("mktree", "--missing", feed=f"160000 commit {'1' * 40}\tsub\n".encode())
    commit = shop.git("commit-tree", tree, "-p", action(1).marker, "-m", "theirs")
    shop.git("update-ref", f"refs/heads/{action(1).marker}", commit)
    land(forge, revision(forge, action(1), {"x": b"x\n"}), action(2))
    assert "+Subproject commit 1111" in shop.show(f"refs/keyturn/pull/{action(1).action}:change.patch")


def test_a_crash_before_a_later_update_leaves_the_later_record(shop: Repository) -> None:
    forge = shop.forge()
    land(forge, opening(forge, CHANGE), action(1))
    record = f"refs/keyturn/pull/{action(1).action}"
    before = shop.refs()[record]
    lost = revision(forge, action(1), {"docs/new.md": b"newer\n"})
    landed = land(forge, lost, action(2))
    shop.git("update-ref", record, before)
    shop.git("update-ref", "-d", f"refs/keyturn/update/{action(2).action}")
    land(forge, revision(forge, action(1), {"docs/new.md": b"newest\n"}), action(3))
    later = shop.refs()[record]
    assert land(forge, lost, action(2)) == landed
    assert shop.refs()[record] == later
    assert shop.refs()[f"refs/keyturn/update/{action(2).action}"] == landed.commit


def test_a_comparison_of_too_many_files_is_refused(shop: Repository) -> None:
    forge = shop.forge()
    land(forge, opening(forge, CHANGE), action(1))
    shop.commit(action(1).marker, {f"n/{number}": b"" for number in range(5001)})
    with pytest.raises(ConnectorError, match="files differ"):
        pull(forge, action(1))


@pytest.mark.parametrize("ref", ["x", "../../x", "01000000-0000-4000-8000-000000000000", "-d"])
def test_an_action_id_that_is_none_never_becomes_a_ref(shop: Repository, ref: str) -> None:
    forge = shop.forge()
    change = opening(forge, CHANGE)
    odd = ActionRef(action=ref, principal="p")
    with pytest.raises(ConnectorError, match="not a lower-case UUIDv7"):
        apply(forge, change, odd)
    with pytest.raises(ConnectorError, match="not a lower-case UUIDv7"):
        pull(forge, odd)
    assert isinstance(anyio.run(forge.probe, change, odd), CannotTell)
    assert list(shop.refs()) == ["refs/heads/main"]


def test_paths_are_checked_again_when_they_are_applied(shop: Repository) -> None:
    forge = shop.forge()
    change = opening(forge, CHANGE)
    evil = FileChange(path=".git/config", content=b"x", mode="100644", before=None)
    with pytest.raises(ConnectorError, match=r"\.git"):
        apply(forge, replace(change, files=(evil,)), action(1))


def test_a_probe_settles_although_the_reviewed_base_was_pruned(shop: Repository) -> None:
    forge = shop.forge()
    change = opening(forge, CHANGE)
    shop.rewind("main")
    shop.git("reflog", "expire", "--expire=now", "--all")
    shop.git("gc", "--quiet", "--prune=now")
    assert isinstance(anyio.run(forge.probe, change, action(1)), CannotHappen)


def test_a_read_only_repository_is_refused_with_the_reason(shop: Repository) -> None:
    if os.geteuid() == 0:
        shop.git("config", "core.repositoryFormatVersion", "1")
        shop.git("config", "extensions.preciousObjects", "true")
        shop.git("config", "extensions.unknown", "true")
        with pytest.raises(ConnectorError, match="unknown"):
            snapshot(shop.forge(), "main", "README.md")
        return
    forge = shop.forge()
    change = opening(forge, CHANGE)
    (shop.path / "objects").chmod(0o500)
    try:
        with pytest.raises(ConnectorError, match="hash-object"):
            apply(forge, change, action(1))
    finally:
        (shop.path / "objects").chmod(0o700)
    assert list(shop.refs()) == ["refs/heads/main"]


# the process


def fake_git(tmp_path: Path, script: str, deadline: float = 5.0) -> Git:
    program = tmp_path / "git"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return Git(program=str(program), folder=tmp_path, path="/usr/bin:/bin", deadline=deadline)


def test_a_git_that_hangs_is_ended_with_its_group(tmp_path: Path) -> None:
    git = fake_git(tmp_path, f"(trap '' TERM; echo $$ > {tmp_path}/pid; sleep 60) & wait", deadline=0.2)
    with pytest.raises(ConnectorError, match="longer than") as caught:
        git.run("update-ref", late="unknown")
    assert caught.value.kind == "unknown"


def test_a_git_that_floods_is_ended(tmp_path: Path) -> None:
    with pytest.raises(ConnectorError, match="answered more than"):
        fake_git(tmp_path, "exec cat /dev/zero").run("for-each-ref")


def test_a_git_that_does_not_read_its_input_is_no_harm(tmp_path: Path) -> None:
    assert fake_git(tmp_path, "exit 0").run("mktree", feed=b"x" * 2**20).code == 0


@pytest.mark.parametrize(
    "script", ["exit 0", "read x; echo $x blob 5; printf abc", "read x; echo what is this", "read x; sleep 9"]
)
def test_a_cat_file_that_talks_nonsense_is_refused(tmp_path: Path, script: str) -> None:
    git = fake_git(tmp_path, script, deadline=0.5)
    with git.objects() as objects, pytest.raises(ConnectorError, match="cannot be read"):
        objects.read("1" * 40, "blob", 100)


def test_a_commit_without_a_tree_and_an_id_that_is_none_are_refused(shop: Repository) -> None:
    name = shop.git("hash-object", "-t", "commit", "-w", "--literally", "--stdin", feed=b"nonsense")
    git = Git(program="/usr/bin/git", folder=shop.path, path="/usr/bin:/bin")
    with git.objects() as objects:
        with pytest.raises(ConnectorError, match="damaged commit"):
            objects.root(name)
        with pytest.raises(ConnectorError, match="is a commit, not a blob"):
            objects.read(name, "blob", 100)
        with pytest.raises(ConnectorError, match="not an object id"):
            objects.read("HEAD", "commit", 100)


def test_a_git_that_writes_something_else_is_refused_before_any_ref(shop: Repository, tmp_path: Path) -> None:
    change = opening(shop.forge(), CHANGE)
    script = f'case "$*" in *hash-object*) cat >/dev/null; echo {"1" * 40};; *) exec /usr/bin/git "$@";; esac'
    fake = replace(fake_git(tmp_path, script), folder=shop.path)
    with pytest.raises(ConnectorError, match="other objects than were worked out"):
        apply(GitForge("shop", fake), change, action(1))
    assert list(shop.refs()) == ["refs/heads/main"]


def test_a_git_that_dies_between_two_reads_is_reported(tmp_path: Path) -> None:
    git = fake_git(tmp_path, "read x; echo $x missing; exec 0<&- ; read y < /dev/null")
    with git.objects() as objects:
        assert not objects.has("1" * 40)
        with pytest.raises(ConnectorError, match="cannot be read"):
            objects.read("2" * 40, "blob", 100)


def test_a_git_that_vanished_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConnectorError, match="cannot be started"):
        Git(program=str(tmp_path / "none"), folder=tmp_path, path="").run("version")


# the wiring


def test_the_identity_names_the_git_folder(checkout: Repository) -> None:
    identity = checkout.forge().identity
    assert (identity.port, identity.kind, identity.name) == ("forge", "git", "shop")
    assert identity.location == str((checkout.path / ".git").resolve())


def test_settings_are_closed() -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate({"kind": "git", "path": "x", "hooks": True})


def test_a_place_without_a_repository_is_a_configuration_error(checkout: Repository, tmp_path: Path) -> None:
    checkout.git("worktree", "add", "--quiet", "-b", "linked", str(tmp_path / "linked"))
    inner = next((checkout.path / ".git/worktrees").iterdir())
    (inner / "objects").mkdir()
    for path, said in (("none", "not a git repository"), ("linked", "linked"), (str(inner), "linked")):
        with pytest.raises(ConfigurationError, match=said):
            build("shop", Settings(path=path), world_at(tmp_path, ENVIRONMENT))
    with pytest.raises(ConfigurationError, match="no git on PATH"):
        build("shop", Settings(path="shop"), world_at(tmp_path, {"PATH": str(tmp_path)}))


@pytest.mark.parametrize("bare", [True, False])
def test_what_git_says_is_told_without_the_folder_it_lies_in(tmp_path: Path, bare: bool) -> None:
    folder = tmp_path / "a  home" / ("shop.git" if bare else ".git")
    folder.mkdir(parents=True)
    git = replace(fake_git(tmp_path, f"echo \"fatal: '{folder}/HEAD' and {folder.parent}\" >&2; exit 5"), name="shop")
    with pytest.raises(ConnectorError) as refusal:
        replace(git, folder=folder).run("rev-parse")
    said = str(refusal.value)
    assert "fatal: 'shop/HEAD' and" in said
    assert str(folder) not in said
    assert bare or str(tmp_path) not in said


def test_of_a_flood_of_words_the_last_are_told_and_no_half_of_a_path(tmp_path: Path) -> None:
    git = fake_git(tmp_path, f"i=0; while [ $i -lt 400 ]; do echo {tmp_path}/x >&2; i=$((i+1)); done; exit 5")
    with pytest.raises(ConnectorError) as refusal:
        replace(git, folder=tmp_path).run("rev-parse")
    assert tmp_path.name not in str(refusal.value)
    assert len(str(refusal.value)) < 1100


def test_a_git_that_cannot_be_started_is_reported_without_a_path(tmp_path: Path) -> None:
    git = Git(program="/usr/bin/git", folder=tmp_path / "gone", path="/usr/bin:/bin")
    with pytest.raises(ConnectorError) as refusal:
        git.run("rev-parse")
    assert str(refusal.value) == "git cannot be started: No such file or directory"
