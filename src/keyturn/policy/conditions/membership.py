"""The value is one of several."""

from __future__ import annotations

from dataclasses import dataclass

from keyturn.policy.conditions.result import Met, Result, Test, Unjudged, Unmet, gap
from keyturn.policy.conditions.site import Site
from keyturn.policy.shown import shown

_TOLD = 6


@dataclass(frozen=True, slots=True)
class OneOf:
    """Met by any of `values`; a value of a type none of them has cannot be judged."""

    values: tuple[str | int, ...]

    @property
    def asked(self) -> str:
        """See `Test`."""
        told = ", ".join(shown(value) for value in self.values[:_TOLD])
        more = len(self.values) - _TOLD
        return f"be one of {told}" + (f" and {more} more" if more > 0 else "")

    def judge(self, value: object) -> Result:
        """See `Test`."""
        if (missing := gap(value, self)) is not None:
            return missing
        same = [other for other in self.values if type(other) is type(value)]
        if not same:
            return Unjudged(value, self)
        return Met(value, self) if value in same else Unmet(value, self)


def read(raw: object, site: Site) -> Test | None:
    """Read the operand."""
    values = site.literals(raw)
    return None if values is None else OneOf(values)
