"""Which time decisions use, and when the clock is too wrong to decide anything."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from keyturn.log.chain import Head
from keyturn.model.time import Moment, format_timestamp

BEHIND = timedelta(seconds=5)
STEP = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at the clocks against the ledger.

    now    the later of wall clock and last entry: an expiry that has passed in the ledger stays passed. While the
           wall clock is at fault, time goes on from the last entry by CLOCK_BOOTTIME alone
    fault  why governed actions are refused at present, or None
    """

    now: datetime
    moment: Moment
    fault: str | None


def read_clock(moment: Moment, head: Head) -> Reading:
    """Judge the clocks against the last entry. Pure."""
    if head.size == 0:
        return Reading(moment.wall, moment, None)
    # Another boot has another zero: then nothing but the wall clock can tell how much time went by.
    since = timedelta(microseconds=moment.up - head.up) if moment.boot == head.boot else None
    fault = _fault(moment, head, since)
    trusted = head.at + (since or timedelta()) if fault else moment.wall
    return Reading(max(trusted, head.at), moment, fault)


def _fault(moment: Moment, head: Head, since: timedelta | None) -> str | None:
    if moment.wall < head.at - BEHIND:
        return (
            f"the wall clock ({format_timestamp(moment.wall)}) is behind the last entry "
            f"({format_timestamp(head.at)}); set the clock"
        )
    passed = moment.wall - head.at
    if since is not None and abs(passed - since) > STEP:
        return f"the wall clock moved {passed} since the last entry while the machine ran {since}; set the clock"
    return None
