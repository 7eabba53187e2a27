"""What back ends under test get from outside."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from keyturn.connectors.world import World


def world_at(home: Path, environment: Mapping[str, str] | None = None, *, commands: bool = True) -> World:
    """Return the surroundings of back ends whose home is `home`; locks and caches lie in its `state` folder."""
    run = home / "state" / "run"
    run.mkdir(parents=True, exist_ok=True, mode=0o700)
    return World(
        home=home,
        run=run,
        cache=home / "state" / "cache",
        environment=environment or {},
        now=time.time,
        commands=commands,
    )
