"""Finds the values an argument can have, one for each way in which the tests of rules can judge it.

The values are only proposed: whoever asks judges them with the tests themselves. What this module promises is that,
where it says that the values are all there are, every other value is judged like one of them:

- booleans and listed values are few: each is proposed;
- integers are told apart by the numbers that tests and contracts name, their neighbours included;
- texts are told apart by globs and listed values (see `texts`); regular expressions are not looked into, and neither
  is whether the contract takes a text: another one that is judged alike may do;
- a list is told apart by which kinds of items are in it, and each `every` or `some` needs one item as its witness;
- objects are told apart member by member.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, islice, product

from keyturn.canon import MAX_INTEGER, Json
from keyturn.policy.conditions.conjunction import AllOf
from keyturn.policy.conditions.equals import Equals
from keyturn.policy.conditions.every import Every
from keyturn.policy.conditions.existence import Exists
from keyturn.policy.conditions.glob import Glob
from keyturn.policy.conditions.maximum import Maximum
from keyturn.policy.conditions.membership import OneOf
from keyturn.policy.conditions.minimum import Minimum
from keyturn.policy.conditions.negation import Not
from keyturn.policy.conditions.regex import Regex
from keyturn.policy.conditions.result import Test
from keyturn.policy.conditions.some import Some
from keyturn.policy.domains import Place
from keyturn.policy.reach.samples import bounds, fits, required, room, sample
from keyturn.policy.reach.texts import Spelling, texts

Values = Generator[Json, None, bool]
"""Proposed values; returns whether they are all there are."""

ABSENT: Json = None
"""In the place of a member that is left out: a null is read as absent everywhere but in lists."""

_MOST = 4_000
_ITEMS = 60
_WITNESSES = 4
_ALL_TYPES = frozenset({"boolean", "integer", "string", "array", "object"})


@dataclass(frozen=True, slots=True)
class Asked:
    """One test of a value, or of what is below it: `below` are names, and `*` for the items of a list."""

    below: tuple[str, ...]
    test: Test


def values(place: Place | None, asked: Sequence[Asked]) -> Values:
    """Yield values for a place; None knows nothing of what it takes."""
    domain = place.domain() if place else None
    if domain and domain.values is not None:
        yield from sorted(domain.values, key=str)
        return True
    types = (domain.types if domain else None) or _ALL_TYPES
    own = [leaf for item in asked if not item.below for leaf in leaves(item.test)]
    complete = all(isinstance(test, (*_READABLE, Regex)) for test in own)
    if "null" in types:
        yield None
    for kind, propose in _KINDS:
        if kind in types:
            complete = (yield from propose(place, own, asked)) and complete
    return complete


def with_absence(place: Place | None, name: str, asked: Sequence[Asked]) -> Values:
    """Yield values of a member of an object, and its absence where the contract lets it be absent."""
    below = place.property(name) if place else None
    if place is None or not required(place, name):
        yield ABSENT
    return (yield from values(below, asked))


def any_text(tests: Iterable[Test]) -> Values:
    """Yield texts alone, for a place that always holds one."""
    return _texts(None, [leaf for test in tests for leaf in leaves(test)], ())


def leaves(test: Test) -> Iterator[Test]:
    """Yield the tests that a test is made of."""
    match test:
        case AllOf(tests):
            for inner in tests:
                yield from leaves(inner)
        case Not(inner):
            yield from leaves(inner)
        case _:
            yield test


def _booleans(_place: Place | None, _own: Sequence[Test], _asked: Sequence[Asked]) -> Values:
    yield from (False, True)
    return True


def _integers(place: Place | None, own: Sequence[Test], _asked: Sequence[Asked]) -> Values:
    named = {1, 0, *(bounds(place) if place else ())}
    for test in own:
        named |= {value for value in _constants(test) if isinstance(value, int) and not isinstance(value, bool)}
    near = {value + step for value in named for step in (-1, 0, 1)}
    yield from (n for n in sorted(near, key=abs) if abs(n) <= MAX_INTEGER and (place is None or fits(place, n)))
    return True


def _texts(_place: Place | None, own: Sequence[Test], _asked: Sequence[Asked]) -> Values:
    groups = [group for group in map(_spellings, own) if group]
    known = all(isinstance(test, _READABLE) for test in own)
    proposed = texts(groups)
    return (yield from proposed) and known


def _lists(place: Place | None, own: Sequence[Test], asked: Sequence[Asked]) -> Values:
    """Yield lists of at most as many different items as tests could need to see."""
    inside = [*(Asked((), test) for test in _inner(own)), *_below_star(asked)]
    least, most = room(place)
    witnesses = sum(1 for test in own if isinstance(test, (Every, Some)))
    witnesses += sum(len(list(leaves(item.test))) for item in asked if item.below[:1] == ("*",))
    if not least:
        yield []
    items, complete = _taken(values(place.items() if place else None, inside) if inside else None, _ITEMS)
    if not inside:
        items = [sample(place.items() if place else None)]
    sizes = range(1, min(max(1, witnesses), _WITNESSES, most if most is not None else _WITNESSES) + 1)
    chosen = (list(found) for size in sizes for found in combinations(items, size))
    count = 0
    for found in islice(chosen, _MOST):
        count += 1
        yield found + found[:1] * (least - len(found))
    return complete and witnesses <= _WITNESSES and count < _MOST and (most is None or most >= witnesses)


def _objects(place: Place | None, _own: Sequence[Test], asked: Sequence[Asked]) -> Values:
    names = dict.fromkeys(item.below[0] for item in asked if item.below and item.below[0] != "*")
    base = sample(place) if place else {}
    base = base if isinstance(base, dict) else {}
    members: list[list[Json]] = []
    complete = True
    for name in names:
        below = [Asked(item.below[1:], item.test) for item in asked if item.below[:1] == (name,)]
        found, whole = _taken(with_absence(place, name, below), _ITEMS)
        members.append(found)
        complete = complete and whole
    count = 0
    for chosen in islice(product(*members), _MOST):
        count += 1
        given = {**base, **dict(zip(names, chosen, strict=True))}
        yield {name: value for name, value in given.items() if value is not ABSENT}
    return complete and count < _MOST


_Propose = Callable[[Place | None, Sequence[Test], Sequence[Asked]], Values]
_KINDS: tuple[tuple[str, _Propose], ...] = (
    ("boolean", _booleans),
    ("integer", _integers),
    ("string", _texts),
    ("array", _lists),
    ("object", _objects),
)
_READABLE = (Equals, OneOf, Glob, Minimum, Maximum, Exists, Every, Some)


def _taken(found: Values | None, most: int) -> tuple[list[Json], bool]:
    """Return at most so many values, and whether they are all."""
    taken: list[Json] = []
    if found is None:
        return taken, True
    try:
        while len(taken) < most:
            taken.append(next(found))
    except StopIteration as end:
        return taken, bool(end.value)
    return taken, False


def _inner(tests: Iterable[Test]) -> Iterator[Test]:
    for test in tests:
        if isinstance(test, (Every, Some)):
            yield test.test


def _below_star(asked: Sequence[Asked]) -> Iterator[Asked]:
    """Yield what is asked of each item: behind the last star a test of the list becomes the tests of its items."""
    for item in asked:
        if item.below[:1] != ("*",):
            continue
        rest = item.below[1:]
        if "*" in rest:
            yield Asked(rest, item.test)
        else:
            yield from (Asked(rest, test) for test in _inner(leaves(item.test)))


def _constants(test: Test) -> tuple[str | int, ...]:
    match test:
        case Equals(value):
            return (value,)
        case OneOf(listed):
            return listed
        case Minimum(bound) | Maximum(bound):
            return (bound,)
        case _:
            return ()


def _spellings(test: Test) -> list[Spelling]:
    if isinstance(test, Glob):
        cases = (pattern.ignore_case for pattern in test.patterns)
        return [Spelling(s, ignore_case=folds) for s, folds in zip(test.sources, cases, strict=True)]
    return [Spelling(value, literal=True) for value in _constants(test) if isinstance(value, str)]
