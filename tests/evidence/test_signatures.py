"""The program's own cryptography, held against published vectors, against OpenSSH, and against the other verifier."""

from __future__ import annotations

import ast
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from keyturn import canon
from keyturn.evidence import verify as program
from keyturn.sshsig import SignatureError, verify
from keyturn.sshsig.signing import sign
from tests.sshsig import keys
from tests.vectors.reading import PUBLIC

NAMESPACE = "keyturn.review.v1"
MESSAGE = b'{"verdict":"approve"}'


def wycheproof() -> Iterator[Any]:
    found = json.loads((PUBLIC / "ed25519" / "wycheproof_ed25519_test.json").read_text("utf-8"))
    for group in found["testGroups"]:
        for test in group["tests"]:
            yield pytest.param(group["publicKey"]["pk"], test, id=f"tc{test['tcId']}")


@pytest.mark.parametrize(("public", "test"), list(wycheproof()))
def test_the_program_agrees_with_wycheproof_on_ed25519(public: str, test: dict[str, str]) -> None:
    try:
        key = program.Ed25519Key(bytes.fromhex(public))
        good = key.verifies(bytes.fromhex(test["msg"]), bytes.fromhex(test["sig"]))
    except ValueError:
        good = False
    assert good is (test["result"] == "valid")


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200), st.integers(0, 511))
@settings(max_examples=30, deadline=None)
def test_a_signature_verifies_with_and_without_a_table_and_no_changed_one_does(
    seed: bytes, message: bytes, bit: int
) -> None:
    private = Ed25519PrivateKey.from_private_bytes(seed)
    key, signature = program.Ed25519Key(private.public_key().public_bytes_raw()), private.sign(message)
    changed = bytearray(signature)
    changed[bit // 8] ^= 1 << bit % 8
    assert key.verifies(message, signature)
    assert not key.verifies(message, bytes(changed))
    assert not key.verifies(message + b"x", signature)
    assert key.minus is not None
    key.table = program.Multiples(key.minus)
    assert key.verifies(message, signature)
    assert not key.verifies(message, bytes(changed))


KINDS = [("ed25519", []), ("rsa", ["-b", "2048"]), *(("ecdsa", ["-b", bits]) for bits in ("256", "384", "521"))]


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: "".join([kind[0], *kind[1]]))
def signed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A signature by stock OpenSSH with a key of each kind."""
    kind, more = request.param
    path = tmp_path_factory.mktemp("key") / "key"
    subprocess.run(["ssh-keygen", "-q", "-N", "", "-t", kind, *more, "-f", path], check=True)
    return sign(MESSAGE, key=path, namespace=NAMESPACE, environment=os.environ)


def test_a_signature_of_openssh_is_the_keys_that_it_names(signed: bytes) -> None:
    found = program.ssh_verify(MESSAGE, signed, NAMESPACE.encode())
    assert program.line_of(found.key) == verify(MESSAGE, signed, NAMESPACE).key.line
    assert (found.present, found.pinned) == (None, None)


def test_another_message_namespace_or_spelling_is_refused(signed: bytes) -> None:
    for message, blob, space in (
        (MESSAGE + b" ", signed, NAMESPACE),
        (MESSAGE, signed, "keyturn.act.v1"),
        (MESSAGE, signed + b"\0", NAMESPACE),
        (MESSAGE, signed[:-1], NAMESPACE),
        (MESSAGE, b"X" + signed[1:], NAMESPACE),
    ):
        with pytest.raises(ValueError):
            program.ssh_verify(message, blob, space.encode())


def test_what_is_put_into_the_reserved_field_is_refused_by_both(signed: bytes) -> None:
    """It is not signed: what is accepted there could be changed by anybody."""
    place = 10 + 4 + int.from_bytes(signed[10:14], "big")
    place += 4 + len(NAMESPACE)
    assert signed[place : place + 4] == bytes(4)
    blob = signed[:place] + b"\0\0\0\1x" + signed[place + 4 :]
    assert (_refused_by_the_program(blob), _refused_by_the_other(blob)) == (True, True)


def test_a_signature_of_rsa_has_one_spelling() -> None:
    key = rsa.generate_private_key(65537, 2048)
    modulus = key.public_key().public_numbers().n
    for number in range(10_000):
        message = b"%d" % number
        signature = key.sign(message, padding.PKCS1v15(), hashes.SHA512())
        other = int.from_bytes(signature, "big") + modulus
        if other < 1 << 2048:
            break
    assert program.rsa_verifies(65537, modulus, signature, message)
    assert not program.rsa_verifies(65537, modulus, other.to_bytes(256, "big"), message)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_changed_byte_is_refused_by_both_or_by_neither(data: st.DataObject) -> None:
    blob = bytearray(_signed_once())
    place = data.draw(st.integers(0, len(blob) - 1))
    blob[place] ^= data.draw(st.integers(1, 255))
    assert _refused_by_the_program(bytes(blob)) is _refused_by_the_other(bytes(blob))


_ONCE: list[bytes] = []


def _signed_once() -> bytes:
    if not _ONCE:
        _ONCE.append(keys.HardwareKey().sign(MESSAGE, NAMESPACE))
    return _ONCE[0]


def _refused_by_the_program(blob: bytes) -> bool:
    try:
        program.ssh_verify(MESSAGE, blob, NAMESPACE.encode())
    except ValueError:
        return True
    return False


def _refused_by_the_other(blob: bytes) -> bool:
    try:
        verify(MESSAGE, blob, NAMESPACE)
    except SignatureError:
        return True
    return False


@pytest.mark.parametrize("flags", range(8))
def test_a_hardware_key_says_who_was_there(flags: int) -> None:
    blob = keys.HardwareKey().sign(MESSAGE, NAMESPACE, flags=flags)
    found = program.ssh_verify(MESSAGE, blob, NAMESPACE.encode())
    assert (found.present, found.pinned) == (bool(flags & 1), bool(flags & 4))


TEXTS = [
    *(b'{"a":1}', b'{"a":1.0}', b'{"a":1e0}', b'{"a":-0}', b'{"a":NaN}', b'{"a":9007199254740992}', b'{"a":1,"a":1}'),
    *(b'{"b":1,"a":1}', b'{"a": 1}', b"\xef\xbb\xbf{}", b'{"a":"\\u0063"}', b'{"a":"\\ud83d"}', b'{"a":"\xc1\xa3"}'),
    *(b'{"\xc3\xbc":1}', b"{}\n", b"{}\0", b"[" * 65 + b"]" * 65, b"[" * 64 + b"]" * 64, b"", b'"\\/"', b"01"),
    *(b"9007199254740991", b"[true,false,null]", b'"\x7f"', b'"\\u007f"', b"[" * 100_000),
]


@pytest.mark.parametrize("data", TEXTS, ids=range(len(TEXTS)))
def test_the_program_takes_the_same_spellings_as_the_package(data: bytes) -> None:
    try:
        known = canon.decode(data)
    except canon.CanonError:
        with pytest.raises(ValueError):
            program.read_json(data)
    else:
        assert program.read_json(data) == known


def test_the_program_is_written_in_the_oldest_python_it_promises() -> None:
    """Its syntax, at least: whoever has that Python runs it as it is."""
    ast.parse(Path(program.__file__).read_text("utf-8"), feature_version=(3, 8))
