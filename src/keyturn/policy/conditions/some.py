"""At least one item of the list passes a test."""

from __future__ import annotations

from dataclasses import dataclass

from keyturn.policy.conditions.result import Met, Result, Test, Unjudged, Unmet, gap
from keyturn.policy.conditions.site import Site


@dataclass(frozen=True, slots=True)
class Some:
    """Met by the first item that passes; else an item that cannot be judged leaves the whole unjudged."""

    test: Test

    @property
    def asked(self) -> str:
        """See `Test`."""
        return f"in some item {self.test.asked}"

    def judge(self, value: object) -> Result:
        """See `Test`."""
        if (missing := gap(value, self)) is not None:
            return missing
        if not isinstance(value, (list, tuple)):
            return Unjudged(value, self)
        doubt: Result | None = None
        for item in value:
            result = self.test.judge(item)
            if isinstance(result, Met):
                return Met(item, self)
            if not isinstance(result, Unmet):
                doubt = doubt or Unjudged(item, self)
        return doubt or Unmet(value, self)


def read(raw: object, site: Site) -> Test | None:
    """Read the test of the items."""
    items = site.items()
    test = items.read(raw, items) if items else None
    return Some(test) if test else None
