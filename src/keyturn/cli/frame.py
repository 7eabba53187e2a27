"""The frame of the command line: finding verbs, the options all share, and errors as messages and exit codes."""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum

import click

from keyturn.assembly.home import Home, find_home
from keyturn.model.errors import ConfigurationError, LedgerError, Refused


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


@dataclass(frozen=True, slots=True)
class Global:
    """What stands before the verb."""

    home: str | None


class Verbs(click.Group):
    """A group whose commands are the modules of a package: each holds one `command`. Loaded when called."""

    def __init__(self, package: str, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]  # click's own keywords, passed through
        self._package = package

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs by name."""
        folder = importlib.import_module(self._package).__path__
        found = (module.name for module in pkgutil.iter_modules(folder))
        return sorted(name.rstrip("_").replace("_", "-") for name in found)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a verb and return its command."""
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f"{self._package}.{_module(self._package, cmd_name)}")
        command: click.Command = module.command
        return command


def home_of(ctx: click.Context) -> Home:
    """Return the home the caller means. Raises `ConfigurationError`."""
    chosen = ctx.find_object(Global)
    return find_home(chosen.home if chosen else None)


@contextmanager
def errors_spoken() -> Iterator[None]:
    """Turn what the rooms raise into a message on stderr and an exit code."""
    try:
        yield
    except ConfigurationError as error:
        _fail(error.problems, Exit.FAILURE)
    except Refused as error:
        _fail((str(error),), exit_of(error))
    except LedgerError as error:
        _fail((str(error),), Exit.FAILURE)
    except KeyboardInterrupt:
        _fail(("interrupted",), Exit.INTERRUPTED)
    except BrokenPipeError:
        # The reader (head, a pager) has what it wants; keep Python from complaining again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(Exit.OK)


def exit_of(error: Refused) -> Exit:
    """Return the exit code of a refusal; what is not usage, identity or a missing thing is a conflict."""
    return _BY_CODE.get(error.code, Exit.CONFLICT)


def _fail(messages: tuple[str, ...], code: Exit) -> None:
    from keyturn.cli.screen import safe

    for message in messages:
        click.echo(f"keyturn: {safe(message)}", err=True)
    sys.exit(code)


def _module(package: str, verb: str) -> str:
    names = {module.name for module in pkgutil.iter_modules(importlib.import_module(package).__path__)}
    plain = verb.replace("-", "_")
    return plain if plain in names else f"{plain}_"
