"""Wishes become files exactly as asked for, or are refused naming the item."""

from __future__ import annotations

import pytest

from keyturn.connectors.forge import File, FileState, Snapshot
from keyturn.connectors.forge.changes import (
    files_from_json,
    files_to_json,
    read_wishes,
    states_to_json,
    work_out,
)
from keyturn.model.errors import ConnectorError
from keyturn.model.plan import Effects

TEXT = File(state=FileState("1" * 40, "100644"), content=b"one\ntwo\ntwo\n")
SCRIPT = File(state=FileState("2" * 40, "100755"), content=b"#!/bin/sh\n")
BINARY = File(state=FileState("3" * 40, "100644"), content=b"\xff\n")
SNAPSHOT = Snapshot(commit="c" * 40, files={"t": TEXT, "s": SCRIPT, "b": BINARY, "new": None})


def test_edits_apply_in_order_to_what_the_ones_before_left() -> None:
    edits = [{"old": "one", "new": "two\nthree"}, {"old": "three", "new": "3"}]
    worked = work_out(read_wishes([{"path": "t", "edits": edits}]), SNAPSHOT)
    assert worked.files[0].content == b"two\n3\ntwo\ntwo\n"
    assert worked.files[0].mode == "100644"


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ({"path": "t", "edits": [{"old": "two", "new": "2"}]}, r'files\[0\] "t": edits\[0\]\.old is found more'),
        ({"path": "t", "edits": [{"old": "one", "new": "1"}, {"old": "one", "new": "1"}]}, r"edits\[1\]\.old is not"),
        ({"path": "t", "edits": [{"old": "", "new": "1"}]}, "is not found"),
        ({"path": "t", "edits": [{"old": "one", "new": "one"}]}, "change nothing"),
        ({"path": "t", "edits": [{"old": "one", "new": "\ud800"}]}, "valid Unicode"),
        ({"path": "b", "edits": [{"old": "one", "new": "1"}]}, "not UTF-8 text"),
        ({"path": "new", "edits": [{"old": "one", "new": "1"}]}, "cannot be edited"),
        ({"path": "new", "delete": True}, "cannot be deleted"),
        ({"path": "t", "content": "one\ntwo\ntwo\n"}, "already holds"),
        ({"path": "s", "content": "#!/bin/sh\n", "executable": True}, "already holds"),
        ({"path": "t", "content": "*", "encoding": "base64"}, r"files\[0\]\.content: not base64"),
        ({"path": "t", "content": "\ud800"}, "valid Unicode"),
        ({"path": ".git/x", "content": ""}, r"\.git"),
    ],
)
def test_what_cannot_be_done_is_refused(item: dict[str, object], said: str) -> None:
    with pytest.raises(ConnectorError, match=said):
        work_out(read_wishes([item]), SNAPSHOT)


def test_a_text_overlapping_itself_counts_as_found_twice() -> None:
    snapshot = Snapshot(commit="c" * 40, files={"t": File(state=TEXT.state, content=b"aaa")})
    with pytest.raises(ConnectorError, match="more than once"):
        work_out(read_wishes([{"path": "t", "edits": [{"old": "aa", "new": "b"}]}]), snapshot)


@pytest.mark.parametrize(
    ("path", "executable", "mode"),
    [
        ("s", None, "100755"),
        ("s", False, "100644"),
        ("t", True, "100755"),
        ("new", None, "100644"),
        ("new", True, "100755"),
    ],
)
def test_the_executable_bit_is_kept_unless_given(path: str, executable: bool | None, mode: str) -> None:
    worked = work_out(read_wishes([{"path": path, "content": "x\n", "executable": executable}]), SNAPSHOT)
    assert worked.files[0].mode == mode


def test_a_mode_change_alone_is_a_change() -> None:
    worked = work_out(read_wishes([{"path": "s", "content": "#!/bin/sh\n", "executable": False}]), SNAPSHOT)
    assert "new mode 100644" in worked.patch
    assert worked.effects() == Effects(files_changed=1, lines_changed=0)


def test_view_and_summary_count_files_and_lines() -> None:
    items: list[dict[str, object]] = [
        {"path": "t", "content": "one\ntwo\n"},
        {"path": "new", "content": "AAEC", "encoding": "base64"},
        {"path": "s", "delete": True},
    ]
    worked = work_out(read_wishes(items), SNAPSHOT)
    assert worked.summary() == "3 files, +1 \u22122"
    assert [(item["path"], item["status"], item["binary"]) for item in worked.view()] == [
        ("t", "modified", False),
        ("new", "added", True),
        ("s", "deleted", False),
    ]
    assert worked.effects() == Effects(files_changed=3, lines_changed=3)


def test_changes_survive_the_plans_json() -> None:
    worked = work_out(read_wishes([{"path": "new", "content": "é"}, {"path": "s", "delete": True}]), SNAPSHOT)
    assert files_from_json(files_to_json(worked.files), states_to_json(worked.files)) == worked.files
    with pytest.raises(ConnectorError, match="not lists"):
        files_from_json(None, [])


def test_too_many_files_are_refused() -> None:
    for items in ([], [{"path": f"f{number}", "content": ""} for number in range(201)]):
        with pytest.raises(ConnectorError, match="1 to 200 files"):
            read_wishes(items)


def test_too_much_new_content_is_refused() -> None:
    with pytest.raises(ConnectorError, match="at most 4194304"):
        read_wishes([{"path": f"f{number}", "content": "x" * 2**20} for number in range(5)])
    with pytest.raises(ConnectorError, match="10485760 bytes"):
        read_wishes([{"path": "ten", "content": "x" * (10 * 2**20)}])


def test_edited_files_count_whole_and_the_diff_has_a_bound() -> None:
    big = File(state=TEXT.state, content=b"x" * (5 * 2**20 - 1) + b"y")
    snapshot = Snapshot(commit="c" * 40, files={"t": big, "u": big, "v": big})
    with pytest.raises(ConnectorError, match="the files written hold"):
        work_out(read_wishes([{"path": "t", "edits": [{"old": "y", "new": "z"}]}]), snapshot)
    with pytest.raises(ConnectorError, match="a diff of"):
        work_out(read_wishes([{"path": "t", "delete": True}, {"path": "u", "delete": True}]), snapshot)
