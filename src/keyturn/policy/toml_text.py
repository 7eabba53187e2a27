"""Turns a TOML text into plain tables under bounds that hold for hostile texts too."""

from __future__ import annotations

import tomllib

from keyturn.policy.patterns import Pattern
from keyturn.policy.problems import Problems
from keyturn.policy.shown import plain

LARGEST = 1024 * 1024
DEEPEST = 16
# The standard parser needs time that grows with the square of a dotted key's length, so long ones never reach it.
_KEY = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')[ \t]*\.[ \t]*"""
_LONG_KEY = Pattern(f"(?:{_KEY}){{{DEEPEST}}}")


def read_toml(text: str, name: str, problems: Problems) -> dict[str, object] | None:
    """Parse `text`; None after recording the problem (size, encoding, syntax with its line, depth)."""
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError as error:
        problems.add(name, f"is not valid Unicode at character {error.start}")
        return None
    if size > LARGEST:
        problems.add(name, f"has {size} bytes; at most {LARGEST} are read")
        return None
    for number, line in enumerate(text.split("\n"), 1):
        if _LONG_KEY.found_in(line):
            problems.add(name, f"line {number}: a dotted key of more than {DEEPEST} parts")
            return None
    try:
        value: dict[str, object] = tomllib.loads(text)
    except RecursionError:
        problems.add(name, f"is nested deeper than {DEEPEST}")
    except ValueError as error:
        problems.add(name, f"is not TOML: {plain(str(error))[:200]}")
    else:
        if not _too_deep(value):
            return value
        problems.add(name, f"is nested deeper than {DEEPEST}")
    return None


def _too_deep(value: object) -> bool:
    """Walk level by level, without recursion."""
    level: list[object] = [value]
    for _ in range(DEEPEST + 1):
        following: list[object] = []
        for item in level:
            if isinstance(item, dict):
                following.extend(item.values())
            elif isinstance(item, list):
                following.extend(item)
        if not following:
            return False
        level = following
    return True
