"""Asking a server on loopback over HTTP, without the connectors' door: the test bed is proved on its own."""

from __future__ import annotations

import socket
from typing import Any

import httpx2


def ask(method: str, url: str, token: str | None = None, body: object = None, **headers: str) -> httpx2.Response:
    """Send one request over a line of its own; names of headers are written with underscores."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if token is not None:
        named["authorization"] = f"Bearer {token}"
    sent: dict[str, Any] = {} if body is None else {"json": body}
    return httpx2.request(method, url, headers=named, trust_env=False, timeout=20, **sent)


def closed(port: int) -> bool:
    """Say whether nobody listens on a port of 127.0.0.1."""
    with socket.socket() as line:
        return line.connect_ex(("127.0.0.1", port)) != 0
