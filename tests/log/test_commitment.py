"""Commitments: they open for exactly what was committed to."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.log.commitment import commit, opens

salts = st.binary(min_size=32, max_size=32)
fields = st.from_regex(r"[a-z][a-z0-9_]{0,9}(\.[A-Za-z0-9_]{1,9})?", fullmatch=True)


def test_a_commitment_is_an_hmac_under_the_salt() -> None:
    salt = bytes(range(32))
    expected = hmac.new(salt, b'keyturn/payload/v1\nreason\n"why"', hashlib.sha256).hexdigest()
    assert commit(salt, "reason", b'"why"') == f"hmac-sha256:{expected}"


@given(salts, fields, st.binary())
def test_a_commitment_opens_for_what_was_committed_to(salt: bytes, field: str, data: bytes) -> None:
    assert opens(commit(salt, field, data), salt, field, data)


openings = st.tuples(salts, fields, st.binary())


@given(openings, openings)
def test_a_commitment_opens_for_nothing_else(mine: tuple[bytes, str, bytes], other: tuple[bytes, str, bytes]) -> None:
    assert opens(commit(*mine), *other) is (mine == other)


def test_a_field_cannot_lend_its_end_to_the_data() -> None:
    salt = bytes(32)
    assert not opens(commit(salt, "a", b"b\nc"), salt, "a.b", b"c")


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_salt_has_32_bytes(length: int) -> None:
    with pytest.raises(ValueError, match=f"a salt has 32 bytes, not {length}"):
        commit(bytes(length), "reason", b"")
    assert not opens(commit(bytes(32), "reason", b""), bytes(length), "reason", b"")
