"""The kinds of condition: one file each, a frozen test with one verb that returns a reasoned result.

A new kind is one file with a `Test` and a `read`, and one line in `OPERATORS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from keyturn.policy.conditions import (
    equals,
    every,
    existence,
    glob,
    maximum,
    membership,
    minimum,
    negation,
    regex,
    some,
)
from keyturn.policy.conditions.conjunction import AllOf
from keyturn.policy.conditions.result import Test
from keyturn.policy.conditions.site import Site
from keyturn.policy.shown import shown
from keyturn.policy.tables import join

OPERATORS: Mapping[str, Callable[[object, Site], Test | None]] = {
    "equals": equals.read,
    "in": membership.read,
    "glob": glob.read,
    "regex": regex.read,
    "min": minimum.read,
    "max": maximum.read,
    "every": every.read,
    "some": some.read,
    "not": negation.read,
    "exists": existence.read,
}
OPTION = "ignore_case"
_QUANTIFIERS = frozenset({"every", "some"})


def read_test(raw: object, site: Site) -> Test | None:
    """Read a value (equality), a list (membership) or a table of operators (all of them); None with problems."""
    if isinstance(raw, list):
        return membership.read(raw, site)
    if not isinstance(raw, dict):
        return equals.read(raw, site)
    site = replace(site, ignore_case=_option(raw, site))
    tests = [_operator(name, operand, site) for name, operand in raw.items() if name != OPTION]
    known = [test for test in tests if test is not None]
    if not tests:
        site.wrong("must name at least one operator: " + ", ".join(OPERATORS))
    if not tests or len(known) != len(tests) or _contradicts(known, site):
        return None
    return known[0] if len(known) == 1 else AllOf(tuple(known))


def read_starred(raw: object, items: Site, whole: Site) -> Test | None:
    """Read a test for a path with `[*]`: what asks about one item is asked of every item (grant) or some (forbid)."""
    if not isinstance(raw, dict):
        raw = {"in" if isinstance(raw, list) else "equals": raw}
    about_list = {name: operand for name, operand in raw.items() if _about_list(name, operand)}
    about_item = {name: operand for name, operand in raw.items() if name not in about_list}
    if about_list and set(about_item) == {OPTION}:
        about_list |= about_item
        about_item = {}
    parts: list[Test | None] = []
    if about_item or not raw:
        test = read_test(about_item, items)
        parts.append(test and (every.Every(test) if items.strict else some.Some(test)))
    if about_list:
        parts.append(read_test(about_list, whole))
    known = tuple(part for part in parts if part is not None)
    if len(known) != len(parts):
        return None
    return known[0] if len(known) == 1 else AllOf(known)


def _about_list(name: str, operand: object) -> bool:
    if name == "not" and isinstance(operand, dict):
        return any(_about_list(inner, value) for inner, value in operand.items())
    return name in _QUANTIFIERS


def _operator(name: str, operand: object, site: Site) -> Test | None:
    reader = OPERATORS.get(name)
    if reader is None:
        place = join(site.place, name)
        site.problems.unknown(place, f"unknown operator {shown(name)}", name, (*OPERATORS, OPTION))
        return None
    return reader(operand, site.below(name))


def _option(raw: Mapping[str, object], site: Site) -> bool:
    """Return `ignore_case` of this table, else the one around it."""
    value = raw.get(OPTION, site.ignore_case)
    if not isinstance(value, bool):
        site.below(OPTION).wrong("must be true or false")
        return False
    if OPTION in raw and not {"glob", "regex", "not", "every", "some"} & raw.keys():
        site.below(OPTION).wrong("works with `glob` and `regex` only")
    return value


def _contradicts(tests: list[Test], site: Site) -> bool:
    low = [test.bound for test in tests if isinstance(test, minimum.Minimum)]
    high = [test.bound for test in tests if isinstance(test, maximum.Maximum)]
    if low and high and low[0] > high[0]:  # type: ignore[operator]  # both integers, or both dates
        site.wrong(f"can never hold: min {shown(low[0])} is above max {shown(high[0])}")
        return True
    return False
