"""The ASGI application: every request is checked, proved, bounded and counted before MCP sees it.

In this order, so that what costs little comes first and nothing is read from whoever may not be here:

1. Host, Origin, path, method, query (`door`);
2. `/healthz` and `/readyz`, which tell no more than one word;
3. the bearer token, against the ledger (`credentials`);
4. whether the principal has too much open (`turns`);
5. the body, bounded in size and time, and one JSON-RPC message (`body`);
6. whether the server is leaving and takes no more calls, and room for a session, where one is opened (`sessions`).
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio
import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.types import Message, Receive, Scope, Send

from keyturn.gateway.core import Gateway
from keyturn.ledger.errors import LedgerUnavailable
from keyturn.model.errors import LedgerError
from keyturn.model.principal import Caller
from keyturn.server.fault import Fault
from keyturn.server.handlers import Handlers, Presented
from keyturn.server.http import reply
from keyturn.server.http.body import Body, read_body
from keyturn.server.http.credentials import Counts, as_user, fallen, prove, token_of
from keyturn.server.http.door import MCP, Door, header, make_door
from keyturn.server.http.limits import LIMITS, Limits
from keyturn.server.http.readiness import Readiness
from keyturn.server.http.reply import Reply
from keyturn.server.http.sessions import NoRoom, Sessions
from keyturn.server.leaving import Leaving
from keyturn.server.turns import Shares, TooMany
from keyturn.telemetry.speech import place_of

AT_ONCE = 16
"""Calls of one principal worked on at the same time."""

LAST_SECONDS = 1.0
"""A body may take so long once the server leaves."""

LOOK_EVERY = 1.0  # seconds between looks at the tokens of open requests, and at unused sessions

LISTEN = "subscriptions/listen"
"""What a client of the newest era asks to be told of changes: a request that does nothing but wait."""

_SESSION = b"mcp-session-id"
_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Open:
    """One request under way: whose it is, and how to end it.

    waits   it does nothing but wait for its client: a stream, or a body that is still to come
    """

    caller: Caller
    waits: bool
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)


class Application:
    """MCP at `/mcp` for whoever has a token, and a word about its health for everybody.

    counts     what was turned away
    sessions   the sessions that are open
    """

    def __init__(
        self,
        gate: Gateway,
        door: Door,
        *,
        fault: Fault,
        leaving: Leaving,
        limits: Limits = LIMITS,
        folder: Path | None = None,
    ) -> None:
        self.counts = Counts()
        self.sessions = Sessions(limits)
        self._gate = gate
        self._door = door
        self._fault = fault
        self._leaving = leaving
        self._limits = limits
        self._ready = Readiness(gate, fault, leaving, folder)
        self._shares = Shares(limits.requests, limits.requests_bytes)
        self._open: set[_Open] = set()
        self._ended = anyio.Event()
        handlers = Handlers(gate, _presented, fault, leaving, AT_ONCE)
        self._news = handlers.news
        self._manager = StreamableHTTPSessionManager(
            handlers.build(),
            session_idle_timeout=limits.session_seconds,
            max_request_body_size=limits.body_bytes,
            max_sessions=limits.sessions,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Everything the application needs beside requests runs in this block; it can be entered once."""
        async with self._manager.run(), anyio.create_task_group() as tasks:
            tasks.start_soon(self._look_after)
            tasks.start_soon(self._news.follow, self._gate)
            yield
            tasks.cancel_scope.cancel()

    def leave(self) -> None:
        """Take no more calls, end streams and requests not yet whole, and have those who wait answered at once."""
        self._leaving.begin()
        for request in self._open:
            if request.waits:
                request.scope.cancel()

    def open_calls(self) -> int:
        """Return how many requests of all principals are under way."""
        return self._shares.open_calls()

    async def calm(self) -> None:
        """Return once no request is under way."""
        while self._open:
            await self._ended.wait()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; whatever goes wrong leaves as an answer without our insides."""
        if scope["type"] != "http":
            return
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            answer = await self._serve(scope, receive, watched)
        except LedgerUnavailable as error:
            _log.warning("%s", error)
            answer = reply.UNAVAILABLE
        except LedgerError as error:
            self._fault.meet(error)
            answer = reply.LOST
        except Exception as error:  # noqa: BLE001 - a traceback would quote what a client sent
            _log.error("internal error: %s", place_of(error))
            answer = reply.INTERNAL
        if answer is not None and not begun:
            self.counts.refused[answer.status] += 1
            await answer.send(send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> Reply | None:
        """Serve a request; what is returned is left to be sent."""
        if (refused := self._door.refusal(scope)) is not None:
            return refused
        if scope["path"] != MCP:
            await (await self._word(scope["path"])).send(send)
            return None
        caller = await prove(self._gate, scope, self.counts)
        if isinstance(caller, Reply):
            return caller
        if self._leaving.begun and scope["method"] != "POST":
            return reply.STOPPING
        with self._under_way(caller) as request:
            return await self._admit({**scope, "user": as_user(caller)}, receive, send, request)
        # Only a request that was ended from outside comes here: its token fell, or the server leaves.
        return self._why_ended()

    def _why_ended(self) -> Reply:
        return reply.STOPPING if self._leaving.begun else reply.WRONG_TOKEN

    @contextmanager
    def _under_way(self, caller: Caller) -> Iterator[_Open]:
        """Keep a request where it can be found and ended; then the block is left at its end."""
        request = _Open(caller, waits=True)
        self._open.add(request)
        try:
            with request.scope:
                yield request
        finally:
            self._open.discard(request)
            self._ended.set()
            self._ended = anyio.Event()

    async def _word(self, path: str) -> Reply:
        if path == "/healthz":
            return Reply(200, {"status": "ok"})
        why = await self._ready.why_not()
        return Reply(200 if why is None else 503, {"status": why or "ok"})

    async def _admit(self, scope: Scope, receive: Receive, send: Send, request: _Open) -> Reply | None:
        caller = request.caller
        try:
            with self._shares.one(caller.principal) as share:
                if scope["method"] != "POST":
                    request.waits = scope["method"] == "GET"
                    await self._in_session(scope, receive, send, caller)
                    return None
                limits = replace(self._limits, request_seconds=LAST_SECONDS) if self._leaving.begun else self._limits
                body = await read_body(scope, receive, limits, share)
                if not isinstance(body, Body):
                    return body
                request.waits = _method(body) == LISTEN
                return await self._post(scope, body, send, caller)
        except TooMany as many:
            return reply.too_many(many.open_calls)

    async def _post(self, scope: Scope, body: Body, send: Send, caller: Caller) -> Reply | None:
        method = _method(body)
        # What a client asks on the way to its last answer, such as the list of tools, it still gets.
        if self._leaving.begun and method in {"initialize", "tools/call"}:
            return reply.STOPPING
        if method != "initialize" or header(scope, _SESSION):
            await self._in_session(scope, body.again, send, caller)
            return None
        try:
            with self.sessions.opening(caller.principal) as leaves:
                if leaves is not None:
                    await self._end(leaves)
                await self._manager.handle_request(scope, body.again, self._noting(send, caller))
        except NoRoom:
            return reply.TOO_MANY_SESSIONS
        return None

    async def _in_session(self, scope: Scope, receive: Receive, send: Send, caller: Caller) -> None:
        """Hand a request on; the session it names, if any, is in use meanwhile."""
        named = header(scope, _SESSION)
        id_ = named[0] if len(named) == 1 and self.sessions.belongs(named[0], caller) else ""
        with self.sessions.used(id_, anyio.current_time()) as session:
            try:
                await self._manager.handle_request(scope, receive, send)
            finally:
                if session is not None:
                    session.used = anyio.current_time()
        if scope["method"] == "DELETE":
            self.sessions.ended(id_)

    def _noting(self, send: Send, caller: Caller) -> Send:
        """Return a `send` that notes the session that an answer opens."""

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] < 400:
                for name, value in message["headers"]:
                    if name == _SESSION:
                        self.sessions.opened(value.decode("ascii"), caller, anyio.current_time())
            await send(message)

        return noting

    async def _end(self, id_: str) -> None:
        """End a session as its client would: with a DELETE."""
        caller = self.sessions.owner(id_)
        self.sessions.ended(id_)
        if caller is not None:
            await self._manager.handle_request(_delete(id_, caller), _nothing_more, _to_nobody)

    async def _look_after(self) -> None:
        """End what was opened with a token that fell meanwhile, and sessions that nobody uses."""
        while True:
            await anyio.sleep(LOOK_EVERY)
            try:
                await self._end_fallen()
                for id_ in self.sessions.unused(anyio.current_time()):
                    await self._end(id_)
            except LedgerUnavailable as error:
                _log.warning("it is not known which tokens still count: %s", error)
            except LedgerError as error:
                self._fault.meet(error)

    async def _end_fallen(self) -> None:
        callers = [request.caller for request in self._open] + self.sessions.callers()
        if not callers:
            return
        tokens = await fallen(self._gate, callers)
        for request in [request for request in self._open if request.caller.token in tokens]:
            request.scope.cancel()
        for id_ in self.sessions.of_tokens(tokens):
            await self._end(id_)


def _method(body: Body) -> str | None:
    return body.message.method if isinstance(body.message, types.JSONRPCRequest) else None


def build_app(gate: Gateway, *, limits: Limits = LIMITS) -> Application:
    """Return the application of a gateway for addresses of this machine alone; enter `running()` before use.

    For programs that serve by themselves: benchmarks and tests.
    """
    return Application(
        gate,
        make_door((), (), local=True, header_bytes=limits.header_bytes),
        fault=Fault(),
        leaving=Leaving(),
        limits=limits,
    )


def _presented(ctx: ServerRequestContext) -> Presented:
    """Return what came with the HTTP request that carried a message: each has its own, in old sessions too."""
    scope: Scope = ctx.request.scope if ctx.request is not None else {"headers": ()}
    user = scope.get("user")
    return Presented(token_of(scope) or "", "http", user.access_token.subject if user is not None else "")


def _delete(id_: str, caller: Caller) -> Scope:
    return {
        "type": "http",
        "method": "DELETE",
        "path": MCP,
        "query_string": b"",
        "headers": [(_SESSION, id_.encode("ascii"))],
        "user": as_user(caller),
    }


async def _nothing_more() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _to_nobody(message: Message) -> None:
    """Drop an answer."""
