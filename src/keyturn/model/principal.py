"""Who asks: an assistant's principal, and the caller that a token proves."""

from __future__ import annotations

from dataclasses import dataclass

TRANSPORTS = ("stdio", "http")
"""How a caller may come in; a token names those that it is good for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """An assistant as the policy in force knows it; `owner` is the accountable person, if one is named."""

    name: str
    display: str = ""
    owner: str | None = None
    groups: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """One caller: the principal's name its token proves, the token's public id, and the token's own scopes.

    `scopes` is None when the token adds no restriction. `client` is the client's own label: shown, never trusted.
    """

    principal: str
    token: str
    transport: str
    scopes: frozenset[str] | None = None
    client: str = ""
