"""Hands messages on between one client and one server, in the era each message belongs to.

What is known to have happened decides what is said and done. A request that was never sent may be asked again, and
its error says so. A request that was sent and not answered is answered with an error that says to look; it is never
sent a second time. A session that the server has forgotten (404) is opened again with the client's own `initialize`;
the request that was turned away with that 404 was not taken, so it alone is sent again. What a client had subscribed
to in a forgotten session is forgotten with it.

The SDK's client transport is not used: it ends with the first connection that fails.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeAlias

import anyio
import mcp_types as types
from anyio.abc import ObjectReceiveStream, ObjectSendStream, TaskGroup

from keyturn.server.bridge import answers
from keyturn.server.bridge.eras import Session, cancelled_id, modern_headers, modern_version, session_of
from keyturn.server.bridge.upstream import EVENTS, Answer, CutOffError, NotAnAnswerError, UnreachableError, Upstream
from keyturn.server.lines import Lines, Unreadable, read_message
from keyturn.server.wire import Wire, encode

OPEN = 64
"""Requests of the client that may be open; the next is refused."""

OPEN_BYTES = 64 * 1024 * 1024
"""Bytes that all open requests may hold together."""

LAST_WORDS = 1.0
"""Seconds that open requests still have when the client has closed its side: it waits about two before it kills."""

REOPENING = "keyturn-connect"
_LAST_WRITE = 0.3  # seconds for what is being written to a client that has closed its side
_LEAVING = 0.5  # seconds for telling the server that a session is over
_WAITS = (1.0, 2.0, 5.0, 10.0, 30.0)  # seconds before the unasked stream is tried again
_ONE_WAY = 10.0  # seconds for handing on what is not answered
_QUEUED = 64  # notifications and answers of the client that may wait to be handed on

Say: TypeAlias = Callable[[str], None]
_Asking: TypeAlias = types.JSONRPCRequest
_Sent: TypeAlias = tuple[types.JSONRPCMessage, bytes]


@dataclass(slots=True)
class _Open:
    """A request the client waits for."""

    modern: bool
    size: int
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class _Exchange:
    """What one POST brought: the message that answered it, and the session it named. `gone`: it was not taken."""

    answer: types.JSONRPCMessage | None = None
    session_id: str | None = None
    gone: bool = False


class Relay:
    """One client on a wire, one server upstream. `say` tells the operator when the server goes and comes."""

    def __init__(self, wire: Wire, upstream: Upstream, say: Say) -> None:
        self._wire = wire
        self._upstream = upstream
        self._say = say
        self._open: dict[types.RequestId, _Open] = {}
        self._session: Session | None = None
        self._opening = anyio.Lock()
        self._told = anyio.Event()  # unset while `notifications/initialized` is on its way: what follows it waits
        self._told.set()
        self._trouble: str | None = None
        self._outbox, self._leaving = anyio.create_memory_object_stream[types.JSONRPCMessage](0)
        self._queue, self._queued = anyio.create_memory_object_stream[_Sent](_QUEUED)

    async def run(self) -> None:
        """Hand messages on until the client closes its side or is gone."""
        try:
            async with anyio.create_task_group() as writing:
                writing.start_soon(self._deliver, writing, self._leaving)
                async with anyio.create_task_group() as besides:
                    besides.start_soon(self._pass_on, besides, self._queued)
                    async with anyio.create_task_group() as asked:
                        await self._read(asked, besides, self._queue)
                        asked.cancel_scope.deadline = anyio.current_time() + LAST_WORDS
                    besides.cancel_scope.cancel()
                self._outbox.close()  # ends the writing once the last answer is out
                writing.cancel_scope.deadline = anyio.current_time() + _LAST_WRITE
        finally:
            await self._leave()

    # --- the client's side ------------------------------------------------------------------------------------

    async def _read(self, asked: TaskGroup, besides: TaskGroup, queue: ObjectSendStream[_Sent]) -> None:
        lines = Lines()
        async for chunk in self._wire.chunks():
            for line in lines.feed(chunk):
                if isinstance(line, Unreadable):
                    await self._answer(line.answer())
                    continue
                match message := read_message(line):
                    case Unreadable():
                        await self._answer(message.answer())
                    case types.JSONRPCRequest():
                        await self._admit(asked, besides, message, line)
                    case types.JSONRPCNotification() if self._hangs_up(message):
                        pass
                    case _:
                        if _greets(message):
                            self._told = anyio.Event()
                        await queue.send((message, line))

    async def _admit(self, asked: TaskGroup, besides: TaskGroup, request: _Asking, line: bytes) -> None:
        held = sum(entry.size for entry in self._open.values())
        if request.id in self._open:
            await self._answer(answers.open_already(request))
        elif len(self._open) >= OPEN or held + len(line) > OPEN_BYTES:
            await self._answer(answers.too_many(request, len(self._open)))
        else:
            version = modern_version(request)
            self._open[request.id] = _Open(modern=version is not None, size=len(line))
            asked.start_soon(self._carry, besides, request, line, version)

    def _hangs_up(self, message: types.JSONRPCNotification) -> bool:
        """Take note of a cancellation; say whether that was all: in the modern era hanging up is how it is told."""
        wanted = cancelled_id(message)
        entry = None if wanted is None else self._open.get(wanted)
        if entry is None:
            return False
        entry.cancelled = True
        if entry.modern:
            entry.scope.cancel()
        return entry.modern

    async def _answer(self, message: types.JSONRPCMessage) -> None:
        await self._outbox.send(message)

    async def _deliver(self, writing: TaskGroup, leaving: ObjectReceiveStream[types.JSONRPCMessage]) -> None:
        """Write message by message, in a task that no single request can cancel in the middle of a line."""
        try:
            async for message in leaving:
                await self._wire.write(encode(message))
        except OSError:
            writing.cancel_scope.cancel()  # the client is gone: nobody is left to answer

    # --- requests ---------------------------------------------------------------------------------------------

    async def _carry(self, besides: TaskGroup, request: _Asking, line: bytes, version: str | None) -> None:
        """Take one request to its answer."""
        try:
            with self._open[request.id].scope:
                if version is not None:
                    await self._exchange(request, line, modern_headers(request, version))
                elif request.method == "initialize":
                    await self._open_session(request, line)
                else:
                    await self._told.wait()
                    await self._in_session(besides, request, line)
        finally:
            del self._open[request.id]

    async def _open_session(self, request: _Asking, line: bytes) -> None:
        self._session = None
        exchange = await self._exchange(request, line, {})
        self._session = session_of(request, exchange.answer, exchange.session_id)

    async def _in_session(self, besides: TaskGroup, request: _Asking, line: bytes) -> None:
        session = self._session
        exchange = await self._exchange(request, line, {} if session is None else session.headers)
        if not exchange.gone:
            return
        # It was turned away before anything was done with it, so it may be sent once more, in a new session.
        again = None if session is None else await self._reopened(besides, session, request)
        if again is not None and (await self._exchange(request, line, again.headers)).gone:
            await self._answer(answers.session_lost(request))

    async def _exchange(self, request: _Asking, line: bytes, headers: dict[str, str]) -> _Exchange:
        """Send a request and hand on all that answers it; whatever goes wrong is answered too."""
        try:
            async with self._upstream.post(line, headers) as answer:
                self._reached()
                return await self._hand_on(request, answer)
        except UnreachableError as error:
            self._unreached(str(error))
            await self._answer(answers.away(request, self._upstream.target, str(error)))
        except CutOffError as error:
            if not self._open[request.id].cancelled:  # what the client gave up needs no answer
                await self._answer(answers.broken(request, str(error)))
        except NotAnAnswerError as error:
            await self._answer(answers.not_understood(request, str(error)))
        return _Exchange()

    async def _hand_on(self, request: _Asking, answer: Answer) -> _Exchange:
        if answer.status == 404 and answer.in_session:
            return _Exchange(gone=True)
        if answer.status >= 300:
            return await self._hand_refusal_on(request, answer)
        async for message in answer.messages():
            final = _as_answer(request, message)
            await self._answer(final or message)
            if final is not None:
                return _Exchange(final, answer.session_id)
        if answer.kind == EVENTS:
            raise CutOffError("its answer ended too early")
        raise NotAnAnswerError(f"HTTP status {answer.status} without an answer")

    async def _hand_refusal_on(self, request: _Asking, answer: Answer) -> _Exchange:
        """Hand an error on in the server's own words where it has some; else say what its status means."""
        told = answers.refused(request, answer.status)
        try:
            async for message in answer.messages():
                if isinstance(message, types.JSONRPCError):
                    told = message.model_copy(update={"id": request.id})
        except (NotAnAnswerError, CutOffError):
            pass  # a page for people, perhaps of a proxy: its status is all there is to tell
        await self._answer(told)
        return _Exchange(told)

    # --- sessions of the older eras ---------------------------------------------------------------------------

    async def _reopened(self, besides: TaskGroup, lost: Session, request: _Asking) -> Session | None:
        """Return the session in the place of the one the server forgot; None when `request` was answered instead."""
        async with self._opening:
            if self._session is not lost:
                return self._session
            try:
                session = await self._greet_again(lost, request)
            except (UnreachableError, CutOffError, NotAnAnswerError) as error:
                self._unreached(str(error))
                await self._answer(answers.away(request, self._upstream.target, str(error)))
                return None
            if session is None:
                return None
            if session.version != lost.version:
                await self._answer(answers.session_lost(request))
                return None
            self._session = session
            besides.start_soon(self._listen, session)
            return session

    async def _greet_again(self, lost: Session, request: _Asking) -> Session | None:
        """Open a session as the client did; None when the server refuses, which answers `request`."""
        greeting = lost.greeting.model_copy(update={"id": REOPENING})
        async with self._upstream.post(encode(greeting), {}) as answer:
            if answer.status >= 300:
                await self._hand_refusal_on(request, answer)
                return None
            session = None
            async for message in answer.messages():
                session = session or session_of(lost.greeting, message, answer.session_id)
        if session is None:
            raise NotAnAnswerError("it opens no session")
        told = types.JSONRPCNotification(jsonrpc="2.0", method="notifications/initialized")
        async with self._upstream.post(encode(told), session.headers):
            return session

    async def _listen(self, session: Session) -> None:
        """Hand on what the server says unasked, for as long as the session lives."""
        failed = 0
        while self._session is session:
            try:
                async with self._upstream.listen(session.headers) as answer:
                    if 400 <= answer.status < 500 and answer.status not in {409, 429}:
                        return  # the session is forgotten (the next request finds out), or there is no such stream
                    async for message in answer.messages():
                        failed = 0
                        await self._answer(message)
            except (UnreachableError, CutOffError, NotAnAnswerError):
                pass  # tried again below; what is wrong is told by requests
            await anyio.sleep(_WAITS[min(failed, len(_WAITS) - 1)])
            failed += 1

    async def _leave(self) -> None:
        session, self._session = self._session, None
        with anyio.move_on_after(_LEAVING, shield=True):
            if session is not None and session.id is not None:
                with suppress(UnreachableError, CutOffError):  # it forgets the session by itself after a while
                    await self._upstream.leave(session.headers)
            await self._upstream.close()
        for stream in (self._outbox, self._leaving, self._queue, self._queued):
            stream.close()

    # --- notifications and answers of the client --------------------------------------------------------------

    async def _pass_on(self, besides: TaskGroup, queued: ObjectReceiveStream[_Sent]) -> None:
        """Hand on, in order, what is not answered."""
        async for message, line in queued:
            session = self._session
            try:
                with anyio.move_on_after(_ONE_WAY):
                    await self._post_one_way(message, line, session)
            except (UnreachableError, CutOffError) as error:
                self._unreached(str(error))
            if _greets(message):
                self._told.set()
                if session is not None:
                    besides.start_soon(self._listen, session)

    async def _post_one_way(self, message: types.JSONRPCMessage, line: bytes, session: Session | None) -> None:
        version = modern_version(message)
        if version is not None and isinstance(message, types.JSONRPCNotification):
            headers = modern_headers(message, version)
        elif session is not None:
            headers = session.headers
        else:
            return  # it belongs to no session: a late cancellation of the modern era, say
        async with self._upstream.post(line, headers):
            self._reached()

    # --- what the operator reads ------------------------------------------------------------------------------

    def _unreached(self, why: str) -> None:
        if self._trouble != why:
            self._say(f"Keyturn cannot be reached at {self._upstream.target}: {why}")
        self._trouble = why

    def _reached(self) -> None:
        if self._trouble is not None:
            self._say(f"Keyturn is reached again at {self._upstream.target}")
        self._trouble = None


def _greets(message: types.JSONRPCMessage) -> bool:
    return isinstance(message, types.JSONRPCNotification) and message.method == "notifications/initialized"


def _as_answer(request: _Asking, message: types.JSONRPCMessage) -> types.JSONRPCMessage | None:
    """Return a message that answers the request, with its id; None for one that goes before the answer."""
    match message:
        case types.JSONRPCResponse(id=answered) if answered == request.id:
            return message
        case types.JSONRPCError(id=answered) if answered in {None, request.id}:
            return message.model_copy(update={"id": request.id})
        case types.JSONRPCResponse() | types.JSONRPCError():
            raise NotAnAnswerError("it answers another request")
    return None
