"""What a verb is about when it stops or resumes something: one principal, tool or environment, or everything."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from keyturn.fold.suspensions import Scope

F = TypeVar("F", bound=Callable[..., Any])

LONGEST = 100  # characters of a name, as entries take it
_NAMED = "keyturn.scopes"


def scope_options(command: F) -> F:
    """Give a verb `--principal`, `--tool`, `--environment` and `--all`; `scope_of` says which was given."""
    for option in (
        click.option("--all", is_flag=True, expose_value=False, callback=_take, help="Everything in this home."),
        click.option("--environment", metavar="E", expose_value=False, callback=_take, help="This environment."),
        click.option("--tool", metavar="T", expose_value=False, callback=_take, help="This tool, whoever calls it."),
        click.option("--principal", metavar="P", expose_value=False, callback=_take, help="This assistant."),
    ):
        command = option(command)
    return command


def scope_of(ctx: click.Context) -> Scope:
    """Return the one scope that was named. Raises `click.UsageError` for none, for several, or for no name."""
    from keyturn.fold.suspensions import Scope

    named: list[tuple[str, str | None]] = ctx.meta.get(_NAMED, [])
    if len(named) != 1:
        raise click.UsageError("say what, once: --principal P, --tool T, --environment E or --all")
    kind, name = named[0]
    if name is not None and not 0 < len(name) <= LONGEST:
        raise click.UsageError(f"--{kind}: a name has 1 to {LONGEST} characters")
    return Scope(kind, name)


def _take(ctx: click.Context, option: click.Parameter, value: str | bool | None) -> None:
    if value is not None and value is not False:
        ctx.meta.setdefault(_NAMED, []).append((option.name, value if isinstance(value, str) else None))
