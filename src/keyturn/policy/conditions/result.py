"""The answers a condition's test can give, each with the value it saw."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TypeAlias

from keyturn.policy.shown import shown


class Gap(Enum):
    """Why there is no value: each member's value is the word people read."""

    ABSENT = "absent"
    """An optional argument not given, or no owner."""
    NOT_IN_PLAN = "not in the plan"
    """A plan tells what it holds; a missing part cannot be judged."""
    UNREADABLE = "of another shape"
    """A list or table stands where the path does not expect it."""
    UNPLANNED = "not known before planning"


class Test(Protocol):
    """What a value must be."""

    @property
    def asked(self) -> str:
        """What is asked, to be read after "must": `be one of "a", "b"`."""
        ...

    def judge(self, value: object) -> Result:
        """Judge one value, which may be a `Gap`."""
        ...


@dataclass(frozen=True, slots=True)
class Met:
    """The value is as asked."""

    saw: object
    test: Test

    @property
    def text(self) -> str:
        """What was seen and asked."""
        return f"is {shown(self.saw)} (asked: {self.test.asked})"


@dataclass(frozen=True, slots=True)
class Unmet:
    """The value is not as asked."""

    saw: object
    test: Test

    @property
    def text(self) -> str:
        """What was seen and asked."""
        return f"is {shown(self.saw)}, but it must {self.test.asked}"


@dataclass(frozen=True, slots=True)
class Unjudged:
    """The value cannot be judged: it is missing from the plan or of another type. Never a yes for a grant."""

    saw: object
    test: Test

    @property
    def text(self) -> str:
        """What was seen and asked."""
        return f"is {shown(self.saw)}, so it cannot be judged whether it would {self.test.asked}"


@dataclass(frozen=True, slots=True)
class Unplanned:
    """The value will be known once a plan is made."""

    test: Test

    @property
    def text(self) -> str:
        """What is not known."""
        return f"is {Gap.UNPLANNED.value}"


Result: TypeAlias = Met | Unmet | Unjudged | Unplanned


def gap(value: object, test: Test) -> Result | None:
    """Return what every ordinary test says about a missing value, or None if there is a value."""
    if not isinstance(value, Gap):
        return None
    match value:
        case Gap.ABSENT:
            return Unmet(value, test)
        case Gap.UNPLANNED:
            return Unplanned(test)
        case Gap.NOT_IN_PLAN | Gap.UNREADABLE:
            return Unjudged(value, test)
