"""The part `infrastructure`: files that build, deploy and configure, and those that say what is depended on."""

from __future__ import annotations

from keyturn.policy.risk.part import Evidence, Found
from keyturn.policy.risk.paths import touching
from keyturn.policy.risk.settings import Settings


def look(evidence: Evidence, settings: Settings) -> Found:
    """Speak as loud as it can about one such file."""
    built = touching(settings.infrastructure, evidence, "touched: infrastructure")
    needed = touching(settings.dependencies, evidence, "touched: dependencies")
    return Found(max(built.level, needed.level), tuple(dict.fromkeys((*built.because, *needed.because))))
