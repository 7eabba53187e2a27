"""The number or date is not above a bound."""

from __future__ import annotations

from dataclasses import dataclass

from keyturn.policy.conditions.result import Met, Result, Test, Unjudged, Unmet, gap
from keyturn.policy.conditions.site import Site
from keyturn.policy.shown import shown


@dataclass(frozen=True, slots=True)
class Maximum:
    """Met by integers (or, where the bound is a date, dates) that are at most `bound`."""

    bound: str | int

    @property
    def asked(self) -> str:
        """See `Test`."""
        return f"be at most {shown(self.bound)}"

    def judge(self, value: object) -> Result:
        """See `Test`."""
        if (missing := gap(value, self)) is not None:
            return missing
        if type(value) is not type(self.bound):
            return Unjudged(value, self)
        # Dates in ISO 8601 sort as texts do.
        return Met(value, self) if value <= self.bound else Unmet(value, self)  # type: ignore[operator]  # same type


def read(raw: object, site: Site) -> Test | None:
    """Read the bound."""
    bound = site.literal(raw) if site.domain.date or site.takes("integer") else None
    if bound is None:
        return None
    if isinstance(bound, bool) or (isinstance(bound, str) and not site.domain.date):
        site.wrong(f"must be an integer, not {shown(bound)}")
        return None
    return Maximum(bound)
