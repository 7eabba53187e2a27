"""The part `first_use`: a principal that has not yet done anything by this tool."""

from __future__ import annotations

from keyturn.policy.risk.part import FULL, NOTHING, Evidence, Found
from keyturn.policy.risk.settings import Settings


def look(evidence: Evidence, settings: Settings) -> Found:
    """Speak until one of its actions by the tool has succeeded."""
    if evidence.past.known:
        return NOTHING
    return Found(FULL, (f"no {evidence.tool} of {evidence.principal} has succeeded yet",))
