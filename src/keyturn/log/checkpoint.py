"""Checkpoints: the text of a signed note that says which log had which size and which root.

Source: C2SP tlog-checkpoint. Integers are canonical decimals, the root is a SHA-256 hash in strict base64.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from keyturn.log.lines import read_decimal, read_hash
from keyturn.log.note import NoteError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The head of a tree: origin, number of leaves, root (32 bytes), and further lines that mean nothing here."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """Return the note's text."""
        lines = (self.origin, str(self.size), base64.b64encode(self.root).decode("ascii"), *self.extensions)
        return "".join(f"{line}\n" for line in lines)


def parse_checkpoint(text: str) -> Checkpoint:
    """Read a checkpoint from the text of a note. Raises `NoteError` naming the line that is wrong."""
    *lines, rest = text.split("\n")
    if rest or len(lines) < 3:
        raise NoteError("a checkpoint has an origin, a size and a root, each on a line of its own")
    origin, size, root, *extensions = lines
    if not origin or "" in extensions:
        raise NoteError("a line of the checkpoint is empty")
    return Checkpoint(origin, _read(2, read_decimal, size), _read(3, read_hash, root), tuple(extensions))


def _read(line: int, reader: Callable[[str], T], text: str) -> T:
    try:
        return reader(text)
    except ValueError as error:
        raise NoteError(f"line {line} of the checkpoint: {error}") from error
