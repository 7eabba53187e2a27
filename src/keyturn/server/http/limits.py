"""How much one client, one principal and all of them together may take of a server that listens."""

from __future__ import annotations

from dataclasses import dataclass

from keyturn.server.lines import MAX_LINE


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one server. Times are seconds, sizes bytes.

    connections       open connections; then one that asks nothing makes room, or the newest is closed
    header_bytes      request line and headers of one request
    header_seconds    from a request's first byte to the end of its headers
    request_seconds   from a request's first byte to the end of its body
    idle_seconds      a connection stays open between requests
    stalled_seconds   a client may leave what it is sent unread
    body_bytes        one request's body
    requests          open requests of one principal, streams included; together they are fewer than `connections`
    requests_bytes    bodies of one principal's open requests together
    sessions          sessions of the older eras, all principals together
    sessions_each     sessions of one principal; then its longest unused one makes room
    session_seconds   a session may go without a request
    leave_seconds     open calls have to be answered once running actions are done and the server leaves
    """

    connections: int = 512
    header_bytes: int = 32 * 1024
    header_seconds: float = 10.0
    request_seconds: float = 60.0
    idle_seconds: int = 65
    stalled_seconds: float = 30.0
    body_bytes: int = MAX_LINE
    requests: int = 96
    requests_bytes: int = 64 * 1024 * 1024
    sessions: int = 512
    sessions_each: int = 64
    session_seconds: float = 30 * 60.0
    leave_seconds: float = 25.0


LIMITS = Limits()
