"""Finds the pull requests that a principal opened with its earlier actions."""

from __future__ import annotations

from keyturn.connectors.forge import Forge, Pull
from keyturn.model.errors import ConnectorError
from keyturn.model.tool import Earlier, EarlierAction

OPENERS = frozenset({"open_pull_request", "revert_pull_request"})
"""The tools whose actions open a pull request of their own."""


def opened(action_id: str, earlier: Earlier) -> EarlierAction:
    """Return the action of that id if it was the caller's own and opened a pull request, or was to."""
    found = earlier(action_id)
    if found is None or found.tool not in OPENERS:
        raise ConnectorError(f"action {action_id} is not one of yours that opened a pull request")
    return found


def surely_opened(action_id: str, earlier: Earlier, purpose: str) -> EarlierAction:
    """As `opened`, and the action has succeeded; `purpose` completes "its pull request cannot be …"."""
    found = opened(action_id, earlier)
    if found.status != "succeeded":
        raise ConnectorError(f"action {action_id} is {found.status}: its pull request cannot be {purpose}")
    return found


async def open_pull(forge: Forge, action: str, advice: str) -> Pull:
    """Return the pull request of an action as it stands; refused with `advice` when it is not open."""
    pull = await forge.pull(action)
    if pull.status != "open":
        raise ConnectorError(f"the pull request of action {action} is {pull.status}; {advice}")
    return pull
