"""Any git remote over HTTPS or SSH as a forge: a pull request is a branch and a record, as in a repository here.

How refs move, and what a crash or a lost answer leaves, is argued in `repository`; how git is let out, in `line`.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from math import ceil
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import anyio
import anyio.to_thread
from pydantic import BaseModel, ConfigDict, Field

from keyturn.connectors.checking import Finding
from keyturn.connectors.credentials import CredentialSpec, Secret, Source, source_of
from keyturn.connectors.forge import Change, Closed, Closing, Landed, Pull, Snapshot
from keyturn.connectors.forge.batch import Damaged
from keyturn.connectors.forge.closing import close, probe_closing
from keyturn.connectors.forge.landing import apply, probe, reviewed, snapshot
from keyturn.connectors.forge.process import Git
from keyturn.connectors.forge.pulls import read_pull
from keyturn.connectors.forge.remote.line import Line, Ssh
from keyturn.connectors.forge.remote.looking import NO_PLACE, PLACE_ADVICE, look, version
from keyturn.connectors.forge.remote.mirror import Mirror, folder_of
from keyturn.connectors.forge.remote.repository import Failure, OtherFormat, RemoteRepository, Unauthorised
from keyturn.connectors.forge.remote.target import Target, target_of
from keyturn.connectors.http.connection import Connection, proxy_of, trust_of
from keyturn.connectors.http.turn import Pausing, Turn, turn_of
from keyturn.connectors.world import World
from keyturn.model.errors import ConfigurationError, ConnectorError
from keyturn.model.outcome import CannotHappen, CannotTell, Stale
from keyturn.model.plan import Backend
from keyturn.model.tool import ActionRef

T = TypeVar("T")

SHUT_FOR = 600.0
"""Seconds for which nothing is planned on a server that said it takes no refs below `refs/keyturn/`."""
_WAITS = 5
"""Calls of git that others may be allowed before waiting for the turn, or the copy, is given up."""
_SAFE_PATH = re.compile(r'[^"$%\\\x00-\x1f]+')

_Place = Annotated[str, Field(min_length=1, max_length=2000)]


class Settings(BaseModel):
    """`[forge.<name>]` of the wiring: a git remote. Relative paths are below the home.

    url          `https://[USER@]HOST/PATH` or `ssh://USER@HOST[:PORT]/PATH`
    credential   HTTPS: where the password or token comes from (see `credentials`); none for nobody's account
    key          SSH: the file of the private key, without a passphrase
    agent        SSH: the socket of an agent, instead of `key`, or beside a public key that chooses one of its keys
    known_hosts  SSH: the file with the server's host key; no other server is talked to
    ca           HTTPS: a file of PEM certificates, which alone are trusted then
    proxy        HTTPS: `http://HOST:PORT`
    private      whether private and loopback addresses may be connected to
    timeout      seconds that one call of git may take, fetching a whole repository included
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    kind: Literal["git-remote"] = "git-remote"
    url: _Place
    credential: CredentialSpec | None = None
    key: _Place | None = None
    agent: _Place | None = None
    known_hosts: _Place | None = None
    ca: _Place | None = None
    proxy: _Place | None = None
    private: bool = False
    timeout: int = Field(default=120, ge=2, le=3600)


def build(name: str, settings: Settings, world: World, *, place: str = "") -> RemoteForge:
    """Return the forge called `name`; `place` is the dotted path of its settings where they stand elsewhere.

    Raises `ConfigurationError` naming the setting that is wrong.
    """
    place = place or f"forge.{name}"
    target = target_of(f"{place}.url", settings.url, private=settings.private)
    _refuse_foreign(place, settings, target)
    search = world.environment.get("PATH") or "/usr/local/bin:/usr/bin:/bin"
    folder = folder_of(world.cache, f"{target.user}@{target.location}")
    git = Git(
        program=_program(place, "git", search),
        folder=folder,
        path=search,
        deadline=float(settings.timeout),
        name=name,
    )
    mirror = Mirror(git, patience=float(settings.timeout * _WAITS))
    connection = Connection(url="https://proxied.invalid", proxy=settings.proxy)
    if settings.ca is not None:
        trust_of(place, world.home, settings.ca)
    line = Line(
        target=target,
        private=settings.private,
        timeout=settings.timeout,
        nothing=mirror.nothing,
        ca=None if settings.ca is None else (world.home / settings.ca).resolve(),
        proxy=proxy_of(place, connection),
        ssh=_ssh(place, settings, world.home, search) if target.scheme == "ssh" else None,
    )
    source = source_of(f"{place}.credential", settings.credential, world) if settings.credential else None
    turn = turn_of(world.run, target.authority, 0.0, world.now)
    return RemoteForge(name, line, mirror, source=source, turn=turn, now=world.now)


class RemoteForge:
    """One remote; see `Forge` for what each method promises."""

    def __init__(
        self, name: str, line: Line, mirror: Mirror, *, source: Source | None, turn: Turn, now: Callable[[], float]
    ) -> None:
        target = line.target
        self._line = line
        self._mirror = mirror
        self._source = source
        self._turn = turn
        self._now = now
        self._rehearsed = False
        self._identity = Backend(
            port="forge", name=name, kind="git-remote", location=target.location, account=target.user
        )

    @property
    def identity(self) -> Backend:
        """Return which repository this is."""
        return self._identity

    async def snapshot(self, branch: str, paths: Sequence[str]) -> Snapshot:
        """Read the branch's commit and the files at `paths`; the first time, see that a push would be let in."""
        self._refuse_shut()
        return await self._used(partial(self._planned, branch, paths))

    async def reviewed(self, change: Change) -> Snapshot:
        """Read the files a change touches as they stand in its parent."""
        return await self._used(lambda repository: reviewed(repository, change))

    async def apply(self, change: Change, action: ActionRef) -> Landed | Stale:
        """Land the change once, or say what moved."""
        async with self._turn_taken():
            return await self._used(lambda repository: apply(repository, change, action))

    async def probe(self, change: Change, action: ActionRef) -> Landed | CannotHappen | CannotTell:
        """Find the change, or fence it off."""
        try:
            async with self._turn_taken():
                return await self._used(lambda repository: probe(repository, change, action))
        except ConnectorError as error:
            return CannotTell(str(error))

    async def pull(self, action: str) -> Pull:
        """Read the pull request of an action."""
        return await self._used(lambda repository: read_pull(repository, self._identity.name, action))

    async def close(self, closing: Closing, action: ActionRef) -> Closed | Stale:
        """Delete the branch of an open pull request and say so in its record, once."""
        async with self._turn_taken():
            return await self._used(lambda repository: close(repository, closing, action))

    async def probe_closing(self, closing: Closing, action: ActionRef) -> Closed | CannotHappen | CannotTell:
        """Find the closing, or fence it off."""
        try:
            async with self._turn_taken():
                return await self._used(lambda repository: probe_closing(repository, closing, action))
        except ConnectorError as error:
            return CannotTell(str(error))

    async def use(self, work: Callable[[RemoteRepository], T]) -> T:
        """Do something of one's own with the remote, when it is this home's turn to change something there."""
        async with self._turn_taken():
            return await self._used(work)

    async def audience(self, body: str = "") -> int:
        """Return 0: a push tells nobody whom we could count."""
        return 0

    async def check(self) -> tuple[Finding, ...]:
        """Look at git, at the server, and at what we may do there."""
        found: list[Finding] = []
        try:
            await self._used(partial(_looked, found))
        except Failure as error:
            found.append(Finding("wrong", error.found.words, error.found.advice))
        except ConnectorError as error:
            found.append(Finding("wrong", str(error)))
        if words := self._mirror.word(self._now() - SHUT_FOR):
            found.append(Finding("wrong", f"{NO_PLACE}: {words}", PLACE_ADVICE))
        return tuple(found)

    def _planned(self, branch: str, paths: Sequence[str], repository: RemoteRepository) -> Snapshot:
        seen = snapshot(repository, self._identity.name, branch, paths)
        if not self._rehearsed:
            repository.rehearse(seen.commit)
            self._rehearsed = True
        return seen

    def _refuse_shut(self) -> None:
        if words := self._mirror.word(self._now() - SHUT_FOR):
            raise ConnectorError(f"{NO_PLACE}: {words}; {PLACE_ADVICE}")

    @asynccontextmanager
    async def _turn_taken(self) -> AsyncIterator[None]:
        """Have the turn for changes on this host, whichever process of the home wants it."""
        host, seconds = self._line.target.authority, float(self._line.timeout * _WAITS)
        async with AsyncExitStack() as stack:
            try:
                with anyio.fail_after(seconds):
                    turn = await stack.enter_async_context(self._turn.taken(anyio.current_time() + seconds))
            except TimeoutError:
                raise ConnectorError(f"other changes on {host} take too long", kind="retry") from None
            if isinstance(turn, Pausing):
                raise ConnectorError(f"{host} wants to be left alone", kind="retry", retry_after=ceil(turn.seconds))
            yield

    async def _used(self, work: Callable[[RemoteRepository], T]) -> T:
        """Do something with the remote; with a new credential once more, when the old one was refused."""
        try:
            return await self._tried(work)
        except Unauthorised:
            if self._source is None or not self._source.forget():
                raise
        return await self._tried(work)

    async def _tried(self, work: Callable[[RemoteRepository], T]) -> T:
        secret = await self._source.read() if self._source else None
        return await anyio.to_thread.run_sync(self._held, work, secret)

    def _held(self, work: Callable[[RemoteRepository], T], secret: Secret | None) -> T:
        """Do something with the copy to oneself; made anew once, when it is damaged."""
        with self._mirror.held():
            try:
                return self._certain(work, secret)
            except Damaged as error:
                self._mirror.renew(error.width if isinstance(error, OtherFormat) else 40)
            return self._certain(work, secret)

    def _certain(self, work: Callable[[RemoteRepository], T], secret: Secret | None) -> T:
        """Let nothing that fails after a push of unknown outcome look as if nothing had been done."""
        repository = RemoteRepository(self._mirror.git, line=self._line, secret=secret)
        course = repository.course
        try:
            return work(repository)
        except ConnectorError as error:
            if course.doubt and error.kind != "unknown":
                raise ConnectorError(f"{course.doubt}; then: {error}", kind="unknown") from None
            if course.shut:
                self._mirror.keep_word(self._now(), course.shut)
            if course.shut and error.kind != "unknown":
                raise ConnectorError(f"{NO_PLACE}: {course.shut}; {PLACE_ADVICE}") from None
            raise


def _looked(found: list[Finding], repository: RemoteRepository) -> None:
    """Look, keeping what was found before something failed."""
    found.clear()
    found.append(version(repository.git))
    found.extend(look(repository))


def _refuse_foreign(place: str, settings: Settings, target: Target) -> None:
    """Refuse settings of the other protocol, and a half of what one protocol needs."""
    https, ssh = ("credential", "ca", "proxy"), ("key", "agent", "known_hosts")
    foreign, scheme = (https, "ssh") if target.scheme == "ssh" else (ssh, "https")
    problems = [f"{place}.{name}: has no meaning with {scheme}" for name in foreign if getattr(settings, name)]
    if target.scheme == "ssh":
        if not settings.key and not settings.agent:
            problems.append(f"{place}.key: ssh needs the file of a private key, or an agent")
        if not settings.known_hosts:
            problems.append(f"{place}.known_hosts: ssh needs a file with the server's host key")
    if problems:
        raise ConfigurationError(*problems)


def _ssh(place: str, settings: Settings, home: Path, search: str) -> Ssh:
    paths = {name: getattr(settings, name) for name in ("key", "agent", "known_hosts")}
    whole = {name: (home / path).absolute() for name, path in paths.items() if path}
    for name, path in whole.items():
        # ssh takes these characters in a path for something else
        if not _SAFE_PATH.fullmatch(str(path)):
            raise ConfigurationError(f'{place}.{name}: the path must not hold any of "$%\\ or control characters')
        if not path.exists():
            raise ConfigurationError(f"{place}.{name}: there is no {path}")
    return Ssh(
        program=_program(place, "ssh", search),
        key=whole.get("key"),
        agent=whole.get("agent"),
        known_hosts=whole["known_hosts"],
    )


def _program(place: str, name: str, search: str) -> str:
    program = shutil.which(name, path=search)
    if program is None:
        raise ConfigurationError(f"{place}: there is no {name} on PATH; install it")
    return program
