"""Values come back from a snapshot as they were, or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn import canon
from keyturn.canon import Json
from keyturn.fold import values

WHEN = datetime(2026, 11, 21, 9, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Inner:
    name: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    count: int
    flag: bool | None
    inner: Inner | None
    several: tuple[Inner, ...]
    named: Mapping[str, tuple[str, ...]]
    pairs: list[tuple[str, int]]
    more: int = 0


TEXTS = st.text(st.characters(codec="utf-8"), max_size=5)
NUMBERS = st.integers(-(2**53) + 1, 2**53 - 1)
INNERS = st.builds(Inner, TEXTS, st.datetimes(timezones=st.just(UTC)))
OUTERS = st.builds(
    Outer,
    count=NUMBERS,
    flag=st.none() | st.booleans(),
    inner=st.none() | INNERS,
    several=st.lists(INNERS, max_size=3).map(tuple),
    named=st.dictionaries(st.text("abc"), st.lists(TEXTS, max_size=2).map(tuple), max_size=3),
    pairs=st.lists(st.tuples(TEXTS, NUMBERS), max_size=2),
    more=NUMBERS,
)


@given(OUTERS)
def test_what_was_written_comes_back_as_it_was(outer: Outer) -> None:
    assert values.from_json(Outer, canon.decode(canon.encode(values.to_json(outer)))) == outer


def written(**changed: Json) -> Json:
    outer = Outer(
        count=1, flag=True, inner=Inner("a", WHEN), several=(Inner("b", WHEN),), named={"c": ("d",)}, pairs=[("e", 2)]
    )
    value: Any = values.to_json(outer)
    return {**value, **changed}


@pytest.mark.parametrize(
    "changed",
    [
        {"count": "1"},
        {"count": True},
        {"count": None},
        {"flag": 1},
        {"flag": "true"},
        {"inner": []},
        {"inner": {"name": "a"}},
        {"inner": {"name": "a", "at": "2026-11-21"}},
        {"inner": {"name": "a", "at": 3}},
        {"inner": {"name": "a", "at": "2026-11-21T09:00:00.000000Z", "more": 1}},
        {"several": {}},
        {"several": "ab"},
        {"several": [None]},
        {"named": []},
        {"named": {"c": "d"}},
        {"named": {"c": [1]}},
        {"pairs": [["e"]]},
        {"pairs": [["e", 2, 3]]},
        {"pairs": [[2, "e"]]},
        {"unknown": 1},
    ],
)
def test_what_is_of_another_shape_is_refused(changed: dict[str, Json]) -> None:
    assert values.from_json(Outer, written()).count == 1
    with pytest.raises((TypeError, ValueError)):
        values.from_json(Outer, written(**changed))


def test_a_field_with_a_default_is_missed_all_the_same() -> None:
    value: Any = written()
    del value["more"]
    with pytest.raises(ValueError, match="Outer has other fields"):
        values.from_json(Outer, value)


@pytest.mark.parametrize("kind", [float, int | str, Mapping[int, str], set[str]])
def test_a_type_that_no_snapshot_holds_is_a_mistake_of_the_program(kind: Any) -> None:
    with pytest.raises(TypeError):
        values.from_json(kind, 1)
