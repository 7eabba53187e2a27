from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.connectors.deployments import FileChange, Preview, changes, tree
from keyturn.connectors.deployments.secrets import hide_pair, hide_secrets
from keyturn.connectors.files import Disk, Folder
from keyturn.model.errors import ConnectorError
from tests.connectors.deployments.contract import preview
from tests.connectors.deployments.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def fresh(world: World) -> tuple[Path, Path]:
    """Empty both releases and return the live one and the target."""
    folders = (world.root / "releases" / "2.4.0", world.root / "releases" / "2.3.1")
    for folder in folders:
        shutil.rmtree(folder)
        folder.mkdir()
    return folders


def test_added_changed_and_deleted_files_are_listed_and_shown(world: World) -> None:
    live, target = fresh(world)
    (live / "gone").write_text("a\n")
    (live / "kept").write_text("b\n")
    (target / "kept").write_text("c\n")
    (target / "new").write_text("d\n")
    seen = preview(world)
    assert seen.files == (FileChange("gone", "deleted"), FileChange("kept", "modified"), FileChange("new", "added"))
    assert (seen.added, seen.removed, seen.summarised) == (2, 2, 0)
    assert seen.diff.startswith("# 3 files differ; every change is shown.\ndiff --git a/gone b/gone\n")


def test_equal_trees_are_an_empty_change(world: World) -> None:
    fresh(world)
    assert preview(world).diff == "# 0 files differ; every change is shown.\n"


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (b"a\n" * 40_000, b"b\n", "larger than 65536 bytes"),
        (b"\0a\n", b"\0b\n", "not text"),
        (b"\xff\n", b"b\n", "not text"),
        (b"x\n", b"-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n", "holds a private key"),
        (b"token=a\ntoken=b\n", b"token=b\ntoken=a\n", "differs only in what is hidden"),
    ],
)
def test_what_is_not_shown_is_told_by_digest_and_still_counted(
    world: World, old: bytes, new: bytes, why: str
) -> None:
    live, target = fresh(world)
    (live / "file").write_bytes(old)
    (target / "file").write_bytes(new)
    seen = preview(world)
    assert f"\nNot shown ({why}): sha256:" in seen.diff
    assert seen.diff.startswith("# 1 file differs; 1 of them by digest only")
    assert (seen.removed, seen.added, seen.summarised) == (old.count(b"\n"), new.count(b"\n"), 1)
    assert "PRIVATE KEY" not in seen.diff


def test_a_new_binary_counts_at_least_one_line(world: World) -> None:
    _, target = fresh(world)
    (target / "file").write_bytes(b"\0")
    seen = preview(world)
    assert (seen.removed, seen.added) == (0, 1)
    assert "(not text): nothing -> sha256:" in seen.diff


def test_beyond_the_bound_of_all_diffs_files_are_told_by_digest(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "MAX_SHOWN", 50)
    _, target = fresh(world)
    (target / "a").write_text("x\n" * 60)
    (target / "b").write_text("y\n")
    seen = preview(world)
    assert "+x\n" in seen.diff
    assert "+y" not in seen.diff
    assert seen.diff.startswith("# 2 files differ; 1 of them by digest only")


def test_modes_links_and_folders_are_part_of_the_change(world: World) -> None:
    live, target = fresh(world)
    for folder, mode in ((live, 0o644), (target, 0o755)):
        (folder / "run").write_text("x\n")
        (folder / "run").chmod(mode)
    (live / "link").symlink_to("a")
    (target / "link").symlink_to("/etc/passwd")
    (live / "turned").mkdir()
    (target / "turned").write_text("now a file\n")
    text = preview(world).diff
    assert "old mode 100644\nnew mode 100755\n" in text
    assert "-a\n" in text
    assert "+/etc/passwd\n" in text
    assert "root:" not in text
    assert "Folder turned: mode 755 -> nothing\n" in text
    assert "+now a file\n" in text


def test_a_symlink_to_a_large_text_is_told_as_a_symlink(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "MAX_SHOWN_FILE", 2)
    _, target = fresh(world)
    (target / "link").symlink_to("elsewhere")
    assert "nothing -> a symlink (9 bytes)" in preview(world).diff


def test_hostile_file_names_reach_no_screen_raw(world: World) -> None:
    _, target = fresh(world)
    name = b"a\x1b[2J\xff\xe2\x80\xaeb"
    (target / os.fsdecode(name)).write_text("x\n")
    seen = preview(world)
    assert seen.files == (FileChange("a\\u{1b}[2J\\u{dcff}\\u{202e}b", "added"),)
    assert not {"\x1b", "\u202e", "\udcff"} & set(seen.diff)


@pytest.mark.parametrize(("name", "value"), [("MAX_ENTRIES", 2), ("MAX_BYTES", 60), ("MAX_DEPTH", 0)])
def test_trees_beyond_the_bounds_are_refused(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str, value: int
) -> None:
    monkeypatch.setattr(tree, name, value)
    with pytest.raises(ConnectorError, match=r"holds more than|is nested deeper"):
        preview(world)


def test_a_file_larger_than_a_whole_tree_may_be_is_refused_while_it_is_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "MAX_BYTES", 10)
    with pytest.raises(ConnectorError, match=r"app.py: holds more than 10 bytes"):
        preview(world)


def test_a_file_that_changed_since_the_scan_is_not_shown_as_what_was_scanned(world: World) -> None:
    with Folder.open(world.root / "releases" / "2.3.1", "release", Disk()) as root:
        scanned = tree.scan_tree(root)
        (world.root / "releases" / "2.3.1" / "bin" / "start").write_text("#!/bin/sh\nexec python bad.py\n")
        with pytest.raises(ConnectorError, match="changed while it was read") as refusal:
            tree.read_entry(root, "bin/start", scanned["bin/start"])
    assert refusal.value.kind == "retry"


def hidden(world: World, old: str, new: str) -> Preview:
    live, target = fresh(world)
    (live / ".env").write_text(old)
    (target / ".env").write_text(new)
    return preview(world)


def test_secret_values_are_replaced_by_whether_they_changed(world: World) -> None:
    seen = hidden(
        world,
        "DEBUG=0\nDB_PASSWORD=old1\nAPI_TOKEN=same1\n",
        "DEBUG=1\nDB_PASSWORD=new1\nAPI_TOKEN=same1\n",
    )
    assert "-DB_PASSWORD=<hidden>\n" in seen.diff
    assert "+DB_PASSWORD=<hidden, changed>\n" in seen.diff
    assert " API_TOKEN=<hidden, same>\n" in seen.diff
    assert "+DEBUG=1\n" in seen.diff
    assert not any(word in seen.diff for word in ("old1", "new1", "same1"))


@pytest.mark.parametrize(
    "line",
    [
        "SECRET_KEY=hunter2",
        "export AWS_SECRET_ACCESS_KEY=hunter2",
        "  db.password = hunter2",
        '"apiToken": "hunter2",',
        "- password: hunter2",
        "GITHUB_CREDENTIALS='hunter2'",
        "passwd:hunter2",
    ],
)
def test_values_under_telling_names_are_hidden_in_every_common_spelling(line: str) -> None:
    assert "hunter2" not in hide_secrets(f"a\n{line}\nb")


@pytest.mark.parametrize("line", ["name=hunter2", "a sentence about a key", "PASSWORD=", "token:"])
def test_other_lines_stay_as_they_are(line: str) -> None:
    assert hide_secrets(line) == line


VALUES = st.text(st.characters(codec="ascii", exclude_characters="\r\n <", exclude_categories=["Cc"]), min_size=6)


@given(VALUES, VALUES)
def test_no_hidden_value_survives_on_either_side(old: str, new: str) -> None:
    before, after = hide_pair(f"x\nMY_TOKEN={old}\n", f"MY_TOKEN={new}\ny\n")
    assert (before == "x\nMY_TOKEN=<hidden, same>\n") is (old == new)
    assert before.startswith("x\nMY_TOKEN=<hidden")
    assert after == f"MY_TOKEN=<hidden, {'same' if old == new else 'changed'}>\ny\n"


@pytest.mark.parametrize(
    ("content", "lines"),
    [(b"\0" + b"x" * 1_000_000, 5001), (b"\0a\rb\rc\r", 3), (b"\0a\r\nb\r\n", 2), (b"x" * 50_000, 250)],
    ids=["large", "carriage returns", "both", "shown"],
)
def test_a_file_counts_by_its_line_ends_and_at_least_by_its_bytes(world: World, content: bytes, lines: int) -> None:
    (world.root / "releases" / "2.3.1" / "more").write_bytes(content)
    assert preview(world).added == lines + 1


def test_line_ends_are_counted_across_the_chunks_of_a_file(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "_CHUNK", 2)
    (world.root / "releases" / "2.3.1" / "more").write_bytes(b"\0\r\n\r\r\n\n")
    assert preview(world).added == 4 + 1


@pytest.mark.parametrize("text", ["\n" * 60_000, "key" * 20_000, "-" * 20_000 + "key" * 10_000, "key\n" * 20_000])
def test_a_text_that_nearly_holds_secrets_is_searched_in_linear_time(text: str) -> None:
    started = time.process_time()
    assert hide_pair(text, "x") == (text, "x")
    assert time.process_time() - started < 2
