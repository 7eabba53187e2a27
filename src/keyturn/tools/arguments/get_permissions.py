"""Arguments of `get_permissions`."""

from __future__ import annotations

from keyturn.contracts.model import ArgumentModel


class Arguments(ArgumentModel):
    """None: it is about the caller."""
