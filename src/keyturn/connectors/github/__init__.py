"""What GitHub's forge and GitHub's tracker share: settings, credentials, and a client bound to one repository."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, model_validator

from keyturn.canon import Json
from keyturn.connectors.credentials import CredentialSpec, source_of
from keyturn.connectors.github.authority import AppKey, Installation, Proof, Token
from keyturn.connectors.http import Answer, Connection, Door
from keyturn.connectors.http.answer import piece_of
from keyturn.connectors.world import World
from keyturn.model.errors import ConnectorError

VERSION = "2022-11-28"
"""The version of the REST API that is spoken.

https://docs.github.com/en/rest/about-the-rest-api/api-versions
"""
HEADERS: Mapping[str, str] = {
    "accept": "application/vnd.github+json",
    "x-github-api-version": VERSION,
    "user-agent": "keyturn",
}

_REPOSITORY = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}/\.?[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}$"


class App(BaseModel):
    """`app = {…}`: the App's id or client id, its private key, and its installation where it is not to be found."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    id: int | str = Field(union_mode="left_to_right")
    key: CredentialSpec
    installation: int | None = Field(default=None, ge=1)


class GitHubConnection(Connection):
    """What `keyturn.toml` says about one repository on GitHub: where, which, and one of two kinds of credential."""

    url: str = "https://api.github.com"
    repository: str = Field(pattern=_REPOSITORY)
    credential: CredentialSpec | None = None
    app: App | None = None
    pause: float = 1.0

    @model_validator(mode="after")
    def _one_credential(self) -> GitHubConnection:
        if (self.credential is None) == (self.app is None):
            raise ValueError('give either credential = "file:…" (a token) or app = { id = …, key = "file:…" }')
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class GitHub:
    """One repository on GitHub. Paths of calls are those below `/repos/{owner}/{name}`.

    repository  `owner/name`
    location    the repository's address in the API, which identities are made of
    account     `app <id>` for an App, "" for a token, whose person only GitHub knows
    proof       who we are; an `Installation` for an App
    """

    door: Door = field(repr=False)
    repository: str
    location: str
    account: str
    proof: Proof = field(repr=False)

    async def get(
        self, path: str, *, params: Mapping[str, str] | None = None, expected: frozenset[int] = frozenset()
    ) -> Answer:
        """Read; statuses in `expected` are answers, others than 2xx raise `ConnectorError`."""
        return await self.door.read(f"/repos/{self.repository}{path}", params=params, expected=expected)

    async def pages(
        self, path: str, *, params: Mapping[str, str] | None = None, most: int, member: str | None = None
    ) -> list[Any]:
        """Read a listing of at most `most` items, page by page; `member` names the list where pages are objects."""
        together = {"per_page": "100", **(params or {})}
        return await self.door.pages(f"/repos/{self.repository}{path}", params=together, most=most, member=member)

    async def change(
        self, method: str, path: str, *, body: Json | None = None, expected: frozenset[int] = frozenset()
    ) -> Answer:
        """Change something, once; see `Door.change` for what an error says about whether it happened."""
        return await self.door.change(method, f"/repos/{self.repository}{path}", body=body, expected=expected)

    async def login(self) -> str:
        """Return the name under which GitHub shows what we do: `ada`, or `shop-bot[bot]` for an App.

        https://docs.github.com/en/rest/users/users#get-the-authenticated-user
        https://docs.github.com/en/rest/apps/apps#get-the-authenticated-app
        """
        if isinstance(self.proof, Installation):
            return f"{_text((await self.proof.app()).json(), 'slug')}[bot]"
        return _text((await self.door.read("/user")).json(), "login")

    async def is_us(self, login: str | None) -> bool:
        """Say whether a login, which GitHub tells apart without looking at capitals, is ours."""
        return login is not None and login.casefold() == (await self.login()).casefold()

    async def permissions(self) -> Mapping[str, str] | None:
        """Return what an App was granted where it is installed (`contents` → `write`); None for tokens.

        GitHub does not tell which permissions a fine-grained token has.
        https://docs.github.com/en/rest/apps/apps#get-a-repository-installation-for-the-authenticated-app
        """
        if not isinstance(self.proof, Installation):
            return None
        granted = (await self.proof.found()).get("permissions")
        if not isinstance(granted, Mapping):
            raise ConnectorError("GitHub does not say what the App's installation may do")
        return {str(name): str(level) for name, level in granted.items()}


def github(place: str, settings: GitHubConnection, world: World, permissions: Mapping[str, str]) -> GitHub:
    """Return the client of one repository; `place` is the dotted name of the table, for errors.

    `permissions` are those an App's tokens are narrowed to, `contents` → `write`. Raises `ConfigurationError`.
    """
    proof = _proof(place, settings, world, permissions)
    account = "" if settings.app is None else f"app {settings.app.id}"
    return GitHub(
        door=_door(place, settings, world, proof),
        repository=settings.repository,
        location=f"{settings.url.rstrip('/')}/repos/{settings.repository}",
        account=account,
        proof=proof,
    )


def said(answer: Answer) -> str:
    """Return what GitHub says in a refusal that was expected: bounded, without what a terminal would act on."""
    return piece_of(answer.body, ()) or f"it answered {answer.status}"


def segment(text: str) -> str:
    """Return a name, such as a branch with slashes, as one segment of a path."""
    return quote(text, safe="")


def _proof(place: str, settings: GitHubConnection, world: World, permissions: Mapping[str, str]) -> Proof:
    if settings.app is None:
        return Token(source_of(f"{place}.credential", settings.credential or "", world))
    owner, _, name = settings.repository.partition("/")
    key = source_of(f"{place}.app.key", settings.app.key, world)
    app = AppKey(place=f"{place}.app.key", app=str(settings.app.id), key=key, now=world.now)
    return Installation(
        door=_door(place, settings, world, app),
        owner=owner,
        name=name,
        permissions=permissions,
        now=world.now,
        number=settings.app.installation,
    )


def _door(place: str, settings: GitHubConnection, world: World, proof: Proof) -> Door:
    return Door(place=place, connection=settings, world=world, authority=proof, headers=HEADERS)


def _text(answer: object, name: str) -> str:
    value = answer.get(name) if isinstance(answer, dict) else None
    if not isinstance(value, str):
        raise ConnectorError(f"GitHub does not say its {name} for this account")
    return value
