"""Names that git, a file system or a terminal would read otherwise are refused."""

from __future__ import annotations

import pytest

from keyturn.connectors.forge.names import check_base, check_branch, check_path, check_paths, shown
from keyturn.model.errors import ConnectorError

DOT_GIT = [
    ".git", ".GIT", ".Git", ".git/config", "a/.git/hooks/x", "git~1", "GIT~1", "GiT~2", "git~12/x", ".git ", ".git.",
    ".git . .", ".git::$INDEX_ALLOCATION", ".git:x/config", "git~1:x", ".git...:$DATA", ".g\u200cit", ".gi\u200dt",
    ".g\u200bit", "\ufeff.git", ".git\u2060", ".g\u206ait", ".g\u202eit", ".\uff47\uff49\uff54",
]  # fmt: skip


@pytest.mark.parametrize("path", DOT_GIT)
def test_every_spelling_of_dot_git_is_refused(path: str) -> None:
    with pytest.raises(ConnectorError, match="path"):
        check_path(path)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("", "empty"),
        ("/etc/passwd", "absolute"),
        ("a//b", "empty name"),
        ("a/", "empty name"),
        ("./a", "empty name"),
        ("a/../b", "empty name"),
        ("a\\b", "backslash"),
        ("C:\\x", "backslash"),
        ("a\nb", "control"),
        ("a\0b", "control"),
        ("a\x1b[2Jb", "control"),
        ("a\u202eb", "control"),
        ("a\u2028b", "control"),
        ("a\ud800b", "control"),
        ("e\u0301", "normal form"),
        ("a./b", "dot or a space"),
        ("a /b", "dot or a space"),
        ("x" * 256, "longer than 255"),
        ("é/" * 140 + "x", "longer than 400"),
    ],
)
def test_paths_that_mean_something_else_elsewhere_are_refused(path: str, said: str) -> None:
    with pytest.raises(ConnectorError, match=said):
        check_path(path)


@pytest.mark.parametrize(
    "path",
    [
        ".gitignore",
        ".gitattributes",
        ".github/workflows/ci.yml",
        "git",
        "git~",
        "a b/ç.txt",
        "-rf",
        "👩\u200d💻.md",
        "x:y",
        "a..b",
    ],
)
def test_ordinary_paths_are_accepted(path: str) -> None:
    check_path(path)


@pytest.mark.parametrize(
    ("paths", "said"),
    [
        (["a", "a"], "named twice"),
        (["src/A.py", "src/a.py"], "case does not count"),
        (["Straße", "STRASSE"], "case does not count"),
        (["a", "b", "a/b"], "file and a folder"),
        (["a-b", "a", "A/x/y"], "file and a folder"),
    ],
)
def test_paths_that_clash_are_refused(paths: list[str], said: str) -> None:
    with pytest.raises(ConnectorError, match=said):
        check_paths(paths)


def test_neighbours_are_no_clash() -> None:
    check_paths(["a/b", "a/c", "ab", "a-b", "a.b/c"])


@pytest.mark.parametrize(
    "branch",
    ["", "@", "HEAD", "-x", "--upload-pack=x", "a b", "a~1", "a^", "a:b", "a?", "a*", "a[", "a\\b", "a..b", "a@{1}",
     "a.", "/a", "a/", "a//b", ".a", "a/.b", "a.lock", "a.lock/b", "refs/heads/x", "a\x7f", "a\u202eb", "é" * 101],
)  # fmt: skip
def test_branches_git_would_refuse_or_misread_are_refused(branch: str) -> None:
    with pytest.raises(ConnectorError, match="branch"):
        check_branch(branch)


@pytest.mark.parametrize("branch", ["keyturn", "keyturn/x", "Keyturn/x"])
def test_our_own_branches_are_no_base(branch: str) -> None:
    check_branch(branch)
    with pytest.raises(ConnectorError, match="cannot be a base"):
        check_base(branch)


@pytest.mark.parametrize("branch", ["main", "release/1.2", "feature/ä", "a-b_c+d", "keyturns/x"])
def test_ordinary_branches_are_bases(branch: str) -> None:
    check_base(branch)


def test_foreign_names_are_shown_short_and_without_control_characters() -> None:
    assert shown("a\x1b'b") == '"a\\x1b\'b"'.replace("'", '"')
    assert len(shown("x" * 1000)) == 82
