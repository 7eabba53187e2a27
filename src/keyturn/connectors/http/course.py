"""How far a call has come, and what it is when a try, or its time, ends without an answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from keyturn.connectors.http.calls import Call
from keyturn.connectors.http.failure import Failure
from keyturn.connectors.http.transport import Departure

Stage: TypeAlias = Literal["credential", "turn", "exchange", "pause"]


@dataclass(frozen=True, slots=True)
class Trouble:
    """A try without an answer: the kind and words of the error, and whether to try again.

    `wait`: seconds that the system wants to be left alone, None where it names none.
    """

    kind: str
    words: str
    again: bool = False
    wait: float | None = None


@dataclass(slots=True)
class Course:
    """How far a call has come. `until` is in the event loop's time; `renewed`: a 401 has had its second try."""

    until: float
    departure: Departure = field(default_factory=Departure)
    stage: Stage = "credential"
    tries: int = 0
    renewed: bool = False
    trouble: Trouble | None = None


def failed(call: Call, failure: Failure) -> Trouble:
    """Sort a try that brought no whole answer: of a change that may have arrived, nobody knows what became."""
    if call.change and failure.sent:
        return Trouble("unknown", failure.words)
    return Trouble("refused" if failure.final else "retry", failure.words, again=not failure.final)


def late(call: Call, course: Course, host: str, seconds: float) -> Trouble:
    """Say what a call is that has not ended in its time."""
    if call.change and course.departure.sent:
        return Trouble("unknown", f"no whole answer of {host} came within {seconds:g} s")
    what = {
        "credential": "its credential could not be had",
        "turn": f"other changes on {host} were under way all the time",
        "exchange": f"no answer of {host} came",
        "pause": f"no answer of {host} came",
    }
    before = f"; before that: {course.trouble.words}" if course.trouble is not None else ""
    return Trouble("retry", f"{what[course.stage]} within {seconds:g} s{before}")
