"""The contract files of this repository, and a validator that reads `$` as ECMA-262 does."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, ValidationError, validators

FOLDER = Path(__file__).parents[2] / "tool_schemas"
FILES = sorted(path for path in FOLDER.glob("*.v*.json") if not path.name.startswith("envelope."))
TOOLS = [path.name.split(".")[0] for path in FILES]


def load(name: str) -> Any:
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


def document(tool: str) -> Any:
    return load(f"{tool}.v1.json")


def _pattern(_: Any, pattern: str, instance: object, __: object) -> Iterator[ValidationError]:
    ends_there = re.sub(r"\$$", r"\\Z", pattern)  # Python's `$` also stands before a last newline
    if isinstance(instance, str) and not re.search(ends_there, instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


_extend: Callable[..., Any] = validators.extend
_make = _extend(Draft202012Validator, {"pattern": _pattern})


def accepts(schema: Any, value: object) -> bool:
    return bool(_make(schema).is_valid(value))
