"""An operator at a terminal that is none: the command line in this process, on a home of its own."""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keyturn.assembly.home import POLICY
from keyturn.cli import main

_CHANGING = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"), "TIME"),
    (re.compile(r"kt_[A-Za-z0-9_-]{43}"), "TOKEN"),
    (re.compile(r"sha256:[0-9a-f]{64}"), "DIGEST"),
    (re.compile(r"sha256:[0-9a-f]{12}"), "DIG"),
    (re.compile(r"\b[0-9a-f]{12}\b"), "ID"),
    (re.compile(r"\b\d{4}-\d\d-\d\d\b"), "DAY"),
    (re.compile(r"keyturn/[0-9a-f]{32}(\+[0-9a-f]{8}\+[A-Za-z0-9+/=]{44})?"), "LOG"),
)


@dataclass(frozen=True, slots=True)
class Said:
    """What one command said: exit code, stdout, stderr."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Stdout as JSON."""
        return json.loads(self.out)

    @property
    def rows(self) -> list[list[str]]:
        """Stdout as tab-separated rows."""
        return [line.split("\t") for line in self.out.splitlines()]

    @property
    def transcript(self) -> str:
        """All of it with times, digests and secrets named for what they are, stderr behind `!`."""
        told = [*self.out.splitlines(), *(f"! {line}" for line in self.err.splitlines()), f"[{self.code}]"]
        text = "\n".join(told) + "\n"
        for pattern, name in _CHANGING:
            text = pattern.sub(name, text)
        return text


def tell(*arguments: str | Path) -> Said:
    """Run the command line with these arguments; no terminal is there."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as ended:
            code = int(ended.code or 0)
    return Said(code, out.getvalue(), err.getvalue())


@dataclass(frozen=True, slots=True)
class Operator:
    """Someone with a home, and the private key of its one reviewer, alice."""

    home: Path
    key: Path
    token: str

    def tell(self, *arguments: str | Path) -> Said:
        """Run a verb on the home."""
        return tell("--home", self.home, *arguments)

    def edit(self, old: str, new: str) -> None:
        """Change the proposed policy."""
        path = self.home / POLICY
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    def activate(self, *arguments: str | Path) -> Said:
        """Put the proposal in force, signed by alice."""
        return self.tell("policy", "activate", "-m", "test", "--key", self.key, *arguments)


def lines(*texts: str, code: int = 0) -> str:
    """Write an expected transcript."""
    return "\n".join([*texts, f"[{code}]"]) + "\n"


def column(rows: Sequence[Sequence[str]], index: int) -> list[str]:
    """Return one column of rows."""
    return [row[index] for row in rows]
