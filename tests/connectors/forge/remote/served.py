"""Real git servers on loopback: `git http-backend` behind a few lines of HTTP, and the way to the test bed's sshd."""

from __future__ import annotations

import base64
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any
from urllib.parse import urlsplit

from keyturn.connectors.forge.remote import RemoteForge, Settings, build
from tests.bed.programs import wait_until
from tests.bed.ssh import SshServer
from tests.connectors.forge.repository import ENVIRONMENT, Repository, create
from tests.connectors.surroundings import world_at

TOKEN = "canary-0123456789-token"
READER = "canary-9876543210-reader"

Before = Callable[["Exchange"], int | None]
"""Looks at a request: a status that is answered at once, or None to go on."""


@dataclass(slots=True)
class Exchange:
    """One request to the server: how it came, and what the server did with it."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def pushing(self) -> bool:
        """Whether it is the second half of a push: the one that changes something."""
        return self.method == "POST" and self.target.endswith("/git-receive-pack")


@dataclass(slots=True)
class Manners:
    """How a server treats requests.

    users    the passwords that are let in, and whether they may push; None lets everybody do everything
    before   called before a request goes to git; a status it returns is the answer
    cut      says of a request that git has answered whether its answer never leaves
    version  the protocol that is spoken, "" for the oldest; None for what the client asks for
    dropped  says of a request whether it is lost: no answer, and git never hears of it
    """

    users: dict[str, bool] | None = None
    before: Before = lambda _: None
    cut: Callable[[Exchange], bool] = lambda _: False
    dropped: Callable[[Exchange], bool] = lambda _: False
    version: str | None = None
    seen: list[Exchange] = field(default_factory=list)


@dataclass(slots=True)
class Server:
    """A server on loopback whose repositories lie below `root`."""

    root: Path
    scheme: str
    port: int
    manners: Manners

    def url(self, name: str = "shop.git", host: str = "127.0.0.1") -> str:
        """Return a repository's URL."""
        return f"{self.scheme}://{host}:{self.port}/{name}"


@contextmanager
def served(root: Path, manners: Manners | None = None, context: ssl.SSLContext | None = None) -> Iterator[Server]:
    """Serve the repositories below a folder as long as the block lasts."""
    kept = manners or Manners()

    class Handler(_Handler):
        folder = root
        ways = kept

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listener.daemon_threads = True
    if context is not None:
        listener.socket = context.wrap_socket(listener.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield Server(root, "https" if context else "http", listener.server_address[1], kept)
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    folder: Path
    ways: Manners
    timeout = 20

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def handle(self) -> None:
        try:
            super().handle()
        except (OSError, ssl.SSLError):
            return  # a client that went away, or whose handshake failed

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        exchange = Exchange(
            self.command, self.path, {name.lower(): text for name, text in self.headers.items()}, self._body()
        )
        self.ways.seen.append(exchange)
        status = self._let_in(exchange) or self.ways.before(exchange)
        if status is not None:
            self._refuse(status)
            return
        lost = self.ways.dropped(exchange)
        head, _, body = (b"" if lost else self.git(exchange)).partition(b"\r\n\r\n")
        if lost or self.ways.cut(exchange):
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        fields = dict(line.decode().split(": ", 1) for line in head.split(b"\r\n"))
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, text in fields.items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _let_in(self, exchange: Exchange) -> int | None:
        if self.ways.users is None:
            return None
        scheme, _, given = exchange.headers.get("authorization", "").partition(" ")
        password = base64.b64decode(given).decode().partition(":")[2] if scheme == "Basic" else ""
        if password not in self.ways.users:
            return 401
        return 403 if "git-receive-pack" in exchange.target and not self.ways.users[password] else None

    def _refuse(self, status: int) -> None:
        body = f"no {TOKEN} here\n".encode() + self.headers.get("Authorization", "").encode()
        self.send_response(status)
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
        if status in (301, 302, 307, 308):
            self.send_header("Location", f"http://127.0.0.1:9{self.path}")
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def git(self, exchange: Exchange) -> bytes:
        parts, spoken = urlsplit(exchange.target), self.ways.version
        environment = ENVIRONMENT | {
            "GIT_PROJECT_ROOT": str(self.folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REMOTE_USER": "tester",
            "REQUEST_METHOD": exchange.method,
            "PATH_INFO": parts.path,
            "QUERY_STRING": parts.query,
            "CONTENT_TYPE": exchange.headers.get("content-type", ""),
            "CONTENT_LENGTH": str(len(exchange.body)),
            "HTTP_CONTENT_ENCODING": exchange.headers.get("content-encoding", ""),
            "GIT_PROTOCOL": exchange.headers.get("git-protocol", "") if spoken is None else spoken,
            "REMOTE_ADDR": "127.0.0.1",
        }
        ran = subprocess.run(
            ["git", "http-backend"], input=exchange.body, env=environment, capture_output=True, check=False
        )
        return ran.stdout


@dataclass(frozen=True, slots=True)
class Remote(Repository):
    """A repository behind a server, and the settings of a forge that reaches it."""

    settings: Settings

    def forge(  # type: ignore[override]  # another kind of forge
        self, name: str = "shop", home: str = "home", path: str = ENVIRONMENT["PATH"], **settings: Any
    ) -> RemoteForge:
        """Return a forge of a home, whose copy of the remote is kept; `path` is where git is found."""
        folder = self.path.parent.parent / home
        folder.mkdir(exist_ok=True)
        variables = {"PATH": path, "TOKEN": TOKEN, "READER": READER, "WRONG": "canary-wrong-one"}
        chosen = self.settings.model_dump() | settings
        return build(name, Settings(**chosen), world_at(folder, variables))

    def copy(self, home: str = "home") -> Path:
        """Return the folder of a home's copies."""
        return self.path.parent.parent / home / "state" / "cache" / "git-remote"


def remote(server: Server, algorithm: str = "sha1", **settings: Any) -> Remote:
    """Make a repository `shop.git` that takes pushes, and tell how it is reached."""
    made = create(server.root / "shop.git", algorithm=algorithm)
    made.git("config", "http.receivepack", "true")
    chosen: dict[str, Any] = {"url": server.url(), "private": True, "timeout": 60, **settings}
    return Remote(made.path, Settings(**chosen))


@contextmanager
def tunnel(port: int, asked: list[str]) -> Iterator[int]:
    """Run a proxy that leads every CONNECT to one port of this machine; yields its own port."""

    def carry(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    class Proxy(BaseRequestHandler):
        def handle(self) -> None:
            head = b""
            while b"\r\n\r\n" not in head:
                head += self.request.recv(65536)
            asked.append(head.split(b"\r\n")[0].decode())
            with socket.create_connection(("127.0.0.1", port)) as onward:
                self.request.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                back = threading.Thread(target=carry, args=(onward, self.request), daemon=True)
                back.start()
                carry(self.request, onward)
                back.join()

    with ThreadingTCPServer(("127.0.0.1", 0), Proxy) as listener:
        listener.daemon_threads = True
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield listener.server_address[1]
        listener.shutdown()
        thread.join()


def over_ssh(server: SshServer, repository: Path, **other: Any) -> Settings:
    """Return the settings of a forge that reaches a repository of this machine over SSH, as the writer."""
    chosen: dict[str, Any] = {
        "url": server.at(repository),
        "key": str(server.writer),
        "known_hosts": str(server.known_hosts),
        "private": True,
        "timeout": 60,
        **other,
    }
    return Settings(**chosen)


@contextmanager
def agent(place: Path, key: Path) -> Iterator[None]:
    """Run an agent with one key at a socket as long as the block lasts."""
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(place)], stdout=subprocess.DEVNULL)
    try:
        wait_until(place.exists, within=10, what="the agent listens")
        subprocess.run(["ssh-add", "-q", str(key)], env=ENVIRONMENT | {"SSH_AUTH_SOCK": str(place)}, check=True)
        yield
    finally:
        process.terminate()
        process.wait()
