"""What published vectors ask beyond single rooms: every file is named with its source, and is what it says."""

from __future__ import annotations

import base64
import json
import re
import struct
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from keyturn import canon
from keyturn.log.envelope import EnvelopeError, pae, read_envelope
from keyturn.log.note import NoteKey, parse_note, parse_note_key, signature_of, to_sign
from tests.vectors.reading import FOLDER, PUBLIC


def read(path: str) -> Any:
    return json.loads((PUBLIC / path).read_text("utf-8"))


def test_every_public_file_is_named_with_its_source_and_its_licence() -> None:
    rows = re.findall(
        r"^\| (`[^|]+) \| [^|]*\S \| ([^|]+) \|$", (FOLDER / "README.md").read_text("utf-8"), re.MULTILINE
    )
    named: set[Path] = set()
    for cell, licence in rows:
        first, *others = re.findall(r"`([^`]+)`", cell)
        folder = first if first.endswith("/") else first.rpartition("/")[0]
        places = [PUBLIC / first, *(PUBLIC / folder / other for other in others)]
        if all(place.exists() for place in places):
            assert licence.strip() in {"Apache-2.0", "BSD-3-Clause", "CC-BY-4.0"}, cell
            named |= {file for place in places for file in (place.rglob("*") if place.is_dir() else [place])}
    assert {file for file in PUBLIC.rglob("*") if file.is_file()} <= named


@pytest.mark.parametrize("name", ["arrays", "french", "structures", "unicode"])
def test_the_canonical_bytes_in_hex_are_those_of_the_outputs(name: str) -> None:
    """Only `arrays` and `unicode` are within our profile; there our bytes are these."""
    published = bytes.fromhex((PUBLIC / "rfc8785" / "outhex" / f"{name}.txt").read_text("ascii"))
    assert published == (PUBLIC / "rfc8785" / "output" / f"{name}.json").read_bytes().rstrip(b"\n")
    if name in {"arrays", "unicode"}:
        assert canon.encode(canon.parse((PUBLIC / "rfc8785" / "input" / f"{name}.json").read_bytes())) == published


@pytest.mark.parametrize("row", read("rfc8785/float_table.json"), ids=lambda row: row["ieee"])
def test_of_the_published_numbers_those_within_the_profile_are_written_so_and_the_others_refused(
    row: dict[str, str | None],
) -> None:
    """The vectors want a text for every finite double; our profile has integers below 2^53 and no double at all."""
    (value,) = struct.unpack(">d", bytes.fromhex(str(row["ieee"])))
    with pytest.raises(canon.CanonError, match="float is not part"):
        canon.encode(value)
    text = str(value if row["want"] is None else row["want"])
    if re.fullmatch(r"0|-?[1-9][0-9]*", text) and abs(int(text)) <= canon.MAX_INTEGER:
        assert canon.encode(int(text)) == text.encode()
        assert canon.decode(text.encode()) == value
    else:
        with pytest.raises(canon.CanonError):
            canon.decode(text.encode())


def test_the_published_envelope_is_signed_over_our_encoding_of_it() -> None:
    """Its signature is ECDSA, which no entry has; and its type is none of ours, so it is not read as an entry."""
    spec = read("dsse/spec.json")
    (signature,) = spec["envelope"]["signatures"]
    payload = base64.b64decode(spec["envelope"]["payload"])
    raw = base64.b64decode(signature["sig"])
    signed = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    key = ec.EllipticCurvePublicNumbers(spec["x"], spec["y"], ec.SECP256R1()).public_key()
    key.verify(signed, pae(spec["envelope"]["payloadType"], payload), ec.ECDSA(SHA256()))
    with pytest.raises(InvalidSignature):
        key.verify(signed, payload, ec.ECDSA(SHA256()))
    with pytest.raises(EnvelopeError, match="payloadType is not"):
        read_envelope(spec["envelope"])


@pytest.mark.parametrize("note", ["init", "next"])
def test_the_published_log_and_witness_keys_sign_as_elsewhere(note: str) -> None:
    """The witness's key is of the kind without a time, as older witnesses had them: it signs as a log does."""
    case = read("witness/monkeys.json")
    said = parse_note(case[note].encode())
    private, key = private_key(case["log_skey"])
    assert key == parse_note_key(case["log_vkey"])
    assert (signature_of(key, private.sign(to_sign(said.text))),) == said.signatures
    private, key = private_key(case["witness_skey"])
    assert key == parse_note_key(case["witness_vkey"])
    assert key.key.verifies(to_sign(said.text), private.sign(to_sign(said.text)))


def private_key(text: str) -> tuple[Ed25519PrivateKey, NoteKey]:
    """Read a private key as Go's sumdb/note writes it."""
    _, _, name, key_id, encoded = text.split("+", 4)
    blob = base64.b64decode(encoded)
    private = Ed25519PrivateKey.from_private_bytes(blob[1:])
    public = base64.b64encode(blob[:1] + private.public_key().public_bytes_raw()).decode()
    return private, parse_note_key(f"{name}+{key_id}+{public}")
