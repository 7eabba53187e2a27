"""Short ids: the last six characters of an action's id, more where that is not enough."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from keyturn.model.errors import Refused

if TYPE_CHECKING:
    from keyturn.gateway.desk import Look

USUAL = 6
LEAST = 4
_DIGITS = frozenset("0123456789abcdef-")


def full_id(view: Look, given: str) -> str:
    """Return the id of the one action whose id ends with `given`.

    Raises `click.UsageError` when it is too short, no id at all or ends several ids; `Refused` ("not_found").
    """
    wanted = given.lower()
    if not set(wanted) <= _DIGITS:
        raise click.UsageError(f"{given} is no id of an action: ids are hex digits, see `keyturn action list`")
    if len(wanted) < LEAST:
        raise click.UsageError(f"{given} is too short: give at least {LEAST} characters from the end of the id")
    from keyturn.gateway.finding import find_ids

    found = find_ids(view, wanted, limit=4)
    if not found:
        raise Refused("not_found", f"there is no action {given}; see keyturn action list")
    if len(found) > 1:
        raise click.UsageError(f"{given} is the end of several ids: {', '.join(found)}; give more characters")
    return found[0]


def short_id(action_id: str, among: Iterable[str]) -> str:
    """Return the shortest end of an id, six characters at least, that no other id in `among` ends with."""
    others = [other for other in among if other != action_id]
    for length in range(USUAL, len(action_id)):
        end = action_id[-length:]
        if not any(other.endswith(end) for other in others):
            return end
    return action_id


def short_in(view: Look, action_id: str) -> str:
    """Return the short id of an action among all of the ledger."""
    from keyturn.gateway import finding

    return finding.short_in(view, action_id)
