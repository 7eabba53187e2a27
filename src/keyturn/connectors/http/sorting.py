"""What a status means for who asked: whether it is an answer, an error of which kind, and whether to try again.

                                    a read              a change
    2xx, or expected                an answer           an answer
    409, 412                        conflict            conflict
    429, a limit that is told       retry, again        retry, again when told how long to wait
    503 with Retry-After            retry, again        retry, again
    408, 425, 5xx                   retry, again        unknown
    all else                        refused             refused

Trying again is up to the door, which knows how much time is left. A system that names a time to wait says with it
that it did nothing (RFC 9110, section 10.2.3; RFC 6585, section 4).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

DEFAULT_REST: Final = 60.0
"""Seconds to wait after a limit that names no time, as GitHub asks.

https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit
"""
_LONGEST: Final = 86_400.0
_SOONEST: Final = 1.0  # a reset that seems to be over: the two clocks differ, and the limit still stands
_SECONDS: Final = re.compile(r"[0-9]{1,12}")
_SECONDARY: Final = b"secondary rate limit"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an answer that is none comes to.

    kind   of the `ConnectorError`
    again  whether the same request may be sent once more
    wait   seconds that the system wants to be left alone, or None where it names none
    """

    kind: str
    again: bool
    wait: float | None


def judge(status: int, headers: Mapping[str, str], body: bytes, *, change: bool, now: float) -> Verdict:
    """Sort a status that is neither 2xx nor expected; `now` is in seconds since 1970."""
    wait = told_wait(headers, now)
    if _limited(status, headers, body):
        return Verdict("retry", again=not change or wait is not None, wait=DEFAULT_REST if wait is None else wait)
    if status == 503 and wait is not None:
        return Verdict("retry", again=True, wait=wait)
    if status in (408, 425) or status >= 500:
        return Verdict("unknown", again=False, wait=None) if change else Verdict("retry", again=True, wait=wait)
    return Verdict("conflict" if status in (409, 412) else "refused", again=False, wait=None)


def told_wait(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds that a system wants to be left alone, or None where it does not say.

    `Retry-After` in seconds or as a date (RFC 9110, section 10.2.3); else, once `x-ratelimit-remaining` is 0,
    `x-ratelimit-reset` in seconds since 1970, or from now on where it is too small for that.
    """
    if (after := headers.get("retry-after")) is not None and (wait := _seconds(after.strip(), now)) is not None:
        return wait
    reset = headers.get("x-ratelimit-reset", "").strip()
    if headers.get("x-ratelimit-remaining", "").strip() == "0" and _SECONDS.fullmatch(reset):
        wait = float(reset) - now if float(reset) > _LONGEST * 366 else float(reset)
        return max(_SOONEST, _bounded(wait))
    return None


def _limited(status: int, headers: Mapping[str, str], body: bytes) -> bool:
    if status != 403:
        return status == 429
    told = "retry-after" in headers or headers.get("x-ratelimit-remaining", "").strip() == "0"
    return told or _SECONDARY in body[:4096].lower()


def _seconds(text: str, now: float) -> float | None:
    if _SECONDS.fullmatch(text):
        return _bounded(float(text))
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # the second for numbers that no date has
        return None
    return _bounded((date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now)


def _bounded(seconds: float) -> float:
    return min(max(seconds, 0.0), _LONGEST)
