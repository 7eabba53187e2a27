"""The errors with which a bridge answers when the server cannot; each says what is known to have happened."""

from __future__ import annotations

import mcp_types as types

from keyturn.server.bridge.target import Target
from keyturn.server.words import NOT_AUTHENTICATED, TOO_MANY

AWAY = -32013
"""JSON-RPC error code: the server cannot be reached, and was asked nothing."""

BROKEN = -32014
"""JSON-RPC error code: the connection broke after the request was sent and before it was answered."""

BAD_ANSWER = -32015
"""JSON-RPC error code: what answered is no MCP server, or none that could be understood."""

_LOOK = "The call may have been taken all the same: look with list_actions before you ask again."


def away(request: types.JSONRPCRequest, target: Target, why: str) -> types.JSONRPCError:
    """Answer a request that was never sent."""
    return _error(
        request,
        AWAY,
        f"Keyturn cannot be reached at {target}: {why}. It was not asked, so nothing was done. Try again later, and "
        "tell your user if it lasts.",
    )


def broken(request: types.JSONRPCRequest, why: str) -> types.JSONRPCError:
    """Answer a request that was sent and whose fate is not known."""
    then = _LOOK if request.method == "tools/call" else "Ask again."
    return _error(request, BROKEN, f"The connection to Keyturn broke before it answered ({why}). {then}")


def refused(request: types.JSONRPCRequest, status: int) -> types.JSONRPCError:
    """Answer a request that the server turned away with an HTTP status and no words of its own."""
    if status not in _BY_STATUS and status >= 500:
        return broken(request, f"HTTP status {status}")
    code, said = _BY_STATUS.get(status, (BAD_ANSWER, f"It answers with HTTP status {status}"))
    if 300 <= status < 400:
        said = "It answers with a redirect, which is not followed: give its own address to keyturn connect"
    return _error(request, code, f"{said}. Nothing was done.")


def not_understood(request: types.JSONRPCRequest, why: str) -> types.JSONRPCError:
    """Answer a request that was answered with something that is no answer."""
    then = f" {_LOOK}" if request.method == "tools/call" else ""
    return _error(request, BAD_ANSWER, f"What answered is no MCP server that can be understood: {why}.{then}")


def session_lost(request: types.JSONRPCRequest) -> types.JSONRPCError:
    """Answer a request of a session that the server forgot and would not open again as it was."""
    return _error(request, AWAY, "Keyturn was started again and speaks differently now: start this client again.")


def too_many(request: types.JSONRPCRequest, open_requests: int) -> types.JSONRPCError:
    """Answer a request beyond what may be open."""
    return _error(request, TOO_MANY, f"{open_requests} requests are open; wait for answers before you send more")


def open_already(request: types.JSONRPCRequest) -> types.JSONRPCError:
    """Answer a request whose id is another's that is still open."""
    return _error(request, types.INVALID_REQUEST, "Another request with this id is still open")


_BY_STATUS = {
    401: (
        NOT_AUTHENTICATED,
        "Not authenticated: Keyturn does not take this token (any more); its operator can make another one",
    ),
    403: (NOT_AUTHENTICATED, "Keyturn does not let this client in"),
    404: (BAD_ANSWER, "There is no MCP server at this address: its path is /mcp unless it was set otherwise"),
    413: (types.INVALID_REQUEST, "The message is larger than Keyturn takes"),
    429: (TOO_MANY, "Keyturn has too much to do for this client; wait, and send fewer requests at a time"),
    503: (TOO_MANY, "Keyturn takes no more at present; try again later"),
}


def _error(request: types.JSONRPCRequest, code: int, message: str) -> types.JSONRPCError:
    return types.JSONRPCError(jsonrpc="2.0", id=request.id, error=types.ErrorData(code=code, message=message))
