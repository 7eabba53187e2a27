"""Every `keyturn …` command that a page prints is one that the command line takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import click
import pytest

from keyturn.cli import keyturn
from tests.docs.pages import ROOT, Page, all_pages

PAGES = all_pages()


def commands_of(page: Page) -> list[str]:
    """Return the command lines in `sh` blocks, and those in backticks that name more than a verb."""
    lines = [line for block in page.blocks if block.language == "sh" for line in block.text.splitlines()]
    printed = [line.strip().removeprefix("uv run ") for line in lines]
    quoted = [text for text in page.quoted if "…" not in text]
    return [text for text in (*printed, *quoted) if re.match(r"keyturn( |$)", text)]


def parse(line: str) -> None:
    """Parse a command line as the program would, without running it. Raises `click.UsageError`."""
    words = shlex.split(line.partition(" > ")[0], comments=True)[1:]
    command: click.Command = keyturn
    context = keyturn.make_context("keyturn", words, resilient_parsing=False) if words else None
    while context is not None and isinstance(command, click.Group):
        rest = [*context._protected_args, *context.args]
        if not rest:
            return
        name, found, rest = command.resolve_command(context, rest)
        assert found is not None
        assert name is not None
        if isinstance(found, click.Group) and not rest:
            return
        # A verb alone stands for the verb, not for a call: what it needs is not asked.
        context = found.make_context(name, rest, parent=context, resilient_parsing=not rest)
        command = found


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_command_that_a_page_prints_is_understood(page: Page) -> None:
    wrong = {}
    for line in commands_of(page):
        try:
            parse(line)
        except click.exceptions.Exit:
            continue  # --help
        except click.UsageError as error:
            if "does not exist" not in error.format_message():  # the reader's own file
                wrong[line] = error.format_message()
    assert wrong == {}


@pytest.mark.parametrize(
    "line", ["keyturn no-such-verb", "keyturn approve ID --no-such-option", "keyturn approve -x"]
)
def test_a_command_that_is_none_would_be_noticed(line: str) -> None:
    with pytest.raises(click.UsageError):
        parse(line)


def verbs(command: click.Command, *words: str) -> Iterator[str]:
    """Yield every verb that does something, with the words before it."""
    if not isinstance(command, click.Group):
        yield " ".join(words)
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        yield from verbs(found, *words, name)


def test_every_verb_stands_in_the_reference() -> None:
    text = Page(ROOT / "docs" / "reference" / "cli.md").text
    assert [verb for verb in verbs(keyturn, "keyturn") if not re.search(rf"`{verb}[` ]", text)] == []
