"""Runs git so that it runs nobody else's code: a fixed environment, plumbing alone, bounded time and output.

What is shut out, and how:

1. Inherited settings: the environment is built from nothing, so no GIT_* of the caller reaches git; system and global
   configuration, attributes, grafts and replacement objects are off.
2. Finding a repository: the git folder is always named, so git never walks upwards into another one.
3. Hooks: `core.hooksPath` points nowhere, and a repository whose configuration names hook commands (which newer
   releases of git run besides the hooks folder) is refused before anything is written.
4. Fetching: a repository that lacks objects could have git fetch them through a command of its own choosing;
   GIT_ALLOW_PROTOCOL overrides every `protocol.*.allow` of its configuration. It allows nothing, or with a `Link` the
   one protocol of the one remote that is named.
5. Filters, textconv, fsmonitor: no command is called that reads a work tree, an index or attributes.
6. Loops and floods: each call has a deadline after which its whole process group is ended, and a bound on output. Of
   what it says on standard error the end is kept. Nothing of the group outlives the call.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO

from keyturn.connectors.forge.names import shown
from keyturn.connectors.forge.objects import TreeEntry, commit_tree, object_id, parse_tree
from keyturn.model.errors import ConnectorError
from keyturn.model.text import visible

DEADLINE = 30.0
"""Seconds that one call of git may take."""
GRACE = 2.0
"""Seconds between asking git to end, so that it can remove its lock files, and killing it."""
MAX_OUTPUT = 8 * 2**20
MAX_TREE = 8 * 2**20
MAX_WORDS = 8192
"""Bytes read of the end of what git says on standard error."""

_SETTINGS = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "protocol.allow": "never",
    "gc.auto": "0",
    "advice.graftFileDeprecated": "false",
    "maintenance.auto": "false",
    # the commit graph is a cache that somebody may have written wrongly; ancestry is read from commits
    "core.commitGraph": "false",
    # a ref that survives a power cut must name objects that survived it as well
    "core.fsync": "all",
    "core.fsyncMethod": "fsync",
}


class Damaged(ConnectorError):
    """What should be in a repository is not, or git will not work on it: a copy of it had better be made anew."""


@dataclass(frozen=True, slots=True)
class Ran:
    """A finished call: exit code, output, and the end of what it said on standard error."""

    code: int
    output: bytes
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """How one call of git reaches a remote: its protocol, and settings, variables and descriptors beside the usual.

    `settings` are pairs, because git reads a name that comes again as a list.
    """

    protocol: str
    settings: tuple[tuple[str, str], ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    descriptors: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Called:
    """A call over a link that came to its end or was ended: `cut` says by which bound, "" otherwise.

    `lines` is the end of what git said on standard error, the server's own words (`remote: …`) among it.
    """

    code: int
    output: bytes
    lines: tuple[str, ...]
    cut: str


@dataclass(frozen=True, slots=True)
class Git:
    """One git program on one repository.

    `folder` is the git folder itself, which messages call `name`; `path` is the PATH git gets; `deadline` is in
    seconds, `patience` the milliseconds that git waits for a ref's lock which somebody else holds.
    """

    program: str
    folder: Path
    path: str
    deadline: float = DEADLINE
    patience: int = 1000
    name: str = "the repository"

    def run(self, *arguments: str, feed: bytes = b"", accept: tuple[int, ...] = (0,), late: str = "retry") -> Ran:
        """Call git to its end. Raises `ConnectorError` for another exit code, or (kind `late`) past a bound."""
        with self._started(arguments) as running:
            output = running.exchange(feed)
        ran = Ran(running.process.returncode, output, self._told(running.said()))
        if running.expired:
            raise ConnectorError(f"git {arguments[0]} took longer than {self.deadline:g} s and was ended", kind=late)
        if len(output) > MAX_OUTPUT:
            raise ConnectorError(f"git {arguments[0]} answered more than {MAX_OUTPUT} bytes", kind=late)
        if ran.code not in accept:
            raise Damaged(f"git {arguments[0]} failed ({ran.code}): {ran.said}")
        return ran

    def call(self, *arguments: str, link: Link) -> Called:
        """Call git to its end over a link; what came of it is for the caller to judge."""
        with self._started(arguments, link) as running:
            output = running.exchange(b"")
        cut = "answered more than it may" if len(output) > MAX_OUTPUT else ""
        if running.expired:
            cut = f"took longer than {self.deadline:g} s and was ended"
        lines = tuple(self._named(line) for line in running.said().splitlines())
        return Called(running.process.returncode, output, lines, cut)

    @contextmanager
    def objects(self) -> Iterator[Objects]:
        """Open one `cat-file --batch` for any number of reads."""
        with self._started(("cat-file", "--batch")) as running:
            yield Objects(running)

    def _told(self, words: str) -> str:
        """Return the end of what git said, as one line."""
        return visible(" ".join(self._named(words).split()))[-1000:]

    def _named(self, words: str) -> str:
        """Put the repository's name in the place of its folder: assistants read it."""
        folder = str(self.folder)
        for place in (folder, folder.removesuffix("/.git")):
            words = words.replace(place, self.name)
        return words

    def _started(self, arguments: tuple[str, ...], link: Link | None = None) -> _Running:
        patience = {"core.filesRefLockTimeout": str(self.patience), "core.packedRefsTimeout": str(self.patience)}
        pairs = [*(_SETTINGS | patience).items(), *(link.settings if link else ())]
        settings = [part for pair in pairs for part in ("-c", "=".join(pair))]
        command = [self.program, "--no-pager", f"--git-dir={self.folder}", *settings, *arguments]
        return _Running(command, self._environment(link), self.folder, self.deadline, link)

    def _environment(self, link: Link | None) -> dict[str, str]:
        own = {**link.environment, "GIT_ALLOW_PROTOCOL": link.protocol} if link else {"GIT_ALLOW_PROTOCOL": "none"}
        return {
            **own,
            "PATH": self.path,
            "LC_ALL": "C",
            "HOME": "/nonexistent",
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_GRAFT_FILE": "/dev/null",
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_TERMINAL_PROMPT": "0",
        }


class _Running:
    """A started git: its pipes, its deadline, and its certain end when the block is left."""

    def __init__(
        self, command: list[str], environment: dict[str, str], folder: Path, deadline: float, link: Link | None
    ) -> None:
        self.expired = False
        self._words = bytearray()
        try:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=folder,
                env=environment,
                start_new_session=True,
                pass_fds=link.descriptors if link else (),
            )
        except OSError as error:
            # not str(error), which names the folder
            raise ConnectorError(f"git cannot be started: {error.strerror}", kind="retry") from error
        self._watch = threading.Timer(deadline, self._expire)
        self._watch.daemon = True
        self._listener = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> _Running:
        self._watch.start()
        self._listener.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._end()
        self._close(self.process.stdin)
        self._close(self.process.stdout)
        self._sweep()
        self.process.wait()
        self._watch.cancel()
        self._watch.join()
        self._listener.join(GRACE)
        if not self._listener.is_alive():  # else something that left the group still holds the pipe
            self._close(self.process.stderr)

    def exchange(self, feed: bytes) -> bytes:
        """Feed git, and read its answer up to one byte above the bound."""
        feeder = threading.Thread(target=self._feed, args=(feed,), daemon=True)
        feeder.start()
        output = self.stdout.read(MAX_OUTPUT + 1)
        if len(output) > MAX_OUTPUT:
            self._end()
        feeder.join()
        return output

    def said(self) -> str:
        """Return the end of what git said on standard error."""
        # the reason comes last, after hints and warnings
        words = os.fsdecode(bytes(self._words[-MAX_WORDS:]))
        # a first line that was cut may hold half of a path, which nobody would recognise as one
        return words.partition("\n")[2] if len(self._words) > MAX_WORDS else words

    @property
    def stdin(self) -> IO[bytes]:
        assert self.process.stdin is not None  # noqa: S101 - a pipe was asked for
        return self.process.stdin

    @property
    def stdout(self) -> IO[bytes]:
        assert self.process.stdout is not None  # noqa: S101 - a pipe was asked for
        return self.process.stdout

    def _feed(self, feed: bytes) -> None:
        try:
            self.stdin.write(feed)
        except BrokenPipeError:
            return  # git stopped reading; its exit code says why
        finally:
            self._close(self.process.stdin)

    def _listen(self) -> None:
        assert self.process.stderr is not None  # noqa: S101 - a pipe was asked for
        while part := os.read(self.process.stderr.fileno(), 65536):
            self._words += part
            del self._words[: -2 * MAX_WORDS]

    def _sweep(self) -> None:
        """Wait for git's end, then kill what it left behind of its group."""
        with suppress(ChildProcessError):
            os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)
        # it is not reaped yet, so nobody else has the group's number
        self._signal(signal.SIGKILL)

    def _expire(self) -> None:
        self.expired = True
        self._end()

    def _end(self) -> None:
        """Ask the whole group to end, so that git removes its lock files, then kill what is left of it."""
        # The group's leader is watched without being reaped, so that nobody else gets its number meanwhile.
        self._signal(signal.SIGTERM)
        deadline = time.monotonic() + GRACE
        while time.monotonic() < deadline and not self._has_ended():
            time.sleep(0.01)
        self._signal(signal.SIGKILL)

    def _has_ended(self) -> bool:
        if self.process.returncode is not None:
            return True
        try:
            return os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            return  # all of it has ended

    @staticmethod
    def _close(pipe: IO[bytes] | None) -> None:
        try:
            if pipe is not None:
                pipe.close()
        except BrokenPipeError:
            return  # git is gone already; nothing was waiting to be read


class Objects:
    """Reads objects by id, each one checked against its id."""

    def __init__(self, running: _Running) -> None:
        self._running = running
        self._trees: dict[str, dict[bytes, TreeEntry]] = {}

    def read(self, oid: str, kind: str, limit: int) -> bytes:
        """Return an object's bytes. Refused: missing, another kind, longer than `limit`, not what its id says."""
        found = self._header(oid)
        if found is None:
            raise Damaged(f"the repository lacks object {oid}")
        actual, size = found
        if size > limit:
            raise ConnectorError(f"object {oid} holds {size} bytes; at most {limit} are read")
        body = self._running.stdout.read(size + 1)[:-1]
        if actual != kind:
            raise ConnectorError(f"object {oid} is a {actual}, not a {kind}")
        if len(body) != size or object_id(kind, body, len(oid)) != oid:
            raise Damaged(f"object {oid} cannot be read whole: {self._why()}")
        return body

    def has(self, oid: str) -> bool:
        """Return whether the repository holds the commit `oid`."""
        found = self._header(oid)
        if found is None:
            return False
        self._running.stdout.read(found[1] + 1)
        return found[0] == "commit"

    def tree(self, oid: str) -> dict[bytes, TreeEntry]:
        """Return a tree's entries by name."""
        if oid not in self._trees:
            self._trees[oid] = parse_tree(self.read(oid, "tree", MAX_TREE), len(oid))
        return self._trees[oid]

    def root(self, commit: str) -> str:
        """Return the id of a commit's tree."""
        return commit_tree(self.read(commit, "commit", MAX_TREE))

    def _header(self, oid: str) -> tuple[str, int] | None:
        if len(oid) not in (40, 64) or not oid.isalnum():
            raise ConnectorError(f"{shown(oid)} is not an object id")
        try:
            self._running.stdin.write(oid.encode("ascii") + b"\n")
            self._running.stdin.flush()
        except BrokenPipeError:
            raise Damaged(f"object {oid} cannot be read: {self._why()}", kind="retry") from None
        line = self._running.stdout.readline(200).split()
        if len(line) == 3 and line[2].isdigit():
            return line[1].decode("ascii", "replace"), int(line[2])
        if line[1:] == [b"missing"]:
            return None
        raise Damaged(f"object {oid} cannot be read: {self._why()}", kind="retry")

    def _why(self) -> str:
        return "git took too long" if self._running.expired else "git fsck in the repository may say more"
