"""The value is there, or is not there."""

from __future__ import annotations

from dataclasses import dataclass

from keyturn.policy.conditions.result import Gap, Met, Result, Test, Unjudged, Unmet, Unplanned
from keyturn.policy.conditions.site import Site


@dataclass(frozen=True, slots=True)
class Exists:
    """Met if whether there is a value is as `wanted`: the one test that an absent value can pass in a grant."""

    wanted: bool

    @property
    def asked(self) -> str:
        """See `Test`."""
        return "be given" if self.wanted else "be absent"

    def judge(self, value: object) -> Result:
        """See `Test`."""
        if value is Gap.UNPLANNED:
            return Unplanned(self)
        if value is Gap.UNREADABLE:
            return Unjudged(value, self)
        there = not isinstance(value, Gap)
        return Met(value, self) if there is self.wanted else Unmet(value, self)


def read(raw: object, site: Site) -> Test | None:
    """Read true or false."""
    if not isinstance(raw, bool):
        site.wrong("must be true or false")
        return None
    return Exists(raw)
