"""Programs that change something through a door, to race for the turn: PORT HOME SECONDS-OF-PAUSE COUNT."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import anyio

from keyturn.connectors.http import Connection, Door, Nobody
from tests.connectors.surroundings import world_at

ROOT = Path(__file__).resolve().parents[3]


def start(port: int, home: Path, pause: float, count: int) -> subprocess.Popen[bytes]:
    """Start one; it says a line when it is ready, and begins when it hears one."""
    return subprocess.Popen(
        [sys.executable, "-m", __name__, str(port), str(home), str(pause), str(count)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


async def run(port: str, home: str, pause: str, count: str) -> None:
    """Change something so many times."""
    connection = Connection(url=f"http://127.0.0.1:{port}", private=True, pause=float(pause))
    door = Door(place="forge.shop", connection=connection, world=world_at(Path(home)), authority=Nobody())
    print("ready", flush=True)  # noqa: T201 - said to who started it
    sys.stdin.readline()
    for _ in range(int(count)):
        await door.change("POST", "/x", body={})


if __name__ == "__main__":
    anyio.run(partial(run, *sys.argv[1:]))
