"""What operators do to a home beside reviewing: tokens, limits, and reading the log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from keyturn import canon
from keyturn.approvals.action import status
from keyturn.assembly.build import open_standing, read_own_catalog
from keyturn.assembly.home import Home
from keyturn.assembly.outside import account, new_token
from keyturn.assembly.standing import open_ledger, open_reader, require_founded
from keyturn.canon import Json
from keyturn.fold.standing import Token
from keyturn.gateway.acts import Sign, TokenGrant, draft_token, revoke_token, sign_act
from keyturn.gateway.claim import objections
from keyturn.gateway.core import PolicyShelf
from keyturn.gateway.desk import Look
from keyturn.gateway.pressure import hindrance
from keyturn.gateway.review import Actor
from keyturn.ledger import head, rebuild
from keyturn.model.decision import Hold, Permit, Reason
from keyturn.model.errors import Refused
from keyturn.model.principal import TRANSPORTS
from keyturn.model.time import format_timestamp
from keyturn.policy import LimitState, limits_for
from keyturn.policy.limits import written_window

R = TypeVar("R")

SECRET = "kt_"  # noqa: S105 - how every token begins
ID_DIGITS = 12
_BEGUN = frozenset({"running", "succeeded", "failed", "unknown"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenOrder:
    """What token to make. No `transports` means every one; `scopes` None adds no restriction."""

    principal: str
    lives: timedelta
    transports: tuple[str, ...] = ()
    scopes: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A new token. The secret is kept nowhere."""

    secret: str
    grant: TokenGrant

    @property
    def id(self) -> str:
        """What names it in lists: the first digits of its hash."""
        return short_id(self.grant.token)


def issue_token(home: Home, order: TokenOrder, by: str, sign: Sign) -> IssuedToken:
    """Make a token, have it signed and record it. Raises `Refused`."""
    policies = PolicyShelf(read_own_catalog(home))
    secret = new_token()
    ledger = open_ledger(home, "keyturn token issue")
    try:
        grant = TokenGrant(
            token=canon.sha256(secret.encode("ascii")),
            principal=order.principal,
            transports=order.transports or TRANSPORTS,
            scopes=order.scopes,
            # The ledger's time decides when a token ends, so it also says from when it lives.
            expires_at=ledger.look(lambda view: view.now) + order.lives,
        )
        draft = draft_token(ledger, policies, grant, by)
        sign_act(ledger, draft, sign)
    finally:
        ledger.close()
    return IssuedToken(secret, grant)


def end_tokens(home: Home, named: str) -> tuple[str, ...]:
    """Revoke by the beginning of an id, by principal, or by the token itself; returns the ids. Raises `Refused`."""
    wanted = canon.sha256(named.encode()).removeprefix("sha256:") if named.startswith(SECRET) else named
    ledger = open_ledger(home, "keyturn token revoke")
    try:
        ended = revoke_token(ledger, wanted.removeprefix("sha256:"), Actor("account", account()))
    finally:
        ledger.close()
    return tuple(short_id(digest) for digest in ended)


def list_tokens(home: Home) -> list[dict[str, Json]]:
    """Return every token the ledger knows, oldest first."""

    def look(view: Look) -> list[dict[str, Json]]:
        tokens = sorted(view.state.tokens.values(), key=lambda token: token.seq)
        return [_token(token, view.now) for token in tokens]

    return look_at(home, look)


def list_limits(home: Home, principal: str | None) -> list[dict[str, Json]]:
    """Return what is left of every limit of the policy in force, by principal. Raises `Refused` ("not_found")."""
    standing = open_standing(home, "keyturn limit list")

    def look(view: Look) -> list[dict[str, Json]]:
        policy = standing.policies.in_force(view)
        if principal is not None and principal not in policy.principals:
            raise Refused("not_found", f"the policy in force has no principal {principal!r}")
        names = sorted(policy.principals) if principal is None else [principal]
        return [
            _limit(name, state) for name in names for state in limits_for(policy, name, view.state.usage, view.now)
        ]

    try:
        return standing.reader.look(look)
    finally:
        standing.reader.close()


def hindrance_of(home: Home, action_id: str) -> tuple[str, str] | None:
    """Return by code and words what keeps an action that was approved from running; None where nothing known does.

    "stale" where it will not run at all, and "over" where it is stale, cancelled or expired already.
    """
    standing = open_standing(home, "keyturn action")

    def look(view: Look) -> tuple[str, str] | None:
        action = view.state.actions.get(action_id)
        if action is None or (state := status(action, view.now)) in _BEGUN:
            return None
        if state != "approved":
            return "over", f"it is {state} by now"
        found = hindrance(view, standing.policies.in_force(view), action)
        return found or _doomed(objections(standing.policies, view, action))

    try:
        return standing.reader.look(look)
    finally:
        standing.reader.close()


def _doomed(judged: tuple[Reason, ...] | Permit | Hold) -> tuple[str, str] | None:
    return ("stale", "; ".join(reason.text for reason in judged)) if isinstance(judged, tuple) else None


def rebuild_lookup(home: Home) -> int:
    """Make the table that listings use again from the entries; return how many rows it has. Raises `LedgerError`."""
    require_founded(home)
    return rebuild.rebuild_lookup(home.place, "keyturn audit rebuild")


def remake_head(home: Home) -> int:
    """Take the newest entry that is there for the newest there ever was; return how many there are.

    Raises `LedgerError`.
    """
    require_founded(home)
    return head.remake_head(home.place, "keyturn audit rebuild").size


def look_at(home: Home, look: Callable[[Look], R]) -> R:
    """Look at a home's ledger once, read-only."""
    reader = open_reader(home, "keyturn")
    try:
        return reader.look(look)
    finally:
        reader.close()


def short_id(digest: str) -> str:
    """Return what names a token in lists."""
    return digest.removeprefix("sha256:")[:ID_DIGITS]


def _token(token: Token, now: datetime) -> dict[str, Json]:
    state = "revoked" if token.revoked_at else "expired" if now >= token.expires_at else "live"
    return {
        "id": short_id(token.digest),
        "principal": token.principal,
        "state": state,
        "expires_at": format_timestamp(token.expires_at),
        "revoked_at": None if token.revoked_at is None else format_timestamp(token.revoked_at),
        "transports": list(token.transports),
        "scopes": None if token.scopes is None else list(token.scopes),
        "entry": token.seq,
    }


def _limit(principal: str, state: LimitState) -> dict[str, Json]:
    return {
        "principal": principal,
        "rule": state.rule,
        "unit": state.unit,
        "used": state.used,
        "allowed": state.allowed,
        "left": state.left,
        "window": None if state.window is None else written_window(state.window),
        "per": state.per,
        "key": state.key,
        "resets_at": None if state.resets_at is None else format_timestamp(state.resets_at),
    }
