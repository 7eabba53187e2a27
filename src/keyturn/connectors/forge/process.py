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

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from keyturn.connectors.forge.batch import Damaged, Objects
from keyturn.connectors.forge.running import MAX_OUTPUT, Running
from keyturn.model.errors import ConnectorError
from keyturn.model.text import visible

DEADLINE = 30.0
"""Seconds that one call of git may take."""

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

    def _started(self, arguments: tuple[str, ...], link: Link | None = None) -> Running:
        patience = {"core.filesRefLockTimeout": str(self.patience), "core.packedRefsTimeout": str(self.patience)}
        pairs = [*(_SETTINGS | patience).items(), *(link.settings if link else ())]
        settings = [part for pair in pairs for part in ("-c", "=".join(pair))]
        command = [self.program, "--no-pager", f"--git-dir={self.folder}", *settings, *arguments]
        return Running(
            command,
            self._environment(link),
            self.folder,
            deadline=self.deadline,
            descriptors=link.descriptors if link else (),
        )

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
