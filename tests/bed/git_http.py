"""Git over HTTP: real `git http-backend`, who may read and write, TLS if wanted, and faults before it.

A layer of the proxy runs the program for each request as a web server runs CGI (RFC 3875), so that faults, the record
and TLS are those of the other servers. Credentials are passwords (basic) or tokens (bearer); a reader may fetch, not
push.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, unquote

from tests.bed.faults import FaultProxy, Proxied
from tests.bed.git_remote import ENVIRONMENT, GitRemote
from tests.bed.recorder import Answer, Next, Request
from tests.bed.tls import Certificate
from tests.canaries.marks import MARK

WRITER, READER = ("writer", f"{MARK}-of-writer"), ("reader", f"{MARK}-of-reader")
TOKEN = f"{MARK}-token-of-writer"


@dataclass(frozen=True, slots=True)
class GitHttp:
    """The layer: the folder whose repositories are served, passwords by user, users by token, who may only read."""

    root: Path
    passwords: Mapping[str, str] = field(default_factory=lambda: dict([WRITER, READER]))
    tokens: Mapping[str, str] = field(default_factory=lambda: {TOKEN: WRITER[0]})
    readers: frozenset[str] = frozenset({READER[0]})

    async def __call__(self, request: Request, onward: Next) -> Answer:
        """Let git answer, if the user may."""
        user = self._user(request.header("authorization") or "")
        if user is None:
            realm = (("www-authenticate", 'Basic realm="bed"'), ("content-type", "text/plain"))
            return Answer(401, realm, b"who are you?\n")
        service = parse_qs(request.query).get("service", [request.path.rsplit("/", 1)[-1]])[0]
        if service == "git-receive-pack" and user in self.readers:
            return Answer(403, (("content-type", "text/plain"),), b"you may only read\n")
        return await asyncio.to_thread(self._backend, request, user)

    def _user(self, authorization: str) -> str | None:
        scheme, _, credential = authorization.partition(" ")
        if scheme.lower() == "bearer":
            return self.tokens.get(credential)
        try:
            user, _, password = base64.b64decode(credential, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        return user if scheme.lower() == "basic" and self.passwords.get(user) == password else None

    def _backend(self, request: Request, user: str) -> Answer:
        environment = {
            **ENVIRONMENT,
            "GATEWAY_INTERFACE": "CGI/1.1",
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": request.header("git-protocol") or "",
            "PATH_INFO": unquote(request.path),
            "QUERY_STRING": request.query,
            "REQUEST_METHOD": request.method,
            "CONTENT_TYPE": request.header("content-type") or "",
            "CONTENT_LENGTH": str(len(request.body)),
            "HTTP_CONTENT_ENCODING": request.header("content-encoding") or "",
            "REMOTE_USER": user,
            "REMOTE_ADDR": "127.0.0.1",
        }
        safe = ("-c", "safe.directory=*")
        done = subprocess.run(
            ["git", *safe, "http-backend"],
            input=request.body,
            capture_output=True,
            env=environment,
            timeout=60,
            check=False,
        )
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        lines = [line.partition(": ") for line in head.decode().split("\r\n")]
        headers = {name.lower(): value for name, _, value in lines if name}
        status = int(headers.pop("status", "200").split(" ")[0]) if done.stdout else 500
        return Answer(status, tuple(headers.items()), body)


@dataclass(frozen=True, slots=True, kw_only=True)
class GitServer(Proxied):
    """A running git server; `url` is that of its one repository, without credentials."""

    remote: GitRemote

    @property
    def url(self) -> str:
        """The repository's address."""
        return f"{self.proxy.url}/{self.remote.path.name}"


@contextmanager
def git_http(folder: Path, *, certificate: Certificate | None = None) -> Iterator[GitServer]:
    """Serve a fresh repository `shop.git` in `folder` as long as the block lasts."""
    remote = GitRemote.made(folder / "shop.git")
    tls = certificate.server() if certificate is not None else None
    with FaultProxy(("127.0.0.1", 9), inner=(GitHttp(folder),), server_tls=tls) as proxy:
        yield GitServer(proxy=proxy, remote=remote)
