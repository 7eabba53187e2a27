"""Reads the golden vectors for tests, without the code that made them."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from keyturn.log.chain import Head, follow, parse

FOLDER: Final = Path(__file__).parent
PUBLIC: Final = FOLDER / "public"


@dataclass(frozen=True)
class Stored:
    """One stored entry: exact body and signature, leaf in hex, field → (salt, bytes) of its payloads."""

    body: bytes
    signature: bytes
    leaf: str
    payloads: dict[str, tuple[bytes, bytes]]


def load(path: str) -> dict[str, Any]:
    """Return one vector file as JSON says it."""
    return dict(json.loads((FOLDER / path).read_text("utf-8")))


def stored(value: dict[str, Any]) -> Stored:
    """Read an entry as `chain.json` and `entries/` write it."""
    payloads = {
        name: (bytes.fromhex(item["salt"]), item["data"].encode()) for name, item in value["payloads"].items()
    }
    return Stored(value["body"].encode(), base64.b64decode(value["signature"]), value["leaf"], payloads)


def chain() -> list[Stored]:
    """Return the entries of the golden log."""
    return [stored(value) for value in load("chain.json")["entries"]]


def head_after(rows: list[Stored]) -> Head:
    """Follow these entries from the beginning."""
    head = Head()
    for seq, row in enumerate(rows):
        head = follow(head, parse(seq, row.body, row.signature))
    return head


def names(folder: str) -> list[str]:
    """Return the names of the vector files in a folder, without suffix."""
    return sorted(path.stem for path in (FOLDER / folder).glob("*.json"))
