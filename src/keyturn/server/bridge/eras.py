"""Tells which era of the protocol a message belongs to, and which HTTP headers it needs.

Since 2026-07-28 each request carries its version in `_meta` and stands alone; headers repeat what a proxy may route
by (specification 2026-07-28, transports, "Standard headers"). Before, a session that begins with `initialize` carries
the version. No Keyturn schema marks arguments with `x-mcp-header`, so none are repeated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import mcp_types as types
from mcp.shared.inbound import (
    MCP_METHOD_HEADER,
    MCP_NAME_HEADER,
    MCP_PROTOCOL_VERSION_HEADER,
    NAME_BEARING_METHODS,
    encode_header_value,
)

SESSION = "mcp-session-id"
LONGEST_SESSION = 256  # characters of a session id that are kept


@dataclass(frozen=True, slots=True)
class Session:
    """A session of the older eras: the server's id for it (None when it keeps none), the version, how it began."""

    id: str | None
    version: str
    greeting: types.JSONRPCRequest

    @property
    def headers(self) -> dict[str, str]:
        """What every message of the session carries."""
        named = {} if self.id is None else {SESSION: self.id}
        return {MCP_PROTOCOL_VERSION_HEADER: encode_header_value(self.version), **named}


def modern_version(message: types.JSONRPCMessage) -> str | None:
    """Return the version that a request or notification carries itself; None for the older eras."""
    params = getattr(message, "params", None)
    meta = params.get("_meta") if isinstance(params, Mapping) else None
    version = meta.get(types.PROTOCOL_VERSION_META_KEY) if isinstance(meta, Mapping) else None
    return version if isinstance(version, str) else None


def modern_headers(message: types.JSONRPCRequest | types.JSONRPCNotification, version: str) -> dict[str, str]:
    """Return the headers that repeat a message's version, its method, and the name it is about."""
    headers = {
        MCP_PROTOCOL_VERSION_HEADER: encode_header_value(version),
        MCP_METHOD_HEADER: encode_header_value(message.method),
    }
    about = NAME_BEARING_METHODS.get(message.method)
    name = (message.params or {}).get(about) if about else None
    return {**headers, MCP_NAME_HEADER: encode_header_value(name)} if isinstance(name, str) else headers


def session_of(
    greeting: types.JSONRPCRequest, answer: types.JSONRPCMessage | None, session_id: str | None
) -> Session | None:
    """Return the session that an answer to `initialize` opened; None when it opened none."""
    if not isinstance(answer, types.JSONRPCResponse):
        return None
    version: Any = answer.result.get("protocolVersion")
    usable = session_id is not None and len(session_id) <= LONGEST_SESSION and session_id.isascii()
    return Session(session_id if usable else None, version, greeting) if isinstance(version, str) else None


def cancelled_id(message: types.JSONRPCNotification) -> types.RequestId | None:
    """Return which request a `notifications/cancelled` is about; None for every other notification."""
    if message.method != "notifications/cancelled":
        return None
    found: Any = (message.params or {}).get("requestId")
    return found if isinstance(found, (str, int)) and not isinstance(found, bool) else None
