"""Diffs are what git apply takes, count what changed, and end in bounded time on hostile input."""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keyturn.model.diff import file_diff, net_change, quote_path

TEXTS = st.lists(
    st.sampled_from(["a\n", "b\n", "a\r\n", "\n", "é\n", "\x0c\u2028x\n", "-- \n", "end"]), max_size=14
).map("".join)


def git_apply(old: bytes | None, path: str, patch: str) -> bytes | None:
    """Apply a patch with stock git in an empty folder; return what the file then holds."""
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / path
        if old is not None:
            file.write_bytes(old)
        subprocess.run(
            ["git", "apply", "--whitespace=nowarn", "-"],
            cwd=name,
            input=patch.encode(),
            check=True,
            capture_output=True,
            env={"PATH": "/usr/bin:/bin", "GIT_CEILING_DIRECTORIES": str(Path(name).parent)},
        )
        return file.read_bytes() if file.exists() else None


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(TEXTS, TEXTS)
def test_git_apply_makes_the_new_text_of_the_old_one(old: str, new: str) -> None:
    diff = file_diff("dir name.txt", old.encode(), new.encode())
    if old == new:
        assert diff.text == "diff --git a/dir name.txt b/dir name.txt\n"
    else:
        assert git_apply(old.encode(), "dir name.txt", diff.text) == new.encode()


@settings(max_examples=200, deadline=None)
@given(TEXTS, TEXTS)
def test_added_and_removed_count_the_signed_lines(old: str, new: str) -> None:
    diff = file_diff("x", old.encode(), new.encode())
    body = diff.text.split("\n")[3:]
    assert diff.added == sum(line.startswith("+") for line in body)
    assert diff.removed == sum(line.startswith("-") for line in body)
    assert diff.removed - diff.added == old.count("\n") + (not old.endswith("\n") and old != "") - new.count("\n") - (
        not new.endswith("\n") and new != ""
    )


@pytest.mark.parametrize(("old", "new"), [(None, b""), (None, b"a\nb"), (b"", None), (b"a\n", None), (b"", b"x\n")])
def test_git_apply_takes_new_empty_and_deleted_files(old: bytes | None, new: bytes | None) -> None:
    assert git_apply(old, "x", file_diff("x", old, new).text) == new


@pytest.mark.parametrize("path", ['with"quote', "back\\slash", "tab\tx", "ünï", "a b"])
def test_git_apply_finds_files_of_odd_names(path: str) -> None:
    assert git_apply(b"1\n", path, file_diff(path, b"1\n", b"2\n").text) == b"2\n"


def test_names_are_quoted_as_git_does() -> None:
    assert quote_path("plain é") == "plain é"
    assert quote_path("a\tb\x01\x7f") == r'"a\tb\001\177"'
    assert quote_path(b"\xff".decode("utf-8", "surrogateescape")) == r'"\377"'


def test_a_mode_change_alone_has_no_hunk() -> None:
    diff = file_diff("x", b"a\n", b"a\n", "100644", "100755")
    assert diff.text == "diff --git a/x b/x\nold mode 100644\nnew mode 100755\n"
    assert (diff.added, diff.removed) == (0, 0)


@pytest.mark.parametrize("content", [b"\0\n\n", b"\xff\n\n"])
def test_binary_content_is_shown_by_digest_and_still_counts_lines(content: bytes) -> None:
    diff = file_diff("x", None, content)
    assert diff.binary
    assert diff.added == 2
    assert "nothing -> sha256:" in diff.text
    assert f"({len(content)} bytes)" in diff.text


def test_a_moved_line_in_a_long_file_is_shown_alone() -> None:
    old = [f"line {i}\n" for i in range(500)]
    new = [*old[:250], "inserted\n", *old[250:]]
    diff = file_diff("x", "".join(old).encode(), "".join(new).encode())
    assert diff.text.split("\n", 3)[3] == (
        "@@ -248,6 +248,7 @@\n line 247\n line 248\n line 249\n+inserted\n line 250\n line 251\n line 252\n"
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("".join(f"{i}\n" for i in range(60_000)), "".join(f"{i}\n" for i in reversed(range(60_000)))),
        ("a\nb\n" * 60_000, "b\nb\na\n" * 40_000),
        ("a\n" * 100_000, "b\n" * 100_000),
        ("a\nb\nc\n" * 30_000, "c\nb\na\n" * 30_000),
    ],
)
def test_hostile_texts_take_bounded_time_and_stay_right(old: str, new: str) -> None:
    start = time.process_time()  # what others run on the machine meanwhile does not count
    diff = file_diff("x", old.encode(), new.encode())
    assert time.process_time() - start < 5
    assert git_apply(old.encode(), "x", diff.text) == new.encode()


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"x" * 1_000_000, 5000),
        (b"x" * 200 + b"\n", 2),
        (b"one\rtwo\rthree\r", 3),
        (b"one\r\ntwo\r\n", 2),
        (b"one\ntwo", 2),
        (b"\0" * 401, 3),
        (b"\n" * 10, 10),
    ],
    ids=["one long line", "just above", "carriage returns", "both", "no last end", "binary", "empty lines"],
)
def test_limits_count_every_line_end_and_long_lines_by_their_bytes(content: bytes, lines: int) -> None:
    diff = file_diff("x", None, content)
    assert (diff.counted_added, diff.counted_removed) == (lines, 0)
    gone = file_diff("x", content, None)
    assert (gone.counted_added, gone.counted_removed) == (0, lines)


def test_what_stays_as_it_is_does_not_count() -> None:
    old = b"".join(b"line %d\n" % number for number in range(10_000))
    diff = file_diff("x", old, old + b"more\n")
    assert (diff.counted_added, diff.counted_removed) == (1, 0)


@given(TEXTS, TEXTS, TEXTS)
@settings(max_examples=50)
def test_what_is_appended_is_the_same_net_change_whatever_stands_before(one: str, two: str, more: str) -> None:
    one, two = one + "\n", two + "\n"
    first, second = (file_diff("x", text.encode(), (text + more).encode()) for text in (one, two))
    changes = [net_change(diff.text) for diff in (first, second) if more]
    assert len(set(changes)) <= 1
