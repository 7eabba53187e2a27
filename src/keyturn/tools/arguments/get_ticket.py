"""Arguments of `get_ticket`."""

from __future__ import annotations

from keyturn.contracts.model import ArgumentModel
from keyturn.tools.arguments.base import Name


class Arguments(ArgumentModel):
    """The ticket to read."""

    ticket: Name
