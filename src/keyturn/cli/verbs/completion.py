"""`keyturn completion`: the script that makes a shell complete verbs, options and ids."""

from __future__ import annotations

import click
from click.shell_completion import ShellComplete, get_completion_class

PROGRAM = "keyturn"
VARIABLE = "_KEYTURN_COMPLETE"
SHELLS = ("bash", "zsh", "fish")


@click.command(name="completion", short_help="Print what makes a shell complete.")
@click.argument("shell", metavar="SHELL", type=click.Choice(SHELLS))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the script that makes SHELL complete verbs, options and the ids of actions.

    For bash put `eval "$(keyturn completion bash)"` into ~/.bashrc, and the same with zsh into ~/.zshrc. For fish:
    keyturn completion fish > ~/.config/fish/completions/keyturn.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise click.ClickException(f"this version of click knows no {shell}")
    # The plain source, without a look at which version of the shell is installed: it is printed, not run.
    click.echo(ShellComplete.source(kind(ctx.find_root().command, {}, PROGRAM, VARIABLE)))
