"""Arguments of `get_pull_request`."""

from __future__ import annotations

from keyturn.contracts.model import ArgumentModel
from keyturn.tools.arguments.base import ActionId


class Arguments(ArgumentModel):
    """The action that opened the pull request."""

    action_id: ActionId
