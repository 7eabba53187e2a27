"""Where an answer points to: only targets on the same scheme, host and port are followed."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, urljoin, urlsplit

from keyturn.connectors.http.connection import PORTS, Origin
from keyturn.model.text import visible

_LINK: Final = re.compile(r"<([^<>]*)>((?:\s*;\s*[\w*-]+\s*=\s*(?:\"[^\"]*\"|[^\s\",;<>]+))*)")
_NEXT: Final = re.compile(r';\s*rel\s*=\s*(?:"(?:[^"]*\s)?next(?:\s[^"]*)?"|next(?=[\s;]|$))', re.IGNORECASE)
_IN_PATH: Final = "/%-._~!$&'()*+,;=:@"


def following(link: str) -> str | None:
    """Return where `rel="next"` of a `Link` field leads (RFC 8288, section 3), or None on the last page."""
    for target, parameters in _LINK.findall(link):
        if _NEXT.search(parameters):
            return str(target)
    return None


def target_on(origin: Origin, target: str, link: str) -> str | None:
    """Return the path and query that a link found at `target` leads to, or None if that is another origin."""
    if not link.strip():
        return None
    try:
        parts = urlsplit(urljoin(f"{origin}{target}", link.strip()))
        port = PORTS.get(parts.scheme) if parts.port is None else parts.port
    except ValueError:
        return None
    there = (parts.scheme, (parts.hostname or "").rstrip("."), port)
    if there != (origin.scheme, origin.host, origin.port) or "@" in parts.netloc:
        return None
    path = quote(parts.path or "/", safe=_IN_PATH)
    return f"{path}?{quote(parts.query, safe=f'{_IN_PATH}?[]')}" if parts.query else path


def host_in(link: str) -> str:
    """Name where a link leads: the host alone, for the rest of it may hold a credential."""
    try:
        return visible(urlsplit(link.strip()).hostname or "another path")[:200]
    except ValueError:
        return "no URL"
