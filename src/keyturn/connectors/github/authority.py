"""Proves to GitHub who we are: a token from a credential source, or an App's installation token of one hour.

An App's private key signs a short-lived JSON Web Token; with it a token is asked for that reaches one repository and
has the permissions named, no more. Such tokens live in memory alone and are asked for anew shortly before they end,
or when GitHub refuses one.
https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import jwt

from keyturn.canon import Json
from keyturn.connectors.credentials import Secret, Source
from keyturn.connectors.http import Answer, Door
from keyturn.model.errors import ConnectorError

BACKDATED = 60
"""Seconds that an App's token is dated back, as GitHub advises, for clocks that run apart."""
LIFETIME = 540
"""Seconds an App's token is good for from now; with `BACKDATED` the ten minutes that GitHub allows."""
EARLY = 300
"""Seconds before its end at which an installation token is no longer used."""


class Proof(Protocol):
    """What a door sends to say who we are; an `Authority`, which can also name the account."""

    async def headers(self) -> Mapping[str, Secret]:
        """Return the headers of one request."""
        ...

    def refused(self) -> bool:
        """Forget what was refused; say whether another try may fare better."""
        ...


@dataclass(frozen=True, slots=True)
class Token:
    """A fine-grained or classic token."""

    source: Source

    async def headers(self) -> Mapping[str, Secret]:
        """Return the token as it is now."""
        return {"authorization": (await self.source.read()).after("Bearer ")}

    def refused(self) -> bool:
        """Have the source read anew."""
        return self.source.forget()


@dataclass(frozen=True, slots=True, kw_only=True)
class AppKey:
    """An App itself, by its private key: may find its installations and ask for their tokens, nothing else.

    `place` is the dotted name of the setting, for errors; `app` the App's id or client id; `now` UTC seconds.
    """

    place: str
    app: str
    key: Source = field(repr=False)
    now: Callable[[], float]

    async def headers(self) -> Mapping[str, Secret]:
        """Return a JSON Web Token (RFC 7519, RS256) made for this request."""
        signed = self._signed((await self.key.read()).reveal())
        if signed is None:
            raise ConnectorError(f"{self.place}: not the RSA private key in PEM form that GitHub gave for the App")
        return {"authorization": signed.after("Bearer ")}

    def refused(self) -> bool:
        """Have the key read anew."""
        return self.key.forget()

    def _signed(self, key: str) -> Secret | None:
        """Sign; None for what is no key: an error would keep it in its frames, and the library may quote it."""
        at = int(self.now())
        claims = {"iat": at - BACKDATED, "exp": at + LIFETIME, "iss": self.app}
        try:
            return Secret(jwt.encode(claims, key, algorithm="RS256"))
        except (jwt.PyJWTError, ValueError, TypeError):
            return None


@dataclass(slots=True, kw_only=True)
class Installation:
    """An App where it is installed: tokens for one repository (`owner`, `name`) and the `permissions` named.

    `door` speaks to the same host as the App itself; `number` is the installation's, found when it is None.
    """

    door: Door
    owner: str
    name: str
    permissions: Mapping[str, str]
    now: Callable[[], float]
    number: int | None = None
    _token: Secret | None = field(default=None, repr=False)
    _until: float = 0.0

    async def headers(self) -> Mapping[str, Secret]:
        """Return an installation token that is good for some minutes more."""
        token = self._token
        if token is None or self.now() >= self._until - EARLY:
            token = await self._fresh()
        return {"authorization": token.after("Bearer ")}

    def refused(self) -> bool:
        """Drop the token, which may have been revoked."""
        held, self._token = self._token is not None, None
        return held

    async def found(self) -> Mapping[str, object]:
        """Read the installation as GitHub has it: its account, permissions and number."""
        answer = (await self.door.read(f"/repos/{self.owner}/{self.name}/installation")).json()
        if not isinstance(answer, dict) or not isinstance(answer.get("id"), int):
            raise ConnectorError("GitHub describes the App's installation in a way that cannot be read")
        return answer

    async def app(self) -> Answer:
        """Read the App itself."""
        return await self.door.read("/app")

    async def _fresh(self) -> Secret:
        number = self.number if self.number is not None else (await self.found())["id"]
        # asking twice does no harm, so an answer that was lost is asked for again, as reads are
        body: dict[str, Json] = {"repositories": [self.name], "permissions": dict(self.permissions)}
        path = f"/app/installations/{number}/access_tokens"
        found = _token_in((await self.door.post_read(path, body=body)).json())
        if isinstance(found, str):
            raise ConnectorError(f"GitHub gave an installation token {found}")
        self._token, self._until = found
        return found[0]


def _token_in(answer: object) -> tuple[Secret, float] | str:
    """Return a token and when it ends, or words for what is wrong: an error would keep the answer in its frames."""
    match answer:
        case {"token": str(token), "expires_at": str(text)} if token:
            until = _seconds(text)
            return "with an unreadable end" if until is None else (Secret(token), until)
    return "in a way that cannot be read"


def _seconds(text: str) -> float | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if at.tzinfo is None else at.timestamp()
