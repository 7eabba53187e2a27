"""Makes up small values that a contract's schema takes, for the arguments that no rule asks about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

from keyturn.canon import Json
from keyturn.policy.domains import Place
from keyturn.policy.patterns import Pattern, PatternError

APART = frozenset({"reason", "repeat"})
"""Arguments of every contract that no rule sees."""

_WORDS = ("a", "A1", "1", "0", "example", "a b", "/a", "00000000-0000-0000-0000-000000000000", "2026-01-01", "")
_DEEPEST = 8


def fits(place: Place, value: object) -> bool:
    """Say whether one form of the place takes a text or an integer by its bounds and its pattern."""
    kind = "string" if isinstance(value, str) else "integer"
    forms = [form for form in place.forms if _takes(form.get("type"), kind)]
    return not forms or any(_text(form, value) if isinstance(value, str) else _number(form, value) for form in forms)


def takes(place: Place | None, value: Json) -> bool:
    """Say whether a place takes the texts and integers in a value, as far as bounds and patterns go."""
    if place is None or value is None:
        return True
    match value:
        case str() | int():
            return fits(place, value)
        case list() | tuple():
            return all(takes(place.items(), item) for item in value)
        case Mapping():
            return all(takes(place.property(name), item) for name, item in value.items())
    return False


def required(place: Place, name: str) -> bool:
    """Say whether an object at the place never goes without `name`."""
    forms = [form for form in place.forms if name in _table(form.get("properties"))]
    return bool(forms) and all(name in _texts(form.get("required")) for form in forms)


def sample(place: Place | None, hints: tuple[str, ...] = (), depth: int = 0) -> Json:
    """Return a small value for the place; among texts one of `hints`, if one fits."""
    if place is None or depth > _DEEPEST:
        return "a"
    domain = place.domain()
    if domain.values:
        return min(domain.values, key=str)
    types = domain.types or frozenset({"string"})
    if "string" in types:
        return next((word for word in (*hints, *_WORDS) if fits(place, word)), "a")
    if "integer" in types:
        return next((number for number in (1, 0, *_bounds(place)) if fits(place, number)), 1)
    if "boolean" in types:
        return False
    if "array" in types:
        return [sample(place.items(), hints, depth + 1)] if _least_items(place) else []
    return {name: sample(place.property(name), hints, depth + 1) for name in _needed(place)}


def bounds(place: Place) -> tuple[int, ...]:
    """Return the least and the greatest integer that the forms of the place name."""
    return tuple(_bounds(place))


def room(place: Place | None) -> tuple[int, int | None]:
    """Return how many items a list at the place has at least, and at most."""
    most = [form.get("maxItems") for form in place.forms] if place else []
    known = [number for number in most if isinstance(number, int)]
    return (_least_items(place) if place else 0), (max(known) if known else None)


def _needed(place: Place) -> tuple[str, ...]:
    """Return what the first form with properties requires, besides what the place itself does."""
    forms = [form for form in place.forms if form.get("properties")][:1]
    return tuple(dict.fromkeys(name for form in forms for name in _texts(form.get("required"))))


def _least_items(place: Place) -> int:
    return max((n for form in place.forms if isinstance(n := form.get("minItems"), int)), default=0)


def _bounds(place: Place) -> Iterator[int]:
    for form in place.forms:
        for key in ("minimum", "maximum"):
            bound = form.get(key)
            if isinstance(bound, int):
                yield bound


def _takes(types: Json, kind: str) -> bool:
    return types == kind or (isinstance(types, (list, tuple)) and kind in types)


def _number(form: Mapping[str, Json], value: object) -> bool:
    low, high = form.get("minimum"), form.get("maximum")
    over = not isinstance(low, int) or not isinstance(value, int) or value >= low
    return over and (not isinstance(high, int) or not isinstance(value, int) or value <= high)


def _text(form: Mapping[str, Json], value: str) -> bool:
    least, most, pattern = form.get("minLength"), form.get("maxLength"), form.get("pattern")
    if isinstance(least, int) and len(value) < least:
        return False
    if isinstance(most, int) and len(value) > most:
        return False
    return not isinstance(pattern, str) or _found(pattern, value)


def _found(pattern: str, value: str) -> bool:
    compiled = _compiled(pattern)
    return compiled is None or compiled.found_in(value)


@cache
def _compiled(pattern: str) -> Pattern | None:
    """Return a contract's pattern; None for one that RE2 does not know: then the contract itself has to say."""
    try:
        return Pattern(pattern)
    except PatternError:
        return None


def _table(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, Mapping) else {}


def _texts(value: Json) -> tuple[str, ...]:
    return tuple(str(item) for item in value) if isinstance(value, (list, tuple)) else ()
