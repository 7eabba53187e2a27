"""Slots that hold over all processes of a home: files in one folder, each locked (flock) by whoever has the slot.

A process that dies lets go of its slots. How many slots a name has is up to who takes one.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


class Slots:
    """The slots of one home, in `folder`, which is made when the first is taken."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def take(self, wanted: Mapping[str, int]) -> list[int] | None:
        """Take a slot of each name that has as many as said; None, and nothing taken, when one has none free.

        Returns the open files; `give_back` ends it. Raises `OSError` when a file cannot be had.
        """
        self._folder.mkdir(mode=0o700, exist_ok=True)
        taken: list[int] = []
        try:
            for name, most in wanted.items():
                slot = self._one(name, most)
                if slot is None:
                    give_back(taken)
                    return None
                taken.append(slot)
        except BaseException:
            give_back(taken)
            raise
        return taken

    def _one(self, name: str, most: int) -> int | None:
        stem = hashlib.sha256(name.encode()).hexdigest()[:32]
        for number in range(most):
            slot = os.open(self._folder / f"{stem}.{number}", _FLAGS, 0o600)
            try:
                fcntl.flock(slot, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(slot)
            except BaseException:
                os.close(slot)
                raise
            else:
                return slot
        return None


def give_back(taken: list[int]) -> None:
    """Let go of slots."""
    for slot in taken:
        os.close(slot)
