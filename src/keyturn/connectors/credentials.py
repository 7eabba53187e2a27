"""Credentials of back ends: where each comes from, read when it is needed, shown by nothing.

Settings name a source; a value never stands in them:

    env:NAME       a variable of the environment that Keyturn was started with
    file:PATH      a file, below the home unless the path is absolute; read again whenever it has changed
    command:WORDS  what a program prints, kept for five minutes; WORDS are split as a shell would, without a shell
"""

from __future__ import annotations

import hmac
import os
import re
import select
import shlex
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Protocol, TypeAlias

import anyio.to_thread
from pydantic import AfterValidator, BaseModel, Field
from pydantic_core import PydanticCustomError

from keyturn.connectors.world import World
from keyturn.model.errors import ConfigurationError, ConnectorError

_SPEC = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]{0,199}|(file|command):[^\0\n\r]+")


def _names_a_source(spec: str) -> str:
    if _SPEC.fullmatch(spec) is None:  # not quoted: somebody may have written the credential itself
        raise PydanticCustomError("credential", "must be env:NAME, file:PATH or command:WORDS")
    return spec


CredentialSpec: TypeAlias = Annotated[str, Field(max_length=4096), AfterValidator(_names_a_source)]
"""A setting that names a source, as the module's table says. Has to be checked by `source_of`, too."""

LARGEST = 64 * 1024
"""Bytes of one credential, a private key included."""
RUNS = 10.0
"""Seconds that a program may take to print a credential."""
KEPT = 300.0
"""Seconds for which what a program printed is used without asking it again."""

_SHOWN = "<secret>"
_NAMED = frozenset({"credential", "key"})  # settings that name a credential
_PASSED_ON = re.compile(r"(PATH|HOME|USER|LOGNAME|LANG|LC_[A-Z]+|TZ|TMPDIR|XDG_[A-Z_]+)")
_OPEN = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # O_NONBLOCK: a FIFO must not hang us


class Secret:
    """A text that nothing shows: not its `repr`, `str`, format, copy or pickle. Two of them may be compared."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text. Only for what hands it over at once, and keeps it in no variable afterwards."""
        return self._text

    def after(self, prefix: str) -> Secret:
        """Return the secret with a text before it, such as `Bearer `."""
        return Secret(prefix + self._text)

    def __repr__(self) -> str:
        return _SHOWN

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(_SHOWN, spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        own, others = (secret.reveal().encode(errors="surrogatepass") for secret in (self, other))
        return hmac.compare_digest(own, others)

    __hash__ = None  # type: ignore[assignment]  # a hash would tell about the text, and as a key it is never needed

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce__(self) -> tuple[type[Secret], tuple[str]]:
        return Secret, (_SHOWN,)


class Source(Protocol):
    """Where one credential comes from."""

    async def read(self) -> Secret:
        """Return the credential as it is now. Raises `ConnectorError` saying what to mend, without any of it."""
        ...

    def forget(self) -> bool:
        """Note that the credential was refused; say whether the next `read` may return another."""
        ...


def out_of_reach(settings: BaseModel, world: World) -> str | None:
    """Say why this process cannot have a credential that settings name, or None when nothing is known against it.

    Nothing is read: a variable that is not set here may be set where another process of the home was started.
    """
    return next(filter(None, (_missing(spec, world) for spec in _specs(settings))), None)


def _specs(settings: BaseModel) -> Iterator[str]:
    """Yield the credentials that settings name, at any depth."""
    for name, value in settings:
        if name in _NAMED and isinstance(value, str) and value.startswith(("env:", "file:", "command:")):
            yield value
        inner = value.values() if isinstance(value, Mapping) else (value,)
        for item in inner:
            if isinstance(item, BaseModel):
                yield from _specs(item)


def _missing(spec: str, world: World) -> str | None:
    kind, _, rest = spec.partition(":")
    if kind == "env" and not world.environment.get(rest, "").strip():
        return f"the variable {rest} is not set where this process was started"
    if kind == "file" and not os.access(world.home / rest, os.R_OK):
        return f"the file {rest} cannot be read by this process"
    return None


def source_of(place: str, spec: str, world: World) -> Source:
    """Return the source that a setting names; `place` is the setting's dotted path.

    Nothing is read yet. Raises `ConfigurationError` for what names no source.
    """
    kind, _, rest = spec.partition(":")
    match kind:
        case "env" if rest:
            return _Variable(place, rest, world.environment)
        case "file" if rest:
            return _File(place, world.home / rest)
        case "command" if rest:
            return _Program(place, _words(place, rest), world)
    raise ConfigurationError(f"{place}: must begin with env:, file: or command:, and name where the credential is")


def mounted(place: str, path: Path) -> Source:
    """Return the source of a file that an orchestrator put there, such as a pod's own token.

    As `file:`, but everybody on the machine may be able to read it: that is how they are mounted.
    """
    return _File(place, path, public=True)


@dataclass(slots=True)
class _Variable:
    place: str
    name: str
    environment: Mapping[str, str] = field(repr=False)

    async def read(self) -> Secret:
        if self.name not in self.environment:
            raise ConnectorError(f"{self.place}: the variable {self.name} is not set where Keyturn was started")
        found = _secret_in(os.fsencode(self.environment[self.name]))
        if isinstance(found, Secret):
            return found
        raise ConnectorError(f"{self.place}: the variable {self.name} {found}")

    def forget(self) -> bool:
        return False


_Mark: TypeAlias = tuple[int, int, int, int]


@dataclass(slots=True)
class _File:
    """A file and what was read of it, with the device, inode, time of change and size it had then."""

    place: str
    path: Path
    public: bool = False
    _kept: tuple[_Mark, Secret] | None = field(default=None, repr=False)

    async def read(self) -> Secret:
        return await anyio.to_thread.run_sync(self._read, abandon_on_cancel=True)

    def forget(self) -> bool:
        kept, self._kept = self._kept, None
        try:
            return kept is None or kept[0] != _mark(self.path.stat())
        except OSError:
            return False

    def _read(self) -> Secret:
        failure = "cannot be read"
        try:
            kept = self._kept
            if kept is not None and kept[0] == _mark(self.path.stat()):
                return kept[1]
            mark, secret = self._fetched()
        except OSError as error:
            failure = error.strerror or failure
        else:
            self._kept = mark, secret
            return secret
        raise ConnectorError(f"{self.place}: the file {self.path}: {failure}")

    def _fetched(self) -> tuple[_Mark, Secret]:
        what = f"{self.place}: the file {self.path}"
        descriptor = os.open(self.path, _OPEN)
        try:
            status = os.fstat(descriptor)
            problem = _unfit(status, public=self.public)
            found = problem or _secret_in(os.read(descriptor, LARGEST + 1))
        finally:
            os.close(descriptor)
        if isinstance(found, str):
            raise ConnectorError(f"{what} {found}")
        return _mark(status), found


def _mark(status: os.stat_result) -> _Mark:
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


def _unfit(status: os.stat_result, *, public: bool) -> str | None:
    """Say what is wrong with a file of a secret.

    Its own account and root may read and write it. A group may read it where root says so, which is how machines
    hand a secret to one account (`root:keyturn`, 0440).
    """
    mode = stat.S_IMODE(status.st_mode)
    if not stat.S_ISREG(status.st_mode):
        return "is not a regular file"
    if status.st_uid not in (0, os.geteuid()):
        return "belongs to another account; give it to the account that runs Keyturn, or to root"
    if mode & 0o022:
        return "may be changed by others; run: chmod go-w on it"
    if not public and mode & 0o004:
        return "may be read by everybody; run: chmod o-rwx on it"
    if not public and mode & 0o040 and status.st_uid != 0:
        return "may be read by its group; run: chmod g-rwx on it"
    return None


def _secret_in(data: bytes) -> Secret | str:
    """Make a secret of bytes, without the white space around it, or say what is wrong with them.

    It says so instead of raising: an exception would keep the bytes in its frames.
    """
    if len(data) > LARGEST:
        return f"holds more than {LARGEST} bytes, which is no credential"
    if not data.isascii():
        return "holds other characters than ASCII, which no credential has"
    return Secret(data.decode("ascii").strip()) if data.strip() else "is empty"


def _words(place: str, text: str) -> tuple[str, ...]:
    problem = "names no program"
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        words, problem = (), str(error).lower()
    if not words or not words[0]:
        raise ConfigurationError(f"{place}: the command cannot be split into words: {problem}")
    return words


@dataclass(slots=True)
class _Program:
    """A program that prints a credential, and what it printed last."""

    place: str
    words: tuple[str, ...] = field(repr=False)
    world: World
    _kept: tuple[float, Secret] | None = field(default=None, repr=False)
    _turn: threading.Lock = field(default_factory=threading.Lock, repr=False)

    async def read(self) -> Secret:
        return await anyio.to_thread.run_sync(self._read, abandon_on_cancel=True)

    def forget(self) -> bool:
        kept, self._kept = self._kept, None
        return kept is not None

    def _read(self) -> Secret:
        with self._turn:  # whoever waited finds what the one before was given
            kept = self._kept
            if kept is not None and time.monotonic() < kept[0] + KEPT:
                return kept[1]
            found = _secret_in(printed(self.place, self.words, self.world))
            if isinstance(found, Secret):
                self._kept = time.monotonic(), found
                return found
        raise ConnectorError(f"{self.place}: what the program {self.words[0]} printed {found}")


def printed(place: str, words: tuple[str, ...], world: World, more: Mapping[str, str] | None = None) -> bytes:
    """Run a program that hands out a credential to its end and return what it prints, at most a byte over `LARGEST`.

    It gets the usual variables and `more`. What it says on standard error is not ours to repeat, and not kept.
    Blocks for at most `RUNS` seconds. Raises `ConnectorError`, also where programs may not be run.
    """
    if not world.commands:
        raise ConnectorError(
            f"{place}: this credential is fetched by running a program, which only a server, a worker and "
            "`keyturn connector check` do"
        )
    ended = _ran(words, world, more or {})
    if isinstance(ended, str):
        raise ConnectorError(f"{place}: the program {words[0]} {ended}", kind="retry")
    return ended


def _ran(words: tuple[str, ...], world: World, more: Mapping[str, str]) -> bytes | str:
    """Return what a program printed, or words for why there is nothing: an exception would keep half a credential."""
    passed_on = {name: text for name, text in world.environment.items() if _PASSED_ON.fullmatch(name)}
    try:
        process = subprocess.Popen(
            words,
            cwd=world.home,
            env={**passed_on, **more},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        return f"cannot be run: {error.strerror}"
    output = _output_of(process)
    if output is None:
        return f"took longer than {RUNS:g} s and was ended"
    if process.returncode != 0 and len(output) <= LARGEST:
        return f"failed ({process.returncode}); run it as Keyturn's account to see why"
    return output


def _output_of(process: subprocess.Popen[bytes]) -> bytes | None:
    """Return what a process prints, at most a byte more than `LARGEST`; None when it does not end in its time.

    Its whole group is ended, in any case.
    """
    handle = -1
    try:
        handle = os.pidfd_open(process.pid)
        return _read_until_end(process, handle, time.monotonic() + RUNS)
    finally:
        if handle >= 0:
            os.close(handle)
        # Before wait() reaps it: until then the group's number cannot be another's.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _read_until_end(process: subprocess.Popen[bytes], handle: int, until: float) -> bytes | None:
    """Read until the process itself has ended: what it leaves running may keep its output open for ever."""
    assert process.stdout is not None  # noqa: S101 - a pipe was asked for
    pipe, output, waiting = process.stdout.fileno(), b"", select.poll()
    waiting.register(pipe, select.POLLIN)
    waiting.register(handle, select.POLLIN)
    while len(output) <= LARGEST:
        ready = {descriptor for descriptor, _ in waiting.poll(max(0.0, until - time.monotonic()) * 1000)}
        if not ready:
            return None
        if pipe not in ready:
            break
        part = os.read(pipe, LARGEST)
        output += part
        if not part:
            waiting.unregister(pipe)
    return output[: LARGEST + 1]
