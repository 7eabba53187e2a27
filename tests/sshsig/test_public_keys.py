"""A public key is read only if it is exactly one well-formed key of an accepted kind."""

import base64
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.model.sshkey import (
    ALGORITHMS,
    MAX_BLOB,
    MAX_LINE,
    EcdsaPoint,
    Ed25519Point,
    PublicKey,
    RsaModulus,
    WireReader,
)
from tests.sshsig.keys import KINDS, HardwareKey, mpint, public_key, string

PRIME = 2**255 - 19
GOOD_POINT = (PRIME - 3).to_bytes(32, "little")
MODULUS = (1 << 2047) + 1


def line_of(algorithm: str, blob: bytes) -> str:
    return f"{algorithm} {base64.b64encode(blob).decode()} someone@somewhere"


def ed25519_line(point: bytes, tail: bytes = b"", inner: bytes = b"ssh-ed25519") -> str:
    return line_of("ssh-ed25519", string(inner) + string(point) + tail)


def rsa_line(exponent: bytes, modulus: bytes) -> str:
    return line_of("ssh-rsa", string(b"ssh-rsa") + exponent + modulus)


def ecdsa_line(curve: bytes, point: bytes) -> str:
    return line_of("ecdsa-sha2-nistp256", string(b"ecdsa-sha2-nistp256") + string(curve) + string(point))


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_made_by_ssh_keygen_is_read_with_the_fingerprint_it_prints(keys: dict[str, Path], kind: str) -> None:
    public = Path(f"{keys[kind]}.pub")
    key = PublicKey.parse(public.read_text())
    listed = subprocess.run(["ssh-keygen", "-l", "-f", str(public)], capture_output=True, check=True)
    assert key.fingerprint == listed.stdout.decode().split()[1]
    assert public.read_text() == f"{key.line} {key.comment}\n"
    assert key.comment == f"{kind}@test"
    assert not key.hardware
    assert key.application is None


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa"])
def test_a_hardware_key_shows_the_application_it_is_bound_to(kind: str) -> None:
    key = PublicKey.parse(HardwareKey(kind, application="ssh:work").public_line)
    assert key.hardware
    assert key.application == "ssh:work"


def test_the_numbers_of_a_key_are_told_by_kind(keys: dict[str, Path]) -> None:
    ed25519 = public_key(keys["ed25519"])
    assert ed25519.material == Ed25519Point(ed25519.blob[-32:])
    ecdsa = public_key(keys["ecdsa384"])
    assert ecdsa.material == EcdsaPoint("nistp384", ecdsa.blob[-97:])
    rsa = public_key(keys["rsa3072"]).material
    assert isinstance(rsa, RsaModulus)
    assert (rsa.exponent, rsa.modulus.bit_length()) == (65537, 3072)


def test_keys_are_equal_whatever_their_comments_say(keys: dict[str, Path]) -> None:
    key = public_key(keys["ed25519"])
    assert PublicKey.parse(f"{key.line} another comment with words ") == key
    assert hash(PublicKey.from_blob(key.blob)) == hash(key)
    assert PublicKey.parse(key.line).comment == ""
    assert PublicKey.parse(f"{key.line} two words ").comment == "two words"
    assert public_key(keys["ecdsa256"]) != key


def test_a_line_may_end_as_files_do(keys: dict[str, Path]) -> None:
    key = public_key(keys["ed25519"])
    assert PublicKey.parse(f"{key.line}\n") == key
    assert PublicKey.parse(f"{key.line}\r\n") == key


GOOD_BASE64 = base64.b64encode(string(b"ssh-ed25519") + string(GOOD_POINT)).decode()
GOOD = f"ssh-ed25519 {GOOD_BASE64}"

BAD_LINES = {
    "empty": ("", "is empty"),
    "blank": ("   ", "is empty"),
    "type only": ("ssh-ed25519", "nothing follows the key type"),
    "certificate": (f"ssh-ed25519-cert-v01@openssh.com {GOOD_BASE64}", "certificates are not accepted"),
    "dsa": (f"ssh-dss {GOOD_BASE64}", "DSA keys are too weak"),
    "unknown type": (f"ssh-ed448 {GOOD_BASE64}", "'ssh-ed448' is not an accepted key type"),
    "options": (f'from="10.0.0.1" {GOOD}', "options before the key type"),
    "private key": ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNz\n", "this is a private key"),
    "two lines": (f"{GOOD}\n{GOOD}\n", "is one line"),
    "two line ends": (f"{GOOD}\n\n", "is one line"),
    "carriage return inside": (f"{GOOD}\rssh-rsa", "is one line"),
    "tab": (GOOD.replace(" ", "\t"), "control or invisible"),
    "escape": (f"{GOOD} \x1b[2J", "control or invisible"),
    "nul": (f"{GOOD} \x00", "control or invisible"),
    "bidirectional": (f"{GOOD} \u202egnorw", "control or invisible"),
    "line separator": (f"{GOOD} a\u2028b", "control or invisible"),
    "unpaired surrogate": (f"{GOOD} \udc80", "control or invisible"),
    "too long": (f"{GOOD} {'x' * MAX_LINE}", "longer than"),
    "base64 with a stray character": (f"ssh-ed25519 {GOOD_BASE64[:-1]}!", "not valid base64"),
    "base64 cut": (GOOD[:-1], "not valid base64"),
    "base64 beyond ascii": (f"ssh-ed25519 \u00e9{GOOD_BASE64}", "not valid base64"),
    "base64 with spare bits": (line_of("ssh-rsa", b"\x00\x00").replace("AAA=", "AAB="), "not valid base64"),
    "empty blob": ("ssh-ed25519 ====", "not valid base64"),
    "another type inside": (ed25519_line(GOOD_POINT, inner=b"ssh-rsa"), "'ssh-rsa' inside"),
    "trailing bytes": (ed25519_line(GOOD_POINT, tail=b"\x00"), "1 bytes too many"),
    "cut blob": (line_of("ssh-ed25519", string(b"ssh-ed25519") + b"\0\0\0\x20abc"), "ends too early"),
    "31 bytes": (ed25519_line(GOOD_POINT[:31]), "has 32 bytes, not 31"),
    "33 bytes": (ed25519_line(GOOD_POINT + b"\0"), "has 32 bytes, not 33"),
    "blob too large": (rsa_line(mpint(65537), mpint(1 << 8 * MAX_BLOB)), "larger than"),
    "rsa 2047": (rsa_line(mpint(65537), mpint((1 << 2046) + 1)), "this one has 2047"),
    "rsa 16385": (rsa_line(mpint(65537), mpint((1 << 16384) + 1)), "this one has 16385"),
    "rsa even": (rsa_line(mpint(65537), mpint(MODULUS + 1)), "even number"),
    "rsa exponent 1": (rsa_line(mpint(1), mpint(MODULUS)), "exponent"),
    "rsa exponent even": (rsa_line(mpint(65536), mpint(MODULUS)), "exponent"),
    "rsa exponent huge": (rsa_line(mpint(2**32 + 1), mpint(MODULUS)), "exponent"),
    "rsa negative": (rsa_line(mpint(65537), string(b"\x80" + bytes(255))), "not positive"),
    "rsa no number": (rsa_line(string(b""), mpint(MODULUS)), "not positive"),
    "rsa zero": (rsa_line(string(b"\0"), mpint(MODULUS)), "zero or padded"),
    "rsa padded": (rsa_line(string(b"\0\x01\0\x01"), mpint(MODULUS)), "zero or padded"),
    "ecdsa other curve": (ecdsa_line(b"nistp384", b"\x04" + bytes(64)), "another curve"),
    "ecdsa compressed": (ecdsa_line(b"nistp256", b"\x02" + bytes(32)), "uncompressed"),
    "ecdsa hybrid": (ecdsa_line(b"nistp256", b"\x06" + bytes(64)), "uncompressed"),
    "ecdsa empty": (ecdsa_line(b"nistp256", b""), "uncompressed"),
}


@pytest.mark.parametrize(("line", "reason"), BAD_LINES.values(), ids=BAD_LINES.keys())
def test_a_line_that_is_no_single_acceptable_key_is_refused_with_the_reason(line: str, reason: str) -> None:
    with pytest.raises(ValueError) as refusal:
        PublicKey.parse(line)
    assert reason in str(refusal.value)
    assert str(refusal.value).isprintable()


@pytest.mark.parametrize("application", [b"", b"ssh: x", b"ssh:\n", b"\xff", b"s" * 256])
def test_a_hardware_key_with_an_unprintable_or_boundless_application_is_refused(application: bytes) -> None:
    name = "sk-ssh-ed25519@openssh.com"
    with pytest.raises(ValueError, match="names an application"):
        PublicKey(name, string(name.encode()) + string(GOOD_POINT) + string(application))


def test_a_key_cannot_be_built_around_the_parser() -> None:
    with pytest.raises(ValueError, match="not an accepted key type"):
        PublicKey("ssh-ed448", b"")
    with pytest.raises(ValueError, match="control or invisible"):
        PublicKey("ssh-ed25519", string(b"ssh-ed25519") + string(GOOD_POINT), "\x1b[2J")
    with pytest.raises(ValueError, match="certificates are not accepted"):
        PublicKey.from_blob(string(b"ssh-rsa-cert-v01@openssh.com"))


@pytest.mark.parametrize("exponent", [3, 65537, 2**32 - 1])
@pytest.mark.parametrize("modulus", [MODULUS, (1 << 16383) + 1], ids=["2048", "16384"])
def test_an_rsa_key_at_the_bounds_is_accepted(exponent: int, modulus: int) -> None:
    key = PublicKey.parse(rsa_line(mpint(exponent), mpint(modulus)))
    assert key.material == RsaModulus(exponent, modulus)


def small_order_coordinates() -> set[int]:
    """The y of every point of order 1, 2, 4 and 8, worked out from the curve -x² + y² = 1 + dx²y²."""
    d = -121665 * pow(121666, -1, PRIME) % PRIME
    root = pow(2, (PRIME - 1) // 4, PRIME)  # of -1
    # Doubling lands on a point of order 4 (y = 0) exactly where x² = -y², so d·y⁴ + 2y² - 1 = 0.
    discriminant = (1 + d) % PRIME
    candidate = pow(discriminant, (PRIME + 3) // 8, PRIME)
    square_root = candidate if candidate**2 % PRIME == discriminant else candidate * root % PRIME
    found = {0, 1, PRIME - 1}
    for sign in (1, -1):
        y_squared = (-1 + sign * square_root) * pow(d, -1, PRIME) % PRIME
        y = pow(y_squared, (PRIME + 3) // 8, PRIME)
        for guess in (y, y * root % PRIME):
            if guess**2 % PRIME == y_squared:
                found |= {guess, PRIME - guess}
    return found


def test_every_encoding_of_a_point_of_small_order_is_refused() -> None:
    coordinates = small_order_coordinates()
    assert len(coordinates) == 5
    encodings = [y + PRIME * shift for y in coordinates for shift in (0, 1) if y + PRIME * shift < 2**255]
    assert len(encodings) == 7
    for encoding in encodings:
        for sign in (0, 1 << 255):
            with pytest.raises(ValueError, match="small order"):
                PublicKey.parse(ed25519_line((encoding + sign).to_bytes(32, "little")))


@pytest.mark.parametrize("above", range(2, 19))
def test_a_point_whose_coordinate_is_not_reduced_is_refused(above: int) -> None:
    with pytest.raises(ValueError, match="canonical"):
        PublicKey.parse(ed25519_line((PRIME + above).to_bytes(32, "little")))


@given(st.text() | st.builds(lambda name, rest: f"{name} {rest}", st.sampled_from(ALGORITHMS), st.text()))
def test_whatever_is_given_as_a_line_is_a_key_or_a_value_error(line: str) -> None:
    try:
        key = PublicKey.parse(line)
    except ValueError:
        return
    assert PublicKey.parse(key.line) == key


@given(st.sampled_from(ALGORITHMS), st.lists(st.binary(max_size=140), max_size=4), st.binary(max_size=3))
def test_whatever_bytes_a_blob_holds_it_is_a_key_or_a_value_error(
    name: str, fields: list[bytes], tail: bytes
) -> None:
    blob = string(name.encode()) + b"".join(string(field) for field in fields) + tail
    try:
        key = PublicKey.from_blob(blob)
    except ValueError:
        return
    assert (key.algorithm, key.blob) == (name, blob)


@given(st.integers(min_value=1, max_value=2**600))
def test_every_positive_number_is_read_back_from_its_shortest_form(number: int) -> None:
    reader = WireReader(mpint(number), "number")
    assert reader.mpint() == number
    reader.end()
