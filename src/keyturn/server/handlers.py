"""Takes a client's requests: who is it, what may it see, what did it ask; and answers them all, faults included."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import Any, TypeVar

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.models import InitializationOptions
from mcp.shared.exceptions import MCPError

from keyturn.approvals.action import Action
from keyturn.gateway.call import UnknownTool, call_by, visible_contracts
from keyturn.gateway.callers import proof
from keyturn.gateway.core import Gateway, Look
from keyturn.gateway.envelope import Answer
from keyturn.gateway.incoming import Incoming
from keyturn.gateway.threads import on_ledger
from keyturn.gateway.wait import Report
from keyturn.ledger.errors import LedgerUnavailable
from keyturn.model.errors import LedgerError, Refused
from keyturn.model.principal import Caller
from keyturn.model.text import clean
from keyturn.server import words
from keyturn.server.changes import ToolNews
from keyturn.server.fault import Fault
from keyturn.server.leaving import Leaving
from keyturn.server.telling import telling
from keyturn.server.turns import Shares, TooMany, Turns
from keyturn.telemetry.speech import place_of

AT_ONCE = 32
"""Calls of one principal worked on at the same time; more wait for their turn."""

CROWDED = 2
"""Calls of one principal worked on at the same time while others call too."""

WAITING = 32
"""`get_action` calls of one principal that wait at the same time; they have turns of their own, so that waiting keeps
nobody out."""

OPEN = 256
"""Calls of one principal that may be open; the next is refused."""

OPEN_BYTES = 64 * 1024 * 1024
"""Bytes of arguments that all open calls of one principal may hold together."""

PRINCIPALS = 4
"""How many times one principal's turns there are for all of them together."""

WAITS = "get_action"
_Result = TypeVar("_Result")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Presented:
    """What came with a request to say who asks: a token, the transport it came by, and whose share the call is of.

    `share` decides about turns alone; who the caller is, the token says, checked against the ledger each time.
    """

    token: str = field(repr=False)
    transport: str
    share: str


class _Server(Server):
    """An MCP server that says of itself that it tells when its list of tools changes."""

    def create_initialization_options(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
        extensions: dict[str, dict[str, Any]] | None = None,
    ) -> InitializationOptions:
        """Return what `initialize` answers with."""
        told = notification_options or NotificationOptions(tools_changed=True)
        return super().create_initialization_options(told, experimental_capabilities, extensions)


class Handlers:
    """The handlers of one server; what `who` finds in a request is checked against the ledger each time."""

    def __init__(
        self,
        gate: Gateway,
        who: Callable[[ServerRequestContext], Presented],
        fault: Fault,
        leaving: Leaving | None = None,
        at_once: int = AT_ONCE,
    ) -> None:
        self._gate = gate
        self._who = who
        self._fault = fault
        self._leaving = leaving or Leaving()
        self._turns = Turns(PRINCIPALS * at_once, at_once, CROWDED)
        self._waits = Turns(PRINCIPALS * WAITING, WAITING)
        self._shares = Shares(OPEN, OPEN_BYTES)
        self.news = ToolNews()

    def build(self) -> Server:
        """Build the MCP server whose requests are handled here."""
        server: Server = _Server(
            "keyturn",
            version=version("keyturn"),
            title="Keyturn",
            instructions=words.INSTRUCTIONS,
            on_list_tools=self.list_tools,
            on_call_tool=self.call_tool,
            on_subscriptions_listen=self.news.listen,
            # No schema of ours binds an argument to a header: there is nothing to look up, and nothing to run
            # `tools/list` for at each call.
            get_tool_input_schema=lambda _: None,
        )
        server.middleware.clear()  # the one that is there by default exports traces where it is told to
        return server

    async def list_tools(
        self, ctx: ServerRequestContext, params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        """List the tools the token's principal may call, all on one page."""

        async def listed() -> types.ListToolsResult:
            caller = await self._caller(ctx)
            contracts = await on_ledger(visible_contracts, self._gate, caller)
            self.news.listed(ctx)
            tools = [words.tool_of(contract) for contract in contracts]
            told.principal, told.status = caller.principal, "listed"
            return types.ListToolsResult(tools=tools, ttl_ms=0, cache_scope="private")

        with telling(ctx, "tools.listed", self._gate.entropy) as told:
            return await self._guarded(ctx, 0, self._turns, listed)

    async def call_tool(self, ctx: ServerRequestContext, params: types.CallToolRequestParams) -> types.CallToolResult:
        """Take one call to its answer."""
        arguments = params.arguments or {}
        size = words.size_of(arguments)

        async def called() -> types.CallToolResult:
            def who(view: Look) -> Caller:
                caller = self._proof(ctx)(view)
                told.principal = caller.principal
                return caller

            try:
                incoming = Incoming(params.name, arguments, size)
                answer = await self._answer(who, incoming, _reporter(ctx))
                told.answered(answer)
                return words.result_of(answer)
            except UnknownTool:
                raise words.unknown_tool(params.name) from None
            except Refused as refused:
                if refused.code != "not_authenticated":
                    raise
                raise words.not_authenticated(refused) from None

        turns = self._waits if params.name == WAITS else self._turns
        with telling(ctx, "call.finished", self._gate.entropy) as told:
            return await self._guarded(ctx, size, turns, called)

    async def _answer(self, who: Callable[[Look], Caller], incoming: Incoming, report: Report | None) -> Answer:
        """Take a call to its answer; one that waits for an action is answered at once when the server leaves."""
        if incoming.tool != WAITS or not isinstance(incoming.arguments, dict):
            return await call_by(self._gate, who, incoming, report)
        with self._leaving.waiting():
            return await call_by(self._gate, who, incoming, report)
        return await call_by(self._gate, who, replace(incoming, arguments={**incoming.arguments, "wait_seconds": 0}))

    def _proof(self, ctx: ServerRequestContext) -> Callable[[Look], Caller]:
        """Return the look that says whose a request is. It raises `Refused`."""
        presented = self._who(ctx)
        return proof(self._gate, presented.token, transport=presented.transport, client=_client_label(ctx))

    async def _caller(self, ctx: ServerRequestContext) -> Caller:
        try:
            return await self._gate.ferry.look(self._proof(ctx))
        except Refused as refused:
            raise words.not_authenticated(refused) from None

    async def _guarded(
        self,
        ctx: ServerRequestContext,
        size: int,
        turns: Turns,
        work: Callable[[], Awaitable[_Result]],
    ) -> _Result:
        """Do the work when it is its turn; whatever goes wrong leaves as an error without our insides."""
        try:
            mine = self._who(ctx).share
            with self._shares.one(mine) as share:
                share.hold(size)
                async with turns.one(mine):
                    return await work()
        except MCPError:
            raise
        except TooMany as many:
            raise words.too_many(many.open_calls) from None
        except LedgerUnavailable as error:
            _log.warning("%s", error)
            raise words.ledger_unavailable() from None
        except LedgerError as error:
            self._fault.meet(error, ctx.request_id)
            raise words.ledger_lost() from None
        except Exception as error:  # noqa: BLE001 - the SDK would send the text of the exception to the client
            _log.error("internal error: %s", place_of(error))
            raise words.internal_error() from None


def _client_label(ctx: ServerRequestContext) -> str:
    """Return what the client calls itself; a label for people, never an identity."""
    client = ctx.session.client_params
    return clean(f"{client.client_info.name} {client.client_info.version}", 200) if client else ""


def _reporter(ctx: ServerRequestContext) -> Report | None:
    """Return what tells a client that asked for it how a wait goes on; others are spared the messages."""
    meta: Any = ctx.meta
    if not meta or meta.get("progress_token") is None:
        return None
    steps = 0

    async def report(action: Action, state: str) -> None:
        nonlocal steps
        steps += 1
        await ctx.session.report_progress(steps, message=f"{action.tool} is {state}")

    return report
