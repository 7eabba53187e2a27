"""Looks at a git repository on this machine for an operator: readable, writable, and what will be in the way."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from keyturn.connectors.checking import Finding
from keyturn.connectors.forge.process import Git
from keyturn.model.errors import ConnectorError

OLDEST = (2, 36)
"""The first release of git with everything that is used here (`core.fsync`)."""


def look(git: Git) -> tuple[Finding, ...]:
    """Return what is found, by reads alone; never raises."""
    try:
        return (version(git), *_repository(git))
    except (ConnectorError, OSError) as error:
        advice = "see that the account of the home may read the repository, and that git fsck there is content"
        return (Finding("wrong", f"the repository cannot be read: {error}", advice),)


def version(git: Git) -> Finding:
    """Return which git runs. Raises `ConnectorError` when none does."""
    said = git.run("version").output.decode("utf-8", "replace").strip()
    numbers = re.search(r"(\d+)\.(\d+)", said)
    if numbers and (int(numbers[1]), int(numbers[2])) >= OLDEST:
        return Finding("ok", said)
    return Finding("wrong", f"{said} is too old", "install git {}.{} or later".format(*OLDEST))


def _repository(git: Git) -> Iterator[Finding]:
    refs = git.run("for-each-ref", "--format=%(refname)%00%(worktreepath)", "refs/heads").output.decode(
        "utf-8", "replace"
    )
    branches = dict(line.split("\0", 1) for line in refs.splitlines())
    yield Finding("ok", f"{git.folder}: {len(branches)} branches can be read")
    yield _writable(git.folder)
    yield from _in_the_way(git, branches)
    yield from _hooks(git.folder / "hooks")


def _writable(folder: Path) -> Finding:
    places = [folder, *(folder / name for name in ("objects", "refs", "refs/heads", "refs/keyturn"))]
    shut = [str(place) for place in places if place.exists() and not os.access(place, os.W_OK | os.X_OK)]
    if shut:
        advice = "give the account of the home the right to write there, and to the files below"
        return Finding("wrong", f"may not be written by this account: {', '.join(shut)}", advice)
    return Finding("ok", "objects and refs can be written by this account")


def _in_the_way(git: Git, branches: dict[str, str]) -> Iterator[Finding]:
    if git.run("config", "--name-only", "--get-regexp", r"^hook\.", accept=(0, 1)).output:
        yield Finding(
            "wrong",
            "its configuration defines hooks (hook.*), which git may run; every change is refused",
            "remove them: git config --get-regexp '^hook\\.' lists them",
        )
    if "refs/heads/keyturn" in branches:
        yield Finding("wrong", "a branch called keyturn stands where keyturn/… has to go", "rename that branch")
    for ref, place in branches.items():
        if place and ref.startswith("refs/heads/keyturn/"):
            yield Finding(
                "note",
                f"{ref.removeprefix('refs/heads/')} is checked out at {place}: it is neither updated nor closed",
                "switch that work tree to another branch",
            )


def _hooks(folder: Path) -> Iterator[Finding]:
    names = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    live = [name for name in names if not name.endswith(".sample") and os.access(folder / name, os.X_OK)]
    if live:
        yield Finding("note", f"hooks of the repository are not run by Keyturn: {', '.join(live)}")
