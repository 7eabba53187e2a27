"""What a back end finds out about itself when it is asked: who we are there, what we may do, what is missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, runtime_checkable

Level: TypeAlias = Literal["ok", "note", "wrong"]
"""`ok`: as it has to be; `note`: works, and worth knowing; `wrong`: some tool will fail."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: what was found, in words, and what mends it ("" where nothing is to be done)."""

    level: Level
    text: str
    advice: str = ""


@runtime_checkable
class Checkable(Protocol):
    """A back end that can look at itself."""

    async def check(self) -> tuple[Finding, ...]:
        """Look, by reads alone. What is wrong is a finding, never an exception, and never holds a secret."""
        ...
