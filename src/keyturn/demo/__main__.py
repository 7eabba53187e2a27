"""Runs the demo: `python -m keyturn.demo [--keep DIR] [--json]`."""

from __future__ import annotations

import io
import json
import logging
import shlex
import shutil
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import click

from keyturn.demo.chapters import tell
from keyturn.demo.forge import TOKEN, Forge, tell_on
from keyturn.demo.story import Say, Story, perform, wrap
from keyturn.model.errors import ConfigurationError

WELCOME = (
    "Keyturn: an assistant, a person, and a ledger. Everything below is real: files, git, signatures, processes."
)

FIELDS = ("steps", "verify", "home")
EVERYTHING = "*"
"""What `--json` without fields means; `keyturn` puts it after a bare `--json` before it starts this program."""


@click.command()
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Keep everything in this folder, which must be new or empty.",
)
@click.option(
    "--json",
    "fields",
    metavar="[=FIELDS]",
    is_flag=False,
    flag_value=EVERYTHING,
    callback=lambda _context, _option, value: _fields(value),
    help="Print one JSON object at the end instead of the story; with =FIELDS (separated by commas) only those.",
)
@click.option("--forge", "url", metavar="URL", help=f"Open a pull request on this forge instead; token in ${TOKEN}.")
@click.option("--repository", metavar="OWNER/NAME", help="The repository on that forge.")
@click.option("--private", is_flag=True, help="The forge is on this machine or network.")
def demo(
    *, keep: Path | None, fields: tuple[str, ...], url: str | None, repository: str | None, private: bool
) -> None:
    """Tell how one action after another goes its way, on a fresh home with real files.

    Exits 0 if every step did what it claims, 1 if one did not, 2 for usage.
    """
    _check_empty(keep)
    _make_speakable()
    story = Story(_silent if fields else click.echo)
    try:
        _paragraph(story.say, WELCOME)
        perform(story, partial(_scene(url, repository, private=private), folder=keep))
        if fields:
            summary = _summary(story)
            click.echo(json.dumps({name: summary[name] for name in fields}))
        else:
            _farewell(story, kept=keep is not None)
    finally:
        if keep is None and story.folder is not None:
            shutil.rmtree(story.folder, ignore_errors=True)
    sys.exit(0 if story.ok else 1)


def _scene(url: str | None, repository: str | None, *, private: bool) -> Callable[..., Awaitable[None]]:
    """Return the story to be told: on sample systems, or on a forge."""
    if url is None and repository is None and not private:
        return tell
    if url is None or repository is None:
        raise click.UsageError("--forge URL and --repository OWNER/NAME go together")
    try:
        return partial(tell_on, Forge(url, repository, private))
    except ConfigurationError as error:
        raise click.UsageError(str(error)) from error


def _fields(value: str | None) -> tuple[str, ...]:
    """Return the fields to print; none when the story is to be told."""
    if value is None:
        return ()
    if value in {EVERYTHING, ""}:
        return FIELDS
    names = tuple(name.strip() for name in value.split(",") if name.strip())
    if not names or set(names) - set(FIELDS):
        raise click.UsageError(f"--json: {value!r} names other fields than these: {', '.join(FIELDS)}")
    return names


def _check_empty(keep: Path | None) -> None:
    try:
        full = keep is not None and keep.exists() and any(keep.iterdir())
    except OSError as error:
        raise click.UsageError(f"--keep {keep}: {error.strerror}") from error
    if full:
        raise click.UsageError(f"--keep {keep}: the folder is not empty; name a new one")


def _make_speakable() -> None:
    """Let no narrow encoding of the terminal end the story, and no library speak beside it."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    # What libraries would log, tracebacks among it, is told by the step that fails for it.
    logging.basicConfig(handlers=[logging.NullHandler()])


def _silent(line: str) -> None:
    """Say nothing of a line."""


def _summary(story: Story) -> dict[str, object]:
    steps = [{"name": step.name, "ok": bool(step.ok), "detail": step.detail} for step in story.steps]
    home = None if story.folder is None else str(story.folder / "home")
    return {"steps": steps, "verify": story.verify, "home": home}


def _farewell(story: Story, *, kept: bool) -> None:
    good = sum(step.ok is True for step in story.steps)
    story.say(f"\n{'PASS' if story.ok else 'FAIL'}: {good} of {len(story.steps)} steps did what they claim.\n")
    if not kept:
        _paragraph(
            story.say,
            "All of it is deleted again. To have something to look at, run `keyturn demo --keep DIR`; for a home of "
            "your own, `keyturn init DIR`.",
        )
    elif story.stage is not None:
        story.say("To look further:")
        for purpose, command in _commands(story, story.stage.home):
            story.say(f"  {purpose}\n    {command}")


def _commands(story: Story, home: Path) -> list[tuple[str, str]]:
    keyturn = f"keyturn --home {shlex.quote(str(home))}"
    return [
        ("what was asked, and what came of it", f"{keyturn} action list"),
        ("one action, as its reviewer sees it", f"{keyturn} action show {story.action or 'ID'}"),
        ("every entry of the log", f"{keyturn} audit log"),
        ("the proof, once more", f"{keyturn} audit verify"),
        ("a home of your own", "keyturn init DIR"),
    ]


def _paragraph(say: Say, text: str) -> None:
    for line in wrap(text, "", ""):
        say(line)


if __name__ == "__main__":
    demo(prog_name="keyturn demo")
