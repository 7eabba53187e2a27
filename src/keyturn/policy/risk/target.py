"""The part `history`: how actions on the same target went before."""

from __future__ import annotations

from keyturn.policy.limits import written_window
from keyturn.policy.risk.part import NOTHING, Evidence, Found, share
from keyturn.policy.risk.settings import Settings


def look(evidence: Evidence, settings: Settings) -> Found:
    """Grow with what failed on the target, or was taken back, within the time that is looked at."""
    past = evidence.past
    bad = past.failed + past.undone
    if not bad:
        return NOTHING
    told = f"{past.failed} failed and {past.undone} undone on this target within {written_window(settings.within)}"
    return Found(share(bad, settings.failures), (told,))
