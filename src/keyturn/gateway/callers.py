"""Who is calling: a token, checked against the ledger on every call."""

from __future__ import annotations

from collections.abc import Callable

from keyturn import canon
from keyturn.gateway.core import Gateway, Look
from keyturn.model.decision import Reason
from keyturn.model.errors import Refused
from keyturn.model.principal import Caller
from keyturn.model.text import clean

MAX_LABEL = 200


def authenticate(gate: Gateway, token: str, *, transport: str, client: str = "") -> Caller:
    """Return the caller a token proves. Raises `Refused` as `proof` does."""
    return gate.ledger.look(proof(gate, token, transport=transport, client=client))


def proof(gate: Gateway, token: str, *, transport: str, client: str = "") -> Callable[[Look], Caller]:
    """Return the look that says whose a token is.

    It raises `Refused` ("not_authenticated"), the same for every wrong token. `client` is the client's own label; it
    is kept for people to read and decides nothing.
    """
    digest = canon.sha256(token.encode("utf-8", "surrogatepass"))

    def check(look: Look) -> Caller:
        known = look.state.tokens.get(digest)
        if known is None:
            raise Refused(
                "not_authenticated",
                "the token is not known to this home; issue one: keyturn --home HOME token issue PRINCIPAL",
            )
        if (refusal := known.refusal(transport, look.now)) is not None:
            raise Refused("not_authenticated", f"{refusal}; issue a new one: keyturn token issue {known.principal}")
        if known.principal not in gate.policies.in_force(look).principals:
            raise Refused("not_authenticated", f"the policy in force has no principal {known.principal!r}")
        scopes = None if known.scopes is None else frozenset(known.scopes)
        return Caller(
            principal=known.principal,
            token=digest,
            transport=transport,
            scopes=scopes,
            client=clean(client, MAX_LABEL),
        )

    return check


def fallen_token(view: Look, caller: Caller) -> Reason | None:
    """Say why a caller's token no longer counts: it may have been revoked while its call was under way."""
    token = view.state.tokens.get(caller.token)
    refusal = "the token is not known" if token is None else token.refusal(caller.transport, view.now)
    return None if refusal is None else Reason("token", refusal)
