"""What a check found: how it stands, what follows from it, and what mends it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from keyturn.canon import Json

Level: TypeAlias = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the doctor's screen.

    check    what was looked at, one word
    level    "ok"; "warn": it works, and somebody should know; "fail": something does not work, or is open
    told     what was found
    follows  what comes of it; empty where that is plain
    mend     the command or the page that mends it; empty where there is nothing to mend
    """

    check: str
    level: Level
    told: str
    follows: str = ""
    mend: str = ""

    def to_json(self) -> dict[str, Json]:
        """Return it as `--json` prints it."""
        return {
            "check": self.check,
            "level": self.level,
            "told": self.told,
            "follows": self.follows,
            "mend": self.mend,
        }


def ok(check: str, told: str) -> Finding:
    """Return a finding that all is well."""
    return Finding(check=check, level="ok", told=told)


def warn(check: str, told: str, follows: str = "", mend: str = "") -> Finding:
    """Return a finding that somebody should know about."""
    return Finding(check=check, level="warn", told=told, follows=follows, mend=mend)


def fail(check: str, told: str, follows: str = "", mend: str = "") -> Finding:
    """Return a finding that something does not work or is open."""
    return Finding(check=check, level="fail", told=told, follows=follows, mend=mend)
