"""Tells clients that the tools they may call may be others now: whenever another policy is in force.

Clients of the older eras are told on the channel that their session keeps open, those of the newest on a stream they
ask for (`subscriptions/listen`). What they are told says nothing of what changed: they ask for the list again.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

import anyio
from mcp.server.context import ServerRequestContext
from mcp.server.session import ServerSession
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ToolsListChanged

from keyturn.gateway.core import Gateway
from keyturn.gateway.desk import Look
from keyturn.gateway.threads import on_ledger
from keyturn.ledger.errors import LedgerUnavailable
from keyturn.model.errors import LedgerError

LOOK_ANYWAY = 60.0  # seconds after which it looks without news
RETRY_EVERY = 2.0
MOST_STREAMS = 1024
MOST_SESSIONS = 1024
_SESSION = "mcp-session-id"


class ToolNews:
    """Those who want to know, of one server: streams, and sessions that have asked for the list."""

    def __init__(self) -> None:
        self._bus = InMemorySubscriptionBus()
        self._sessions: OrderedDict[str, ServerSession] = OrderedDict()
        self.listen = ListenHandler(self._bus, max_subscriptions=MOST_STREAMS, max_buffered_events=16)

    def listed(self, ctx: ServerRequestContext) -> None:
        """Note that a client has the list as it is now. One whose session has ended is told in vain."""
        id_ = "" if ctx.request is None else str(ctx.request.headers.get(_SESSION, ""))
        if ctx.request is None or id_:
            self._sessions[id_] = ctx.session
            self._sessions.move_to_end(id_)
        while len(self._sessions) > MOST_SESSIONS:
            self._sessions.popitem(last=False)

    async def tell(self) -> None:
        """Tell everybody."""
        await self._bus.publish(ToolsListChanged())
        async with anyio.create_task_group() as tasks:
            for session in list(self._sessions.values()):
                tasks.start_soon(_send, session)

    async def follow(self, gate: Gateway) -> None:
        """Tell everybody each time another policy is in force, until cancelled.

        Returns when the ledger is not to be trusted: whoever serves it tells that.
        """
        known: int | None = None
        while True:
            mark = gate.news.mark()
            try:
                present = await on_ledger(gate.ledger.look, _activation)
                if known is not None and present != known:
                    await self.tell()
                known = present
                await gate.news.wait(mark, partial(_differs, known), LOOK_ANYWAY, own=False)
            except LedgerUnavailable:
                await anyio.sleep(RETRY_EVERY)
            except LedgerError:
                return


async def _send(session: ServerSession) -> None:
    with anyio.move_on_after(RETRY_EVERY):  # a client that does not read keeps nobody else waiting
        await session.send_tool_list_changed()


def _activation(view: Look) -> int:
    return -1 if view.state.policy is None else view.state.policy.seq


def _differs(known: int, view: Look) -> bool:
    return _activation(view) != known
