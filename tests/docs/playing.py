"""Plays a tutorial: runs its commands, makes its calls and edits, and holds what is said against what it prints.

A block of a page is one of these:

    sh      commands, run one after the other; each ends with 0, unless a comment says with what else
    json    a call that the assistant makes: `{"name": TOOL, "arguments": {…}}`
    toml    words for a file; the comment in its first line says which, and where
    diff    lines of `policy.toml` that are there, and what they become
    text    all that the commands just before it say; `…` stands for anything

`KEYTURN_WRITE=1 pytest tests/docs` fills empty blocks of text: read them before you keep them.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from keyturn.assembly.outside import account
from keyturn.assembly.standing import take_worker_turn
from keyturn.cli import main
from tests.docs.pages import Block, Page
from tests.gateway.world import Founded, World

_CHANGING = (
    (re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?Z?)?"), "TIME"),
    (re.compile(r"(\b\d+ ?(d|h|m|s)\b ?)+"), "SPAN "),
    (re.compile(r"sha256:[0-9a-f]{12,64}…?"), "DIGEST"),
    (re.compile(r"SHA256:[A-Za-z0-9+/]{6,43}…?"), "KEY"),
    (re.compile(r"keyturn/[0-9a-f]{8,32}\S*"), "LOG"),
    (re.compile(r"\b[0-9a-f]{12,64}\b"), "DIGEST"),
    (re.compile(r"\s+"), " "),
)


class Screen(io.StringIO):
    """What a person reads: stdout and stderr of a terminal, in the order in which they come."""

    def isatty(self) -> bool:
        return True


@dataclass
class Player:
    """One reader with a home folder of their own, `house`; `names` stand for words of the page's commands."""

    house: Path
    names: dict[str, str] = field(default_factory=dict)
    said: str = ""
    world: World | None = None
    give_up: Callable[[], None] | None = None

    def play(self, page: Page, *, write: bool) -> None:
        """Follow a page from its first block to its last."""
        text = page.text
        for number, block in enumerate(page.blocks):
            match block.language:
                case "sh":
                    self.said = "".join(self._run(line) for line in block.text.splitlines())
                case "json":
                    self._ask(json.loads(block.text))
                case "toml":
                    self._write(block.text)
                case "diff":
                    self._edit(block)
                case "text" if block.text or not write:
                    self._compare(block.text, f"block {number}")
                case "text":
                    text = text.replace("```text\n```", f"```text\n{self.said.rstrip()}\n```", 1)
        if write:
            page.path.write_text(text, encoding="utf-8")

    def close(self) -> None:
        if self.world is not None and self.give_up is not None:
            self.give_up()
            self.world.close()

    # --- blocks ---

    def _run(self, line: str) -> str:
        line = self._filled(line)
        if line.startswith("cd "):
            os.chdir(Path(line.removeprefix("cd ")).expanduser())
            return ""
        if not line.startswith("keyturn "):
            subprocess.run(["sh", "-c", line], check=True)
            return ""
        command, _, into = line.partition(" > ")
        words = [
            os.path.expandvars(re.sub("^~/", "$HOME/", word)) for word in shlex.split(command, comments=True)[1:]
        ]
        code, said = _tell(words, Path(into) if into else None)
        told = re.search(r"# exits with (\d)$", line)
        assert code == int(told[1] if told else 0), f"{line}\n{said}"
        if words[0] == "init":
            self._move_in(Path(words[1]), said)
        if self.world is not None:
            self.world.drain()
        return said

    def _move_in(self, home: Path, said: str) -> None:
        """Take the new home over, with the worker's turn: what is to be done is done here, between two commands."""
        [token] = re.findall(r"kt_[A-Za-z0-9_-]{43}", said)
        kept = home.rename(home.with_name("as-founded"))
        self.world = World(home, Founded(kept, {"claude": token}, {}))
        self.give_up = take_worker_turn(self.world.home)
        assert self.give_up is not None

    def _ask(self, call: dict[str, object]) -> None:
        assert self.world is not None
        arguments = call["arguments"]
        assert isinstance(arguments, dict)
        answer = self.world.call(str(call["name"]), **arguments)
        assert answer.envelope["status"] in {"succeeded", "pending"}, answer.envelope

    def _write(self, text: str) -> None:
        place, _, words = text.partition("\n")
        name = place.removeprefix("# ")
        policy = Path("policy.toml")
        match name:
            case "at the end of policy.toml":
                policy.write_text(f"{policy.read_text()}\n{words}\n")
            case "at the head of policy.toml, below version":
                policy.write_text(policy.read_text().replace("version = 1\n", f"version = 1\n{words}\n", 1))
            case _:
                Path(name).write_text(f"{words}\n")

    def _edit(self, block: Block) -> None:
        lines = block.text.splitlines()
        old = "".join(f"{line[1:]}\n" for line in lines if line[0] != "+")
        new = "".join(f"{line[1:]}\n" for line in lines if line[0] != "-")
        policy = Path("policy.toml")
        assert old in policy.read_text(), old
        policy.write_text(policy.read_text().replace(old, new, 1))

    def _compare(self, printed: str, place: str) -> None:
        wanted = ".*?".join(re.escape(part) for part in self._named(printed).split("…"))
        said = self._named(self.said)
        assert re.fullmatch(wanted, said, re.DOTALL), f"{place}\n{printed}\n--- but was said:\n{self.said}"

    # --- words ---

    def _filled(self, line: str) -> str:
        for name, value in self.names.items():
            line = line.replace(name, value)
        return line

    def _named(self, text: str) -> str:
        text = text.replace(str(self.house), "/home/alice")
        text = re.sub(rf"\b{re.escape(account())}\b", "alice", text)
        for pattern, name in _CHANGING:
            text = pattern.sub(name, text)
        return text.strip()


def _tell(words: list[str], into: Path | None) -> tuple[int, str]:
    """Run the program in this process; return its code and what is then on the screen."""
    screen, file, code = Screen(), io.StringIO(), 0
    with contextlib.redirect_stdout(file if into else screen), contextlib.redirect_stderr(screen):
        try:
            main(words)
        except SystemExit as ended:
            code = int(ended.code or 0)
    if into:
        into.write_text(file.getvalue(), encoding="utf-8")
    return code, screen.getvalue()
