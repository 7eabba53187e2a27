"""The throw-away copy of a remote: a bare repository in the cache, one per URL, used by one process at a time.

It saves fetching again what was fetched before, and proves nothing: refs are asked of the remote each time, and every
object is known by its id. Whoever finds it missing, damaged or grown too large makes it anew.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from keyturn.connectors.forge.process import Git
from keyturn.model.errors import ConnectorError

MOST_PACKS = 300
"""Packs after which the copy is made anew: each fetch adds one, and nothing ever collects them."""
_LOOK = 0.02  # seconds between two looks whether the copy is free
_READY = "keyturn-ready"
_SAID = "keyturn-said"


@dataclass(frozen=True, slots=True)
class Mirror:
    """The copy of one remote, which `git` works on; `patience` is the seconds that one waits for another process."""

    git: Git
    patience: float

    @contextmanager
    def held(self) -> Iterator[None]:
        """Have the copy for oneself, made if it is not there. Raises `ConnectorError` (retry) when others have it."""
        folder = self.git.folder
        try:
            folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(f"{folder}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise ConnectorError(f"the cache cannot be used: {error.strerror}", kind="retry") from None
        try:
            self._wait(descriptor)
            if not (folder / _READY).exists() or self._packs() > MOST_PACKS:
                self.renew(40)
            yield
        finally:
            os.close(descriptor)

    def renew(self, width: int) -> None:
        """Make an empty copy in place of what is there; `width` is the length of the remote's object ids."""
        folder = self.git.folder
        algorithm = "sha256" if width == 64 else "sha1"
        try:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise ConnectorError(f"the cache cannot be used: {error.strerror}", kind="retry") from None
        self.git.run("init", "--quiet", "--bare", "--template=", f"--object-format={algorithm}")
        self.git.run("config", "fetch.unpackLimit", "1")  # one pack for each fetch, which can be counted
        self.nothing.mkdir(mode=0o700)
        (folder / _READY).touch()

    def keep_word(self, now: float, words: str) -> None:
        """Keep what the server said that it will not do, for other processes; lost with the copy."""
        (self.git.folder / _SAID).write_text(f"{now:.0f} {words}", "utf-8")

    def word(self, since: float) -> str:
        """Return what was kept at `since` (seconds since 1970) or later, "" where nothing was."""
        try:
            at, _, words = (self.git.folder / _SAID).read_text("utf-8").partition(" ")
            return words if float(at) >= since else ""
        except (OSError, ValueError):
            return ""

    @property
    def nothing(self) -> Path:
        """An empty folder."""
        return self.git.folder / "keyturn-nothing"

    def _wait(self, descriptor: int) -> None:
        until = time.monotonic() + self.patience
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until:
                    raise ConnectorError("others are using the copy of this remote", kind="retry") from None
                time.sleep(_LOOK)
            else:
                return

    def _packs(self) -> int:
        packs = self.git.folder / "objects" / "pack"
        return sum(1 for _ in packs.glob("*.pack"))


def folder_of(cache: Path, location: str) -> Path:
    """Return the folder of a remote's copy, named by its URL with the user name."""
    return cache.absolute() / "git-remote" / hashlib.sha256(location.encode()).hexdigest()[:32]
