"""Which time decisions use, and when the clock is too wrong to decide anything.

Within a boot the wall clock is held against CLOCK_BOOTTIME twice: since the last entry, so that a jump is seen at
once, and since the first entry of the boot, so that many small steps are seen as well. Where a person has signed that
the clock is right, both are counted from that entry.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from keyturn.log.chain import Head
from keyturn.model.time import Moment, format_timestamp

BEHIND = timedelta(seconds=5)
STEP = timedelta(seconds=60)
MEND = "set the clock, or, if it is right, sign that: keyturn audit recover-clock -m REASON"


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
    wall = moment.wall + (head.basis.ahead if head.basis else timedelta())
    # Another boot has another zero: then nothing but the wall clock can tell how much time went by.
    since = timedelta(microseconds=moment.up - head.up) if moment.boot == head.boot else None
    fault = _fault(moment, wall, head, since)
    trusted = head.at + (since or timedelta()) if fault else wall
    return Reading(max(trusted, head.at), moment, fault)


def believed(reading: Reading) -> Reading:
    """Return the reading of somebody who signs that the wall clock is right, whatever it did before.

    Time does not go back: where the ledger is ahead of the clock, it stays so.
    """
    return Reading(max(reading.now, reading.moment.wall), reading.moment, None)


def _fault(moment: Moment, wall: datetime, head: Head, since: timedelta | None) -> str | None:
    """Say what is wrong. `wall` is the wall clock as the log's time goes by it."""
    shown = format_timestamp(moment.wall)
    if wall < head.at - BEHIND:
        return f"the wall clock ({shown}) is behind the last entry ({format_timestamp(head.at)}); {MEND}"
    if since is None:
        return None
    passed = wall - head.at
    if abs(passed - since) > STEP:
        return f"the wall clock moved {passed} since the last entry while the machine ran {since}; {MEND}"
    if head.basis is None:
        return None
    passed, ran = wall - head.basis.at, timedelta(microseconds=moment.up - head.basis.up)
    if abs(passed - ran) > STEP:
        return f"the wall clock moved {passed} since entry {head.basis.seq} while the machine ran {ran}; {MEND}"
    return None
