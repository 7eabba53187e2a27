"""A git server for the matrix: real `git http-backend`, one repository, each cell with a base branch of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from tests.bed.faults import FaultProxy, Instead
from tests.bed.git_http import WRITER, GitServer, git_http
from tests.bed.recorder import Answer, Request
from tests.faults.matrix.bench import Asked, Bench, Seen, Write
from tests.faults.matrix.github import AFTER, LATER, PATH, files, said_by
from tests.faults.matrix.troubles import ON_THE_WAY, Trouble, always, answered

PLACE = "refs/keyturn/place"


@dataclass(slots=True)
class Remote:
    """The server, and what other people see in its repository."""

    server: GitServer
    begun: str
    _cells: Iterator[int] = field(default_factory=count)

    @property
    def proxy(self) -> FaultProxy:
        """The faults before it."""
        return self.server.proxy

    def wiring(self) -> str:
        """Return the forge."""
        url = self.server.url.replace("://", f"://{WRITER[0]}@")
        return f'[forge.shop]\nkind = "git-remote"\nurl = "{url}"\ncredential = "file:token"\nprivate = true\n'

    def token(self) -> str:
        """Return the writer's password."""
        return WRITER[1]

    def lie(self, request: Request) -> Answer:
        """Report every ref of a push as moved (gitprotocol-pack, report-status)."""
        refs, capabilities = pushed(request.body)
        report = b"".join(packet(line) for line in (b"unpack ok\n", *(b"ok " + ref + b"\n" for ref in refs)))
        body = report + b"0000"
        if b"side-band-64k" in capabilities:
            body = packet(b"\x01" + body) + b"0000"
        return Answer(200, (("content-type", "application/x-git-receive-pack-result"),), body)

    def change(self) -> None:
        """Do nothing: what others push is tried elsewhere."""

    def base(self) -> str:
        """Return a branch like `main`, of this cell alone."""
        name = f"base-{next(self._cells)}"
        self.proxy.seen.forget()
        self.server.remote.git("update-ref", f"refs/heads/{name}", self.begun)
        return name

    def branch(self, action: str) -> str | None:
        """Return where the branch of an action is."""
        return self.server.remote.head(f"keyturn/{action}")

    def branches(self) -> set[str]:
        """Return all branches of pull requests."""
        return {ref for ref in self.server.remote.refs() if ref.startswith("refs/heads/keyturn/")}

    def message(self, commit: str) -> str:
        """Return the message of a commit."""
        return self.server.remote.git("log", "-1", "--format=%B", commit).decode()


def packet(line: bytes) -> bytes:
    """Return a line as git sends it: its length in four hexadecimal digits before it."""
    return f"{len(line) + 4:04x}".encode() + line


def pushed(body: bytes) -> tuple[list[bytes], bytes]:
    """Return the refs that a push wants to move, and the capabilities it names."""
    refs, capabilities, at = [], b"", 0
    while (length := int(body[at : at + 4], 16)) > 0:
        line, _, more = body[at + 4 : at + length].partition(b"\0")
        capabilities = capabilities or more
        if not line.startswith(b"shallow "):
            refs.append(line.split(b" ")[2].strip())
        at += length
    return refs, capabilities


def opening(remote: Remote, bench: Bench) -> Asked:
    base, before = remote.base(), remote.branches()

    def look(action: str) -> Seen:
        fresh, head = remote.branches() - before, remote.branch(action)
        whole = (
            fresh == {f"refs/heads/keyturn/{action}"}
            and head is not None
            and said_by(remote.message(head), action)
            and remote.server.remote.files(head)[PATH] == AFTER
        )
        return Seen(len(fresh), whole, clean=not fresh)

    arguments = {"repository": "shop", "base": base, "title": "Raise the limit", "files": files(AFTER)}
    return Asked(arguments, look)


def opening_first(remote: Remote, bench: Bench) -> Asked:
    """Open where nothing was landed before: the server is asked first whether it takes our refs."""
    asked = opening(remote, bench)
    if PLACE in remote.server.remote.refs():
        remote.server.remote.git("update-ref", "-d", PLACE)
    return asked


def updating(remote: Remote, bench: Bench) -> Asked:
    first = bench.done("open_pull_request", opening(remote, bench).arguments)
    head = remote.branch(first)

    def look(action: str) -> Seen:
        line = remote.server.remote.git("rev-list", f"{head}..refs/heads/keyturn/{first}").decode().split()
        whole = [said_by(remote.message(commit), action) for commit in line] == [True] and remote.server.remote.files(
            line[0]
        )[PATH] == LATER
        return Seen(len(line), whole, clean=not line)

    return Asked({"action_id": first, "files": files(LATER)}, look)


def closing(remote: Remote, bench: Bench) -> Asked:
    first = bench.done("open_pull_request", opening(remote, bench).arguments)
    head = remote.branch(first)

    def look(action: str) -> Seen:
        now = remote.branch(first)
        return Seen(int(now is None), whole=now is None, clean=now == head)

    return Asked({"action_id": first}, look)


def refuse(status: int, **headers: str) -> Answer:
    """Make a refusal of the web server before git."""
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    asks = (("www-authenticate", 'Basic realm="bed"'),) if status == 401 else ()
    return Answer(status, (("content-type", "text/plain"), *named, *asks), b"refused by the test\n")


BY_THE_CLOCK = ("arrives when nobody waits for it any more", "is done, its answer comes too late")
"""Faults that would have to wait for git's own time-out, at least five seconds."""
TROUBLES: dict[str, Trouble] = {
    **{words: trouble for words, trouble in ON_THE_WAY.items() if words not in BY_THE_CLOCK},
    **answered(refuse),
    "is answered 401": Trouble(always(Instead(refuse(401)))),
    "is answered 404": Trouble(always(Instead(refuse(404)))),
}


def _push(nth: int = 1) -> tuple[str, str, int]:
    return "POST", r".*/git-receive-pack", nth


WRITES: dict[str, Write] = {
    "open the first pull request on a git remote": Write(
        "open_pull_request", {"place": _push()}, opening_first, TROUBLES, processes=True, also=1
    ),
    "open a pull request on a git remote": Write(
        "open_pull_request", {"push": _push()}, opening, TROUBLES, processes=True
    ),
    "update a pull request on a git remote": Write(
        "update_pull_request", {"push": _push()}, updating, TROUBLES, processes=True
    ),
    "close a pull request on a git remote": Write(
        "close_pull_request", {"push": _push()}, closing, TROUBLES, processes=True
    ),
}


@contextmanager
def remote_of(folder: Path) -> Iterator[Remote]:
    """Serve a repository as long as the block lasts."""
    with git_http(folder) as server:
        head = server.remote.push("main", {PATH: b"LIMIT = 10\n"}, "Begin again")
        yield Remote(server, head)
