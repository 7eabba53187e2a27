"""Real repositories for the forge's tests, driven with stock git."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from keyturn.connectors.forge.git import GitForge, Settings, build
from keyturn.model.tool import ActionRef
from tests.connectors.surroundings import world_at

ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/nonexistent",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
}

FILES: Mapping[str, bytes] = {
    "README.md": b"# Shop\n\nSells things.\n",
    "src/app.py": b"import os\n\nprint('shop')\n",
    "src/run.sh": b"#!/bin/sh\nexec true\n",
    "data/logo.bin": b"\0\1\2",
}


def action(number: int, principal: str = "claude") -> ActionRef:
    """Return an action of 2026 whose id holds `number`."""
    return ActionRef(
        action=str(UUID(int=(1_795_000_000_000 << 80) | (7 << 76) | (2 << 62) | number)),
        principal=principal,
        reason="asked in a test",
    )


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository on disk; `path` is what the wiring names."""

    path: Path

    def git(self, *arguments: str, feed: bytes = b"", check: bool = True) -> str:
        ran = subprocess.run(
            ["git", *arguments], cwd=self.path, input=feed, capture_output=True, check=False, env=ENVIRONMENT
        )
        assert ran.returncode == 0 or not check, ran.stderr.decode()
        return ran.stdout.decode("utf-8", "surrogateescape").rstrip("\n")

    def forge(self, name: str = "shop") -> GitForge:
        return build(name, Settings(path=self.path.name), world_at(self.path.parent, ENVIRONMENT))

    def commit(self, branch: str, files: Mapping[str, bytes | None]) -> str:
        """Put a commit on a branch, as other people do; returns its id."""
        parent = self.git("rev-parse", branch)
        lines = b""
        for path, content in files.items():
            lines += (
                f"D {path}\n".encode()
                if content is None
                else f"M 100644 inline {path}\ndata {len(content)}\n".encode() + content + b"\n"
            )
        return self._import(branch, f"from {parent}\n".encode() + lines)

    def rewind(self, branch: str) -> str:
        """Replace a branch by an unrelated history with the same files, as a forced push does."""
        self.git("update-ref", f"refs/heads/{branch}", self._orphan(branch))
        return self.git("rev-parse", branch)

    def head(self, branch: str) -> str | None:
        return self.git("rev-parse", "--verify", "--quiet", f"refs/heads/{branch}", check=False) or None

    def show(self, what: str) -> str:
        return self.git("cat-file", "-p", what)

    def refs(self) -> dict[str, str]:
        lines = self.git("for-each-ref", "--format=%(refname) %(objectname)").splitlines()
        return {ref: oid for ref, _, oid in (line.partition(" ") for line in lines)}

    def _import(self, branch: str, rest: bytes) -> str:
        feed = f"commit refs/heads/{branch}\ncommitter Ada <ada@example.org> 1700000000 +0000\n".encode()
        self.git("fast-import", "--quiet", feed=feed + b"data 4\nwork\n" + rest)
        return self.git("rev-parse", branch)

    def _orphan(self, branch: str) -> str:
        tree = self.git("rev-parse", f"{branch}^{{tree}}")
        return self.git("commit-tree", tree, "-m", "another beginning")


def create(path: Path, *, bare: bool = True, algorithm: str = "sha1") -> Repository:
    """Make a repository with `FILES` on main; `src/run.sh` is executable."""
    path.mkdir(parents=True)
    repository = Repository(path)
    extra = ["--bare"] if bare else []
    repository.git("init", "--quiet", "--initial-branch=main", f"--object-format={algorithm}", *extra, ".")
    lines = b"".join(
        f"M {'100755' if name.endswith('.sh') else '100644'} inline {name}\ndata {len(content)}\n".encode()
        + content
        + b"\n"
        for name, content in FILES.items()
    )
    repository._import("main", lines)
    if not bare:
        repository.git("reset", "--hard", "--quiet")
    return repository
