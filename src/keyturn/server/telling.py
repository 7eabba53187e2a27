"""Tells of each call in one line: whose it was, which tool, how it ended, how long it took; never what was in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import anyio
import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError

from keyturn.gateway.envelope import Answer
from keyturn.server import words
from keyturn.telemetry.speech import tell
from keyturn.telemetry.trace import TRACEPARENT, begin, current

_STATUS: Final = {
    words.NOT_AUTHENTICATED: "not_authenticated",
    words.TOO_MANY: "too_many",
    types.INVALID_PARAMS: "unknown_tool",
}
"""JSON-RPC error code of ours → how a call ended that has no answer; every other error is an `error`."""


@dataclass(slots=True)
class Told:
    """What the line about one call will say; `status` is `abandoned` until the call ends."""

    tool: str | None = None
    principal: str | None = None
    action: str | None = None
    status: str = "abandoned"

    def answered(self, answer: Answer) -> None:
        """Take tool, action and state from an answer: names that the ledger knows."""
        envelope = answer.envelope
        self.tool, self.status = str(envelope["tool"]), str(envelope["status"])
        self.action = None if envelope["action_id"] is None else str(envelope["action_id"])


@contextmanager
def telling(ctx: ServerRequestContext, event: str, entropy: Callable[[int], bytes]) -> Iterator[Told]:
    """Work on a request under a trace of its own, joined with the caller's, and tell of it when it is over."""
    told, start = Told(), anyio.current_time()
    token = current.set(begin(_traceparent(ctx), entropy))
    try:
        yield told
    except MCPError as error:
        told.status = _STATUS.get(error.code, "error")
        raise
    finally:
        spent = round((anyio.current_time() - start) * 1000)
        tell(
            event,
            f"{told.tool or event.partition('.')[0]}: {told.status}",
            ms=spent,
            principal=told.principal,
            tool=told.tool,
            action=told.action,
            status=told.status,
        )
        current.reset(token)


def _traceparent(ctx: ServerRequestContext) -> object:
    """Return what the caller sent as its trace: in the request's `_meta` (MCP SEP-414), or as a header."""
    meta: Any = ctx.meta or {}
    request: Any = ctx.request
    return meta.get(TRACEPARENT) or (None if request is None else request.headers.get(TRACEPARENT))
