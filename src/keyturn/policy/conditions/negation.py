"""The value does not pass a test."""

from __future__ import annotations

from dataclasses import dataclass

from keyturn.policy.conditions.result import Gap, Met, Result, Test, Unmet
from keyturn.policy.conditions.site import Site


@dataclass(frozen=True, slots=True)
class Not:
    """Turns yes and no round; what cannot be judged stays so. In a grant (`strict`) an absent value is a no."""

    test: Test
    strict: bool

    @property
    def asked(self) -> str:
        """See `Test`."""
        return f"not {self.test.asked}"

    def judge(self, value: object) -> Result:
        """See `Test`."""
        if value is Gap.ABSENT:
            return Unmet(value, self) if self.strict else Met(value, self)
        result = self.test.judge(value)
        match result:
            case Met(saw):
                return Unmet(saw, self)
            case Unmet(saw):
                return Met(saw, self)
            case _:
                return result


def read(raw: object, site: Site) -> Test | None:
    """Read the test to turn round."""
    if isinstance(raw, dict) and "exists" in raw:
        site.wrong("cannot hold `exists`: write `exists = true` or `exists = false` beside it")
        return None
    test = site.read(raw, site)
    return Not(test, site.strict) if test else None
