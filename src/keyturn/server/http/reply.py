"""Answers that the server gives itself, before or instead of MCP: one JSON-RPC error, or one word."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import mcp_types as types
from starlette.types import Send

from keyturn.server import words


@dataclass(frozen=True, slots=True)
class Reply:
    """One whole HTTP answer; `headers` come on top of type and length."""

    status: int
    body: Mapping[str, object]
    headers: Mapping[str, str] = field(default_factory=dict)

    async def send(self, send: Send) -> None:
        """Send it."""
        body = json.dumps(self.body, separators=(",", ":")).encode()
        headers = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            "cache-control": "no-store",
            **self.headers,
        }
        start = [(name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": start})
        await send({"type": "http.response.body", "body": body})

    def to(self, request: types.RequestId | None) -> Reply:
        """Return the same answer to a request whose id is known."""
        return replace(self, body={**self.body, "id": request})


def refusal(
    status: int, message: str, *, code: int = types.INVALID_REQUEST, headers: Mapping[str, str] | None = None
) -> Reply:
    """Return an HTTP answer that is a JSON-RPC error to nobody's id."""
    error = {"code": code, "message": message}
    return Reply(status, {"jsonrpc": "2.0", "id": None, "error": error}, headers or {})


CHALLENGE = 'Bearer realm="keyturn"'

NO_TOKEN = refusal(
    401,
    "Not authenticated: send the header Authorization: Bearer TOKEN; the operator issues tokens",
    code=words.NOT_AUTHENTICATED,
    headers={"www-authenticate": CHALLENGE},
)
NO_BEARER = refusal(
    401,
    "Not authenticated: Authorization must be of the form Bearer TOKEN; the operator issues tokens",
    code=words.NOT_AUTHENTICATED,
    headers={"www-authenticate": CHALLENGE},
)
WRONG_TOKEN = refusal(
    401,
    "Not authenticated: this token does not count here (any more); ask the operator for another",
    code=words.NOT_AUTHENTICATED,
    headers={"www-authenticate": f'{CHALLENGE}, error="invalid_token"'},
)
STOPPING = refusal(
    503,
    "This server is about to stop; nothing was done. Connect again in a moment",
    code=words.STOPPING,
    headers={"retry-after": "5", "connection": "close"},
)
TOO_LONG = refusal(413, "The body is longer than one message may be")
TOO_SLOW = refusal(408, "The body did not come in time", headers={"connection": "close"})
TOO_MANY_SESSIONS = refusal(
    503, "All sessions of this server are in use; close one, or try later", headers={"retry-after": "30"}
)
INTERNAL = refusal(500, "Internal error; the server's standard error names the place", code=types.INTERNAL_ERROR)
UNAVAILABLE = refusal(503, str(words.ledger_unavailable()), code=types.INTERNAL_ERROR, headers={"retry-after": "5"})
LOST = refusal(503, str(words.ledger_lost()), code=types.INTERNAL_ERROR, headers={"connection": "close"})


def too_many(open_calls: int) -> Reply:
    """Return the answer to a request beyond what one principal may have open."""
    message = str(words.too_many(open_calls))
    return refusal(429, message, code=words.TOO_MANY, headers={"retry-after": "1"})
