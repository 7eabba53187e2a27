"""Carries messages over this process's standard input and output, and nothing else over them.

While it serves, descriptor 0 is the null device and descriptor 1 is standard error: neither a stray print nor a
child process can reach the wire. Reading and writing can both be cancelled at any time.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import anyio
import anyio.lowlevel
import mcp_types as types
from anyio.abc import ObjectReceiveStream, ObjectSendStream
from mcp.server.lowlevel import Server
from mcp.shared.message import SessionMessage
from pydantic_core import PydanticSerializationError

from keyturn.server.lines import Lines, Unreadable, read_message

_CHUNK = 65_536
_PIECE = 4096  # a pipe that polls as writable takes so much (PIPE_BUF) without blocking

Sent = Callable[[types.JSONRPCMessage], None]
"""Called with each message once the client's side has it."""


@dataclass(frozen=True, slots=True)
class Wire:
    """The two descriptors of the connection."""

    source: int
    sink: int

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield what the client writes until it closes its side."""
        while chunk := await self._read():
            yield chunk

    async def write(self, data: bytes) -> None:
        """Write all of `data`; a client that does not read is waited for."""
        left = memoryview(data)
        while left:
            await _ready(anyio.wait_writable, self.sink)
            left = left[os.write(self.sink, left[:_PIECE]) :]

    async def _read(self) -> bytes:
        await _ready(anyio.wait_readable, self.source)
        return os.read(self.source, _CHUNK)


def claim_wire() -> Wire:
    """Take standard input and output for the wire, and put harmless things in their places."""
    source, sink = (fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 3) for number in (0, 1))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return Wire(source, sink)


async def serve(server: Server, wire: Wire, sent: Sent) -> None:
    """Serve one client until it closes its side or goes away."""
    inbox, arriving = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    outbox, leaving = anyio.create_memory_object_stream[SessionMessage](0)
    async with anyio.create_task_group() as tasks:

        async def deliver() -> None:
            try:
                await _deliver(wire, leaving, sent)
            except OSError:  # the client is gone: nobody is left to answer
                tasks.cancel_scope.cancel()

        tasks.start_soon(_collect, wire, inbox, outbox.clone())
        tasks.start_soon(deliver)
        await server.run(arriving, outbox, server.create_initialization_options())


async def _collect(
    wire: Wire, inbox: ObjectSendStream[SessionMessage | Exception], outbox: ObjectSendStream[SessionMessage]
) -> None:
    """Read lines; hand messages on, and answer what is none."""
    lines = Lines()
    async with inbox, outbox:
        async for chunk in wire.chunks():
            for line in lines.feed(chunk):
                message = line if isinstance(line, Unreadable) else read_message(line)
                if isinstance(message, Unreadable):
                    await outbox.send(SessionMessage(message.answer()))
                else:
                    await inbox.send(SessionMessage(message))


async def _deliver(wire: Wire, leaving: ObjectReceiveStream[SessionMessage], sent: Sent) -> None:
    async with leaving:
        async for item in leaving:
            await wire.write(encode(item.message))
            sent(item.message)


def encode(message: types.JSONRPCMessage) -> bytes:
    """Return a message as one line of UTF-8; half surrogate pairs, which UTF-8 cannot carry, become `?`."""
    try:
        return message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"
    except PydanticSerializationError:
        plain = message.model_dump(by_alias=True, exclude_unset=True)
        return json.dumps(plain, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


async def _ready(wait: Callable[[int], object], descriptor: int) -> None:
    try:
        await wait(descriptor)  # type: ignore[misc]  # anyio's wait_readable or wait_writable
    except OSError:  # a file or the null device cannot be waited for, and never blocks
        await anyio.lowlevel.checkpoint()
