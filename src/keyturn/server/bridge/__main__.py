"""Serves one client over standard input and output by handing everything on to a Keyturn that runs elsewhere.

It needs no home. Exit codes: 0 when the client closed or a signal asked for it, 1 for a fault of its own, 2 for
usage, 4 without a token.
"""

from __future__ import annotations

import argparse
import sys

import anyio

from keyturn.assembly.outside import presented_token
from keyturn.model.errors import ConfigurationError, Refused
from keyturn.server.bridge.relay import Relay
from keyturn.server.bridge.target import Target, read_target
from keyturn.server.bridge.upstream import Upstream
from keyturn.server.identity import find_token
from keyturn.server.signals import cancel_on_signal
from keyturn.server.wire import Wire, claim_wire
from keyturn.telemetry.speech import place_of, say, set_up

FAILURE = 1
USAGE = 2
NOT_AUTHENTICATED = 4


def main() -> int:
    """Run the program; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m keyturn.server.bridge", description="Lead a client to a server.")
    parser.add_argument("target", metavar="URL|unix:PATH", help="where Keyturn listens; the path is /mcp by default")
    parser.add_argument("--token-file", metavar="PATH", help="a 0600 file with the token (default: $KEYTURN_TOKEN)")
    options = parser.parse_args()
    set_up()
    try:
        target = read_target(options.target)
        token = find_token(options.token_file, presented_token())
        anyio.run(_until_over, target, token, claim_wire())
    except ConfigurationError as error:
        say(str(error))
        return USAGE
    except Refused as error:
        say(str(error))
        return NOT_AUTHENTICATED
    except Exception as error:  # noqa: BLE001 - a traceback on stderr would end up in a host's logs, arguments and all
        say(f"internal error: {place_of(error)}")
        return FAILURE
    return 0


async def _until_over(target: Target, token: str, wire: Wire) -> None:
    relay = Relay(wire, Upstream(target, token), say)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(cancel_on_signal, tasks.cancel_scope)
        await relay.run()
        tasks.cancel_scope.cancel()


if __name__ == "__main__":
    sys.exit(main())
