"""The story of the demo as it is told and kept: steps, and the one place where a failure becomes one of them."""

from __future__ import annotations

import textwrap
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from keyturn.demo.stage import Stage

Say = Callable[[str], None]
WIDTH = 79
"""Columns of a told line; a word that is longer, like a path, is left whole."""

_INDENT = "   "


@dataclass(slots=True)
class Step:
    """One step: its name, whether it did what it claims, and what was seen. `ok` is None until it is judged."""

    name: str
    ok: bool | None = None
    detail: str = ""

    def judge(self, ok: bool, seen: str, *, instead: str | None = None) -> None:
        """Say whether the claim held, and what was seen; `instead` says it when the claim did not hold."""
        self.ok = ok
        self.detail = seen if ok or instead is None else instead


@dataclass(slots=True)
class Story:
    """What the demo tells and what came of it.

    `say` gets every line as it happens; `folder` is where it plays, `action` the one that was held and approved, and
    `verify` what the verifier said of the ledger, as `keyturn audit verify --json` prints it.
    """

    say: Say
    folder: Path | None = None
    stage: Stage | None = None
    steps: list[Step] = field(default_factory=list)
    action: str | None = None
    verify: dict[str, Any] = field(default_factory=lambda: {"verdict": None})

    @property
    def ok(self) -> bool:
        """Whether there are steps and every one of them did what it claims."""
        return bool(self.steps) and all(step.ok for step in self.steps)

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Tell one step; it must be judged within. What is raised within ends the story, see `perform`."""
        step = self.begin(name)
        yield step
        self.end(step)

    def begin(self, name: str) -> Step:
        """Begin a step that does not end where a block does."""
        step = Step(name)
        self.steps.append(step)
        self.say("")
        self._wrapped(f"{len(self.steps)}. {name}", "", _INDENT)
        return step

    def end(self, step: Step) -> None:
        """Tell what became of a step."""
        if step.ok is None:
            step.judge(False, "nothing was found out")
        self._wrapped(f"{'ok' if step.ok else 'NOT AS CLAIMED'}: {step.detail}", _INDENT, _INDENT * 2)

    def note(self, text: str) -> None:
        """Tell what is seen within a step, wrapped."""
        self._wrapped(text, _INDENT * 2, _INDENT * 2)

    def exhibit(self, text: str) -> None:
        """Show lines as they are."""
        for line in text.strip("\n").split("\n"):
            self.say(f"{_INDENT * 2}{line}".rstrip())

    def fail(self, error: BaseException) -> None:
        """Let the step that was going on fail, or one of its own if none was."""
        going_on = [step for step in self.steps if step.ok is None]
        step = going_on[0] if going_on else self.begin("The story goes on to its end")
        said = self.stage.server_said() if self.stage else ""
        step.judge(False, f"{seen_in(error)}{said and f'; keyturn serve said: {said}'}")
        self.end(step)

    def _wrapped(self, text: str, indent: str, later: str) -> None:
        for line in wrap(text, indent, later):
            self.say(line)


def wrap(text: str, indent: str, later: str) -> list[str]:
    """Cut a text into lines of at most `WIDTH` columns, the first behind `indent`, the others behind `later`."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=later,
        break_long_words=False,
        break_on_hyphens=False,
    )


def perform(story: Story, scene: Callable[[Story], Awaitable[None]]) -> None:
    """Play a scene; whatever goes wrong in it becomes a failed step of the story, and ends the scene."""
    try:
        anyio.run(scene, story)
    except Exception as error:  # noqa: BLE001 - a failure of any kind is what the demo is there to report
        story.fail(error)


def seen_in(error: BaseException) -> str:
    """Return what an exception says, in one line; of a group, what each one in it says."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(dict.fromkeys(seen_in(one) for one in error.exceptions))
    text = " ".join(str(error).split())
    # The text of these alone, like a missing key, would tell nothing.
    bare = not text or isinstance(error, LookupError | TypeError | AttributeError)
    return f"{type(error).__name__}: {text}".rstrip(": ") if bare else text
