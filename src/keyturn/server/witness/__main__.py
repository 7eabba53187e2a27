"""The witness program: `python -m keyturn.server.witness --folder PATH --http HOST:PORT`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import anyio

from keyturn.assembly.witness import open_witness
from keyturn.model.errors import ConfigurationError, LedgerError
from keyturn.server.http.listening import Listener, open_address
from keyturn.server.http.program import Web
from keyturn.server.signals import cancel_on_signal
from keyturn.server.witness.app import build_app
from keyturn.telemetry.speech import say, set_up
from keyturn.witness.answering import Witness

EVERYWHERE = ("*",)
"""A witness answers under any name: it reads signatures, never who asks."""


def main() -> int:
    """Serve until told to stop; return the exit code."""
    parser = argparse.ArgumentParser(prog="keyturn witness serve")
    parser.add_argument("--folder", required=True, type=Path)
    parser.add_argument("--http", required=True)
    given = parser.parse_args()
    set_up(program="keyturn witness")
    try:
        witness = open_witness(given.folder)
        listeners = open_address(given.http, EVERYWHERE)
        try:
            anyio.run(_serve, witness, listeners)
        finally:
            for listener in listeners:
                listener.close()
    except (ConfigurationError, LedgerError) as error:
        say(str(error))
        return 1
    return 0


async def _serve(witness: Witness, listeners: list[Listener]) -> None:
    web = Web(build_app(witness))

    async def stop_on_signal() -> None:
        with anyio.CancelScope() as scope:
            await cancel_on_signal(scope)
        web.should_exit = True

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stop_on_signal)
        for listener in listeners:
            say(f"witnessing on {listener.name.removesuffix('/mcp')}", event="server.listening")
        await web.serve([listener.socket for listener in listeners])
        tasks.cancel_scope.cancel()


if __name__ == "__main__":
    sys.exit(main())
