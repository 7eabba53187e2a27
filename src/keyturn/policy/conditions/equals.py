"""The value is exactly this one."""

from __future__ import annotations

from dataclasses import dataclass

from keyturn.policy.conditions.result import Met, Result, Test, Unjudged, Unmet, gap
from keyturn.policy.conditions.site import Site
from keyturn.policy.shown import shown


@dataclass(frozen=True, slots=True)
class Equals:
    """Met by `value` itself; a value of another type cannot be judged."""

    value: str | int

    @property
    def asked(self) -> str:
        """See `Test`."""
        return f"be {shown(self.value)}"

    def judge(self, value: object) -> Result:
        """See `Test`."""
        if type(value) is not type(self.value):
            return gap(value, self) or Unjudged(value, self)
        return Met(value, self) if value == self.value else Unmet(value, self)


def read(raw: object, site: Site) -> Test | None:
    """Read the operand."""
    value = site.literal(raw)
    return None if value is None else Equals(value)
