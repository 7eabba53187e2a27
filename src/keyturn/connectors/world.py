"""What a back end gets from outside: folders, environment, clock, and whether it may run programs for credentials."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The surroundings of every back end of one home. Built by `assembly` alone.

    home         paths in settings are relative to it
    run          locks and queues that all processes of the home share (`state/run`)
    cache        what may be thrown away at any time (`state/cache`); made by who needs it, for the owner alone
    environment  variables, without the assistant's token
    now          seconds since 1970, UTC
    commands     whether a credential may be fetched by running a program
    """

    home: Path
    run: Path
    cache: Path
    environment: Mapping[str, str] = field(repr=False)
    now: Callable[[], float]
    commands: bool
