"""Arguments of `update_pull_request`."""

from __future__ import annotations

from keyturn.tools.arguments.base import ActionId, GovernedArguments
from keyturn.tools.arguments.files import FileChanges


class Arguments(GovernedArguments):
    """A further commit on the branch that the action `action_id` opened."""

    action_id: ActionId
    files: FileChanges
