"""Transcripts: what people type and what they read, played on a real home and compared word for word.

A transcript is a text file of these lines; everything else in it is expected output:

    # a remark                         kept as it is, like empty lines
    $ keyturn inbox                    a command, run in this process; no terminal is there
      two spaces and a line            of its standard output
    ! a line                           of its standard error
    [3]                                its exit code, when it is not 0
    % claude TOOL {"an": "argument"}   an assistant calls a tool; says what became of it
    % work                             what is approved is executed
    % lose                             what is approved is begun, and nobody knows how it ended
    % hours 5                          time passes in the ledger
    % own alice                        the key of alice lies in ~/.ssh
    % change FILE OLD => NEW           a file is changed; `\n` begins a line
    % write FILE TEXT                  a file of the home is written; `\n` begins a line
    % activate OLD => NEW              the policy is changed and put in force

`{1}` is the id of the first action asked for and `{1:6}` its short form, in commands and in output. Times, digests,
keys and places are named for what they are. `KEYTURN_WRITE=1 pytest tests/cli` writes what is said into the files:
read the difference before you keep it.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from keyturn.assembly.outside import account
from keyturn.gateway.execute import finish
from keyturn.gateway.sweep import sweep
from keyturn.model.outcome import Unknown
from tests.cli.operator import tell
from tests.gateway.hands import claim_next
from tests.gateway.world import World

WRITE = "KEYTURN_WRITE"
FOLDER = Path(__file__).parent / "transcripts"

_CHANGING = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"), "<time>"),
    (re.compile(r"keyturn/[0-9a-f]{32}(\+[0-9a-f]{8}\+[A-Za-z0-9+/=]{44})?"), "keyturn/<log>"),
    (re.compile(r"sha256:[0-9a-f]{64}"), "sha256:<digest>"),
    (re.compile(r"sha256:([0-9a-f]{4} ){15}[0-9a-f]{4}"), "sha256:<digest, grouped>"),
    (re.compile(r"SHA256:[A-Za-z0-9+/]{43}"), "SHA256:<key>"),
    (re.compile(r"\b[0-9a-f]{40}\b"), "<sha1>"),
    (re.compile(r"kt_[A-Za-z0-9_-]{43}"), "<token>"),
    (re.compile(r"just now|\d+ (second|minute)s? ago"), "<ago>"),
    (re.compile(r"(expires in|in force for) \d+\w( \d+\w)?"), r"\1 <span>"),
    (re.compile(r"(bytes\t|_ms\t|_ms\": )\d+"), r"\1<count>"),
)


@dataclass
class Stage:
    """A home with its people, a folder to stand in, and the actions asked for so far."""

    world: World
    folder: Path
    actions: list[str] = field(default_factory=list)

    def play(self, script: str) -> str:
        """Return the transcript with everything said as it is said now."""
        lines = [said for line in script.splitlines() if (_is_script(line)) for said in (line, *self._play(line))]
        return "\n".join(lines) + "\n"

    def _play(self, line: str) -> Iterator[str]:
        match line[:2]:
            case "$ ":
                yield from self._run(line[2:])
            case "% ":
                yield from self._direct(*line[2:].partition(" ")[::2])

    def _run(self, command: str) -> Iterator[str]:
        program, *arguments = shlex.split(self._filled(command))
        assert program == "keyturn"
        said = tell(*arguments)
        yield from (f"  {line}" for line in self._named(said.out).splitlines())
        yield from (f"! {line}" for line in self._named(said.err).splitlines())
        if said.code:
            yield f"[{said.code}]"

    def _direct(self, verb: str, rest: str) -> Iterator[str]:
        match verb:
            case "work":
                self.world.drain()
            case "lose":
                self._lose()
            case "hours":
                self.world.clock.run(hours=float(rest))
                self.world.gate.ledger.transact(sweep)
            case "own":
                keys = self.folder / ".ssh"
                keys.mkdir(exist_ok=True)
                for end in ("", ".pub"):
                    shutil.copy(f"{self.world.keys[rest]}{end}", keys / f"{rest}{end}")
            case "activate":
                self.world.activate(_change(rest))
            case "write":
                name, _, text = rest.partition(" ")
                path = self.world.home.folder / name
                path.parent.mkdir(exist_ok=True)
                path.write_text(text.replace("\\n", "\n") + "\n")
            case "change":
                name, _, change = rest.partition(" ")
                self._change(Path(self._filled(name)), *_change(change))
            case "claude" | "codex":
                yield self._ask(verb, *rest.partition(" ")[::2])
            case _:
                raise AssertionError(f"no such direction: {verb}")

    def _ask(self, principal: str, tool: str, arguments: str) -> str:
        answer = self.world.call(tool, principal, **json.loads(self._filled(arguments)))
        self.actions.append(str(answer.envelope["action_id"]))
        return f"  {answer.envelope['status']} {{{len(self.actions)}}}"

    def _lose(self) -> None:
        instance = self.world.executor.instance
        claimed = claim_next(self.world.gate, instance)
        assert claimed is not None
        outcome = Unknown("the connection broke")
        self.world.gate.ledger.transact(lambda tx: finish(tx, claimed.action.id, outcome, instance, recovered=False))

    def _change(self, path: Path, old: str, new: str) -> None:
        place = self.world.home.folder / path if path.name == "policy.toml" else path
        text = place.read_text()
        assert old in text
        place.write_text(text.replace(old, new))

    def _filled(self, text: str) -> str:
        """Put ids in the place of their names."""
        for number, action in enumerate(self.actions, 1):
            text = text.replace(f"{{{number}:6}}", action[-6:]).replace(f"{{{number}}}", action)
        return text

    def _named(self, text: str) -> str:
        """Put names in the place of what differs from run to run."""
        for number, action in enumerate(self.actions, 1):
            text = text.replace(action, f"{{{number}}}").replace(action[-6:], f"{{{number}:6}}")
        text = text.replace(str(self.world.home.folder), "<home>").replace(str(self.folder), "<here>")
        text = re.sub(rf"\b(as|by|account) {re.escape(account())}\b", r"\1 <account>", text)
        text = re.sub(rf"\t{re.escape(account())}\t", "\t<account>\t", text)
        for pattern, name in _CHANGING:
            text = pattern.sub(name, text)
        return text


def _is_script(line: str) -> bool:
    return not line or line[:2] in {"# ", "$ ", "% "}


def _change(text: str) -> tuple[str, str]:
    old, arrow, new = text.partition(" => ")
    assert arrow
    return old, new.replace("\\n", "\n")


def check(path: Path, stage: Stage) -> None:
    """Play a transcript and compare, or write it when asked to."""
    expected = path.read_text(encoding="utf-8")
    said = stage.play(expected)
    if os.environ.get(WRITE):
        path.write_text(said, encoding="utf-8")
    assert said == expected
