"""Arguments of `undo_action`."""

from __future__ import annotations

from keyturn.contracts.model import ArgumentModel
from keyturn.tools.arguments.base import ActionId, Why


class Arguments(ArgumentModel):
    """The finished action to take back, and why."""

    action_id: ActionId
    reason: Why = ""
