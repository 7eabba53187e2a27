"""Points that are no acceptable keys, held against curve arithmetic worked out here from RFC 8032 section 5.1."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.curve import weak_point

P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P
Point = tuple[int, int]


def add(left: Point, right: Point) -> Point:
    (x1, y1), (x2, y2) = left, right
    k = D * x1 * x2 * y1 * y2 % P
    return (x1 * y2 + x2 * y1) * pow(1 + k, -1, P) % P, (y1 * y2 + x1 * x2) * pow(1 - k, -1, P) % P


def eight_times(point: Point) -> Point:
    for _ in range(3):
        point = add(point, point)
    return point


def x_of(y: int) -> int | None:
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    root = pow(square, (P + 3) // 8, P)
    for candidate in (root, root * pow(2, (P - 1) // 4, P) % P):
        if candidate * candidate % P == square:
            return candidate
    return None


def encodings(y: int) -> list[bytes]:
    """Every 32-byte spelling of y: both signs, and not reduced where it fits in 255 bits."""
    spelt = [y] + ([y + P] if y + P < 2**255 else [])
    return [(value | sign << 255).to_bytes(32, "little") for value in spelt for sign in (0, 1)]


def small_order() -> set[int]:
    """The y coordinates of the eight points of small order, found by multiplying a point of full order by L."""
    order = 2**252 + 27742317777372353535851937790883648493
    found: set[int] = {1}
    for y in range(2, 40):
        x = x_of(y)
        if x is None:
            continue
        torsion: Point = (0, 1)
        point: Point = (x, y)
        for bit in f"{order:b}":
            torsion = add(torsion, torsion)
            torsion = add(torsion, point) if bit == "1" else torsion
        step = torsion
        for _ in range(8):
            assert eight_times(step) == (0, 1)
            found.add(step[1])
            step = add(step, torsion)
    return found


def test_every_spelling_of_every_point_of_small_order_is_refused() -> None:
    ys = small_order()
    assert len(ys) == 5  # orders 1, 2, 4 (y = 0, twice) and 8 (two y, each twice)
    for y in ys:
        for encoded in encodings(y):
            assert weak_point(encoded) == "the Ed25519 public key is a point of small order"


@pytest.mark.parametrize("offset", range(2, 19))
def test_a_coordinate_that_is_not_reduced_is_refused(offset: int) -> None:
    for encoded in encodings(offset)[2:]:
        assert weak_point(encoded) == "the Ed25519 public key is not canonically encoded"


def test_the_largest_reduced_coordinates_are_fine() -> None:
    assert weak_point((P - 2).to_bytes(32, "little")) is None


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_key_has_32_bytes(length: int) -> None:
    assert weak_point(b"\x07" * length) == f"an Ed25519 public key has 32 bytes, not {length}"


@given(st.binary(max_size=8))
def test_ordinary_coordinates_are_fine(seed: bytes) -> None:
    assert weak_point(hashlib.sha256(seed).digest()[:31] + b"\x11") is None
