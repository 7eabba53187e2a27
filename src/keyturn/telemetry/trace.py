"""Trace ids: a call's own, joined with its caller's where the caller sent one.

Source: W3C Trace Context, section 3.2 (`traceparent`); MCP SEP-414 puts the same text into a request's `_meta`.
Nothing is exported from here: the ids stand in log lines, so that the caller's system can be searched for them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass

TRACEPARENT = "traceparent"
"""The name of the HTTP header, and of the member of `_meta`."""

_LONGEST = 256  # characters looked at: later versions may append fields
_FORM = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<parent>[0-9a-f]{16})-[0-9a-f]{2}(?P<more>-.*)?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Trace:
    """Where a piece of work stands: the trace it belongs to (32 hex digits) and its own span (16 hex digits)."""

    trace_id: str
    span_id: str


current: ContextVar[Trace | None] = ContextVar("keyturn_trace", default=None)
"""The trace of the call this task or thread works for; None outside of calls."""


def begin(traceparent: object, entropy: Callable[[int], bytes]) -> Trace:
    """Return a span of the caller's trace, or of a new one where `traceparent` is missing or malformed.

    `traceparent` is whatever the caller put there; `entropy` returns so many random bytes.
    """
    joined = read_traceparent(traceparent)
    return Trace(joined or _identifier(entropy, 16), _identifier(entropy, 8))


def read_traceparent(value: object) -> str | None:
    """Return the trace id of a `traceparent`, or None for anything that is not one."""
    found = _FORM.fullmatch(value) if isinstance(value, str) and len(value) <= _LONGEST else None
    if found is None or found["version"] == "ff" or (found["version"] == "00" and found["more"]):
        return None
    # All zeros is the specification's word for "none".
    return found["trace"] if found["trace"].strip("0") and found["parent"].strip("0") else None


def _identifier(entropy: Callable[[int], bytes], count: int) -> str:
    """Return random hex digits; all zeros is no id, so a source of zeros gets a one."""
    drawn = entropy(count)
    return drawn.hex() if any(drawn) else (1).to_bytes(count, "big").hex()
