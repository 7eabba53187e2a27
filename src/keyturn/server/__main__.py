"""Serves one assistant over standard input and output, or many over HTTP: checks that it may, serves, and leaves in
order.

Exit codes: 0 when the client closed or a signal asked for it, 1 when the home does not let it serve or its ledger
cannot be trusted any more, 2 for usage, 4 for a token that does not count.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import suppress
from functools import partial

import anyio

from keyturn.assembly.build import check_consent, check_proposal_loads, open_gateway, work_waits
from keyturn.assembly.halting import note_suspensions
from keyturn.assembly.home import Home, find_home
from keyturn.assembly.notifier import tell_people
from keyturn.assembly.outside import presented_token
from keyturn.assembly.required import check_anchors
from keyturn.gateway.callers import authenticate
from keyturn.gateway.core import Gateway
from keyturn.gateway.refusals import flush_all
from keyturn.gateway.sweep import sweep
from keyturn.model.errors import ConfigurationError, LedgerError, Refused
from keyturn.server.fault import Fault
from keyturn.server.handlers import Handlers, Presented
from keyturn.server.identity import find_token
from keyturn.server.signals import cancel_on_signal
from keyturn.server.upkeep import start_workers
from keyturn.server.wire import Wire, claim_wire, serve
from keyturn.telemetry.speech import FORMS, place_of, say, set_up, tell

FAILURE = 1
NOT_AUTHENTICATED = 4


def main() -> int:
    """Run the program; return its exit code."""
    parser = argparse.ArgumentParser(prog="keyturn serve", description="Serve assistants over stdio or HTTP.")
    parser.add_argument("--home", metavar="DIR", help="the home (default: $KEYTURN_HOME, else the current folder)")
    parser.add_argument("--token-file", metavar="PATH", help="a 0600 file with the token (default: $KEYTURN_TOKEN)")
    parser.add_argument("--http", metavar="HOST:PORT", help="serve over HTTP on this address")
    parser.add_argument("--socket", metavar="PATH", help="serve over HTTP on this socket file")
    parser.add_argument("--log", choices=FORMS, default="text", help="how lines on standard error are written")
    parser.add_argument("--metrics", metavar="HOST:PORT", help="serve metrics here; with --http or --socket alone")
    options = parser.parse_args()
    over_http = options.http is not None or options.socket is not None
    if over_http and options.token_file is not None:
        parser.error("--token-file is for stdio; over HTTP each request brings its own token")
    if options.metrics is not None and not over_http:
        parser.error("--metrics is for --http and --socket; a server over stdio comes and goes with its client")
    _check_addresses(parser, options.http, options.metrics)
    set_up(options.log, "keyturn serve")
    tell("process.started", "the server starts")
    code = _run(options, over_http=over_http)
    tell("process.ended", "the server has ended", status=str(code))
    return code


def _check_addresses(parser: argparse.ArgumentParser, http: str | None, metrics: str | None) -> None:
    """End with exit code 2, as for other wrong usage, for what is no address."""
    try:
        if http is not None:
            from keyturn.server.http import listening  # noqa: PLC0415 - as in _serve_http

            listening.read_address(http)
        if metrics is not None:
            from keyturn.telemetry import listener  # noqa: PLC0415

            listener.read_address(metrics)
    except ConfigurationError as error:
        parser.error(str(error))


def _run(options: argparse.Namespace, *, over_http: bool) -> int:
    """Serve, and turn what keeps this from going on into lines and an exit code."""
    try:
        if over_http:
            _serve_http(options)
        else:
            _serve_home(options.home, options.token_file)
    except KeyboardInterrupt:  # before signals were listened to: nothing has begun
        return 0
    except ConfigurationError as error:
        for problem in error.problems:
            say(problem)
        return FAILURE
    except Refused as error:
        say(str(error))
        return NOT_AUTHENTICATED
    except LedgerError as error:
        say(str(error))
        return FAILURE
    except Exception as error:  # noqa: BLE001 - a traceback on stderr would end up in a host's logs, arguments and all
        say(f"internal error: {place_of(error)}")
        return FAILURE
    return 0


def _serve_http(options: argparse.Namespace) -> None:
    # Imported here: a stdio server has no use for a web server, and should start without loading one.
    from keyturn.server.http.program import serve_http  # noqa: PLC0415

    serve_http(find_home(options.home), options.http, options.socket, metrics=options.metrics)


def _serve_home(folder: str | None, token_file: str | None) -> None:
    token = find_token(token_file, presented_token())
    home = find_home(folder)
    gate = open_gateway(home, "keyturn serve")
    try:
        check_consent(gate)
        check_anchors(gate, home)
        if (differs := check_proposal_loads(gate, home)) is not None:
            say(differs)
        authenticate(gate, token, transport="stdio")
        gate.ledger.transact(sweep)  # also proves that the ledger can be written
        anyio.run(_until_over, gate, home, token, claim_wire())
    finally:
        with suppress(LedgerError):  # the fault is told already, or nothing is wrong but the disk
            flush_all(gate)
        gate.close()


async def _until_over(gate: Gateway, home: Home, token: str, wire: Wire) -> None:
    fault = Fault()
    handlers = Handlers(gate, lambda _: Presented(token, "stdio", ""), fault)
    server = handlers.build()
    async with anyio.create_task_group() as tasks:

        async def until_fault() -> None:
            await fault.ends()
            tasks.cancel_scope.cancel()

        tasks.start_soon(cancel_on_signal, tasks.cancel_scope)
        tasks.start_soon(until_fault)
        tasks.start_soon(note_suspensions, gate)
        tasks.start_soon(handlers.news.follow, gate)
        tasks.start_soon(start_workers, gate, partial(work_waits, gate, home), fault)
        tasks.start_soon(tell_people, home)
        await serve(server, wire, fault.sent)
        tasks.cancel_scope.cancel()
    if fault.error is not None:
        raise LedgerError(f"{fault.error}; the server ends here: look with `keyturn audit verify`") from fault.error


if __name__ == "__main__":
    sys.exit(main())
