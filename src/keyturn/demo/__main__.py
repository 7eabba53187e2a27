"""Runs the demo: `python -m keyturn.demo [--keep DIR] [--json]`."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import anyio
import click

from keyturn.demo.stage import StageError, set_up
from keyturn.demo.story import Step, Story, tell
from keyturn.model.errors import ConfigurationError, LedgerError


@click.command()
@click.option("--keep", type=click.Path(path_type=Path), help="Keep everything in this new folder.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end instead of the story.")
def demo(keep: Path | None, as_json: bool) -> None:
    """Tell how one action after another goes its way, on a fresh home with real files."""
    if keep is not None and keep.exists() and any(keep.iterdir()):
        raise click.UsageError(f"{keep} is not empty; name a new folder")
    folder = keep if keep is not None else Path(tempfile.mkdtemp(prefix="keyturn-demo-"))
    say: Callable[[str], None] = (lambda line: None) if as_json else click.echo
    try:
        ok = _run(folder.resolve(), say, as_json)
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    sys.exit(0 if ok else 1)


def _run(folder: Path, say: Callable[[str], None], as_json: bool) -> bool:
    say("Keyturn: an assistant, a person, and a ledger. Everything below is real: files, git, signatures, processes.")
    story = Story(set_up(folder), say)
    try:
        anyio.run(tell, story)
    except (StageError, ConfigurationError, LedgerError) as error:
        story.steps.append(Step("The story goes on", detail=str(error)))
        say(f"\n   NOT AS CLAIMED: {error}")
    ok = all(step.ok for step in story.steps)
    if as_json:
        click.echo(json.dumps(_summary(story)))
    else:
        _farewell(story, say, ok)
    return ok


def _summary(story: Story) -> dict[str, object]:
    steps = [{"name": step.name, "ok": step.ok, "detail": step.detail} for step in story.steps]
    return {"steps": steps, "verify": story.verify, "home": str(story.stage.home)}


def _farewell(story: Story, say: Callable[[str], None], ok: bool) -> None:
    good = sum(step.ok for step in story.steps)
    say(f"\n{'PASS' if ok else 'FAIL'}: {good} of {len(story.steps)} steps did what they claim.")
    say("\nTo look further (run the demo with --keep DIR to have something to look at):")
    for line in (
        "keyturn --home DIR/home action list            what was asked and what came of it",
        "keyturn --home DIR/home action show ID         one action, as its reviewer saw it",
        "keyturn --home DIR/home audit log              every entry of the ledger",
        "keyturn --home DIR/home audit verify           the proof, again",
        "keyturn init DIR                               a home of your own",
    ):
        say(f"  {line}")


if __name__ == "__main__":
    demo(prog_name="keyturn demo")
