"""Reads where a bridge leads: the address of a Keyturn server, and no secret in it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from keyturn.model.errors import ConfigurationError

ENDPOINT = "/mcp"
UNIX = "unix:"
LONGEST_PATH = 107  # bytes of a socket's path that Linux takes (unix(7), sun_path)


@dataclass(frozen=True, slots=True)
class Target:
    """A server's endpoint. `socket` is the unix socket it listens on; None for one on the network."""

    url: str
    socket: Path | None = None

    def __str__(self) -> str:
        return self.url if self.socket is None else f"{UNIX}{self.socket}"


def read_target(text: str) -> Target:
    """Read `https://HOST[:PORT][/PATH]`, the same with `http://` for this machine alone, or `unix:PATH`.

    Without a path it is /mcp. Raises `ConfigurationError` saying what to write instead, without the text itself where
    that could hold a secret.
    """
    if text.startswith(UNIX):
        return _socket(text.removeprefix(UNIX))
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ConfigurationError(f"this is no URL: {error}") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigurationError("give https://HOST:PORT, http://127.0.0.1:PORT on this machine, or unix:PATH")
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError("put no credentials into the URL: the token comes from a file or KEYTURN_TOKEN")
    if parts.query or parts.fragment:
        raise ConfigurationError("the URL ends with its path: leave out what follows ? and #")
    _refuse_plain(parts)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    path = parts.path if parts.path not in {"", "/"} else ENDPOINT
    return Target(f"{parts.scheme}://{host}{'' if port is None else f':{port}'}{path}")


def _socket(path: str) -> Target:
    socket = Path(path.removeprefix("//"))
    if not socket.is_absolute():
        raise ConfigurationError(f"give the socket's whole path: a client may start this in any folder ({UNIX}/…)")
    if len(bytes(socket)) > LONGEST_PATH:
        raise ConfigurationError(f"{socket} is too long for a socket: at most {LONGEST_PATH} bytes")
    return Target(f"http://localhost{ENDPOINT}", socket)


def _refuse_plain(parts: SplitResult) -> None:
    """Refuse plain HTTP off this machine: whoever is on the way would read the token."""
    if parts.scheme == "http" and not _is_here(parts.hostname or ""):
        raise ConfigurationError(
            f"http://{parts.hostname} would send the token readable over the network: use https://, "
            "or tunnel to this machine and give http://127.0.0.1:PORT"
        )


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
