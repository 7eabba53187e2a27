"""`keyturn witness serve`: answers logs over HTTP, as a program of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click


@click.command("serve", short_help="Serve a witness over HTTP.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--http", required=True, metavar="HOST:PORT", help="Serve on this address, at /add-checkpoint.")
def command(*, folder: Path, http: str) -> None:
    """Serve a witness (C2SP tlog-witness). It needs no TLS: what it reads and gives out is signed."""
    arguments = [sys.executable, "-P", "-m", "keyturn.server.witness", "--folder", str(folder), "--http", http]
    os.execv(sys.executable, arguments)
