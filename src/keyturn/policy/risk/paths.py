"""The part `paths`: files whose change matters more than its size says."""

from __future__ import annotations

from keyturn.policy.risk.globs import Globs
from keyturn.policy.risk.part import FULL, NOTHING, Evidence, Found, listed
from keyturn.policy.risk.settings import Settings
from keyturn.policy.shown import shown


def look(evidence: Evidence, settings: Settings) -> Found:
    """Speak as loud as it can about one sensitive path; files that the plan does not name may be any."""
    return touching(settings.paths, evidence, "touched: listed as sensitive")


def touching(globs: Globs, evidence: Evidence, what: str) -> Found:
    """Return what is found when a path that the globs match is all it takes."""
    if not globs.sources:
        return NOTHING
    matched = [shown(path) for path in evidence.paths if globs.matches(path)]
    because = [listed(matched, what)] if matched else []
    if evidence.unnamed:
        because.append(f"the plan does not name {evidence.unnamed} of the files")
    return Found(FULL, tuple(because)) if because else NOTHING
