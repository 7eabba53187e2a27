"""Lines that no honest client sends: messages of both eras with every field in turn made wrong, and plain garbage."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

from tests.server.web import HELLO, MODERN

MESSAGES: tuple[dict[str, Any], ...] = (
    HELLO,
    {"jsonrpc": "2.0", "method": "notifications/initialized"},
    {"jsonrpc": "2.0", "id": 1, "method": "ping"},
    {"jsonrpc": "2.0", "id": "list", "method": "tools/list", "params": {"cursor": "x", "_meta": MODERN}},
    {"jsonrpc": "2.0", "id": 2, "method": "tools/list"},
    {
        "jsonrpc": "2.0",
        "id": 3,
        "method": "tools/call",
        "params": {"name": "get_ticket", "arguments": {"ticket": "OPS-1"}, "_meta": {**MODERN, "progressToken": 7}},
    },
    {
        "jsonrpc": "2.0",
        "id": 4,
        "method": "tools/call",
        "params": {"name": "update_ticket", "arguments": {"ticket": "OPS-1", "status": "closed", "comment": "x"}},
    },
    {
        "jsonrpc": "2.0",
        "id": 5,
        "method": "tools/call",
        "params": {
            "name": "open_pull_request",
            "arguments": {
                "repository": "shop",
                "base": "main",
                "title": "t",
                "files": [{"path": "a", "content": "b"}],
            },
            "_meta": MODERN,
        },
    },
    {
        "jsonrpc": "2.0",
        "id": 6,
        "method": "tools/call",
        "params": {"name": "list_actions", "arguments": {"limit": 5}},
    },
    {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 3, "reason": "enough"}},
    {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 7, "progress": 1}},
    {"jsonrpc": "2.0", "id": 7, "method": "logging/setLevel", "params": {"level": "debug"}},
    {"jsonrpc": "2.0", "id": 8, "method": "resources/read", "params": {"uri": "file:///etc/passwd"}},
    {"jsonrpc": "2.0", "id": 9, "method": "server/discover", "params": {"_meta": MODERN}},
    {"jsonrpc": "2.0", "id": 10, "result": {"tools": []}},
    {"jsonrpc": "2.0", "id": 11, "error": {"code": -1, "message": "no"}},
)

VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    2**53,
    -(10**400),
    1.5,
    1e308,
    "",
    "x" * 20_000,
    "\ud800",
    "\udfff\ud800 half",
    "\0",
    "\x1b[2J\u202e",
    "../../etc/passwd",
    [],
    [[]],
    {},
    {"": {"": {"": []}}},
    [None] * 3000,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every field of a message, containers included."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield (*path, key)
        yield from places(inner, (*path, key))


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """Return a message with one field made something else; with `...` it is left out."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    inner = changed(copy[path[0]], path[1:], new)
    if inner is ...:
        del copy[path[0]]
    else:
        copy[path[0]] = inner
    return copy


def wrong_fields() -> Iterator[bytes]:
    """Yield every message with every field left out, and made every wrong value."""
    for message in MESSAGES:
        for path in places(message):
            for value in (..., *VALUES):
                yield json.dumps(changed(message, path, value)).encode()


def garbage(chance: random.Random) -> bytes:
    """Return one line that is hardly a message."""
    whole = json.dumps(chance.choice(MESSAGES)).encode()
    match chance.randrange(8):
        case 0:
            return chance.randbytes(chance.randrange(1, 400)).replace(b"\n", b"")
        case 1:
            return whole[: chance.randrange(len(whole))]
        case 2:
            return whole[chance.randrange(len(whole)) :]
        case 3:
            depth = chance.choice([50, 500, 5000, 100_000])
            return whole.replace(b'"OPS-1"', b"[" * depth + b"]" * chance.choice([depth, 0]))
        case 4:
            return whole.replace(b'"2.0"', b"9" * chance.choice([20, 400, 6000]))
        case 5:
            return whole * 2
        case 6:
            at = chance.randrange(len(whole))
            return (whole[:at] + bytes([chance.randrange(256)]) + whole[at + 1 :]).replace(b"\n", b" ")
        case _:
            return (
                b'{"jsonrpc":"2.0","id":'
                + b"[" * chance.randrange(1, 3000)
                + chance.randbytes(20).replace(b"\n", b"")
            )
