"""Canonical bytes: the same as RFC 8785 on the profile, refused outside it."""

from __future__ import annotations

import json
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from keyturn import canon
from keyturn.canon import CanonError, Json

VECTORS = Path(__file__).parents[1] / "vectors" / "public" / "rfc8785"

texts = st.text(st.characters(exclude_categories=["Cs"]))
keys = st.text(st.characters(max_codepoint=0x7F))
scalars = st.none() | st.booleans() | st.integers(-canon.MAX_INTEGER, canon.MAX_INTEGER) | texts
values: st.SearchStrategy[Any] = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(keys, inner, max_size=5), max_leaves=25
)


@given(values)
@example({"\x00": '\x7f\u2028"\\/\b\f\n\r\t\x1f', "A": -canon.MAX_INTEGER, "a": "😀é"})
def test_every_value_of_the_profile_has_the_bytes_of_rfc_8785(value: Json) -> None:
    assert canon.encode(value) == rfc8785.dumps(value)


@given(values)
def test_encoding_and_decoding_give_the_value_back(value: Json) -> None:
    assert canon.decode(canon.encode(value)) == value


@given(values, st.booleans())
def test_only_the_canonical_spelling_of_a_value_is_decoded(value: Json, ascii_only: bool) -> None:
    other = json.dumps(value, ensure_ascii=ascii_only, indent=1).encode()
    if other == canon.encode(value):
        assert canon.decode(other) == value
    else:
        with pytest.raises(CanonError):
            canon.decode(other)


@given(st.binary(max_size=40))
def test_arbitrary_bytes_are_decoded_only_if_encoding_gives_them_back(data: bytes) -> None:
    try:
        value = canon.decode(data)
    except CanonError:
        return
    assert canon.encode(value) == data


@pytest.mark.parametrize("name", ["arrays", "unicode"])
def test_the_vectors_of_rfc_8785_within_the_profile_hold(name: str) -> None:
    value = canon.parse((VECTORS / "input" / f"{name}.json").read_bytes())
    expected = (VECTORS / "output" / f"{name}.json").read_bytes()
    assert canon.encode(value) == expected
    assert canon.decode(expected) == value


@pytest.mark.parametrize(
    ("name", "reason"), [("french", "not an ASCII string"), ("structures", "56.0 is not an integer")]
)
def test_the_vectors_of_rfc_8785_outside_the_profile_are_refused(name: str, reason: str) -> None:
    with pytest.raises(CanonError, match=reason):
        canon.encode(canon.parse((VECTORS / "input" / f"{name}.json").read_bytes()))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [1, {"b": 1.5}]}, "$.a[1].b: float is not part of the profile"),
        ({"a": {"1": b"x"}}, "$.a.1: bytes is not part of the profile"),
        ([2**53], "$[0]: integer outside ±(2**53-1)"),
        ([-(2**53)], "$[0]: integer outside ±(2**53-1)"),
        ({"a": {"é": 1}}, "$.a: key 'é' is not an ASCII string"),
        ({"a": {1: 1}}, "$.a: key 1 is not an ASCII string"),
        (["ok", "a\ud800"], "$[1]: lone surrogate at character 1"),
        ({"a", "b"}, "$: set is not part of the profile"),
    ],
)
def test_an_error_names_the_place_that_leaves_the_profile(value: Any, message: str) -> None:
    with pytest.raises(CanonError) as caught:
        canon.encode(value)
    assert str(caught.value) == message


def test_a_place_can_be_given_a_name() -> None:
    with pytest.raises(CanonError, match=r"^plan\.files\[0\]: float"):
        canon.check({"files": [0.5]}, "plan")


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b'{"a":1}\n', b' {"a":1}', b"\xef\xbb\xbf{}", b'{"a":1,"a":1}', b'{"b":1,"a":1}', b"1.0", b"1e3",
        b"-0", b"01", b"NaN", b"Infinity", b"-Infinity", b"9007199254740992", b"9" * 5000, b'"\\u0041"', b'"\\/"',
        b'"\\ud800"', b'"\xed\xa0\x80"', b'"\xff"', b"'a'", b"[1,]", b"true false", b"[" * 100_000,
    ],
)  # fmt: skip
def test_bytes_that_are_not_canonical_are_refused(data: bytes) -> None:
    with pytest.raises(CanonError):
        canon.decode(data)


def test_containers_stand_at_most_sixty_four_deep() -> None:
    deep = b"[" * 64 + b"]" * 64
    assert canon.encode(canon.decode(deep)) == deep
    with pytest.raises(CanonError, match="nested deeper than 64"):
        canon.decode(b"[" + deep + b"]")
    endless: list[Json] = []
    endless.append(endless)
    with pytest.raises(CanonError, match="nested deeper than 64"):
        canon.encode(endless)


def test_mappings_and_tuples_encode_as_objects_and_lists() -> None:
    value: Json = MappingProxyType({"b": (1, MappingProxyType({})), "a": None})
    assert canon.encode(value) == b'{"a":null,"b":[1,{}]}'


def test_an_object_is_asked_for_by_name() -> None:
    assert canon.decode_object(b'{"a":1}') == {"a": 1}
    with pytest.raises(CanonError, match="not an object"):
        canon.decode_object(b"[]")


def test_digests_are_written_with_their_algorithm() -> None:
    # SHA-256("abc"), FIPS 180-2 appendix B.1; SHA-256("{}")
    assert canon.sha256(b"abc") == "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert canon.digest({}) == canon.sha256(b"{}")


def test_the_digest_of_files_depends_on_names_and_texts_and_not_on_their_order() -> None:
    files = {"a.toml": "x", "b.toml": "ü"}
    inner = {"a.toml": canon.sha256(b"x"), "b.toml": canon.sha256("ü".encode())}
    assert canon.manifest_digest(files) == canon.digest(inner)
    assert canon.manifest_digest(dict(reversed(files.items()))) == canon.manifest_digest(files)
    assert canon.manifest_digest({"a.toml": "ü", "b.toml": "x"}) != canon.manifest_digest(files)


def test_a_name_twice_behind_many_is_told_at_once() -> None:
    """In one pass: looking at every name for each of them would take hours."""
    names = ",".join(f'"{place}":0' for place in range(200_000))
    with pytest.raises(CanonError, match="key '0' stands twice"):
        canon.parse(f'{{{names},"0":0}}'.encode())
