"""Progress: what an effect says of itself while it runs, for those who wait for it; never in the ledger.

Each executor keeps what its effects said last in one small file beside its lock, replaced as a whole at most once a
second, so that who waits in another process can read it. It proves nothing, and it may be missing.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from keyturn.model.text import visible

WRITE_EVERY = 1.0
MAX_TEXT = 200
_MAX_FILE = 64 * 1024


class Progress:
    """What runs in this process says, and what others' files say. Without a folder only this process hears it."""

    def __init__(self, run: Path | None = None) -> None:
        self._run = run
        self._turn = threading.Lock()
        self._said: dict[str, dict[str, str]] = {}
        self._written: dict[str, float] = {}

    def reporter(self, instance: str, action: str) -> Callable[[str], None]:
        """Return what an effect tells its progress to: a few words, from whichever thread. It never fails."""

        def say(text: str) -> None:
            with self._turn:
                self._said.setdefault(instance, {})[action] = visible(text[:MAX_TEXT])
                self._write(instance)

        return say

    def end(self, instance: str, action: str) -> None:
        """Forget what an effect said: it is over."""
        with self._turn:
            said = self._said.get(instance)
            if said is None or said.pop(action, None) is None:
                return
            if not said:
                del self._said[instance]
            self._written.pop(instance, None)
            self._write(instance)

    def forget(self, instance: str) -> None:
        """Remove what a dead executor left."""
        if self._run is not None:
            with suppress(OSError):
                self._path(self._run, instance).unlink(missing_ok=True)

    def read(self, instance: str, action: str) -> str | None:
        """Return what the effect of an action said last to its executor, or None."""
        with self._turn:
            if instance in self._said:
                return self._said[instance].get(action)
        said = self._read(instance)
        text = said.get(action) if isinstance(said, dict) else None
        return visible(text[:MAX_TEXT]) if isinstance(text, str) else None

    def _read(self, instance: str) -> object:
        if self._run is None:
            return None
        try:
            with self._path(self._run, instance).open("rb") as file:
                return json.loads(file.read(_MAX_FILE))
        except (OSError, ValueError, RecursionError):
            return None

    def _write(self, instance: str) -> None:
        now = time.monotonic()
        if self._run is None or now - self._written.get(instance, -WRITE_EVERY) < WRITE_EVERY:
            return
        path = self._path(self._run, instance)
        with suppress(OSError):  # a full disk: those in other processes hear of the end alone
            if instance not in self._said:
                path.unlink(missing_ok=True)
                return
            self._written[instance] = now
            fresh = path.with_suffix(".progress.new")
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                json.dump(self._said[instance], file)
            fresh.replace(path)

    @staticmethod
    def _path(run: Path, instance: str) -> Path:
        return run / f"{instance}.progress"
