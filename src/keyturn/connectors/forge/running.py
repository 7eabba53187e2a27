"""Runs one program of git in a group of its own: its pipes, its deadline, and the certain end of all it started."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO

from keyturn.model.errors import ConnectorError

GRACE = 2.0
"""Seconds between asking git to end, so that it can remove its lock files, and killing it."""
MAX_OUTPUT = 8 * 2**20
"""Bytes of an answer that are taken."""
MAX_WORDS = 8192
"""Bytes read of the end of what git says on standard error."""


class Running:
    """A started git: its pipes, its deadline in seconds, and its certain end when the block is left.

    `expired` says whether the deadline ended it. Raises `ConnectorError` (retry) where git cannot be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        *,
        deadline: float,
        descriptors: Sequence[int],
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
                pass_fds=descriptors,
            )
        except OSError as error:
            # not str(error), which names the folder
            raise ConnectorError(f"git cannot be started: {error.strerror}", kind="retry") from error
        self._watch = threading.Timer(deadline, self._expire)
        self._watch.daemon = True
        self._listener = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> Running:
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
        """What git reads."""
        assert self.process.stdin is not None  # noqa: S101 - a pipe was asked for
        return self.process.stdin

    @property
    def stdout(self) -> IO[bytes]:
        """What git answers."""
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
