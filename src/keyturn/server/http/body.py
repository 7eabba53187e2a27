"""Reads the body of a request, no more of it and no longer than allowed, and proves that it is one message."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import anyio
import mcp_types as types
from starlette.types import Message, Receive, Scope

from keyturn.server.http.door import header
from keyturn.server.http.limits import Limits
from keyturn.server.http.reply import TOO_LONG, TOO_SLOW, Reply, refusal
from keyturn.server.lines import Unreadable, read_message, values_in
from keyturn.server.turns import Share

VALUE_BYTES = 250
"""What a value takes in memory on its way through, beside its text: it counts as held by the call."""


@dataclass(frozen=True, slots=True)
class Body:
    """A request's whole body: the message it is, and a `receive` from which it can be read again."""

    message: types.JSONRPCMessage
    again: Receive


async def read_body(scope: Scope, receive: Receive, limits: Limits, share: Share) -> Body | Reply | None:
    """Read the body; None when the client went away. Raises `TooMany` when its principal holds too much already."""
    declared = header(scope, b"content-length")
    if declared and declared[0].isdecimal() and int(declared[0]) > limits.body_bytes:
        return TOO_LONG
    read: bytes | Reply | None = TOO_SLOW
    with anyio.move_on_after(limits.request_seconds):
        read = await _collect(receive, limits.body_bytes, share)
    if not isinstance(read, bytes):
        return read
    share.hold(VALUE_BYTES * values_in(read))
    message = read_message(read)
    if isinstance(message, Unreadable):
        answer = message.answer()
        return refusal(400, answer.error.message, code=message.code).to(message.id)
    return Body(message, _once_more(read, receive))


async def _collect(receive: Receive, most: int, share: Share) -> bytes | Reply | None:
    whole = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        piece: bytes = message.get("body", b"")
        if len(whole) + len(piece) > most:
            return TOO_LONG
        share.hold(len(piece))
        whole += piece
        if not message.get("more_body", False):
            return bytes(whole)


def _once_more(whole: bytes, receive: Receive) -> Receive:
    """Return a `receive` that yields the body once and then what the connection says."""
    first: deque[Message] = deque([{"type": "http.request", "body": whole, "more_body": False}])

    async def again() -> Message:
        return first.popleft() if first else await receive()

    return again
