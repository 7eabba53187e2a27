"""The part `time`: whether people are at work who could see what it does."""

from __future__ import annotations

from keyturn.policy.paths import WEEKDAYS
from keyturn.policy.risk.part import FULL, NOTHING, Evidence, Found
from keyturn.policy.risk.settings import Settings


def look(evidence: Evidence, settings: Settings) -> Found:
    """Speak outside working hours, by the clock of their zone, whatever daylight saving does to it."""
    hours = settings.hours
    local = evidence.now.astimezone(hours.zone)
    day = WEEKDAYS[local.weekday()]
    if day in hours.days and hours.begin <= local.hour < hours.end:
        return NOTHING
    return Found(FULL, (f"asked for on {day} at {local:%H:%M}, outside working hours",))
