"""HTTP/1.1 as uvicorn speaks it, with the limits it lacks: nobody keeps a connection by being slow, or the others by
sending much.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from keyturn.server.http.limits import LIMITS, Limits

AT_A_TIME = 16 * 1024  # bytes read before it is the next connection's turn
UNHEARD = 256 * 1024  # bytes of a body that are still taken once its request is answered
CRUMBS = 1024  # chunks of any size in one body; beyond them they have `CHUNK` bytes each, on average
CHUNK = 1024


class Deadlined(H11Protocol, asyncio.BufferedProtocol):
    """A connection that is dropped when a request takes too long to come, or an answer to be read.

    The times run from a request's first byte: sending one byte now and then does not extend them. It reads little at
    a time, so that one connection that is never silent leaves the others their turns.
    """

    limits = Limits()

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.conn = _Connection(self.config.h11_max_incomplete_event_size)
        self._buffer = bytearray(AT_A_TIME)
        self._unheard = 0
        self.made = 0.0
        self._reading: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None
        self._admitted = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Take a connection, or drop it when there are too many that do something."""
        if len(self.connections) >= self.limits.connections and not self._make_room():
            transport.abort()
            return
        self._admitted = True
        self.made = self.loop.time()
        super().connection_made(transport)
        self._reading = self.loop.call_later(self.limits.header_seconds, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection and its times."""
        for timer in (self._reading, self._writing):
            if timer is not None:
                timer.cancel()
        if self._admitted:
            super().connection_lost(exc)

    def get_buffer(self, sizehint: int) -> bytearray:
        """Say where the next bytes go."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take the bytes that came."""
        self.data_received(bytes(memoryview(self._buffer)[:nbytes]))

    def data_received(self, data: bytes) -> None:
        """Take bytes; a client that breaks the protocol in an answer, or does not end after it, is dropped."""
        before = self.conn.their_state
        if self.idle and before is h11.SEND_BODY:
            self._unheard += len(data)
            if self._unheard > UNHEARD:
                self.transport.abort()
                return
        try:
            super().data_received(data)
        except h11.LocalProtocolError:
            self.transport.abort()
            return
        self._set_time(before)

    def on_response_complete(self) -> None:
        """Go on with the next request, which may be here already."""
        super().on_response_complete()
        self._set_time(h11.DONE)

    def pause_writing(self) -> None:
        """The client does not read what it is sent."""
        super().pause_writing()
        self._writing = self.loop.call_later(self.limits.stalled_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has read on."""
        super().resume_writing()
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None

    @property
    def idle(self) -> bool:
        """Whether no request is being served."""
        cycle = cast("RequestResponseCycle | None", self.cycle)  # none before the first request
        return cycle is None or cycle.response_complete

    def _set_time(self, before: object) -> None:
        """Keep the clock that fits what is awaited: a request's headers, its body, or nothing."""
        now = self.conn.their_state
        begun = bool(self.conn.trailing_data[0]) if now is h11.IDLE else False
        if now is not h11.SEND_BODY:
            self._unheard = 0
        if now is h11.SEND_BODY:
            if before is not h11.SEND_BODY:
                self._start(self.limits.request_seconds)
        elif now is h11.IDLE and begun:
            if before is not h11.IDLE or self._reading is None:
                self._start(self.limits.header_seconds)
        else:
            self._stop()

    def _start(self, seconds: float) -> None:
        self._stop()
        self._reading = self.loop.call_later(seconds, self.transport.abort)

    def _stop(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def _make_room(self) -> bool:
        """Close the oldest connection on which nothing is being served; say whether there was one."""
        idle = [one for one in cast("set[Deadlined]", self.connections) if one.idle]
        if not idle:
            return False
        oldest = min(idle, key=lambda one: one.made)
        self.connections.discard(oldest)
        oldest.transport.abort()
        return True


class _Connection(h11.Connection):
    """Takes no body in crumbs: reading a chunk takes as long as reading a kilobyte, however little is in it."""

    def __init__(self, most_unfinished: int | None) -> None:
        super().__init__(h11.SERVER, most_unfinished or LIMITS.header_bytes)
        self._chunks = self._taken = 0

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """Return what comes next. Raises `h11.RemoteProtocolError` for what is no HTTP, and for crumbs."""
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._chunks = self._taken = 0
        elif isinstance(event, h11.Data):
            self._chunks += event.chunk_start
            self._taken += len(event.data)
            if self._chunks > CRUMBS + self._taken // CHUNK:
                raise h11.RemoteProtocolError("the chunks of a body are too small")
        return event


def protocol_with(limits: Limits) -> type[Deadlined]:
    """Return the protocol with these limits: uvicorn makes one object of it for each connection."""
    return type("Deadlined", (Deadlined,), {"limits": limits})
