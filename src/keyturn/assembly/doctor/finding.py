"""What a check found: how it stands, what follows from it, and what mends it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

from keyturn.canon import Json

Level: TypeAlias = Literal["ok", "warn", "fail"]
Check: TypeAlias = Literal[
    "python",
    "sqlite",
    "git",
    "openssh",
    "owner",
    "modes",
    "program",
    "account",
    "state",
    "space",
    "log key",
    "ledger",
    "clock",
    "start",
    "policy",
    "rules",
    "four eyes",
    "tokens",
    "suspended",
    "unknown",
    "processes",
    "anchors",
    "notices",
    "wiring",
    "back end",
]

GROUPS: Mapping[str, tuple[Check, ...]] = MappingProxyType(
    {
        "machine": ("python", "sqlite", "git", "openssh"),
        "home": ("owner", "modes", "program", "account", "state", "space", "log key"),
        "ledger": ("ledger", "clock", "start", "policy", "rules", "four eyes", "tokens", "suspended", "unknown"),
        "around": ("anchors", "processes", "notices", "wiring", "back end"),
    }
)
"""What belongs together on a short screen: each check stands in one group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the doctor's screen.

    check    what was looked at
    level    "ok"; "warn": it works, and somebody should know; "fail": something does not work, or is open
    told     what was found
    follows  what comes of it; empty where that is plain
    mend     the command or the page that mends it; empty where there is nothing to mend
    """

    check: Check
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


def ok(check: Check, told: str) -> Finding:
    """Return a finding that all is well."""
    return Finding(check=check, level="ok", told=told)


def warn(check: Check, told: str, follows: str = "", mend: str = "") -> Finding:
    """Return a finding that somebody should know about."""
    return Finding(check=check, level="warn", told=told, follows=follows, mend=mend)


def fail(check: Check, told: str, follows: str = "", mend: str = "") -> Finding:
    """Return a finding that something does not work or is open."""
    return Finding(check=check, level="fail", told=told, follows=follows, mend=mend)
