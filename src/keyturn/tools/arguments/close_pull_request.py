"""Arguments of `close_pull_request`."""

from __future__ import annotations

from keyturn.tools.arguments.base import ActionId, GovernedArguments


class Arguments(GovernedArguments):
    """Close the pull request that the action `action_id` opened."""

    action_id: ActionId
