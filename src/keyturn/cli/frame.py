"""The frame of the command line: finding verbs, the options all share, and errors as messages and exit codes.

Nothing heavy is imported here: `--help` and `version` answer before a person notices.
"""

from __future__ import annotations

import difflib
import errno
import importlib
import os
import pkgutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, NoReturn

import click

from keyturn.cli.completing import complete_ids
from keyturn.cli.output import EVERYTHING
from keyturn.cli.screen import safe
from keyturn.model.errors import ConfigurationError, LedgerError, Refused

if TYPE_CHECKING:
    from keyturn.assembly.home import Home


class Exit(IntEnum):
    """Exit codes; `docs/reference/cli.md` lists them."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    REFUSED = 3
    NOT_AUTHENTICATED = 4
    NOT_FOUND = 5
    CONFLICT = 6
    VERIFICATION_FAILED = 7
    PENDING = 8
    TIMED_OUT = 9
    LIMITED = 10
    UNANCHORED = 11
    INTERRUPTED = 130


_BY_CODE = {
    "usage": Exit.USAGE,
    "not_authenticated": Exit.NOT_AUTHENTICATED,
    "not_found": Exit.NOT_FOUND,
}
_UNWRITTEN = {errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
_WORST_FIRST = (Exit.CONFLICT, Exit.NOT_FOUND, Exit.REFUSED)


@dataclass(frozen=True, slots=True)
class Global:
    """What stands before the verb."""

    home: str | None
    no_input: bool = False


class Verbs(click.Group):
    """A group whose commands are the modules of a package: each holds one `command`. Loaded when called."""

    def __init__(self, package: str, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]  # click's own keywords, passed through
        self._package = package

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs by name."""
        return sorted(self._modules())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a verb and return its command."""
        module = self._modules().get(cmd_name)
        if module is None:
            return None
        command: click.Command = importlib.import_module(f"{self._package}.{module}").command
        return complete_ids(command)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb that is called; for one that is not there, name what may have been meant."""
        named = bool(args) and not args[0].startswith("-") and not ctx.resilient_parsing
        if named and args[0] not in self._modules():
            close = difflib.get_close_matches(args[0], self.list_commands(ctx), n=2)
            meant = (
                f"did you mean {' or '.join(close)}?" if close else f"there are: {', '.join(self.list_commands(ctx))}"
            )
            ctx.fail(f"no such verb {args[0]!r}; {meant}")
        return super().resolve_command(ctx, args)

    def _modules(self) -> dict[str, str]:
        """Verb → module; a trailing underscore keeps a module's name off a word of Python."""
        folder = importlib.import_module(self._package).__path__
        names = (module.name for module in pkgutil.iter_modules(folder))
        return {name.rstrip("_").replace("_", "-"): name for name in names}


class Root(Verbs):
    """The outermost group: what stands before and between all verbs."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Let a bare `--json` take no value: `--json ID` means the id, `--json=FIELDS` names fields."""
        return super().parse_args(ctx, list(_bare_json_marked(args)))


def _bare_json_marked(args: Iterable[str]) -> Iterator[str]:
    options = True
    for arg in args:
        options = options and arg != "--"
        yield f"--json={EVERYTHING}" if options and arg == "--json" else arg


def home_of(ctx: click.Context) -> Home:
    """Return the home the caller means. Raises `ConfigurationError`."""
    from keyturn.assembly.home import find_home

    chosen = ctx.find_object(Global)
    return find_home(chosen.home if chosen else None)


def program_of(ctx: click.Context) -> list[str]:
    """Return the words that a command to be copied begins with: the home is named where the caller named it."""
    chosen = ctx.find_object(Global)
    return ["keyturn", *(["--home", chosen.home] if chosen and chosen.home else [])]


def may_ask(ctx: click.Context) -> bool:
    """Say whether the person may be asked for something: not after `--no-input`."""
    chosen = ctx.find_object(Global)
    return chosen is None or not chosen.no_input


@contextmanager
def errors_spoken() -> Iterator[None]:
    """Turn what click and the rooms raise into a message on stderr and an exit code."""
    try:
        yield
    except click.exceptions.NoArgsIsHelpError as error:
        _show_help(error.format_message())
    except click.UsageError as error:
        _explain_usage(error)
    except click.ClickException as error:
        _fail((error.format_message(),), Exit.FAILURE)
    except ConfigurationError as error:
        _fail(error.problems, Exit.FAILURE)
    except Refused as error:
        _fail((str(error),), exit_of(error))
    except LedgerError as error:
        _fail((str(error),), Exit.FAILURE)
    except (KeyboardInterrupt, click.Abort):
        _fail(("interrupted",), Exit.INTERRUPTED)
    except OSError as error:
        _unwritten(error)


def leave_stdout() -> None:
    """Give up a standard output that takes nothing any more, lest Python complain again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def exit_of(error: Refused) -> Exit:
    """Return the exit code of a refusal; what is not usage, identity or a missing thing is a conflict."""
    return _BY_CODE.get(error.code, Exit.CONFLICT)


def worst(codes: Iterable[int]) -> int:
    """Return the one exit code of several: a conflict over a missing thing over a refusal over the rest."""
    found = set(codes)
    first = next((code for code in _WORST_FIRST if code in found), None)
    return max(found, default=Exit.OK) if first is None else first


def _explain_usage(error: click.UsageError) -> NoReturn:
    if error.ctx is not None:
        click.echo(safe(error.ctx.get_usage(), lines=True), err=True)
        click.echo(f"Try '{error.ctx.command_path} --help' for help.", err=True)
    _fail((error.format_message(),), Exit.USAGE)


def _unwritten(error: OSError) -> NoReturn:
    """End after an answer that did not get out; anything else is a fault of this program."""
    if error.errno not in _UNWRITTEN or error.filename is not None:
        raise error
    leave_stdout()
    if isinstance(error, BrokenPipeError):
        sys.exit(Exit.OK)  # the reader (head, a pager) has what it wants
    _fail((f"the answer cannot be written: {error.strerror}",), Exit.FAILURE)


def _show_help(help_text: str) -> NoReturn:
    """A group without a verb: its help is all there is to say."""
    click.echo(help_text, err=True)
    sys.exit(Exit.USAGE)


def _fail(messages: Iterable[str], code: Exit) -> NoReturn:
    for message in messages:
        # Indented, so that a line inside a message is not taken for a message of its own.
        click.echo(f"keyturn: {safe(message, lines=True)}".replace("\n", "\n  "), err=True)
    sys.exit(code)
