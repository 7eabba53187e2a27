"""Says which forges merge: those whose pull requests have numbers."""

from __future__ import annotations

from keyturn.connectors.forge import Forge
from keyturn.connectors.forge.merging import Merges
from keyturn.model.errors import ConnectorError


def merges(forge: Forge) -> Merges:
    """Return the forge as one that merges. Refused (`ConnectorError`) where it does not, with what to do instead."""
    if isinstance(forge, Merges):
        return forge
    system = forge.identity
    raise ConnectorError(
        f"{system.name} is a {system.kind} repository, where Keyturn neither merges nor knows what was merged; "
        "ask people to merge, and take a change back with open_pull_request"
    )
