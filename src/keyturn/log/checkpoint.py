"""Checkpoints: the text of a signed note that says which log had which size and which root.

Source: C2SP tlog-checkpoint. Integers are canonical decimals, the root is a SHA-256 hash in strict base64.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from keyturn.log.note import NoteError
from keyturn.log.tree import HASH_BYTES

MAX_SIZE = 2**63 - 1
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


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
    if not _SIZE.fullmatch(size) or int(size) > MAX_SIZE:
        raise NoteError("line 2 of the checkpoint is not a size in plain decimals")
    return Checkpoint(origin, int(size), _root(root), tuple(extensions))


def _root(text: str) -> bytes:
    try:
        root = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise NoteError(f"line 3 of the checkpoint is not base64 ({error})") from error
    if len(root) != HASH_BYTES or base64.b64encode(root).decode("ascii") != text:
        raise NoteError(f"line 3 of the checkpoint is not {HASH_BYTES} bytes in canonical base64")
    return root
