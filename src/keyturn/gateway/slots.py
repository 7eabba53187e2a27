"""Slots that hold over all processes of a home: files in one folder, each locked (flock) by whoever has the slot.

A process that dies lets go of its slots. How many slots a name has is up to who takes one.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

_WAITING = "waiting"  # the file that processes with waiting calls hold a shared lock on
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


class Slots:
    """The slots of one home, in `folder`, which is made when a slot is wanted and it is not there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def place(self) -> str:
        """The folder as people know it: where it lies in the home."""
        return "/".join(self._folder.parts[-3:])

    def take(self, wanted: Mapping[str, int], busy: dict[str, int] | None = None) -> list[int] | None:
        """Take a slot of each name that has as many as said; None, and nothing taken, when one has none free.

        Returns the open files; `give_back` ends it. `busy` keeps, from one take of a look to the next, how many of
        the first slots of a name are taken: no file is opened twice to find that out. Raises `OSError` when a file
        cannot be had.
        """
        passed = {} if busy is None else busy
        if any(passed.get(name, 0) >= most for name, most in wanted.items()):
            return None
        taken: dict[str, int] = {}
        try:
            for name, most in wanted.items():
                slot = self._one(name, most, passed)
                if slot is None:
                    break
                taken[name] = slot
            else:
                return list(taken.values())
        except BaseException:
            give_back(taken.values())
            raise
        give_back(taken.values())
        for name in taken:
            passed[name] -= 1
        return None

    def _one(self, name: str, most: int, passed: dict[str, int]) -> int | None:
        stem = hashlib.sha256(name.encode()).hexdigest()[:32]
        for number in range(passed.get(name, 0), most):
            slot = self._locked(f"{stem}.{number}", fcntl.LOCK_EX)
            passed[name] = number + 1
            if slot is not None:
                return slot
        return None

    def full(self, name: str, most: int) -> bool:
        """Say whether a name has no slot free at this moment."""
        found = self.take({name: most})
        give_back(found or ())
        return found is None

    def waiting(self) -> int | None:
        """Let the other processes see that calls wait here, until the file returned is closed.

        None when one of them looks at this very moment: say it again.
        """
        return self._locked(_WAITING, fcntl.LOCK_SH)

    def others_wait(self) -> bool:
        """Say whether calls wait in another process. Where this one says `waiting` too, it has to stop before."""
        alone = self._locked(_WAITING, fcntl.LOCK_EX)
        give_back(() if alone is None else (alone,))
        return alone is None

    def _locked(self, name: str, how: int) -> int | None:
        slot = self._opened(name)
        try:
            fcntl.flock(slot, how | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(slot)
            return None
        except BaseException:
            os.close(slot)
            raise
        return slot

    def _opened(self, name: str) -> int:
        path = self._folder / name
        try:
            return os.open(path, _FLAGS, 0o600)
        except FileNotFoundError:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            return os.open(path, _FLAGS, 0o600)


def give_back(taken: Iterable[int]) -> None:
    """Let go of slots."""
    for slot in taken:
        os.close(slot)
