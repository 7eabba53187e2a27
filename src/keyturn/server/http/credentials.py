"""The credential of a request: one bearer token in its header, proved against the ledger each time.

What is refused is counted here and written nowhere: whoever has no token must not be able to make a ledger grow.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from starlette.types import Scope

from keyturn.gateway.callers import fallen_token, proof
from keyturn.gateway.core import Gateway, Look
from keyturn.gateway.threads import on_ledger
from keyturn.model.errors import Refused
from keyturn.model.principal import Caller
from keyturn.server.http.door import header
from keyturn.server.http.reply import NO_BEARER, NO_TOKEN, WRONG_TOKEN, Reply

_BEARER = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9._~+/-]{1,512}=*)")  # RFC 6750 section 2.1
_MEANT = re.compile(r"bearer\s+\S", re.IGNORECASE)


@dataclass(slots=True)
class Counts:
    """What was turned away since this process began, by kind; read by whoever shows figures.

    credentials    "missing" (none sent), "malformed" (no bearer token, or several), "refused" (unknown, expired,
                   revoked, or not for HTTP)
    refused        other requests refused before MCP, by HTTP status
    """

    credentials: Counter[str] = field(default_factory=Counter)
    refused: Counter[int] = field(default_factory=Counter)


def token_of(scope: Scope) -> str | None:
    """Return the bearer token of a request; None when it has none, several, or something else."""
    sent = header(scope, b"authorization")
    found = _BEARER.fullmatch(sent[0]) if len(sent) == 1 else None
    return None if found is None else found[1]


async def prove(gate: Gateway, scope: Scope, counts: Counts) -> Caller | Reply:
    """Return who sent a request, or the refusal: the same one for each bearer token that does not count.

    Raises `LedgerError` when the ledger cannot be asked.
    """
    token = token_of(scope)
    if token is None:
        sent = header(scope, b"authorization")
        counts.credentials["malformed" if sent else "missing"] += 1
        if any(_MEANT.match(value) for value in sent):
            return WRONG_TOKEN
        return NO_BEARER if sent else NO_TOKEN

    try:
        return await gate.ferry.look(proof(gate, token, transport="http"))
    except Refused:
        counts.credentials["refused"] += 1
        return WRONG_TOKEN


def as_user(caller: Caller) -> AuthenticatedUser:
    """Return a caller as the SDK compares users: it binds each session to the token that opened it.

    The token itself is not in it, only its hash.
    """
    return AuthenticatedUser(
        AccessToken(token=caller.token, client_id=caller.token, scopes=[], subject=caller.principal)
    )


async def fallen(gate: Gateway, callers: Iterable[Caller]) -> frozenset[str]:
    """Return the hashes of those tokens that no longer count. Raises `LedgerError`."""
    known = {caller.token: caller for caller in callers}

    def look(view: Look) -> frozenset[str]:
        principals = gate.policies.in_force(view).principals
        return frozenset(
            token
            for token, caller in known.items()
            if caller.principal not in principals or fallen_token(view, caller) is not None
        )

    return await on_ledger(gate.ledger.look, look)
