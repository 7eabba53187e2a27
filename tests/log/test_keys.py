"""Keys: what verifies, which are refused, and how they are named."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.log.keys import BadKey, LogVerifier, VerifyKey, check_origin, note_key_id, parse_verifier
from tests.vectors.reading import PUBLIC, load
from tests.vectors.story import ENTRY_KEY, LOG_KEY, VERIFIER

WYCHEPROOF = json.loads((PUBLIC / "ed25519" / "wycheproof_ed25519_test.json").read_text("utf-8"))
VKEYS = json.loads((PUBLIC / "signed-note" / "vkeys.json").read_text("utf-8"))


@pytest.mark.parametrize("group", WYCHEPROOF["testGroups"], ids=lambda group: group["publicKey"]["pk"][:12])
def test_wycheproof_signatures_verify_exactly_where_they_are_valid(group: dict[str, Any]) -> None:
    key = VerifyKey(bytes.fromhex(group["publicKey"]["pk"]))
    for case in group["tests"]:
        assert case["result"] in {"valid", "invalid"}  # these vectors leave none open as "acceptable"
        verified = key.verifies(bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"]))
        assert verified is (case["result"] == "valid"), case


P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493


def test_a_signature_whose_point_r_is_spelt_otherwise_is_refused() -> None:
    # With r = 0 the point R is the identity, and S = k·a; its holder alone can make it. One spelling verifies.
    raw, message = ENTRY_KEY.public.raw, b"message"
    half = bytearray(hashlib.sha512(ENTRY_KEY.seed).digest()[:32])
    half[0] &= 248
    half[31] = half[31] & 127 | 64
    scalar = int.from_bytes(half, "little")

    def verifies(r: int) -> bool:
        encoded = r.to_bytes(32, "little")
        k = int.from_bytes(hashlib.sha512(encoded + raw + message).digest(), "little")
        return ENTRY_KEY.public.verifies(message, encoded + (k * scalar % L).to_bytes(32, "little"))

    assert verifies(1)
    assert not verifies(P + 1)
    assert not verifies(1 | 1 << 255)
    assert not verifies(P + 1 | 1 << 255)


@pytest.mark.parametrize("length", [0, 63, 65, 128])
def test_a_signature_of_another_length_is_refused(length: int) -> None:
    signature = (ENTRY_KEY.sign(b"m") * 2)[:length]
    assert not ENTRY_KEY.public.verifies(b"m", signature)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (bytes(32), "small order"),
        (b"\x01" + bytes(31), "small order"),
        ((P + 1).to_bytes(32, "little"), "small order"),
        ((P + 3).to_bytes(32, "little"), "not canonically encoded"),
        (b"\x07" * 31, "32 bytes, not 31"),
    ],
)
def test_a_key_that_must_never_be_trusted_is_refused(raw: bytes, reason: str) -> None:
    with pytest.raises(BadKey, match=reason):
        VerifyKey(raw)


def test_a_key_that_is_no_point_verifies_nothing() -> None:
    assert not VerifyKey((7).to_bytes(32, "little")).verifies(b"m", bytes(64))


def test_an_entry_names_its_key_by_the_hash_of_algorithm_and_key() -> None:
    raw = ENTRY_KEY.public.raw
    assert ENTRY_KEY.public.kid == hashlib.sha256(b"\x01" + raw).hexdigest()[:32]


@pytest.mark.parametrize("text", VKEYS["good"])
def test_key_ids_are_those_of_signed_notes(text: str) -> None:
    name, key_id, encoded = text.split("+", 2)
    assert note_key_id(name, base64.b64decode(encoded)[1:]) == key_id


@pytest.mark.parametrize("text", VKEYS["bad"])
def test_bad_verifier_strings_of_signed_notes_are_bad_under_our_origins_too(text: str) -> None:
    _, key_id, encoded = text.split("+", 2)
    for refused in (text, f"{VERIFIER.origin}+{key_id}+{encoded}"):
        with pytest.raises(BadKey):
            parse_verifier(refused)


def test_the_example_of_signed_notes_verifies() -> None:
    example = json.loads((PUBLIC / "signed-note" / "c2sp_example.json").read_text("utf-8"))
    key = VerifyKey(base64.b64decode(example["vkey"].split("+", 2)[2])[1:])
    text, _, line = example["note"].partition("\n\n")
    blob = base64.b64decode(line.split()[2])
    assert blob[:4].hex() == example["vkey"].split("+")[1]
    assert key.verifies(text.encode() + b"\n", blob[4:])


def test_a_verifier_string_is_read_back() -> None:
    text = str(VERIFIER)
    assert text == load("chain.json")["verifier"]
    assert parse_verifier(text) == VERIFIER == LogVerifier(VERIFIER.origin, LOG_KEY.public)


def test_every_part_of_a_verifier_string_is_refused_alone() -> None:
    text = str(VERIFIER)
    for start in range(len(text)):
        for end in range(start, len(text) + 1):
            if end - start < len(text):
                with pytest.raises(BadKey):
                    parse_verifier(text[start:end])


def test_a_verifier_string_with_any_character_raised_by_one_is_refused() -> None:
    text = str(VERIFIER)
    for place, character in enumerate(text):
        with pytest.raises(BadKey):
            parse_verifier(text[:place] + chr(ord(character) + 1) + text[place + 1 :])


@given(st.text(max_size=120))
def test_any_text_is_read_as_a_verifier_string_or_refused_as_a_bad_key(text: str) -> None:
    with pytest.raises(BadKey):
        parse_verifier(text)
    with pytest.raises(BadKey):
        parse_verifier(f"{VERIFIER.origin}+00000000+{text}")


def test_spare_bits_in_the_base64_of_a_key_are_refused() -> None:
    # 33 bytes leave no spare bits; a key cut to 32 does, and must not be read as anything.
    encoded = base64.b64encode(b"\x01" + LOG_KEY.public.raw[:31]).decode().rstrip("=")[:-1]
    loose = next(
        f"{encoded}{last}="
        for last in "BCDE"
        if base64.b64encode(base64.b64decode(f"{encoded}{last}=")) != f"{encoded}{last}=".encode()
    )
    with pytest.raises(BadKey, match="not canonical base64"):
        parse_verifier(f"{VERIFIER.origin}+00000000+{loose}")


@pytest.mark.parametrize(
    "origin",
    ["", "acme", "acme/", "/" + "0" * 32, "Acme/" + "0" * 32, "acme/" + "0" * 31, "acme/" + "0" * 33,
     "acme/" + "A" * 32, "-acme/" + "0" * 32, "acme/" + "0" * 32 + "\n", "a" * 64 + "/" + "0" * 32, "ä/" + "0" * 32],
)  # fmt: skip
def test_an_origin_of_another_form_is_refused(origin: str) -> None:
    with pytest.raises(BadKey, match="name/<32 hex>"):
        check_origin(origin)


def test_an_origin_has_a_name_of_up_to_63_characters() -> None:
    check_origin("a" * 63 + "/" + "0" * 32)
    check_origin("0.a-b/" + "f" * 32)
