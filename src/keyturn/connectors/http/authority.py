"""What stands behind a request: the fields that prove who asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from keyturn.connectors.credentials import Secret, Source


class Authority(Protocol):
    """Gives the fields of a request that hold credentials."""

    async def headers(self) -> Mapping[str, Secret]:
        """Return the fields as they have to be now. Raises `ConnectorError` where a credential cannot be had.

        Called before every try, outside of the turn for changes: it may ask the same host for a token.
        """
        ...

    def refused(self) -> bool:
        """Note that they were refused (401), forget what is kept; say whether the next `headers` may be others."""
        ...


@dataclass(frozen=True, slots=True)
class FromSource:
    """One field with one credential, `Authorization: Bearer …` (RFC 6750) unless told otherwise."""

    source: Source
    field: str = "Authorization"
    prefix: str = "Bearer "

    async def headers(self) -> Mapping[str, Secret]:
        """Read the credential."""
        return {self.field: (await self.source.read()).after(self.prefix)}

    def refused(self) -> bool:
        """Forget it."""
        return self.source.forget()


@dataclass(frozen=True, slots=True)
class Nobody:
    """Requests without a credential."""

    async def headers(self) -> Mapping[str, Secret]:
        """Return no fields."""
        return {}

    def refused(self) -> bool:
        """Nothing else can be tried."""
        return False
