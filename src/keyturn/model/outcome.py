"""What came of an action: outcomes of execution and answers of probes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from keyturn.canon import Json


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The effect happened and was read back; `result` is what the assistant is told."""

    result: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failed:
    """It did not come out as asked; `effect` says whether anything was changed all the same."""

    reason: str
    effect: bool = False
    result: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stale:
    """The world is not the one that was reviewed; nothing was done.

    `moved` names the facts that differ, or says in sentences what does.
    """

    moved: tuple[str, ...]


def differing(seen: Mapping[str, Json], reviewed: Mapping[str, Json]) -> tuple[str, ...]:
    """Name the facts that are not as they were reviewed, sorted: what `Stale` holds; one that is missing counts."""
    return tuple(name for name in sorted(seen.keys() | reviewed.keys()) if seen.get(name) != reviewed.get(name))


@dataclass(frozen=True, slots=True)
class Unknown:
    """It may or may not have happened; only a probe or an operator's signed word settles it."""

    reason: str


Outcome: TypeAlias = Succeeded | Failed | Stale | Unknown


@dataclass(frozen=True, slots=True)
class Happened:
    """The probe found the action's marker: the effect is there.

    `shortfall` says what is wrong with it all the same (a health check that did not pass), or is None.
    """

    result: Mapping[str, Json] = field(default_factory=dict)
    shortfall: str | None = None


@dataclass(frozen=True, slots=True)
class CannotHappen:
    """The probe proved, or made sure by a fence, that the effect neither happened nor can happen any more."""

    reason: str


@dataclass(frozen=True, slots=True)
class CannotTell:
    """The probe could not settle it."""

    reason: str


Probe: TypeAlias = Happened | CannotHappen | CannotTell
