"""Reads the key `anchor` of a grant: whether what it lets through begins only once its intent is anchored outside."""

from __future__ import annotations

from keyturn.model.contract import Contract
from keyturn.model.decision import Reason
from keyturn.policy.shown import shown
from keyturn.policy.tables import Table

BEFORE = "before"
"""The one value: the intent is anchored before the effect."""


def read_anchor(table: Table, contract: Contract) -> bool:
    """Return whether a grant asks for an anchor before the effect, after recording what is wrong with its key."""
    if "anchor" not in table.raw:
        return False
    if table.raw["anchor"] != BEFORE:
        table.wrong("anchor", f'must be "{BEFORE}" or be left out, not {shown(table.raw["anchor"])}')
    elif contract.kind != "governed":
        table.wrong("anchor", f"{contract.tool} only reads: it has no effect that an anchor could come before")
    return True


def anchor_reason(rule: str) -> Reason:
    """Return what a decision says of a grant that asks for it."""
    return Reason("anchor", "begins only once its intent has been anchored outside this machine", rule)
