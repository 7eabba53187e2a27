"""What a shell may complete beside names: the ids of the actions that a verb is for, with what each is about."""

from __future__ import annotations

from contextlib import closing

import click
from click.shell_completion import CompletionItem

from keyturn.cli.ids import short_id
from keyturn.cli.screen import plain
from keyturn.model.errors import ConfigurationError, LedgerError, Refused

ARGUMENTS = frozenset({"id_", "ids"})
"""How verbs call the arguments that take ids."""

_OPEN = frozenset({"pending", "approved", "running", "unknown"})
_STATES = {
    "approve": frozenset({"pending"}),
    "deny": frozenset({"pending"}),
    "cancel": frozenset({"pending", "approved"}),
    "resolve": frozenset({"unknown"}),
    "execute": frozenset({"approved"}),
}


class ActionId(click.types.StringParamType):
    """Text; completed with the short ids of open actions."""

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the ids that may be meant; none, and no error, where there is no home to look into."""
        wanted = _STATES.get(ctx.command.name or "", _OPEN)
        try:
            found = _open_actions(ctx)
        except (ConfigurationError, LedgerError, Refused, OSError):
            return []
        names = [action for action, _, _ in found]
        items = [
            CompletionItem(short_id(action, names), help=plain(about))
            for action, state, about in found
            if state in wanted
        ]
        return [item for item in items if item.value.startswith(incomplete)]


def complete_ids(command: click.Command) -> click.Command:
    """Have the arguments of a verb that take ids completed with them."""
    for param in command.params:
        if isinstance(param, click.Argument) and param.name in ARGUMENTS:
            param.type = ActionId()
    return command


def _open_actions(ctx: click.Context) -> list[tuple[str, str, str]]:
    """Return id, state, and tool with target, of each action that is not over."""
    from keyturn.assembly.home import find_home
    from keyturn.assembly.standing import open_reader

    home = find_home(ctx.find_root().params.get("home"))
    with closing(open_reader(home, "keyturn completion")) as reader:
        return reader.look(
            lambda view: [
                (action.id, state, f"{action.tool} {action.target}")
                for action, state in view.state.open_actions(view.now)
            ]
        )
