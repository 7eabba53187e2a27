"""A shell of an account on a terminal of its own: lines are typed, prompts are answered, exit codes are read."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SECONDS = 120.0
_PROMPT = re.compile(r"<<(\d+)>> \Z")
_ESCAPE = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|[=>])")


@dataclass(frozen=True)
class Said:
    """What one line brought."""

    code: int
    text: str


class Shell:
    """A login shell; `account` None is the caller's own."""

    def __init__(self, account: str | None, environment: Mapping[str, str], folder: str = "/") -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 400, 200, 0, 0))
        program = ["bash", "--norc", "--noprofile"] if account is None else ["runuser", "-l", account]
        self._process = subprocess.Popen(
            ["setsid", "--ctty", *program], stdin=slave, stdout=slave, stderr=slave, env=dict(environment), cwd=folder
        )
        os.close(slave)
        self._said = ""
        os.write(self._master, b"bind 'set enable-bracketed-paste off'; stty -echo; PS1='<<$?>> '; PS2=\n")
        self._until(_PROMPT)

    def type(
        self,
        line: str,
        answers: Sequence[tuple[str, str | Callable[[str], str]]] = (),
        pasted: tuple[str, str] | None = None,
    ) -> Said:
        """Type a line, answer each prompt, and return what was said up to the shell's next prompt.

        A prompt is a regular expression; its answer may be worked out from what it found. `pasted` is the name of a
        program that reads without a prompt, and what is pasted once it runs.
        """
        self._said = ""
        os.write(self._master, f"{line}\n".encode())
        if pasted is not None:
            _wait_for(pasted[0])
            os.write(self._master, pasted[1].encode())
        for prompt, answer in answers:
            asked = self._until(re.compile(prompt, re.MULTILINE))[0]
            os.write(self._master, (answer if isinstance(answer, str) else answer(asked)).encode())
        found = self._until(_PROMPT)
        return Said(int(found[1]), self._said[: found.start()].strip())

    def _until(self, pattern: re.Pattern[str]) -> re.Match[str]:
        deadline = time.monotonic() + SECONDS
        while (found := pattern.search(self._said)) is None:
            ready, _, _ = select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError(f"nothing more is said after: {self._said}")
            data = os.read(self._master, 65536).decode(errors="replace").replace("\r\n", "\n")
            self._said = _ESCAPE.sub("", self._said + data)
        return found


def _wait_for(program: str) -> None:
    """Wait until a process of this name runs; there is no other in a namespace of its own."""
    deadline = time.monotonic() + SECONDS
    while not any(_name(folder) == program for folder in Path("/proc").glob("[0-9]*")):
        assert time.monotonic() < deadline, f"{program} does not run"
        time.sleep(0.02)


def _name(folder: Path) -> str:
    try:
        return (folder / "comm").read_text().strip()
    except OSError:
        return ""
