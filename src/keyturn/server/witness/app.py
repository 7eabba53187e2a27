"""The web application of a witness: one path, a bounded body, and the answer of the service.

There is no authentication beyond the signature on the checkpoint, as the specification says.
"""

from __future__ import annotations

import logging

import anyio
import anyio.to_thread
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from keyturn.model.errors import LedgerError
from keyturn.witness.answering import MAX_BODY, Witness

BODY_SECONDS = 10.0  # a body of some kilobytes that takes longer is dripped on purpose
AT_ONCE = 16  # submissions that are judged or wait for the one before them

_log = logging.getLogger(__name__)


def build_app(witness: Witness) -> Starlette:
    """Return the application that serves a witness at `/add-checkpoint`."""
    limiter = anyio.CapacityLimiter(AT_ONCE)

    async def add_checkpoint(request: Request) -> Response:
        body = await _body(request)
        if body is None:
            return PlainTextResponse(f"at most {MAX_BODY} bytes within {BODY_SECONDS:g} seconds\n", 413)
        try:
            reply = await anyio.to_thread.run_sync(witness.add_checkpoint, body, limiter=limiter)
        except LedgerError as error:
            _log.error("%s", error)
            return PlainTextResponse("the witness cannot record what it sees; nothing is cosigned\n", 503)
        return Response(reply.body, reply.status, {"content-type": reply.content_type})

    return Starlette(routes=[Route("/add-checkpoint", add_checkpoint, methods=["POST"])])


async def _body(request: Request) -> bytes | None:
    """Return the body, or None when it is too long or takes too long to come."""
    data = bytearray()
    with anyio.move_on_after(BODY_SECONDS) as scope:
        try:
            async for part in request.stream():
                data += part
                if len(data) > MAX_BODY:
                    return None
        except ClientDisconnect:
            return None
    return None if scope.cancelled_caught else bytes(data)
