"""The whole text matches one of several regular expressions, in RE2's syntax."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from keyturn.policy.conditions.result import Met, Result, Test, Unjudged, Unmet, gap
from keyturn.policy.conditions.site import Site
from keyturn.policy.patterns import Pattern
from keyturn.policy.shown import shown

_TOLD = 6


@dataclass(frozen=True, slots=True)
class Regex:
    """Met by a text that at least one pattern matches from its first to its last character."""

    patterns: tuple[Pattern, ...]

    @property
    def asked(self) -> str:
        """See `Test`."""
        sources = tuple(pattern.source for pattern in self.patterns)
        return f"match the pattern {told(sources, self.patterns)}"

    def judge(self, value: object) -> Result:
        """See `Test`."""
        return matched(self.patterns, value, self)


def told(sources: Sequence[str], patterns: Sequence[Pattern]) -> str:
    """Write patterns for people: the first few, how many more there are, and whether case counts."""
    first = [shown(source) for source in sources[:_TOLD]]
    rest = len(sources) - len(first)
    case = ", whatever its case" if any(pattern.ignore_case for pattern in patterns) else ""
    return " or ".join([*first, *([f"{rest} more"] if rest else [])]) + case


def matched(patterns: tuple[Pattern, ...], value: object, test: Test) -> Result:
    """Judge `value` by the first pattern that matches; what is no text cannot be judged."""
    if not isinstance(value, str):
        return gap(value, test) or Unjudged(value, test)
    try:
        for pattern in patterns:
            if pattern.matches(value):
                return Met(value, test)
    except UnicodeEncodeError:
        return Unjudged(value, test)
    return Unmet(value, test)


def read(raw: object, site: Site) -> Test | None:
    """Read one pattern or a list of them."""
    patterns = site.patterns(raw, lambda source: Pattern(source, site.ignore_case))
    return None if patterns is None else Regex(patterns)
