"""Which paths and branches a forge accepts; stricter than git, which takes hostile names."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import pairwise

from keyturn.model.errors import ConnectorError
from keyturn.model.text import SHAPING, invisible

MAX_PATH = 400
"""Bytes of a path in UTF-8."""
MAX_COMPONENT = 255
"""Bytes of one name in a path."""
MAX_BRANCH = 200
"""Bytes of a branch name."""

# `.git` as NTFS and HFS+ also read it (git's own is_ntfs_dotgit and is_hfs_dotgit): any case, 8.3 short names,
# trailing dots and spaces, alternate data streams. HFS+ ignores some code points: all are invisible ones, which
# are refused, except those that shape a script, which are taken out before the comparison.
_DOT_GIT = re.compile(r"(?:\.git|git~[0-9]+)[ .]*(?::.*)?", re.DOTALL)
_REF_PUNCTUATION = frozenset(" ~^:?*[\\")


def check_path(path: str) -> None:
    """Refuse (`ConnectorError`) a path that is not a plain, portable, relative file name."""
    problem = _path_problem(path)
    if problem:
        raise ConnectorError(f"path {shown(path)}: {problem}")


def check_paths(paths: Sequence[str]) -> None:
    """Refuse bad paths, a path named twice (also in another case), and a file that another path has as a folder."""
    for path in paths:
        check_path(path)
    # "/" as the lowest sorting separator puts a folder's content right after the folder's own name
    folded = sorted((tuple(path.casefold().split("/")), path) for path in paths)
    for (parts, path), (others, other) in pairwise(folded):
        if parts == others:
            said = "named twice" if path == other else f"the same as {shown(other)} where case does not count"
            raise ConnectorError(f"path {shown(path)}: {said}")
        if others[: len(parts)] == parts:
            raise ConnectorError(f"path {shown(other)}: {shown(path)} cannot be a file and a folder at once")


def check_branch(branch: str) -> None:
    """Refuse a branch name that git-check-ref-format would, or that could be read as an option."""
    problem = _branch_problem(branch)
    if problem:
        raise ConnectorError(f"branch {shown(branch)}: {problem}")


def check_base(branch: str) -> None:
    """Refuse a branch that cannot be a base: bad names and Keyturn's own branches."""
    check_branch(branch)
    if branch.casefold() == "keyturn" or branch.casefold().startswith("keyturn/"):
        raise ConnectorError(f"branch {shown(branch)}: branches below keyturn/ cannot be a base")


def shown(text: str) -> str:
    """Quote a foreign name for a message: short, in ASCII, without control characters."""
    return ascii(text if len(text) <= 80 else text[:77] + "...").replace("'", '"')


def _path_problem(path: str) -> str | None:
    if not path:
        return "empty"
    if invisible(path):
        return "holds a control, format or other invisible character"
    if len(path.encode("utf-8")) > MAX_PATH:
        return f"longer than {MAX_PATH} bytes"
    if "\\" in path:
        return "holds a backslash; folders are separated by /"
    if path.startswith("/"):
        return "absolute; paths are relative to the repository"
    if unicodedata.normalize("NFC", path) != path:
        return "not in Unicode normal form C"
    return next((problem for name in path.split("/") if (problem := _name_problem(name))), None)


def _name_problem(name: str) -> str | None:
    if name in ("", ".", ".."):
        return "holds an empty name, . or .."
    if len(name.encode("utf-8")) > MAX_COMPONENT:
        return f"holds a name longer than {MAX_COMPONENT} bytes"
    bare = name.translate(dict.fromkeys(map(ord, SHAPING)))
    if _DOT_GIT.fullmatch(unicodedata.normalize("NFKC", bare).casefold()):
        return "holds a spelling of .git"
    if name[-1] in ". ":
        return "holds a name that ends in a dot or a space"
    return None


def _branch_problem(branch: str) -> str | None:
    if not branch or branch in ("@", "HEAD"):
        return "not a branch name"
    if invisible(branch) or _REF_PUNCTUATION.intersection(branch):
        return "holds a space, a control character or one of ~^:?*[\\"
    if len(branch.encode("utf-8")) > MAX_BRANCH:
        return f"longer than {MAX_BRANCH} bytes"
    if branch.startswith("-"):
        return "starts with a dash"
    if branch.startswith("refs/"):
        return "give the branch's short name, without refs/heads/"
    if ".." in branch or "@{" in branch or branch.endswith("."):
        return "holds .. or @{, or ends in a dot"
    if any(not name or name.startswith(".") or name.endswith(".lock") for name in branch.split("/")):
        return "holds an empty name, or one that starts with a dot or ends in .lock"
    return None
