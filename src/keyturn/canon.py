"""One way to turn a value into bytes, and bytes into a digest.

The profile is RFC 8785 (JSON Canonicalization Scheme) restricted to what signed records need: object keys are
ASCII, numbers are integers with a magnitude below 2**53, strings are valid Unicode. On this profile the standard
encoder gives the same bytes as RFC 8785 (the tests hold it against the `rfc8785` package) and is several times
faster.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TypeAlias

Json: TypeAlias = "bool | int | str | Sequence[Json] | Mapping[str, Json] | None"
"""A value of the profile: no floats, no bytes."""

MAX_INTEGER = 2**53 - 1
MAX_DEPTH = 64
"""How many objects and lists may stand inside each other."""

_ENCODER = json.JSONEncoder(
    ensure_ascii=False,
    allow_nan=False,
    sort_keys=True,
    separators=(",", ":"),
    check_circular=False,
    default=dict,  # mappings that are no dict; `check` lets nothing else through
)


class CanonError(ValueError):
    """The value or the bytes are outside the profile; the message names the place."""


def encode(value: Json) -> bytes:
    """Encode `value` as canonical JSON (UTF-8, no newline).

    Raises `CanonError` naming the place of a float, a large integer, a non-ASCII key or a lone surrogate.
    """
    check(value)
    return encode_own(value)


def encode_own(value: Json) -> bytes:
    """Encode a large value of our own making, unchecked: whoever reads it holds it against the profile."""
    return _ENCODER.encode(value).encode("utf-8")


def decode(data: bytes) -> Json:
    """Decode bytes that must already be canonical: re-encoding them gives the same bytes.

    Raises `CanonError` for anything else (duplicate keys, floats, needless escapes, white space, invalid UTF-8).
    """
    # Of ASCII, encoding it again proves all but the numbers, which `_PLAIN` refuses, and how deep it is: most records
    # of a ledger. What does not come through is looked at step by step, to say what is wrong with it.
    if data.isascii():
        with suppress(ValueError, RecursionError):
            plain: Json = _PLAIN.raw_decode(data.decode("ascii"))[0]
            few = data.count(b"{") + data.count(b"[") <= MAX_DEPTH
            if _ENCODER.encode(plain).encode("utf-8") == data and (few or _shallow(plain, MAX_DEPTH)):
                return plain
    value = parse(data)
    if encode(value) != data:
        raise CanonError("not canonical: re-encoding gives other bytes (key order, white space or escapes)")
    return value


def decode_object(data: bytes) -> dict[str, Json]:
    """Decode canonical bytes that must hold one object."""
    value = decode(data)
    if not isinstance(value, dict):
        raise CanonError("not an object")
    return value


def parse(data: bytes) -> Json:
    """Parse JSON text strictly (duplicate keys, floats and invalid UTF-8 refused) without asking for canon."""
    try:
        value: Json = _STRICT.decode(data.decode("utf-8"))
    except CanonError:
        raise
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise CanonError(f"not JSON in UTF-8: {error}") from error
    return value


def check(value: object, place: str = "$") -> None:
    """Raise `CanonError` naming the first place, below `place`, where `value` leaves the profile."""
    _check(value, (place,))


def sha256(data: bytes) -> str:
    """Return the digest of `data` in the written form `sha256:<64 lower-case hex>`."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def digest(value: Json) -> str:
    """Return the written digest of the canonical bytes of `value`."""
    return sha256(encode(value))


def manifest_digest(files: Mapping[str, str]) -> str:
    """Return the digest of a set of texts: over the canonical object {path: sha256 of its UTF-8 bytes}."""
    return digest({path: sha256(text.encode("utf-8")) for path, text in files.items()})


def _check(value: object, steps: tuple[str | int, ...]) -> None:
    # Runs over every value of every entry read: the common cases come first, and `steps`, the way here, is
    # written out only for a message.
    if isinstance(value, str):
        if not value.isascii():
            _check_text(value, steps)
    elif isinstance(value, int):
        if not -MAX_INTEGER <= value <= MAX_INTEGER:
            raise CanonError(f"{_place(steps)}: integer outside ±(2**53-1)")
    elif isinstance(value, (dict, list, tuple, Mapping)):
        _check_container(value, steps)
    elif value is not None:
        raise CanonError(f"{_place(steps)}: {type(value).__name__} is not part of the profile")


def _check_container(
    value: Mapping[object, object] | list[object] | tuple[object, ...], steps: tuple[str | int, ...]
) -> None:
    if len(steps) > MAX_DEPTH:
        raise CanonError(f"{_place(steps)}: nested deeper than {MAX_DEPTH}")
    if isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            if not _plain(item):
                _check(item, (*steps, index))
        return
    for key, item in value.items():
        if not isinstance(key, str) or not key.isascii():
            raise CanonError(f"{_place(steps)}: key {key!r} is not an ASCII string")
        if not _plain(item):
            _check(item, (*steps, key))


def _plain(item: object) -> bool:
    """Tell quickly what most values are: a text in ASCII, a small integer, a truth value or nothing."""
    kind = type(item)
    if kind is str:
        return item.isascii()  # type: ignore[attr-defined,no-any-return]  # it is a str
    if kind is int:
        return -MAX_INTEGER <= item <= MAX_INTEGER  # type: ignore[operator]  # it is an int
    return item is None or kind is bool


def _shallow(value: Json, depth: int) -> bool:
    """Tell whether containers stand at most `depth` deep."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return all(depth > 1 and _shallow(item, depth - 1) for item in inner if isinstance(item, (dict, list)))


def _check_text(text: str, steps: tuple[str | int, ...]) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise CanonError(f"{_place(steps)}: lone surrogate at character {error.start}") from error


def _place(steps: tuple[str | int, ...]) -> str:
    first, *rest = steps
    return f"{first}{''.join(f'[{step}]' if isinstance(step, int) else f'.{step}' for step in rest)}"


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    value = dict(pairs)
    if len(value) != len(pairs):
        # In one pass: whoever sends many names should not make us look at each for each.
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise CanonError(f"key {twice!r} stands twice in one object")
    return value


def _no_float(text: str) -> Json:
    raise CanonError(f"number {text} is not an integer")


def _integer(text: str) -> int:
    value = int(text)
    if not -MAX_INTEGER <= value <= MAX_INTEGER:
        raise CanonError("integer outside ±(2**53-1)")
    return value


_STRICT = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_no_float, parse_constant=_no_float)
_PLAIN = json.JSONDecoder(parse_int=_integer, parse_float=_no_float, parse_constant=_no_float)
