"""Arguments of `get_ticket`."""

from __future__ import annotations

from keyturn.tools.arguments.base import ArgumentModel, Name


class Arguments(ArgumentModel):
    """The ticket to read."""

    ticket: Name
