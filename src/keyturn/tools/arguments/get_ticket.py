"""Arguments of `get_ticket`."""

from __future__ import annotations

from keyturn.contracts.model import ArgumentModel
from keyturn.tools.arguments.base import Name, OptionalName


class Arguments(ArgumentModel):
    """The ticket to read; `tracker` may be left out where only one holds it."""

    ticket: Name
    tracker: OptionalName = None
