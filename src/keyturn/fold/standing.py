"""What stands at present beside the actions: the policy in force, the catalog, the tokens, the anchors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyInForce:
    """The policy of the last `policy.activated` entry: its digest, its place, and whose keys may sign acts."""

    digest: str
    seq: int
    at: datetime
    reviewers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogInForce:
    """The contracts of the last `catalog.published` entry: tool → label ("v1 sha256:…")."""

    digest: str
    seq: int
    contracts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Anchored:
    """What an anchor is recorded to have: a checkpoint of so many entries, and when that was written."""

    size: int
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token as the ledger knows it: only the SHA-256 of the secret. `scopes` None adds no restriction."""

    digest: str
    principal: str
    transports: tuple[str, ...]
    scopes: tuple[str, ...] | None
    expires_at: datetime
    seq: int
    revoked_at: datetime | None = None

    def refusal(self, transport: str, now: datetime) -> str | None:
        """Say why the token is not good on `transport` at `now`, or None when it is."""
        if self.revoked_at is not None:
            return "the token was revoked"
        if now >= self.expires_at:
            return "the token has expired"
        if transport not in self.transports:
            return f"the token is not for {transport}"
        return None
