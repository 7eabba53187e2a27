"""The text matches one of several globs, such as `docs/**`."""

from __future__ import annotations

from dataclasses import dataclass

from keyturn.policy.conditions.regex import matched, told
from keyturn.policy.conditions.result import Result, Test
from keyturn.policy.conditions.site import Site
from keyturn.policy.patterns import Pattern, glob


@dataclass(frozen=True, slots=True)
class Glob:
    """Met by a text that at least one glob matches as a whole; `patterns` are `sources`, translated."""

    sources: tuple[str, ...]
    patterns: tuple[Pattern, ...]

    @property
    def asked(self) -> str:
        """See `Test`."""
        return f"match {told(self.sources, self.patterns)}"

    def judge(self, value: object) -> Result:
        """See `Test`."""
        return matched(self.patterns, value, self)


def read(raw: object, site: Site) -> Test | None:
    """Read one glob or a list of them."""
    pairs = site.patterns(raw, lambda source: (source, glob(source, ignore_case=site.ignore_case)))
    return None if pairs is None else Glob(tuple(s for s, _ in pairs), tuple(p for _, p in pairs))
