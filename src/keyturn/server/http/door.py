"""The checks that need no ledger: is this meant for us, from where, to which path, in what form.

A browser can be made to send requests here under a foreign name (DNS rebinding, see the security section of MCP's
transport page). So the `Host` of every request must be a name this server is known by, and its `Origin`, where there
is one, a page the operator trusts, on every kind of address.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from starlette.types import Scope

from keyturn.server.http.limits import LIMITS
from keyturn.server.http.reply import Reply, refusal

MCP = "/mcp"
METHODS: Mapping[str, tuple[str, ...]] = {
    MCP: ("POST", "GET", "DELETE"),
    "/healthz": ("GET", "HEAD"),
    "/readyz": ("GET", "HEAD"),
}
MOST_HEADERS = 100
LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})

_HOST = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9._-]{1,253})(?::([0-9]{1,5}))?")
_ORIGIN = re.compile(r"https?://(.+)")


@dataclass(frozen=True, slots=True)
class Door:
    """The names a server is known by and the web pages that may speak to it.

    hosts          names besides those of the loopback, with any port unless one is given
    origins        origins as browsers send them: scheme, name, and the port unless it is the scheme's own
    local          whether it is reached from this machine alone: then its own pages may speak to it too
    header_bytes   the address and all headers of one request together (the parser bounds only what is unfinished)
    """

    hosts: frozenset[str]
    origins: frozenset[str]
    local: bool
    header_bytes: int

    def refusal(self, scope: Scope) -> Reply | None:
        """Say why a request is not taken, or None."""
        if scope["http_version"] not in {"1.0", "1.1"} or _ambiguous(scope):
            # RFC 9112 section 6.1: where two lengths are given, or one that its version does not know, whoever stands
            # in front may believe another one.
            return refusal(400, "Not one HTTP/1.1 request", headers={"connection": "close"})
        if len(scope["headers"]) > MOST_HEADERS or _size(scope) > self.header_bytes:
            return refusal(431, "The headers are longer than they may be", headers={"connection": "close"})
        host, origin = header(scope, b"host"), header(scope, b"origin")
        if len(host) != 1 or not self._known(host[0]):
            return refusal(421, "Host is not a name of this server; its names are in keyturn.toml, [http] hosts")
        if len(origin) > 1 or any(not self._trusted(one) for one in origin):
            return refusal(403, "Origin is not trusted; the trusted ones are in keyturn.toml, [http] origins")
        methods = METHODS.get(scope["path"])
        if methods is None:
            return refusal(404, "Nothing is served here; MCP is at /mcp")
        if scope["method"] not in methods:
            return refusal(405, "This method is not served here", headers={"allow": ", ".join(methods)})
        if scope["query_string"]:
            # A token in an address ends up in logs and histories; nothing else belongs there either.
            return refusal(400, "Nothing is taken from a query; a token belongs in the Authorization header")
        return None

    def _known(self, host: str) -> bool:
        found = _HOST.fullmatch(host.lower())
        return found is not None and not {found[1], found[0]}.isdisjoint(LOOPBACK | self.hosts)

    def _trusted(self, origin: str) -> bool:
        if origin.lower() in self.origins:
            return True
        found = _ORIGIN.fullmatch(origin.lower())
        place = found and _HOST.fullmatch(found[1])
        return self.local and place is not None and place[1] in LOOPBACK


def _ambiguous(scope: Scope) -> bool:
    coded = bool(header(scope, b"transfer-encoding"))
    return coded and (bool(header(scope, b"content-length")) or scope["http_version"] != "1.1")


def _size(scope: Scope) -> int:
    return len(scope["raw_path"]) + sum(len(name) + len(value) for name, value in scope["headers"])


def make_door(
    hosts: Iterable[str], origins: Iterable[str], *, local: bool, header_bytes: int = LIMITS.header_bytes
) -> Door:
    """Return a door for the names and origins that the operator lists."""
    names, pages = frozenset(host.lower() for host in hosts), frozenset(one.lower() for one in origins)
    return Door(names, pages, local, header_bytes)


def header(scope: Scope, name: bytes) -> list[str]:
    """Return every value of a header; `name` in lower case."""
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]
