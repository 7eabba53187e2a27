"""What parts of a score look at, and what each of them says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from keyturn.policy.history import Past
from keyturn.policy.risk.credentials import Looked
from keyturn.policy.risk.settings import Settings

FULL = 100
_TOLD = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One planned request as parts see it.

    paths      of the files it touches, in the order of the plan
    unnamed    files that the plan counts and does not name
    looked     what its diff holds that looks like a credential; None where nobody asks
    """

    principal: str
    tool: str
    target: str
    paths: tuple[str, ...]
    unnamed: int
    files_changed: int
    lines_changed: int
    looked: Looked | None
    past: Past
    now: datetime


@dataclass(frozen=True, slots=True)
class Found:
    """How strongly a part speaks, from 0 to 100, and why."""

    level: int = 0
    because: tuple[str, ...] = ()


NOTHING = Found()

Part: TypeAlias = Callable[[Evidence, Settings], Found]


def share(count: int, full: int) -> int:
    """Return how much of `full` the count reaches, in percent, at most all of it."""
    return min(FULL, FULL * count // full)


def listed(names: list[str], what: str) -> str:
    """Return the first few names, with how many more there are."""
    more = f" and {len(names) - _TOLD} more" if len(names) > _TOLD else ""
    return f"{', '.join(names[:_TOLD])}{more} {what}"
