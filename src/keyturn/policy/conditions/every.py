"""Each item of the list passes a test."""

from __future__ import annotations

from dataclasses import dataclass

from keyturn.policy.conditions.result import Met, Result, Test, Unjudged, Unmet, gap
from keyturn.policy.conditions.site import Site


@dataclass(frozen=True, slots=True)
class Every:
    """Met if no item fails; the first item that fails, else the first that cannot be judged, is told.

    An empty list passes here; a grant's condition refuses empty lists before asking (see `Condition`).
    """

    test: Test

    @property
    def asked(self) -> str:
        """See `Test`."""
        return f"in every item {self.test.asked}"

    def judge(self, value: object) -> Result:
        """See `Test`."""
        if (missing := gap(value, self)) is not None:
            return missing
        if not isinstance(value, (list, tuple)):
            return Unjudged(value, self)
        doubt: Result | None = None
        for item in value:
            result = self.test.judge(item)
            if isinstance(result, Unmet):
                return Unmet(result.saw, self)
            if not isinstance(result, Met):
                doubt = doubt or Unjudged(item, self)
        return doubt or Met(value, self)


def read(raw: object, site: Site) -> Test | None:
    """Read the test of the items."""
    items = site.items()
    test = items.read(raw, items) if items else None
    return Every(test) if test else None
