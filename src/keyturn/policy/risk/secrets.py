"""The part `secrets`: added lines that look like a credential, and files that nobody can look through."""

from __future__ import annotations

from keyturn.policy.risk.part import FULL, NOTHING, Evidence, Found
from keyturn.policy.risk.settings import Settings

HALF = FULL // 2


def look(evidence: Evidence, settings: Settings) -> Found:
    """Speak as loud as it can about one credential, and half as loud about what is shown by its digest alone."""
    looked = evidence.looked
    if looked is None or not (looked.findings or looked.unseen):
        return NOTHING
    because = [finding.text for finding in looked.findings[:3]]
    if len(looked.findings) > 3:
        because.append(f"and {len(looked.findings) - 3} more")
    if looked.unseen:
        files = "1 file is" if looked.unseen == 1 else f"{looked.unseen} files are"
        because.append(f"{files} shown by digest alone, so what they hold was not looked through")
    return Found(FULL if looked.findings else HALF, tuple(because))
