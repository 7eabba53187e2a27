"""What is asked for in one call, put together so that it stays what it is: path, query, fields and body."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias
from urllib.parse import quote, unquote, urlencode

from keyturn.canon import Json
from keyturn.connectors.credentials import Secret
from keyturn.connectors.http.connection import Base
from keyturn.model.errors import ConnectorError
from keyturn.model.text import visible

LIMIT: Final = 8 * 2**20
"""Bytes of one answer, unless a back end sets another bound."""

Params: TypeAlias = "Mapping[str, str | int | Sequence[str]]"
"""What follows the question mark of a URL, not yet escaped; a list becomes one pair per item."""

_IN_PATH: Final = "/%-._~!$&'()*+,;=:@"
_HALF_ESCAPED: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TEXT: Final = re.compile(r"[\t -~]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What was asked for: `target` is path and query, `what` names it for messages, without the query.

    `change`: it may alter something there.
    """

    method: str
    target: str = field(repr=False)
    what: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    expected: frozenset[int] = frozenset()
    limit: int = LIMIT
    change: bool = False


def what_of(place: str, method: str, path: str) -> str:
    """Name a request for messages."""
    return f"{place}: {method} {visible(path)[:200]}"


def target_of(base: Base, path: str, params: Params | None) -> str | None:
    """Return path and query below the interface, or None for what would lead out of it, end early, or is no text."""
    segments = unquote(path).split("/")
    ends_early = set(path) & set("?#\\") or _HALF_ESCAPED.search(path) or not path.isprintable()
    if not path.startswith("/") or {".", ".."} & set(segments) or ends_early:
        return None
    try:
        target, query = base.path + quote(path, safe=_IN_PATH), urlencode(params or {}, doseq=True)
    except UnicodeEncodeError:  # half of a character, which JSON can hold, in what a system said and is asked for
        return None
    return f"{target}?{query}" if query else target


def joined(*headers: Mapping[str, str]) -> dict[str, str]:
    """Join fields, the later over the earlier whatever their case. Raises `ValueError` for what is no field."""
    found: dict[str, tuple[str, str]] = {}
    for name, text in (pair for fields in headers for pair in fields.items()):
        if not _TOKEN.fullmatch(name) or not _TEXT.fullmatch(text):
            raise ValueError(f"{name!r} cannot be sent as a field")
        found[name.lower()] = name, text
    return dict(found.values())


def typed(headers: Mapping[str, str] | None) -> dict[str, str]:
    """Return the fields of a request with a body, which is JSON unless they say what else."""
    return joined({"Content-Type": "application/json"}, headers or {})


def encoded(body: Json) -> bytes:
    """Return a body as JSON. Raises `ConnectorError` for what JSON cannot hold."""
    try:
        return json.dumps(body, allow_nan=False, separators=(",", ":"), default=dict).encode("ascii")
    except (TypeError, ValueError, RecursionError):
        pass  # raised below, without the error that quotes the value
    raise ConnectorError("a request holds what JSON cannot hold")


def unsendable(secrets: Mapping[str, Secret]) -> str | None:
    """Say which credential does not fit into a field (RFC 9110, section 5.5); the library would quote it."""
    for name, secret in secrets.items():
        if not _TOKEN.fullmatch(name) or not re.fullmatch(r"[!-~]([ -~]*[!-~])?", secret.reveal()):
            return f"the credential for {visible(name)} holds characters that cannot be sent; is it the right one?"
    return None
