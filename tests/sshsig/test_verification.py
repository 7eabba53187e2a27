"""A signature proves something only for its own message, namespace and key, byte by byte."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from hypothesis import given
from hypothesis import strategies as st

from keyturn.model.sshkey import PublicKey
from keyturn.sshsig import SignatureError, armor, unarmor, verify
from keyturn.sshsig.envelope import MAX_BLOB
from keyturn.sshsig.signing import sign
from tests.sshsig.keys import (
    KINDS,
    PRESENT,
    VERIFIED,
    HardwareKey,
    covered,
    environment,
    mpint,
    public_key,
    sshsig,
    stock_accepts,
    stock_finds_valid,
    string,
)

MESSAGE = b'{"verdict":"approve"}'
NAMESPACE = "keyturn.review.v1"
HARDWARE = ("sk-ed25519", "sk-ecdsa")


@pytest.fixture(scope="session")
def signed(keys: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """One good signature over MESSAGE by a key of each kind, hardware included."""
    home = environment(tmp_path_factory.mktemp("home"))
    blobs = {kind: sign(MESSAGE, key=key, namespace=NAMESPACE, environment=home) for kind, key in keys.items()}
    tokens = {f"sk-{kind}": HardwareKey(kind).sign(MESSAGE, NAMESPACE) for kind in ("ed25519", "ecdsa")}
    return blobs | tokens


def refusal(message: bytes, signature: bytes | str, namespace: str = NAMESPACE) -> str:
    with pytest.raises(SignatureError) as refused:
        verify(message, signature, namespace)
    assert refused.value.reason.isprintable()
    return refused.value.reason


@pytest.mark.parametrize("kind", KINDS)
def test_a_signature_by_ssh_keygen_names_its_key_and_stock_agrees(
    keys: dict[str, Path], signed: dict[str, bytes], kind: str
) -> None:
    signer = verify(MESSAGE, signed[kind], NAMESPACE)
    assert signer.key == public_key(keys[kind])
    assert (signer.user_present, signer.user_verified, signer.counter) == (None, None, None)
    assert stock_accepts(MESSAGE, signed[kind], signer.key, NAMESPACE)


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa"])
@pytest.mark.parametrize(
    ("flags", "present", "verified"),
    [(0, False, False), (PRESENT, True, False), (PRESENT | VERIFIED, True, True), (VERIFIED, False, True)],
)
def test_a_hardware_signature_reports_touch_and_pin_which_stock_does_not_look_at(
    kind: str, flags: int, present: bool, verified: bool
) -> None:
    token = HardwareKey(kind)
    token.counter = 41
    blob = token.sign(MESSAGE, NAMESPACE, flags=flags)
    signer = verify(MESSAGE, blob, NAMESPACE)
    assert signer.key == PublicKey.parse(token.public_line)
    assert (signer.user_present, signer.user_verified, signer.counter) == (present, verified, 42)
    assert stock_accepts(MESSAGE, blob, signer.key, NAMESPACE)
    assert stock_finds_valid(MESSAGE, blob, NAMESPACE)


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa"])
def test_a_token_bound_to_a_web_site_is_refused_though_stock_finds_it_good(kind: str) -> None:
    token = HardwareKey(kind, application="webauthn.example")
    blob = token.sign(MESSAGE, NAMESPACE)
    assert stock_finds_valid(MESSAGE, blob, NAMESPACE)
    assert "bound to 'webauthn.example'" in refusal(MESSAGE, blob)


def test_a_token_with_a_named_ssh_application_is_accepted() -> None:
    blob = HardwareKey(application="ssh:work").sign(MESSAGE, NAMESPACE)
    key = verify(MESSAGE, blob, NAMESPACE).key
    assert key.application == "ssh:work"
    assert stock_accepts(MESSAGE, blob, key, NAMESPACE)


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa"])
def test_sha256_is_accepted_as_ssh_keygen_does(kind: str) -> None:
    blob = HardwareKey(kind).sign(MESSAGE, NAMESPACE, hash_name="sha256")
    signer = verify(MESSAGE, blob, NAMESPACE)
    assert signer.user_present
    assert stock_accepts(MESSAGE, blob, signer.key, NAMESPACE)


@pytest.mark.parametrize("kind", [*KINDS, *HARDWARE])
def test_a_flipped_bit_in_any_byte_is_refused(signed: dict[str, bytes], kind: str) -> None:
    blob = signed[kind]
    for position in range(len(blob)):
        for bit in (0x01, 0x80):
            flipped = bytearray(blob)
            flipped[position] ^= bit
            refusal(MESSAGE, bytes(flipped))


@pytest.mark.parametrize("kind", [*KINDS, *HARDWARE])
def test_a_signature_cut_anywhere_or_followed_by_anything_is_refused(signed: dict[str, bytes], kind: str) -> None:
    blob = signed[kind]
    for length in range(len(blob)):
        refusal(MESSAGE, blob[:length])
    assert "too many" in refusal(MESSAGE, blob + b"\0")


@pytest.mark.parametrize("kind", [*KINDS, *HARDWARE])
def test_a_signature_over_another_message_is_refused(signed: dict[str, bytes], kind: str) -> None:
    assert "does not fit" in refusal(MESSAGE + b"\n", signed[kind])
    assert "does not fit" in refusal(b"", signed[kind])


@pytest.mark.parametrize("kind", [*KINDS, *HARDWARE])
@pytest.mark.parametrize("namespace", ["keyturn.act.v1", "keyturn.review.v1\0", "KEYTURN.review.v1", ""])
def test_a_signature_for_another_namespace_is_refused(signed: dict[str, bytes], kind: str, namespace: str) -> None:
    assert "namespace" in refusal(MESSAGE, signed[kind], namespace)


def test_a_signature_without_a_namespace_is_refused_even_when_none_is_asked_for() -> None:
    assert "namespace" in refusal(MESSAGE, HardwareKey().sign(MESSAGE, ""), "")


def test_swapping_in_another_persons_key_is_refused(keys: dict[str, Path], signed: dict[str, bytes]) -> None:
    stranger = HardwareKey()
    token = HardwareKey()
    blob = token.sign(MESSAGE, NAMESPACE)
    assert "does not fit" in refusal(MESSAGE, blob.replace(token.blob, stranger.blob))
    software = public_key(keys["ed25519"])
    assert "must be of type ssh-ed25519" in refusal(
        MESSAGE, sshsig(software.blob, NAMESPACE, blob[-(4 + 26 + 4 + 64 + 5) :])
    )


# Blobs built field by field around a real signature, each wrong in one place.


def inner_of(blob: bytes, key: PublicKey) -> bytes:
    """The complete inner signature of a good sha512 blob."""
    return blob[len(sshsig(key.blob, NAMESPACE, b"")) :]


def test_every_field_of_the_envelope_is_held_to_its_one_value(
    keys: dict[str, Path], signed: dict[str, bytes]
) -> None:
    key = public_key(keys["ed25519"])
    blob = signed["ed25519"]
    inner = inner_of(blob, key)
    assert sshsig(key.blob, NAMESPACE, inner) == blob
    assert "does not begin with SSHSIG" in refusal(MESSAGE, b"SSHSIH" + blob[6:])
    assert "this one says 2" in refusal(MESSAGE, blob[:9] + b"\x02" + blob[10:])
    reserved = blob.replace(string(b"") + string(b"sha512"), string(b"x") + string(b"sha512"))
    assert "reserved field" in refusal(MESSAGE, reserved)
    assert "sha512 or sha256" in refusal(MESSAGE, sshsig(key.blob, NAMESPACE, inner, "sha1"))
    assert "sha512 or sha256" in refusal(MESSAGE, sshsig(key.blob, NAMESPACE, inner, "SHA512"))
    assert "does not fit" in refusal(MESSAGE, sshsig(key.blob, NAMESPACE, inner, "sha256"))
    assert "inner field has 1 bytes too many" in refusal(MESSAGE, sshsig(key.blob, NAMESPACE, inner + b"\0"))
    assert "larger than" in refusal(MESSAGE, blob + bytes(MAX_BLOB))
    assert "certificates are not accepted" in refusal(
        MESSAGE, sshsig(string(b"ssh-ed25519-cert-v01@openssh.com") + key.blob, NAMESPACE, inner)
    )


@pytest.mark.parametrize("length", [0, 63, 65])
def test_an_ed25519_signature_of_another_length_is_refused(keys: dict[str, Path], length: int) -> None:
    key = public_key(keys["ed25519"])
    inner = string(b"ssh-ed25519") + string(bytes(length))
    assert f"64 bytes, this one {length}" in refusal(MESSAGE, sshsig(key.blob, NAMESPACE, inner))


def test_a_respelled_ed25519_signature_is_refused(keys: dict[str, Path], signed: dict[str, bytes]) -> None:
    """S and S + L satisfy the same equation; only the reduced one counts (RFC 8032 section 5.1.7)."""
    order = 2**252 + 27742317777372353535851937790883648493
    blob = signed["ed25519"]
    scalar = int.from_bytes(blob[-32:], "little") + order
    assert "does not fit" in refusal(MESSAGE, blob[:-32] + scalar.to_bytes(32, "little"))


ECDSA_NUMBERS = {
    "negative": (string(b"\x80") + mpint(1), "not positive"),
    "zero": (string(b"") + mpint(1), "not positive"),
    "zero byte": (mpint(1) + string(b"\0"), "zero or padded"),
    "padded": (mpint(1) + string(b"\0\x01"), "zero or padded"),
    "too large": (mpint(1) + mpint(2**256), "too large for nistp256"),
    "beyond the order": (mpint(1) + mpint(2**256 - 1), "does not fit"),
    "one number": (mpint(1), "ends too early"),
    "three numbers": (mpint(1) * 3, "too many"),
    "der": (bytes.fromhex("3006020101020101"), "ends too early"),
}


@pytest.mark.parametrize(("numbers", "reason"), ECDSA_NUMBERS.values(), ids=ECDSA_NUMBERS.keys())
def test_malformed_ecdsa_numbers_are_refused(keys: dict[str, Path], numbers: bytes, reason: str) -> None:
    key = public_key(keys["ecdsa256"])
    inner = string(b"ecdsa-sha2-nistp256") + string(numbers)
    assert reason in refusal(MESSAGE, sshsig(key.blob, NAMESPACE, inner))


def test_an_ecdsa_point_off_its_curve_is_refused() -> None:
    name = b"ecdsa-sha2-nistp256"
    off_curve = string(name) + string(b"nistp256") + string(b"\x04" + bytes(63) + b"\x01")
    inner = string(name) + string(mpint(1) + mpint(1))
    assert "cannot be checked" in refusal(MESSAGE, sshsig(off_curve, NAMESPACE, inner))


def rsa_signature(private: rsa.RSAPrivateKey, name: str, digest: hashes.HashAlgorithm, cut: int = 0) -> bytes:
    raw = private.sign(covered(MESSAGE, NAMESPACE), padding.PKCS1v15(), digest)
    numbers = private.public_key().public_numbers()
    public = string(b"ssh-rsa") + mpint(numbers.e) + mpint(numbers.n)
    return sshsig(public, NAMESPACE, string(name.encode()) + string(raw[cut:]))


@pytest.fixture(scope="session")
def rsa_key(keys: dict[str, Path]) -> rsa.RSAPrivateKey:
    private = load_ssh_private_key(keys["rsa2048"].read_bytes(), None)
    assert isinstance(private, rsa.RSAPrivateKey)
    return private


def test_rsa_counts_only_as_rsa_sha2_512(rsa_key: rsa.RSAPrivateKey) -> None:
    good = rsa_signature(rsa_key, "rsa-sha2-512", hashes.SHA512())
    key = verify(MESSAGE, good, NAMESPACE).key
    assert key.algorithm == "ssh-rsa"
    assert stock_accepts(MESSAGE, good, key, NAMESPACE)
    sha256 = rsa_signature(rsa_key, "rsa-sha2-256", hashes.SHA256())
    assert stock_finds_valid(MESSAGE, sha256, NAMESPACE)
    assert "must be of type rsa-sha2-512" in refusal(MESSAGE, sha256)
    assert "must be of type" in refusal(MESSAGE, rsa_signature(rsa_key, "ssh-rsa", hashes.SHA512()))
    assert "does not fit" in refusal(MESSAGE, rsa_signature(rsa_key, "rsa-sha2-512", hashes.SHA256()))


def test_an_rsa_signature_shorter_than_its_key_is_refused(rsa_key: rsa.RSAPrivateKey) -> None:
    cut = rsa_signature(rsa_key, "rsa-sha2-512", hashes.SHA512(), cut=1)
    assert "has 256 bytes, this one 255" in refusal(MESSAGE, cut)


def test_a_1024_bit_rsa_key_is_refused_though_its_signature_is_good() -> None:
    weak = rsa.generate_private_key(65537, 1024)  # noqa: S505  the weak key is what is refused
    assert "this one has 1024" in refusal(MESSAGE, rsa_signature(weak, "rsa-sha2-512", hashes.SHA512()))


def test_armoured_text_is_accepted_as_text_and_as_bytes(signed: dict[str, bytes]) -> None:
    text = armor(signed["ed25519"])
    expected = verify(MESSAGE, signed["ed25519"], NAMESPACE)
    assert verify(MESSAGE, text, NAMESPACE) == expected
    assert verify(MESSAGE, text.encode(), NAMESPACE) == expected
    assert verify(MESSAGE, text.replace("\n", "\r\n"), NAMESPACE) == expected
    assert verify(MESSAGE, text.removesuffix("\n"), NAMESPACE) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-----BEGIN SSH SIGNATURE-----\n",
        "-----BEGIN SSH SIGNATURE-----\n-----END SSH SIGNATURE-----\n",
        "-----BEGIN SSH SIGNATURE-----\n\n-----END SSH SIGNATURE-----\n",
        "-----BEGIN PGP SIGNATURE-----\nAAAA\n-----END PGP SIGNATURE-----\n",
        " -----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n",
        "-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\nmore",
        "-----BEGIN SSH SIGNATURE-----\nAA AA\n-----END SSH SIGNATURE-----\n",
        "-----BEGIN SSH SIGNATURE-----\nAAB=\n-----END SSH SIGNATURE-----\n",
        "-----BEGIN SSH SIGNATURE-----\nAA\u00e9A\n-----END SSH SIGNATURE-----\n",
        "-----BEGIN SSH SIGNATURE-----\n" + "A" * 4 * MAX_BLOB + "\n-----END SSH SIGNATURE-----\n",
    ],
)
def test_text_that_is_not_exactly_one_armoured_signature_is_refused(text: str) -> None:
    with pytest.raises(SignatureError, match="armoured signature"):
        unarmor(text)
    assert refusal(MESSAGE, text)


@given(st.binary(min_size=1, max_size=500))
def test_armour_comes_off_as_it_went_on(blob: bytes) -> None:
    assert unarmor(armor(blob)) == blob


@given(st.binary(max_size=400) | st.text(max_size=400))
def test_random_input_raises_nothing_but_a_signature_error(signature: bytes | str) -> None:
    with pytest.raises(SignatureError):
        verify(MESSAGE, signature, NAMESPACE)


NAMES = st.sampled_from([b"ssh-ed25519", b"ssh-rsa", b"rsa-sha2-512", b"ecdsa-sha2-nistp256", b"nistp256"])
FIELDS = st.lists((NAMES | st.binary(max_size=70)).map(string), max_size=5).map(b"".join)


@given(FIELDS, FIELDS, st.sampled_from([NAMESPACE, ""]), st.sampled_from(["sha512", "sha256"]))
def test_well_framed_nonsense_raises_nothing_but_a_signature_error(
    public: bytes, inner: bytes, namespace: str, hash_name: str
) -> None:
    with pytest.raises(SignatureError):
        verify(MESSAGE, sshsig(public, namespace, inner, hash_name), NAMESPACE)


@given(st.data())
def test_a_good_signature_with_any_stretch_replaced_is_refused(data: st.DataObject) -> None:
    blob = TOKEN_BLOB
    start = data.draw(st.integers(0, len(blob) - 1))
    end = data.draw(st.integers(start, len(blob)))
    changed = blob[:start] + data.draw(st.binary(max_size=40)) + blob[end:]
    if changed == blob:
        verify(MESSAGE, changed, NAMESPACE)
    else:
        refusal(MESSAGE, changed)


TOKEN_BLOB = HardwareKey().sign(MESSAGE, NAMESPACE)
