"""The part `size`: how many files and lines are changed."""

from __future__ import annotations

from keyturn.policy.risk.part import NOTHING, Evidence, Found, share
from keyturn.policy.risk.settings import Settings


def look(evidence: Evidence, settings: Settings) -> Found:
    """Grow with the larger of both shares: of the files, and of the lines as limits count them."""
    level = max(share(evidence.files_changed, settings.files), share(evidence.lines_changed, settings.lines))
    if not level:
        return NOTHING
    files, lines = evidence.files_changed, evidence.lines_changed
    told = f"{files} {'file' if files == 1 else 'files'} and {lines} {'line' if lines == 1 else 'lines'} changed"
    return Found(level, (f"{told}; large is {settings.files} files or {settings.lines} lines",))
