"""A bare git repository as a remote, and what other people do in it: by plumbing, straight in its folder."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FILES: Mapping[str, bytes] = {
    "README.md": b"# shop\n\nSells things.\n",
    "src/app.py": b"LIMIT = 10\n\n\ndef run() -> int:\n    return LIMIT\n",
    "deploy/prod.toml": b'replicas = 3\nimage = "shop:41"\n',
}

ENVIRONMENT: Mapping[str, str] = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@shop.test",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@shop.test",
}


@dataclass(frozen=True, slots=True)
class GitRemote:
    """A bare repository; its server (http or ssh) serves the folder it lies in."""

    path: Path

    @classmethod
    def made(cls, path: Path, files: Mapping[str, bytes] = FILES) -> GitRemote:
        """Make a bare repository with these files on `main`."""
        path.mkdir(parents=True)
        remote = cls(path)
        remote.git("init", "--quiet", "--bare", "--initial-branch=main", ".")
        remote.git("config", "http.receivepack", "true")
        remote.push("main", files, "Begin")
        return remote

    def git(self, *arguments: str, sent: bytes = b"", index: Path | None = None) -> bytes:
        """Run git in the repository; returns what it wrote, AssertionError with its complaint."""
        extra = {"GIT_INDEX_FILE": str(index)} if index is not None else {}
        command = ["git", "-c", f"safe.directory={self.path}", *arguments]
        done = subprocess.run(
            command,
            cwd=self.path,
            input=sent,
            capture_output=True,
            env={**ENVIRONMENT, **extra},
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stderr.decode(errors='replace')}"
        return done.stdout

    def head(self, branch: str = "main") -> str | None:
        """Return the commit of a branch; None if there is none."""
        return self.refs().get(f"refs/heads/{branch}")

    def refs(self) -> dict[str, str]:
        """Return every ref and its object."""
        lines = self.git("for-each-ref", "--format=%(refname) %(objectname)").decode().splitlines()
        return dict(tuple(line.split(" ")) for line in lines)  # type: ignore[misc]  # two words in each line

    def push(
        self,
        branch: str,
        files: Mapping[str, bytes | None],
        message: str = "Somebody else's work",
        *,
        modes: Mapping[str, str] | None = None,
    ) -> str:
        """Add a commit to a branch (a new one begins at `main`); None removes a file. Returns its id."""
        parent = self.head(branch) or self.head()
        index = self.path / "index-of-a-test"
        index.unlink(missing_ok=True)
        if parent is not None:
            self.git("read-tree", parent, index=index)
        for path, data in files.items():
            if data is None:
                self.git("update-index", "--index-info", sent=f"0 {'0' * 40}\t{path}\n".encode(), index=index)
                continue
            blob = self.git("hash-object", "-w", "--stdin", sent=data).decode().strip()
            mode = (modes or {}).get(path, "100644")
            self.git("update-index", "--add", "--cacheinfo", f"{mode},{blob},{path}", index=index)
        tree = self.git("write-tree", index=index).decode().strip()
        parents = ["-p", parent] if parent is not None else []
        commit = self.git("commit-tree", tree, *parents, "-m", message).decode().strip()
        self.git("update-ref", f"refs/heads/{branch}", commit)
        index.unlink()
        return commit

    def rewind(self, branch: str, commit: str) -> None:
        """Force a branch to another commit."""
        self.git("update-ref", f"refs/heads/{branch}", commit)

    def delete(self, branch: str) -> None:
        """Delete a branch."""
        self.git("update-ref", "-d", f"refs/heads/{branch}")

    def files(self, at: str = "main") -> dict[str, bytes]:
        """Return every file of a branch or commit with its content."""
        names = self.git("ls-tree", "-r", "--name-only", "-z", at).decode().split("\0")
        return {name: self.git("cat-file", "blob", f"{at}:{name}") for name in names if name}

    def refuse(self, pattern: str, complaint: str = "protected branch") -> None:
        """Refuse pushes to refs that fit a shell pattern, as a host with protected branches does."""
        hook = self.path / "hooks" / "update"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f'#!/bin/sh\ncase "$1" in {pattern}) echo "{complaint}" >&2; exit 1 ;; esac\nexit 0\n')
        hook.chmod(0o755)
