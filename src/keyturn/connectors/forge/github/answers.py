"""Reads GitHub's answers into values; what is not as its documents say becomes an error that names the place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from keyturn.model.errors import ConnectorError

MOST = 2**31
"""What no count of GitHub's reaches."""

_OID = re.compile(r"[0-9a-f]{40}", re.ASCII)


def text_at(value: Any, *path: str) -> str:
    """Return the text at a path of members, `head`, `sha`. Raises `ConnectorError` where there is none."""
    found = _at(value, path)
    if isinstance(found, str):
        return found
    raise _unlike(path)


def number_at(value: Any, *path: str) -> int:
    """Return the whole number at a path of members."""
    found = _at(value, path)
    if isinstance(found, int) and not isinstance(found, bool):
        return found
    raise _unlike(path)


def count_at(value: Any, *path: str) -> int:
    """Return the number of things at a path of members: below nought, or beyond what limits can count, is none."""
    found = number_at(value, *path)
    if 0 <= found < MOST:
        return found
    raise _unlike(path)


def truth_at(value: Any, *path: str) -> bool:
    """Return the boolean at a path of members."""
    found = _at(value, path)
    if isinstance(found, bool):
        return found
    raise _unlike(path)


def list_at(value: Any, *path: str) -> list[Any]:
    """Return the list at a path of members; with no path, the value itself must be one."""
    found = _at(value, path)
    if isinstance(found, list):
        return found
    raise _unlike(path)


def members(value: Any) -> Mapping[str, Any]:
    """Return an answer that has to be an object. Raises `ConnectorError` for anything else."""
    if isinstance(value, Mapping):
        return value
    raise ConnectorError("GitHub answered with something else than an object")


def oid_at(value: Any, *path: str) -> str:
    """Return the object id (SHA-1, forty digits) at a path of members."""
    found = text_at(value, *path)
    if _OID.fullmatch(found):
        return found
    raise _unlike(path)


def _at(value: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _unlike(path: tuple[str, ...]) -> ConnectorError:
    return ConnectorError(f"GitHub answered without a proper {'.'.join(path) or 'list'}")
