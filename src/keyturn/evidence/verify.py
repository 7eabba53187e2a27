#!/usr/bin/env python3
"""Checks a bundle of a Keyturn log with nothing but Python's standard library (3.8 or later).

    python3 verify.py BUNDLE.zip --key VERIFIER [--witness KEY]… [--against FILE]… [--jobs N] [--json]

VERIFIER is the log's verifier string as you wrote it down when the log was founded, or had it from somebody you
trust; KEY is the verifier key of a witness that you trust. This file lies in every bundle. Whoever made the bundle
could have changed it there: take it from a release of Keyturn, or compare the two.

What is proved, by the numbers that `docs/format.md` and `keyturn audit verify` give it:

  1  every entry's bytes are canonical, and every field is as its kind defines
  2  every entry belongs to this log, follows the one before, and carries its leaf hash
  3  time never goes back
  4  every entry is signed by a key that the log admitted before it
  5  each signature is that key's, over exactly these bytes
  6  every payload opens its commitment; none is missing that the manifest says is there
  7  the leaf hashes in the tiles are those of the entries
  8  the file is a bundle: its members are those it must have, and no other
  9  what is told could have happened: every outcome has an intent, every intent the reviews that its request asks
     for, by people and keys that the policy of the time listed, none of them excluded, none too late; nothing ran
     while it was suspended; what operators signed is what was done; nothing is taken that is still needed; a policy
     that asks it for the next one was followed only by what as many of the people it names had signed for
 10  texts of policies and contracts have the digests that entries name
 12  it is the log that you named with --key
 14  the tree over the entries has the roots of the checkpoints, and the log key signed those; what a log says about
     the end of the one before, that one's key signed
 15  the log holds what you brought with --against
 17  where the rule that an action was requested under says anchor = "before", an anchor of its intent was recorded
     before an outcome with an effect (with Python 3.11 or later; earlier ones cannot read the policy, and say so)

Not proved here: that a policy loads with its contracts (10), passes its cases, asks of the next one what the entry
beside it says, and decides as it was decided (11), with its limits.
`keyturn audit verify BUNDLE.zip` derives decisions again.

Exit codes: 0 the log passes; 7 it does not; 11 nobody outside vouches for its end (only with --require-anchor);
2 the command is wrong; 1 there is nothing to read.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import hmac
import importlib.util
import json
import multiprocessing
import re
import stat
import struct
import sys
import zipfile
import zlib
from collections import deque
from datetime import datetime, timedelta
from typing import Any, Callable, Iterable, Iterator, NamedTuple, Optional, Sequence, Tuple

WIDTH = 256  # hashes of a full tile, entries of a full bundle of entries
MAX_BODY = 65_535
MAX_NOTE = 64 * 1024
MAX_MEMBER = {"manifest.json": 1 << 20, "verify.py": 1 << 20, "checkpoint": MAX_NOTE}
MAX_PAYLOADS = 256 << 20
SKEW = timedelta(minutes=5)
READS_POLICIES = importlib.util.find_spec("tomllib") is not None  # Python 3.11 or later
LONGEST_OVERRIDE = timedelta(days=7)  # of a freeze


class Misused(Exception):
    """What was brought proves nothing here, though it may be true."""


class Bad(Exception):
    """The first thing that is not proved: the entry (None where the file cannot be read so far), proof and reason."""

    def __init__(self, seq: int | None, proof: int, reason: str) -> None:
        super().__init__(reason)
        self.seq, self.proof, self.reason = seq, proof, reason


def need(holds: object, seq: int | None, proof: int, reason: str) -> None:
    """Raise `Bad` unless it holds."""
    if not holds:
        raise Bad(seq, proof, reason)


# ========================================================================================================= signatures
# Ed25519, RFC 8032. A point is (X, Y, Z, T) with x = X/Z, y = Y/Z, xy = T/Z. Nothing here is secret, so nothing needs
# to take equal time. Keys that sign much get a table of their multiples: then a signature costs 64 additions.

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
SQRT_OF_MINUS_1 = pow(2, (P - 1) // 4, P)
_OF_ORDER_8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
SMALL_ORDER = {0, 1, P - 1, P, P + 1, _OF_ORDER_8, P - _OF_ORDER_8}

Point = Tuple[int, int, int, int]
Step = Tuple[int, int, int, int]  # a point prepared for being added: y - x, y + x, 2dT, 2Z
NEUTRAL: Point = (0, 1, 1, 0)
HOT = 24  # signatures after which a key gets its table, which costs as much as thirty


def prepared(point: Point) -> Step:
    """Return a point as `added` takes it."""
    x, y, z, t = point
    return (y - x) % P, (y + x) % P, 2 * D * t % P, 2 * z % P


def added(point: Point, step: Step) -> Point:
    """Return the sum (RFC 8032 section 5.1.4)."""
    x, y, z, t = point
    a, b, c, d = (y - x) * step[0] % P, (y + x) * step[1] % P, t * step[2] % P, z * step[3] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def doubled(point: Point) -> Point:
    """Return twice the point (RFC 8032 section 5.1.4)."""
    x, y, z, _ = point
    a, b = x * x % P, y * y % P
    h = a + b
    e = h - (x + y) * (x + y) % P
    g = a - b
    f = 2 * z * z + g
    return e * f % P, g * h % P, f * g % P, e * h % P


def encoded(point: Point) -> bytes:
    """Return the 32 bytes of a point."""
    x, y, z, _ = point
    inverse = pow(z, -1, P)
    return (y * inverse % P | (x * inverse % P & 1) << 255).to_bytes(32, "little")


def point_of(raw: bytes) -> Point | None:
    """Return the point that 32 bytes encode, None if they encode none (RFC 8032 section 5.1.3)."""
    number = int.from_bytes(raw, "little")
    sign, y = number >> 255, number & (2**255 - 1)
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * SQRT_OF_MINUS_1 % P
    if x * x % P != square or (x == 0 and sign):
        return None
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


class Multiples:
    """A table of the multiples of a point: of each byte of a scalar what it adds."""

    def __init__(self, point: Point) -> None:
        self.rows: list[list[Step]] = []
        for _ in range(32):
            step, multiple, row = prepared(point), NEUTRAL, []
            for _ in range(256):
                row.append(prepared(multiple))
                multiple = added(multiple, step)
            self.rows.append(row)
            point = multiple  # 256 times the point

    def add_to(self, total: Point, scalar: int) -> Point:
        """Return `total` plus `scalar` times the point."""
        for row, byte in zip(self.rows, scalar.to_bytes(32, "little")):
            if byte:
                total = added(total, row[byte])
        return total


def add_multiple(total: Point, scalar: int, point: Point) -> Point:
    """Return `total` plus `scalar` times a point that has no table."""
    steps, multiple = [], NEUTRAL
    for _ in range(16):
        steps.append(prepared(multiple))
        multiple = added(multiple, prepared(point))
    result = NEUTRAL
    for shift in range(252, -4, -4):
        for _ in range(4):
            result = doubled(result)
        result = added(result, steps[scalar >> shift & 15])
    return added(total, prepared(result))


class Ed25519Key:
    """A public key; `raw` is its 32 bytes. Raises `ValueError` for a key that must never be trusted."""

    base: Multiples | None = None

    def __init__(self, raw: bytes) -> None:
        if len(raw) != 32:
            raise ValueError("an Ed25519 key has 32 bytes")
        y = int.from_bytes(raw, "little") & (2**255 - 1)
        if y in SMALL_ORDER:
            raise ValueError("the key is a point of small order")
        if y >= P:
            raise ValueError("the key is not canonically encoded")
        self.raw = raw
        self.kid = hashlib.sha256(b"\1" + raw).hexdigest()[:32]
        point = point_of(raw)
        self.minus = point and (P - point[0], point[1], 1, P - point[3])
        self.uses = 0
        self.table: Multiples | None = None

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Tell whether [S]B - [k]A is R, byte for byte and without the cofactor, with S below the group's order."""
        if len(signature) != 64 or self.minus is None:
            return False
        s = int.from_bytes(signature[32:], "little")
        if s >= ORDER:
            return False
        k = int.from_bytes(hashlib.sha512(signature[:32] + self.raw + message).digest(), "little") % ORDER
        self.uses += 1
        if self.uses == HOT:
            self.table = Multiples(self.minus)
        if Ed25519Key.base is None:
            Ed25519Key.base = Multiples(BASE_POINT)
        total = Ed25519Key.base.add_to(NEUTRAL, s)
        total = add_multiple(total, k, self.minus) if self.table is None else self.table.add_to(total, k)
        return encoded(total) == signature[:32]


_base = point_of((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))
BASE_POINT: Point = _base if _base is not None else NEUTRAL


class Curve(NamedTuple):
    """A curve y² = x³ - 3x + b over the integers modulo p, with a point of prime order n (FIPS 186-5)."""

    p: int
    b: int
    n: int
    x: int
    y: int
    size: int
    digest: str


_P256 = 2**256 - 2**224 + 2**192 + 2**96 - 1
_P384 = 2**384 - 2**128 - 2**96 + 2**32 - 1
CURVES = {
    b"nistp256": Curve(
        _P256,
        0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B,
        0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
        0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
        0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
        32,
        "sha256",
    ),
    b"nistp384": Curve(
        _P384,
        0xB3312FA7E23EE7E4988E056BE3F82D19181D9C6EFE8141120314088F5013875AC656398D8A2ED19D2A85C8EDD3EC2AEF,
        0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973,
        0xAA87CA22BE8B05378EB1C71EF320AD746E1D3B628BA79B9859F741E082542A385502F25DBF55296C3A545E3872760AB7,
        0x3617DE4A96262C6F5D9E98BF9292DC29F8F41DBD289A147CE9DA3113B5F0B8C00A60B1CE1D7E819D7A431D7C90EA0E5F,
        48,
        "sha384",
    ),
    b"nistp521": Curve(
        2**521 - 1,
        int(
            "0051953EB9618E1C9A1F929A21A0B68540EEA2DA725B99B315F3B8B489918EF109"
            "E156193951EC7E937B1652C0BD3BB1BF073573DF883D2C34F1EF451FD46B503F00",
            16,
        ),
        2**521 - 6 * 2**256 + 0x51868783BF2F966B7FCC0148F709A5D03BB5C9B8899C47AEBB6FB71E91386409,
        int(
            "00C6858E06B70404E9CD9E3ECB662395B4429C648139053FB521F828AF606B4D3D"
            "BAA14B5E77EFE75928FE1DC127A2FFA8DE3348B3C1856A429BF97E7E31C2E5BD66",
            16,
        ),
        int(
            "011839296A789A3BC0045C8A5FB42C7D1BD998F54449579B446817AFBD17273E66"
            "2C97EE72995EF42640C550B9013FAD0761353C7086A272C24088BE94769FD16650",
            16,
        ),
        66,
        "sha512",
    ),
}


def plus(curve: Curve, one: tuple[int, int] | None, two: tuple[int, int] | None) -> tuple[int, int] | None:
    """Return the sum of two points of a curve; None is the neutral one."""
    if one is None or two is None:
        return one or two
    (x1, y1), (x2, y2), p = one, two, curve.p
    if x1 == x2 and (y1 + y2) % p == 0:
        return None
    rise, run = (y2 - y1, x2 - x1) if x1 != x2 else (3 * x1 * x1 - 3, 2 * y1)
    slope = rise * pow(run, -1, p) % p
    x = (slope * slope - x1 - x2) % p
    return x, (slope * (x1 - x) - y1) % p


def ecdsa_verifies(curve: Curve, public: tuple[int, int], r: int, s: int, message: bytes) -> bool:
    """Tell whether (r, s) is a signature by a public point (FIPS 186-5 section 6.4.2)."""
    (x, y), n = public, curve.n
    if max(x, y) >= curve.p or (y * y - x * x * x + 3 * x - curve.b) % curve.p or not (0 < r < n and 0 < s < n):
        return False
    digest = hashlib.new(curve.digest, message).digest()
    e = int.from_bytes(digest, "big") >> max(0, 8 * len(digest) - n.bit_length())
    inverse = pow(s, -1, n)
    u, v, base = e * inverse % n, r * inverse % n, (curve.x, curve.y)
    both, total = plus(curve, base, public), None
    for bit in range(max(u.bit_length(), v.bit_length()) - 1, -1, -1):
        total = plus(curve, total, total)
        total = plus(curve, total, (None, base, public, both)[(u >> bit & 1) | (v >> bit & 1) << 1])
    return total is not None and total[0] % n == r


SHA512_INFO = bytes.fromhex("3051300d060960864801650304020305000440")


def rsa_verifies(exponent: int, modulus: int, signature: bytes, message: bytes) -> bool:
    """Tell whether a signature is RSASSA-PKCS1-v1_5 with SHA-512 (RFC 8017 section 8.2.2)."""
    size = (modulus.bit_length() + 7) // 8
    number = int.from_bytes(signature, "big")
    if len(signature) != size or number >= modulus:
        return False
    ending = b"\0" + SHA512_INFO + hashlib.sha512(message).digest()
    expected = b"\0\1" + b"\xff" * (size - 2 - len(ending)) + ending
    return pow(number, exponent, modulus).to_bytes(size, "big") == expected


# ===================================================================================================== SSH signatures


class Wire:
    """Reads the fields of SSH's wire format (RFC 4251 section 5); raises `ValueError` for any other spelling."""

    def __init__(self, data: bytes) -> None:
        self.data, self.place = data, 0

    def take(self, count: int) -> bytes:
        """Return the next bytes."""
        taken = self.data[self.place : self.place + count]
        if len(taken) != count:
            raise ValueError("it ends too early")
        self.place += count
        return taken

    def number(self) -> int:
        """Return four bytes as a number."""
        return int.from_bytes(self.take(4), "big")

    def text(self) -> bytes:
        """Return a string with its length before it."""
        return self.take(self.number())

    def integer(self) -> int:
        """Return a positive number in its shortest form."""
        data = self.text()
        if not data or data[0] >= 0x80 or (data[0] == 0 and (len(data) == 1 or data[1] < 0x80)):
            raise ValueError("a number is not positive, or padded")
        return int.from_bytes(data, "big")

    def end(self) -> None:
        """Refuse what is left."""
        if self.place != len(self.data):
            raise ValueError("bytes are left over")


ECDSA_TYPES = {
    b"ecdsa-sha2-nistp256": b"nistp256",
    b"ecdsa-sha2-nistp384": b"nistp384",
    b"ecdsa-sha2-nistp521": b"nistp521",
    b"sk-ecdsa-sha2-nistp256@openssh.com": b"nistp256",
}
ED25519_TYPES = (b"ssh-ed25519", b"sk-ssh-ed25519@openssh.com")


class SshKey:
    """A person's public key, from its wire encoding. Raises `ValueError` unless it is one that may sign."""

    def __init__(self, blob: bytes) -> None:
        if len(blob) > 4096:
            raise ValueError("the key is too large")
        wire = Wire(blob)
        self.blob, self.type = blob, wire.text()
        self.hardware = self.type.startswith(b"sk-")
        self.check = self._material(wire)
        self.application = wire.text() if self.hardware else b"ssh:"
        plain = all(0x20 < byte < 0x7F for byte in self.application)
        if not plain or not 0 < len(self.application) <= 255:
            raise ValueError("the key names no application")
        wire.end()
        self.fingerprint = "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")

    def _material(self, wire: Wire) -> Callable[[bytes, bytes], bool]:
        """Read the numbers of the key; return what tells whether a message bears a signature."""
        if self.type in ED25519_TYPES:
            key = Ed25519Key(wire.text())
            return key.verifies
        if self.type == b"ssh-rsa":
            exponent, modulus = wire.integer(), wire.integer()
            sound = 2048 <= modulus.bit_length() <= 16384 and modulus & exponent & 1 and 3 <= exponent < 2**32
            if not sound:
                raise ValueError("the RSA key is too short, or its numbers are none of a key")
            return lambda message, signature: rsa_verifies(exponent, modulus, signature, message)
        if self.type in ECDSA_TYPES:
            return self._ecdsa(wire)
        raise ValueError("keys of this type are not accepted")

    def _ecdsa(self, wire: Wire) -> Callable[[bytes, bytes], bool]:
        name, point = wire.text(), wire.text()
        curve = CURVES[ECDSA_TYPES[self.type]]
        if name != ECDSA_TYPES[self.type] or len(point) != 1 + 2 * curve.size or point[0] != 4:
            raise ValueError("the ECDSA key is not a point as its type says")
        x, y = (int.from_bytes(half, "big") for half in (point[1 : 1 + curve.size], point[1 + curve.size :]))

        def check(message: bytes, signature: bytes) -> bool:
            inner = Wire(signature)
            r, s = inner.integer(), inner.integer()
            inner.end()
            return ecdsa_verifies(curve, (x, y), r, s, message)

        return check


KEYS: dict[bytes, SshKey] = {}


def ssh_key(blob: bytes) -> SshKey:
    """Return a key, each made once: those that sign much are made faster."""
    if blob not in KEYS:
        if len(KEYS) >= 4096:
            KEYS.clear()
        KEYS[blob] = SshKey(blob)
    return KEYS[blob]


def ssh_key_of(line: str) -> SshKey:
    """Read "type base64" as entries write it. Raises `ValueError`."""
    name, gap, text = line.partition(" ")
    key = ssh_key(from_base64(text))
    if not gap or key.type != name.encode():
        raise ValueError("a key's type is not that of its bytes")
    return key


class SshSignature(NamedTuple):
    """Whose signature it is; of a hardware key whether somebody touched it and gave its PIN, else None."""

    key: SshKey
    present: bool | None
    pinned: bool | None


def ssh_verify(message: bytes, blob: bytes, namespace: bytes) -> SshSignature:
    """Return who signed a message in a namespace (OpenSSH PROTOCOL.sshsig). Raises `ValueError` if nobody did."""
    if len(blob) > 8192:
        raise ValueError("the signature is too large")
    wire = Wire(blob)
    if wire.take(6) != b"SSHSIG" or wire.number() != 1:
        raise ValueError("it is no SSH signature of version 1")
    key, found, reserved, hash_name, inner = ssh_key(wire.text()), *(wire.text() for _ in range(4))
    wire.end()
    if found != namespace:
        raise ValueError("the signature was made for another namespace")
    if reserved or hash_name not in (b"sha512", b"sha256"):
        raise ValueError("the signature is not of the form that is accepted")
    digest = hashlib.new(hash_name.decode(), message).digest()
    covered = b"SSHSIG" + b"".join(struct.pack(">I", len(x)) + x for x in (namespace, b"", hash_name, digest))
    wire = Wire(inner)
    if wire.text() != (b"rsa-sha2-512" if key.type == b"ssh-rsa" else key.type):
        raise ValueError("the signature is not of the key's type")
    signature = wire.text()
    flags, counter = (wire.take(1), wire.take(4)) if key.hardware else (b"", b"")
    wire.end()
    if key.hardware:
        if not key.application.startswith(b"ssh:"):
            raise ValueError("the hardware key is not bound to ssh:")
        covered = hashlib.sha256(key.application).digest() + flags + counter + hashlib.sha256(covered).digest()
    if not key.check(covered, signature):
        raise ValueError("the signature does not fit this message and key")
    return SshSignature(key, bool(flags[0] & 1) if flags else None, bool(flags[0] & 4) if flags else None)


# ============================================================================================= canonical JSON, fields


def from_base64(text: str) -> bytes:
    """Decode base64 in its one spelling. Raises `ValueError`."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValueError("not base64") from error
    if base64.b64encode(data).decode() != text:
        raise ValueError("not canonical base64")
    return data


def canonical(value: Any) -> bytes:
    """Return the one spelling of a value (RFC 8785 on our profile)."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
    return text.encode("utf-8")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs) or not all(name.isascii() for name in members):
        raise ValueError("a member stands twice, or its name is not in ASCII")
    return members


def _integer(text: str) -> int:
    if len(text) > 17 or abs(int(text)) >= 2**53:
        raise ValueError("a number is too large")
    return int(text)


def _no_float(text: str) -> Any:
    raise ValueError("a number is not an integer")


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(_depth, inner), default=0)


def read_json(data: bytes) -> Any:
    """Read canonical JSON. Raises `ValueError` for any other bytes."""
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_int=_integer,
            parse_float=_no_float,
            parse_constant=_no_float,
        )
        if canonical(value) != data:
            raise ValueError("not canonical")
        if data.count(b"{") + data.count(b"[") > 64 and _depth(value) > 64:
            raise ValueError("nested too deep")
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    return value


Check = Callable[[Any], bool]
HIDDEN = (
    "\\x00-\\x1f\\x7f-\\x9f\\xad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb"
    "\\U000e0000-\\U000e007f"
)


def matching(pattern: str) -> Check:
    """Take texts that match the whole pattern."""
    found = re.compile(pattern, re.ASCII).fullmatch
    return lambda value: isinstance(value, str) and found(value) is not None


def words(limit: int) -> Check:
    """Take 1 to `limit` characters, none of them hidden."""
    return matching(f"[^{HIDDEN}]{{1,{limit}}}")


def whole(least: int = 0) -> Check:
    """Take integers from `least` on."""
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= least


def one_of(*known: str) -> Check:
    """Take some texts."""
    return lambda value: isinstance(value, str) and value in known


def maybe(check: Check) -> Check:
    """Take null, or what `check` takes."""
    return lambda value: value is None or check(value)


def many(check: Check) -> Check:
    """Take a list of at most 256 items."""
    return lambda value: isinstance(value, list) and len(value) <= 256 and all(map(check, value))


def table(check: Check, names: Check, least: int = 0, most: int = 256) -> Check:
    """Take an object with names of a kind."""
    return lambda value: (
        isinstance(value, dict)
        and least <= len(value) <= most
        and all(names(name) and check(item) for name, item in value.items())
    )


def members(**checks: Check) -> dict[str, Check]:
    """Return members by name; a trailing underscore keeps a name off a word of Python."""
    return {name.rstrip("_"): check for name, check in checks.items()}


def record(**named: Check) -> Check:
    """Take an object of exactly these members."""
    checks = members(**named)
    return lambda value: isinstance(value, dict) and wrong_member(value, checks) is None


def wrong_member(value: dict[str, Any], checks: dict[str, Check]) -> str | None:
    """Name the first member that is missing, wrong or unknown."""
    for name, check in checks.items():
        if name not in value:
            return name + " is missing"
        if not check(value[name]):
            return name + " is not as its kind defines"
    return min(value.keys() - checks.keys()) + " is not known" if len(value) > len(checks) else None


def encoded_in_base64(*lengths: int) -> Check:
    """Take canonical base64, of one of these numbers of bytes if any are given."""

    def check(value: Any) -> bool:
        try:
            size = len(from_base64(value))
        except (ValueError, AttributeError):
            return False
        return not lengths or size in lengths

    return check


_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T([01]\d|2[0-3]):\d{2}:\d{2}\.\d{6}Z", re.ASCII)


def time_of(text: str) -> datetime:
    """Read a time as entries write it, in UTC. Raises `ValueError`."""
    if not _TIME.fullmatch(text):
        raise ValueError("not a time")
    return datetime.fromisoformat(text[:-1])


def is_time(value: Any) -> bool:
    """Tell whether a value is a time that exists."""
    try:
        return isinstance(value, str) and time_of(value) is not None
    except ValueError:
        return False


def is_bool(value: Any) -> bool:
    """Take true and false."""
    return isinstance(value, bool)


name, key_line, blob = words(200), words(3000), encoded_in_base64()
digest, commitment = matching("sha256:[0-9a-f]{64}"), matching("hmac-sha256:[0-9a-f]{64}")
uuid = matching("[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
payload_field = matching(r"[a-z][a-z0-9_]*(\.[A-Za-z0-9_]+)*")
kid, hash_hex = matching("[0-9a-f]{32}"), matching("[0-9a-f]{64}")

REVIEW = record(
    type=one_of("keyturn.review/v1"), log=name, action=uuid, digest=digest, verdict=one_of("approve", "reject"),
    reviewer=name, reason=commitment, at=is_time,
)  # fmt: skip
STATEMENT = record(
    type=one_of("keyturn.act/v1"), log=name, after=whole(), verb=matching("[a-z]+\\.[a-z]+"), object=name,
    digest=digest, by=name, at=is_time,
)  # fmt: skip
ACT = record(statement=STATEMENT, signature=blob)
ACTOR = record(type=one_of("principal", "person", "account", "policy"), name=name)
SCOPE = record(type=one_of("principal", "tool", "environment", "all"), name=maybe(words(100)))
BACKEND = record(port=name, name=name, kind=name, location=words(1000), account=lambda v: v == "" or name(v))
EFFECTS = record(calls=whole(), files_changed=whole(), lines_changed=whole(), recipients=whole())
END = record(size=whole(1), leaf=hash_hex)
CLOCK = record(boot=words(64), wall=is_time, up=whole())
OBLIGATION = record(
    rule=name, quorum=whole(1), from_=many(name), reviewers=many(name), rejects=whole(1),
    keys=one_of("any", "hardware", "hardware+pin"), escalate=many(record(after=whole(), reviewers=many(name))),
)  # fmt: skip
AMOUNTS = record(cost=whole(), runtime=whole())
UNDONE = record(action=uuid, digest=digest, request=whole(), outcome=whole())

WHO: dict[str, Check] = members(principal=name, owner=maybe(name), token=digest, transport=name)
WHERE: dict[str, Check] = members(backend=BACKEND, target=words(500), environment=name)
REQUEST: dict[str, Check] = members(
    **WHO, **WHERE, tool=name, contract=name, policy=digest, decision=one_of("permit", "hold", "shadow"),
    rules=many(name), obligations=many(OBLIGATION), reviewers=table(many(key_line), name), excluded=many(name),
    effects=EFFECTS, expires_at=is_time, repeat=is_bool, supersedes=maybe(uuid),
)  # fmt: skip
KINDS: dict[str, dict[str, Check]] = {
    "log.opened": members(format=one_of("keyturn-ledger/v1"), nonce=hash_hex, verifier=words(300)),
    "key.added": members(key=encoded_in_base64(32), proof=encoded_in_base64(64)),
    "policy.activated": members(
        policy=digest, previous=maybe(digest), reviewers=table(many(key_line), name), act=maybe(ACT)
    ),
    "policy.guarded": members(policy=digest, quorum=whole(1), from_=many(name), reviewers=many(name)),
    "policy.proposed": members(policy=digest, previous=digest, by=ACTOR),
    "policy.endorsed": members(policy=digest, proposal=whole(), act=ACT),
    "catalog.published": members(catalog=digest, contracts=table(name, name)),
    "token.issued": members(
        token=digest, principal=name, transports=many(name), scopes=maybe(many(name)), expires_at=is_time,
        act=maybe(ACT),
    ),
    "token.revoked": members(token=digest, by=ACTOR),
    "read.served": members(**WHO, **WHERE, tool=name, contract=name, policy=digest, rules=many(name)),
    "action.requested": REQUEST,
    "action.undoing": {**REQUEST, **members(token=maybe(digest), undoes=UNDONE, act=maybe(ACT))},
    "action.reserved": members(amounts=AMOUNTS),
    "action.withheld": members(rules=many(name)),
    "action.released": members(act=ACT),
    "action.denied": members(
        **WHO, tool=maybe(name), stage=one_of("contract", "screen", "plan", "policy"),
        codes=many(record(code=name, rule=maybe(name))), arguments_bytes=whole(), policy=digest,
        target=maybe(words(500)), environment=maybe(name),
    ),
    "requests.throttled": members(principal=name, count=whole(1), code=name, since=is_time, until=is_time),
    "action.reviewed": members(
        reviewer=name, verdict=one_of("approve", "reject"), key=name, statement=REVIEW, signature=blob
    ),
    "action.cancelled": members(by=ACTOR),
    "action.expired": {},
    "action.stale": members(stage=one_of("claim", "superseded"), codes=many(name), superseded_by=maybe(uuid)),
    "execution.started": members(instance=kid, reviews=many(whole()), policy=digest),
    "execution.finished": members(
        instance=kid, outcome=one_of("succeeded", "failed", "stale", "unknown", "shadowed"), effect=maybe(is_bool),
        recovered=is_bool,
    ),
    "execution.resolved": members(
        outcome=one_of("succeeded", "failed"), effect=is_bool, method=one_of("probe", "operator"), act=maybe(ACT)
    ),
    "suspension.set": members(scope=SCOPE, mode=one_of("suspended", "read-only"), by=ACTOR),
    "suspension.lifted": members(scope=SCOPE, act=ACT),
    "freeze.overridden": members(freeze=name, until=is_time, act=ACT),
    "recovery": members(
        reason=one_of("restored", "clock"), size=whole(1), leaf=hash_hex, missing=maybe(END), clock=maybe(CLOCK),
        act=ACT,
    ),
    "anchor.recorded": members(
        anchor=name, type=one_of("file", "git", "witness", "rfc3161"), size=whole(1), root=hash_hex
    ),
    "key.revoked": members(revoked=kid, reason=one_of("rotated", "compromised"), act=ACT),
    "payload.erased": members(entry=whole(), field=payload_field, basis=name, act=ACT),
    "payloads.pruned": members(environment=maybe(name), before=whole(1), basis=name, act=ACT),
    "log.closed": members(successor=maybe(words(300)), act=ACT),
    "log.succeeds": members(verifier=words(300), size=whole(1), root=hash_hex),
}  # fmt: skip
FRAME: dict[str, Check] = members(
    v=lambda value: value == 1 and not isinstance(value, bool), log=name, seq=whole(), prev=hash_hex, ts=is_time,
    boot=words(64), up=whole(), kid=kid, kind=words(64),
)  # fmt: skip
DATA = table(commitment, payload_field, 1, 64)
REQUESTS = ("action.requested", "action.undoing")
BY_THE_LOG_KEY = ("log.opened", "key.added", "key.revoked", "log.closed", "log.succeeds")
# Never erased, either.
ALWAYS_DISCLOSED = ("policy.files", "catalog.files", "anchor.note", "anchor.token", "predecessor.note")


# ===================================================================================================== tree and notes


def leaf_hash(body: bytes) -> bytes:
    """Return the hash of a leaf (RFC 6962 section 2.1)."""
    return hashlib.sha256(b"\0" + body).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of two nodes (RFC 6962 section 2.1)."""
    return hashlib.sha256(b"\1" + left + right).digest()


def complete_parts(nodes: Sequence[bytes]) -> list[bytes]:
    """Return the roots of the complete subtrees over a row of nodes, the largest first."""
    parts: list[bytes] = []
    begin = 0
    for bit in range(8, -1, -1):
        if len(nodes) & 1 << bit:
            row = list(nodes[begin : begin + (1 << bit)])
            begin += len(row)
            while len(row) > 1:
                row = [node_hash(row[i], row[i + 1]) for i in range(0, len(row), 2)]
            parts += row
    return parts


class Tree:
    """The tree over the leaves taken so far: of each level that tiles have, its nodes (leaves: of the last tile)."""

    def __init__(self, tile: Callable[[int, int], Sequence[bytes]]) -> None:
        self.tile = tile
        self.size = 0
        self.levels: list[list[bytes]] = [[]]

    def add(self, leaf: bytes) -> None:
        """Take the next leaf; each node of a higher level that it completes must be the one in the bundle."""
        if self.size % WIDTH == 0:
            self.levels[0] = []
        self.levels[0].append(leaf)
        self.size += 1
        level, count = 0, self.size
        while count % WIDTH == 0:
            (root,) = complete_parts(self.levels[level][-WIDTH:])
            level, count = level + 1, count // WIDTH
            if level == len(self.levels):
                self.levels.append([])
            self.levels[level].append(root)
            place = count - 1
            kept = self.tile(level, place // WIDTH)[place % WIDTH]
            need(kept == root, self.size - 1, 14, "a hash in a tile is not that of the entries below it")

    def root(self, size: int) -> bytes:
        """Return the root over the first `size` leaves, of which there are as many."""
        parts: list[bytes] = []
        for level in range(len(self.levels) - 1, -1, -1):
            count = size >> 8 * level
            first = count - count % WIDTH
            if count > first:
                parts += complete_parts(self._nodes(level, first, count))
        root = parts.pop()
        while parts:
            root = node_hash(parts.pop(), root)
        return root

    def _nodes(self, level: int, first: int, end: int) -> Sequence[bytes]:
        if level:
            return self.levels[level][first:end]
        if first == (self.size - 1) // WIDTH * WIDTH:
            return self.levels[0][: end - first]
        return self.tile(0, first // WIDTH)[: end - first]  # held against its entries when they were read


class NoteKey:
    """A verifier key of signed notes: a name, an algorithm (1: Ed25519, 4: cosignature), a public key."""

    def __init__(self, text: str) -> None:
        parts = text.split("+", 2)
        if len(parts) != 3 or not re.fullmatch(r"[^\s+]+", parts[0]):
            raise ValueError("a verifier key has the form NAME+8 HEX DIGITS+BASE64")
        self.name, data = parts[0], from_base64(parts[2])
        if data[:1] not in (b"\1", b"\4"):
            raise ValueError("the key is neither of a log nor of a witness")
        self.id = hashlib.sha256(self.name.encode() + b"\n" + data).digest()[:4]
        if self.id.hex() != parts[1]:
            raise ValueError("the key id does not belong to this name and key")
        self.witness, self.key, self.text = data[0] == 4, Ed25519Key(data[1:]), text

    def time_of(self, text: str, signature: bytes) -> int | None:
        """Return the time of a cosignature, None of a log's signature. Raises `ValueError` unless it verifies."""
        time, message = None, text.encode("utf-8")
        if self.witness:
            time, signature = int.from_bytes(signature[:8], "big"), signature[8:]
            message = f"cosignature/v1\ntime {time}\n{text}".encode()
        if (time or 0) >= 2**63 or not self.key.verifies(message, signature):
            raise ValueError("the signature of " + self.name + " does not verify")
        return time


def log_key_of(text: str) -> NoteKey:
    """Read the verifier string of a log. Raises `ValueError`."""
    key = NoteKey(text)
    if key.witness or not re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,62}/[0-9a-f]{32}", key.name, re.ASCII):
        raise ValueError("it is not the verifier string of a log")
    return key


class Note:
    """A checkpoint as a signed note, read strictly (C2SP signed-note, tlog-checkpoint). Raises `ValueError`."""

    def __init__(self, data: bytes) -> None:
        if len(data) > MAX_NOTE:
            raise ValueError("the note is too large")
        head, gap, tail = data.decode("utf-8").rpartition("\n\n")
        self.text = head + "\n"
        if not gap or not tail.endswith("\n") or re.search("[\0-\x09\x0b-\x1f]", head):
            raise ValueError("it is no signed note")
        self.signatures = [self._signature(line) for line in tail[:-1].split("\n")]
        if len(self.signatures) > 100:
            raise ValueError("the note carries too many signatures")
        lines = head.split("\n")
        if len(lines) < 3 or "" in lines or not re.fullmatch("0|[1-9][0-9]{0,18}", lines[1], re.ASCII):
            raise ValueError("it is no checkpoint")
        self.origin, self.size, self.root = lines[0], int(lines[1]), from_base64(lines[2])
        if len(self.root) != 32 or self.size >= 2**63:
            raise ValueError("it is no checkpoint")

    @staticmethod
    def _signature(line: str) -> tuple[str, bytes, bytes]:
        match = re.fullmatch("\N{EM DASH} ([^\\s+]+) (\\S+)", line)
        data = from_base64(match.group(2)) if match else b""
        if match is None or len(data) <= 4:
            raise ValueError("a line of the note is no signature")
        return match.group(1), data[:4], data[4:]

    def cosigned(self, log: NoteKey, witnesses: Iterable[NoteKey]) -> dict[str, int]:
        """Return which witnesses cosigned it and when, in seconds since 1970.

        Raises `ValueError` unless it is of this log, the log key signed it, and no known key's signature is bad.
        """
        if self.origin != log.name:
            raise ValueError("it is of another log, " + self.origin)
        known = {(key.name, key.id): key for key in (log, *witnesses)}
        times: dict[str, int] = {}
        by_the_log = False
        for named, key_id, signature in self.signatures:
            key = known.get((named, key_id))
            if key is None:
                continue
            time = key.time_of(self.text, signature)
            by_the_log = by_the_log or key is log
            if time is not None:
                times.setdefault(key.name + "+" + key.id.hex(), time)
        if not by_the_log:
            raise ValueError("the log key has not signed it")
        return times


# ========================================================================================================= the bundle

_ZIP_ERRORS = (
    zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, struct.error, ValueError, OSError,
    OverflowError, LookupError,
)  # fmt: skip


def numbered(index: int) -> str:
    """Return an index as tlog-tiles writes it: 1234067 is x001/x234/067."""
    text = f"{index % 1000:03d}"
    while index >= 1000:
        index //= 1000
        text = f"x{index % 1000:03d}/{text}"
    return text


def partial(path: str, index: int, count: int) -> str:
    """Return the path of tile `index` of a row of `count` hashes or entries."""
    width = min(WIDTH, count - index * WIDTH)
    return path + numbered(index) + ("" if width == WIDTH else f".p/{width}")


LAST = struct.Struct("<4s4H2LH")  # the record that ends a ZIP
MOST_QUOTES = WIDTH * (2 + 64 * 10)  # in the payloads of a group: of numbers, and of 64 fields with two members each


class Row(NamedTuple):
    """One entry as a bundle holds it; `payloads` by field, each its salt and its bytes."""

    seq: int
    body: bytes
    signature: bytes
    leaf: bytes
    payloads: dict[str, tuple[bytes, bytes]]


class Bundle:
    """A ZIP that holds a log. Nothing is unpacked to a disk, and no member is read beyond what it may hold."""

    def __init__(self, path: str) -> None:
        self.file = open(path, "rb")  # noqa: PTH123, SIM115 - open for as long as the bundle is looked at
        self._tile: tuple[tuple[int, int], Sequence[bytes]] = ((-1, -1), ())
        self._bodies: tuple[int, list[bytes]] = (-1, [])
        self._group: tuple[int, dict[int, dict[str, tuple[bytes, bytes]]]] = (-1, {})
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        try:
            self.archive = zipfile.ZipFile(self.file)
            self.members = self._members()
        except _ZIP_ERRORS as error:
            raise Bad(None, 8, f"it is no sound ZIP: {error}") from error
        self.manifest = self._manifest()
        self.size: int = self.manifest["size"]
        self._expect()
        self.notes = sorted(self._notes())

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def _members(self) -> dict[str, zipfile.ZipInfo]:
        members: dict[str, zipfile.ZipInfo] = {}
        self._check_end()
        for info in self.archive.infolist():
            path, kind = info.orig_filename, info.external_attr >> 16
            leads_out = path.startswith(("/", "\\")) or ".." in path.split("/") or ":" in path or "\\" in path
            need(not leads_out, None, 8, f"the member {path!r} leads out of the archive")
            need(path not in members, None, 8, f"the member {path!r} is there twice")
            plain = stat.S_IFMT(kind) in (0, stat.S_IFREG) and not info.flag_bits & 1 and path == info.filename
            need(plain, None, 8, f"the member {path!r} is no plain file")
            need(info.compress_type in (0, 8), None, 8, f"the member {path!r} is packed in another way")
            members[path] = info
        self._check_places()
        return members

    def _check_end(self) -> None:
        """Prove 8 of both ends: no bytes are beyond them, and the last record says where the members are."""
        self.file.seek(-LAST.size, 2)
        mark, _, _, _, count, _, offset, comment = LAST.unpack(self.file.read(LAST.size))
        first = min((info.header_offset for info in self.archive.infolist()), default=0)
        around = mark != b"PK\5\6" or comment or first
        need(not around, None, 8, "something stands around the ZIP")
        read = (count in (len(self.archive.infolist()), 0xFFFF), offset in (self.archive.start_dir, 0xFFFFFFFF))
        need(all(read), None, 8, "the ZIP says in two ways where its members are")

    def _check_places(self) -> None:
        """Prove 8 of the places: no member reaches into what is after it."""
        place = 0
        for info in sorted(self.archive.infolist(), key=lambda info: info.header_offset):
            need(place <= info.header_offset, None, 8, "members of the ZIP overlap")
            self.file.seek(info.header_offset + 26)
            name, extra = struct.unpack("<HH", self.file.read(4))
            place = info.header_offset + 30 + name + extra + info.compress_size
        need(place <= self.archive.start_dir, None, 8, "members of the ZIP overlap")

    def read(self, path: str, most: int) -> bytes:
        """Return a member of at most so many bytes."""
        need(path in self.members, None, 8, f"the member {path!r} is missing")
        info = self.members[path]
        need(info.file_size <= most, None, 8, f"the member {path!r} is larger than it may be")
        try:
            with self.archive.open(info) as member:
                data = member.read(most + 1)
        except _ZIP_ERRORS as error:
            raise Bad(None, 8, f"the member {path!r} cannot be read: {error}") from error
        need(len(data) == info.file_size, None, 8, f"the member {path!r} is not as long as it says")
        return data

    def _manifest(self) -> dict[str, Any]:
        payloads = record(
            actions=maybe(lambda v: isinstance(v, list) and len(v) <= 10_000 and all(map(uuid, v))),
            end=whole(), first=whole(), withheld=many(lambda v: payload_field(v) and v not in ALWAYS_DISCLOSED),
        )  # fmt: skip
        form = members(format=one_of("keyturn-bundle/v1"), payloads=payloads, size=whole(1), verifier=words(300))
        try:
            manifest = read_json(self.read("manifest.json", MAX_MEMBER["manifest.json"]))
            wrong = wrong_member(manifest, form) if isinstance(manifest, dict) else "it is no object"
            if not wrong:
                self.log = log_key_of(manifest["verifier"])
        except ValueError as error:
            wrong = str(error)
        need(not wrong, None, 8, f"manifest.json: {wrong}")
        return dict(manifest)

    def _expect(self) -> None:
        """Prove 8 of the names: exactly those that a log of this size has."""
        groups = -(-self.size // WIDTH)
        need(groups <= len(self.members), None, 8, "the manifest promises more entries than there are members")
        expected = {"manifest.json", "checkpoint", "verify.py"}
        optional = {f"payloads/{numbered(index)}.json" for index in range(groups)}
        for index in range(groups):
            expected |= {partial("tile/entries/", index, self.size), "signatures/" + numbered(index)}
        level, count = 0, self.size
        while count:
            expected |= {partial(f"tile/{level}/", index, count) for index in range(-(-count // WIDTH))}
            level, count = level + 1, count // WIDTH
        missing = expected - self.members.keys()
        need(not missing, None, 8, f"the member {min(missing, default='')!r} is missing")
        for path in sorted(self.members.keys() - expected - optional):
            is_note = re.fullmatch(r"anchors/(0|[1-9][0-9]{0,15})\.note", path, re.ASCII)
            need(is_note, None, 8, f"the member {path!r} is not part of a bundle")
        for path, most in MAX_MEMBER.items():
            self.read(path, most)

    def _notes(self) -> Iterator[tuple[int, str]]:
        """Yield the sizes of the notes with their names: a small file may hold many large ones."""
        for path in sorted(self.members):
            if path == "checkpoint" or path.startswith("anchors/"):
                try:
                    yield self.note(path).size, path
                except ValueError as error:
                    raise Bad(None, 8, f"{path}: {error}") from error

    def note(self, path: str) -> Note:
        """Return a note. Raises `ValueError`."""
        return Note(self.read(path, MAX_NOTE))

    def rows(self) -> Iterator[Row]:
        """Yield the entries in order, each group of 256 read together."""
        for index in range(-(-self.size // WIDTH)):
            bodies, hashes = self.bodies(index), self.tile(0, index)
            signatures = self.read("signatures/" + numbered(index), 64 * WIDTH)
            need(len(signatures) == 64 * len(bodies), None, 8, "a signature has 64 bytes, and some have not")
            payloads = self._payloads(index, len(bodies))
            for place, body in enumerate(bodies):
                seq = index * WIDTH + place
                signature = signatures[64 * place : 64 * place + 64]
                yield Row(seq, body, signature, hashes[place], payloads.get(seq, {}))

    def bodies(self, index: int) -> list[bytes]:
        """Return the bodies of a group of entries."""
        if self._bodies[0] == index:
            return self._bodies[1]
        data = self.read(partial("tile/entries/", index, self.size), WIDTH * (2 + MAX_BODY))
        bodies, place = [], 0
        while place < len(data):
            end = place + 2 + int.from_bytes(data[place : place + 2], "big")
            need(place + 2 <= len(data) and end <= len(data), None, 8, "a bundle of entries ends too early")
            bodies.append(data[place + 2 : end])
            place = end
        wanted = min(WIDTH, self.size - index * WIDTH)
        need(len(bodies) == wanted, None, 8, f"a bundle holds {len(bodies)} entries, not {wanted}")
        self._bodies = (index, bodies)
        return bodies

    def tile(self, level: int, index: int) -> Sequence[bytes]:
        """Return the hashes of a tile."""
        if self._tile[0] != (level, index):
            count = self.size >> 8 * level
            data = self.read(partial(f"tile/{level}/", index, count), 32 * WIDTH)
            width = min(WIDTH, count - index * WIDTH)
            need(len(data) == 32 * width, None, 8, f"a tile holds {len(data)} bytes, not {32 * width}")
            self._tile = ((level, index), [data[i : i + 32] for i in range(0, len(data), 32)])
        return self._tile[1]

    def entry(self, seq: int) -> dict[str, Any]:
        """Return the fields of an entry that was proved before."""
        return dict(json.loads(self.bodies(seq // WIDTH)[seq % WIDTH]))

    def payload(self, seq: int, field: str) -> bytes | None:
        """Return a payload of an entry that was proved before; None where it is not disclosed."""
        index = seq // WIDTH
        opening = self._payloads(index, len(self.bodies(index))).get(seq, {}).get(field)
        return opening[1] if opening else None

    def _payloads(self, index: int, count: int) -> dict[int, dict[str, tuple[bytes, bytes]]]:
        path = f"payloads/{numbered(index)}.json"
        if self._group[0] == index or path not in self.members:
            return self._group[1] if self._group[0] == index else {}
        data = self.read(path, MAX_PAYLOADS)
        few = b"[" not in data and data.count(b'"') <= MOST_QUOTES
        need(few, None, 8, f"{path}: it is no table of payloads")
        try:
            openings = read_json(data).items()
            self._group = index, dict(self._opened(item, index, count) for item in openings)
            return self._group[1]
        except (ValueError, AttributeError, TypeError, KeyError) as error:
            raise Bad(None, 8, f"{path}: {error}") from error

    def _opened(self, item: Any, index: int, count: int) -> tuple[int, dict[str, tuple[bytes, bytes]]]:
        place, fields = item
        if not re.fullmatch("0|[1-9][0-9]{0,15}", place) or not 0 <= int(place) - index * WIDTH < count:
            raise ValueError(f"{place!r} is no entry of this group")
        found = {}
        for field, opening in fields.items():
            if opening.keys() != {"data", "salt"}:
                raise ValueError("a payload has data and salt")
            found[field] = (from_base64(opening["salt"]), from_base64(opening["data"]))
        return int(place), found

    def discloses(self, seq: int, action: str | None, field: str) -> bool:
        """Tell whether a payload must be in the bundle, unless it was erased."""
        rule = self.manifest["payloads"]
        chosen = rule["first"] <= seq < rule["end"] and (rule["actions"] is None or action in rule["actions"])
        return field in ALWAYS_DISCLOSED or (chosen and field not in rule["withheld"])

    def erased(self) -> Iterator[dict[str, Any]]:
        """Yield the entries that name payloads as gone; each of them is proved when its turn comes."""
        kinds = ("payload.erased", "payloads.pruned")
        marks = [f'"kind":"{kind}"'.encode() for kind in kinds]
        for index in range(-(-self.size // WIDTH)):
            for body in self.bodies(index):
                # Read before anything is proved: what says more than such an entry can must not cost much.
                if any(mark in body for mark in marks) and sum(map(body.count, (b'"', b",", b"[", b"{"))) <= 8192:
                    try:
                        entry = read_json(body)
                        if (
                            entry["kind"] in kinds
                            and wrong_member(entry, dict(FRAME, **KINDS[entry["kind"]])) is None
                        ):
                            yield entry
                    except (ValueError, LookupError, TypeError, AttributeError):
                        continue  # it fails where it stands


# ===================================================================================================== people's words

UNSIGNED = ("decision.values", "risk")  # payloads of a decision: they come after what a person signed
ENDS = {  # outcome → what it may say of its effect
    "succeeded": (True,), "failed": (True, False), "stale": (False,), "unknown": (None,), "shadowed": (False,),
}  # fmt: skip


class Word(NamedTuple):
    """One review that counted when it was recorded."""

    seq: int
    reviewer: str
    verdict: str
    signed_at: datetime
    recorded_at: datetime
    present: bool | None
    pinned: bool | None

    def falls_short(self, keys: str) -> bool:
        """Tell whether the key is not of the class that an obligation asks for."""
        return keys != "any" and not (self.present and (self.pinned or keys == "hardware"))


class Action:
    """One action as its entries tell it. Where it stands is never stored: it follows from them and from the time."""

    def __init__(self, entry: dict[str, Any], leaf: str) -> None:
        self.id: str = entry["action"]
        self.seq: int = entry["seq"]
        self.digest = "sha256:" + leaf
        self.facts = entry
        self.at, self.expires = time_of(entry["ts"]), time_of(entry["expires_at"])
        act = entry.get("act")
        self.asker: str | None = act["statement"]["by"] if act else None
        self.words: list[Word] = []
        self.signed_after: datetime | None = None
        self.beside = entry["seq"] + 1  # where an entry that stands with the request may be
        self.withheld = False  # until a person signs for its execution
        self.release: dict[str, Any] | None = None
        self.instance: str | None = None  # of the executor, from the intent on
        self.begun_at: datetime | None = None
        self.ended: str | None = None
        self.ended_at: datetime | None = None
        self.intent: int | None = None  # the entry that an anchor must have before an effect, if one must
        self.anchored = False

    def eligible(self, obligation: dict[str, Any], now: datetime) -> list[str]:
        """Return who may review for an obligation by now."""
        waited = (now - self.at) // timedelta(seconds=1)
        people = list(obligation["reviewers"])
        for step in obligation["escalate"]:
            people += step["reviewers"] if waited >= step["after"] else []
        return [person for person in people if person not in self.facts["excluded"]]

    def status(self, now: datetime, words: Sequence[Word] | None = None) -> str:
        """Return where the action stands at a time, by all its reviews or by some of them."""
        if self.ended is not None:
            return self.ended
        if self.facts["decision"] == "shadow":
            return "shadowed"
        if self.begun_at is not None:
            return "running"
        newest = {word.reviewer: word for word in (self.words if words is None else words)}
        until, missing = min(now, self.expires), False
        for obligation in self.facts["obligations"]:
            heard = [word for person, word in newest.items() if person in self.eligible(obligation, until)]
            yes = [w for w in heard if w.verdict == "approve" and not w.falls_short(obligation["keys"])]
            if len([word for word in heard if word.verdict == "reject"]) >= obligation["rejects"]:
                return "rejected"
            missing = missing or len(yes) < obligation["quorum"]
        if now >= self.expires:
            return "expired"
        return "pending" if missing else "approved"

    def over_since(self, now: datetime) -> datetime | None:
        """Return when it ended, None while something may still come of it."""
        if self.ended is not None:
            return None if self.ended == "unknown" else self.ended_at
        return self.words[-1].recorded_at if self.words and self.status(now) == "rejected" else None


class Token(NamedTuple):
    """A token as it was issued."""

    principal: str
    transports: Sequence[str]
    expires: datetime


Scope = Tuple[str, Optional[str]]


class Rules:
    """What may follow what: policies and whose keys they list, tokens, suspensions, and the lives of actions."""

    def __init__(self, bundle: Bundle, payload: Callable[[str], bytes | None]) -> None:
        self.earlier = bundle.entry  # returns an entry that was proved before
        self.earlier_payload = bundle.payload  # returns a payload of one, None where it is not disclosed
        self.payload = payload  # returns a payload of the entry that is looked at
        self.founding = True
        self.policy: str | None = None
        self.policy_seq = -1
        self.guard: dict[str, Any] | None = None  # what the policy in force asks of the next one
        self.guard_after = -1  # the entry that it would follow
        self.proposals: dict[str, tuple[int, set[str]]] = {}  # digest → its entry, who endorsed it
        self.people: dict[str, list[str]] = {}
        self.contracts: dict[str, str] = {}
        self.anchored: set[str] = set()  # rules of the policy in force that say anchor = "before"
        self.defaults: dict[str, dict[str, Any]] = {}  # contract → what its arguments are unless they are given
        self.tokens: dict[str, Token] = {}
        self.revoked: set[str] = set()
        self.halts: dict[Scope, tuple[str, str]] = {}  # scope → mode, digest of its entry
        self.restored: tuple[int, datetime] | None = None
        self.actions: dict[str, Action] = {}
        self.running: dict[str, set[str]] = {}  # target → actions
        self.undoing: dict[str, Action] = {}  # action → what undoes it
        self.erased: set[tuple[int, str]] = set()
        self.pruned: dict[str | None, int] = {}  # environment, or None for all → entries below have no payloads
        self.closed: dict[str, Any] | None = None  # the entry that ends the log
        self.before: dict[str, Any] | None = None  # the entry that says which log this one goes on from
        self.newcomer: str | None = None  # a key that was just added, for which a person has yet to sign

    def take(self, entry: dict[str, Any], leaf: str) -> None:
        """Take the next entry. Raises `Bad` when it cannot have come about."""
        kind: str = entry["kind"]
        founds = {
            "log.opened",
            "key.added",
            "policy.activated",
            "policy.guarded",
            "catalog.published",
            "token.issued",
            "log.succeeds",
        }
        alone = self.newcomer is None or kind == "key.revoked"
        need(alone, entry["seq"], 9, "no person signed for the key that the entry before added")
        try:
            getattr(self, "_" + kind.replace(".", "_"))(entry, leaf, time_of(entry["ts"]))
        except (ValueError, ArithmeticError, LookupError, TypeError) as error:
            raise Bad(entry["seq"], 9, str(error)) from error
        self.founding = self.founding and kind in founds and not entry.get("act")
        if entry["seq"] % 1024 == 0:
            self._forget(time_of(entry["ts"]))

    # -------------------------------------------------------------------------------- policies and tokens

    def _log_opened(self, entry: dict[str, Any], leaf: str, at: datetime) -> None:
        """The chain has proved it."""

    def _key_added(self, entry: dict[str, Any], leaf: str, at: datetime) -> None:
        self.newcomer = entry["key"] if entry["seq"] > 1 else None

    def _key_revoked(self, entry: dict[str, Any], leaf: str, at: datetime) -> None:
        seq, old, reason = entry["seq"], entry["revoked"], entry["reason"]
        need(self.newcomer, seq, 9, "a key is revoked directly after the one that takes its place is added")
        verb = "keys.rotate" if reason == "rotated" else "keys.revoke"
        content = sha256({"added": self.newcomer, "reason": reason, "revoked": old})
        self._act(entry, verb, old, content)
        self.newcomer = None

    def _policy_activated(self, entry: dict[str, Any], leaf: str, at: datetime) -> None:
        seq = entry["seq"]
        need(entry["previous"] == self.policy, seq, 9, "it does not follow the policy in force")
        if self.policy is not None:
            self._act(entry, "policy.activate", self.policy, entry["policy"])
            self._endorsed(entry)
        else:
            need(self.founding and entry["act"] is None, seq, 9, "only founding entries go without a signature")
        self.anchored = anchored_rules(self._texts(entry, "policy.files", entry["policy"]))
        try:
            for lines in entry["reviewers"].values():
                for line in lines:
                    ssh_key_of(line)
        except ValueError as error:
            raise Bad(seq, 10, f"a reviewer's key: {error}") from error
        held = [line for lines in entry["reviewers"].values() for line in set(lines)]
        need(len(set(held)) == len(held), seq, 10, "two reviewers have one key: who holds it would count twice")
        self.policy, self.policy_seq, self.people = entry["policy"], seq, entry["reviewers"]
        self.guard_after, self.guard, self.proposals = seq, None, {}

    def _endorsed(self, entry: dict[str, Any]) -> None:
        """Prove that as many of those named signed for an activation as the policy before it asks."""
        if self.guard is None:
            return
        heard = {entry["act"]["statement"]["by"], *self.proposals.get(entry["policy"], (0, set()))[1]}
        enough = len(heard & set(self.guard["reviewers"])) >= self.guard["quorum"]
        need(enough, entry["seq"], 9, "fewer people signed for this policy than the one in force asks")

    def _policy_guarded(self, entry: dict[str, Any], leaf: str, at: datetime) -> None:
        """Whether a policy without one asks for nothing is for `audit verify` to say."""
        seq, people = entry["seq"], set(entry["reviewers"])
        beside = self.policy is not None and entry["policy"] == self.policy and self.guard is None
        beside = beside and seq == self.guard_after + 1
        need(beside, seq, 9, "it does not stand directly after the activation of the policy that it guards")
        need(people <= set(self.people), seq, 9, "it names people whom the policy in force does not list")
        need(len(people) >= entry["quorum"], seq, 9, "it asks for more people than it names")
        self.guard = entry

    def _policy_proposed(self, entry: dict[str, Any], leaf: str, at: datetime) -> None:
        seq, proposed = entry["seq"], entry["policy"]
        follows = self.policy is not None and entry["previous"] == self.policy
        need(follows, seq, 9, "it does not follow the policy in force")
        need(proposed not in self.proposals, seq, 9, "this policy is proposed already")
        if len(self.proposals) >= 64:  # the least endorsed makes room, of several the oldest
            waiting = self.proposals
            del waiting[min(waiting, key=lambda one: (len(waiting[one][1]), waiting[one][0]))]
        self._texts(entry, "policy.files", proposed)
        self.proposals[proposed] = seq, set()

    def _freeze_overridden(self, entry: dict[str, Any], leaf: str, at: datetime) -> None:
        """A person's word; that the policy has this freeze and lets them is for `audit verify` to say."""
        content = {"freeze": entry["freeze"], "reason": entry.get("data", {}).get("reason"), "until": entry["until"]}
        self._act(entry, "freeze.override", entry["freeze"], sha256(content))
        ahead = time_of(entry["until"]) - at
        need(timedelta() < ahead <= LONGEST_OVERRIDE, entry["seq"], 9, "it ends in the past, or too far ahead")

    def _policy_endorsed(self, entry: dict[str, Any], leaf: str, at: datetime) -> None:
        seq = entry["seq"]
        self._act(entry, "policy.endorse", self.policy or "", entry["policy"])
        who = entry["act"]["statement"]["by"]
        proposal, heard = self.proposals.get(entry["policy"], (-1, set()))
        need(proposal == entry["proposal"], seq, 9, "the entry it names does not propose this policy")
        asked = self.guard is not None and who in self.guard["reviewers"]
        need(asked, seq, 9, f"{who} is not asked to endorse policies")
        need(who not in heard, seq, 9, f"{who} has endorsed this policy already")
        heard.add(who)

    def _catalog_published(self, entry: dict[str, Any], leaf: str, at: datetime) -> None:
        if self.guard_after == self.policy_seq == entry["seq"] - 1 and self.guard is None:
            self.guard_after = entry["seq"]  # a policy's new contracts come before what guards it
        self.contracts = entry["contracts"]
        for text in self._texts(entry, "catalog.files", entry["catalog"]).values():
            self._note_defaults(text)

    def _note_defaults(self, text: str) -> None:
        """Note the defaults of a contract; whether a text is one that counts is for `audit verify` to say."""
        try:
            contract = json.loads(text)
            shapes = contract["input"]["properties"]
            label = f"v{contract['version']} {sha256(contract)}"
            self.defaults[label] = {name: shapes[name]["default"] for name in shapes if "default" in shapes[name]}
        except (ValueError, LookupError, TypeError):
            return

    def _texts(self, entry: dict[str, Any], field: str, promised: str) -> dict[str, str]:
        """Prove 10 of texts that are disclosed: their digest is the one that entries name."""
        data = self.payload(field)
        if data is None:
            raise Bad(entry["seq"], 10, f"it comes without its texts ({field})")
        try:
            files = read_json(data)
            digests = {path: "sha256:" + hashlib.sha256(text.encode()).hexdigest() for path, text in files.items()}
        except (ValueError, AttributeError) as error:
            raise Bad(entry["seq"], 10, f"payload {field}: {error}") from error
        found = sha256(digests)
        need(found == promised, entry["seq"], 10, f"the texts in {field} do not have the digest of the fact")
        return dict(files)

    def _token_issued(self, entry: dict[str, Any], leaf: str, at: datetime) -> None:
        seq = entry["seq"]
        need(entry["token"] not in self.tokens, seq, 9, "this token was issued before")
        if entry["act"] is None:
            need(self.founding, seq, 9, "only founding entries go without a signature")
        else:
            granted = {k: entry[k] for k in ("token", "principal", "transports", "scopes", "expires_at")}
            self._act(entry, "token.issue", entry["principal"], sha256(granted))
        token = Token(entry["principal"], entry["transports"], time_of(entry["expires_at"]))
        self.tokens[entry["token"]] = token

    def _token_revoked(self, entry: dict[str, Any], leaf: str, at: datetime) -> None:
        need(entry["token"] in self.tokens, entry["seq"], 9, "it revokes a token that was never issued")
        self.revoked.add(entry["token"])

    def _token(self, entry: dict[str, Any], used: dict[str, Any]) -> Token:
        token = self.tokens.get(used["token"])
        if token is None or token.principal != used["principal"]:
            raise Bad(entry["seq"], 9, "its token was never issued to its principal")
        return token

    def _live_token(self, entry: dict[str, Any], at: datetime) -> None:
        token, seq = self._token(entry, entry), entry["seq"]
        need(entry["token"] not in self.revoked, seq, 9, "it was let through although its token was revoked")
        need(at < token.expires, seq, 9, "it was let through although its token had expired")
        need(entry["transport"] in token.transports, seq, 9, "it was let through where its token is not good")

    def _in_force(self, entry: dict[str, Any]) -> None:
        need(self.policy is not None, entry["seq"], 10, "nothing is decided while no policy is in force")
        need(entry["policy"] == self.policy, entry["seq"], 10, "it names another policy than the one in force")

    # ------------------------------------------------------------------------------------- acts of people

    def _act(self, entry: dict[str, Any], verb: str, subject: str, content: str) -> None:
        """Prove that a listed person signed exactly this under the policy in force."""
        seq, act, at = entry["seq"], entry["act"], time_of(entry["ts"])
        need(act is not None, seq, 9, "it carries no signed act")
        statement = self._signed(act, entry)
        need(statement["log"] == entry["log"], seq, 9, "the act was signed for another log")
        need(statement["after"] == self.policy_seq, seq, 9, "the act was signed under another policy")
        said = (statement["verb"], statement["object"], statement["digest"])
        need(said == (verb, subject, content), seq, 9, "the act says something else than the entry")
        signed = time_of(statement["at"])
        need(signed - at <= SKEW, seq, 9, "the act was signed more than five minutes ahead of the log")
        late = self.restored is None or signed >= self.restored[1]
        need(late, seq, 9, "the act was signed before the ledger was restored")

    def _signed(self, act: Any, entry: dict[str, Any]) -> dict[str, Any]:
        """Prove that the policy in force lists the key that signed an act for who signed; return the statement."""
        statement: dict[str, Any] = act["statement"]
        signer = ssh_verify(canonical(statement), from_base64(act["signature"]), b"keyturn.act.v1")
        listed = line_of(signer.key) in self.people.get(statement["by"], ())
        need(listed, entry["seq"], 9, "the policy in force lists no such key for who signed the act")
        need(signer.present is not False, entry["seq"], 9, "nobody touched the hardware key that signed the act")
        return statement

    # --------------------------------------------------------------------------------- reads and requests

    def _read_served(self, entry: dict[str, Any], leaf: str, at: datetime) -> None:
        self._live_token(entry, at)
        self._in_force(entry)
        self._not_halted(entry, entry, reads=True)

    def _action_requested(self, entry: dict[str, Any], leaf: str, at: datetime) -> None:
        self._live_token(entry, at)
        self._request(entry, leaf, at)

    def _action_undoing(self, entry: dict[str, Any], leaf: str, at: datetime) -> None:
        seq, named = entry["seq"], entry["undoes"]
        if entry["token"] is not None:
            self._live_token(entry, at)
        need(named["request"] < named["outcome"] < seq, seq, 9, "it undoes what was not over before it")
        request, outcome = self.earlier(named["request"]), self.earlier(named["outcome"])
        body = canonical(request)
        same = request["kind"] in REQUESTS and request["action"] == named["action"]
        same = same and "sha256:" + leaf_hash(body).hex() == named["digest"]
        need(same, seq, 9, "the entry it names does not request the action that it undoes")
        need(request["principal"] == entry["principal"], seq, 9, "it undoes an action of another principal")
        done = outcome["kind"] in ("execution.finished", "execution.resolved") and outcome["effect"] is True
        done = done and outcome["action"] == named["action"]
        need(done, seq, 9, "the entry it names does not say that what it undoes was done")
        self._check_way_back(entry, named)
        before = self.undoing.get(named["action"])
        free = before is None or before.status(at) not in ("pending", "approved", "running", "unknown", "succeeded")
        need(free, seq, 9, "what it undoes is undone already")
        if entry["act"] is not None:
            payloads = {field: promised for field, promised in entry["data"].items() if field not in UNSIGNED}
            content = sha256({"action": named["digest"], "payloads": payloads, "tool": entry["tool"]})
            self._act(entry, "action.undo", named["action"], content)
        self._request(entry, leaf, at)
        self.undoing[named["action"]] = self.actions[entry["action"]]

    def _check_way_back(self, entry: dict[str, Any], named: dict[str, Any]) -> None:
        """Prove that it asks for the inverse which the plan of that action stated, as far as both are disclosed."""
        plan, outcome = (self.earlier_payload(named[k], v) for k, v in (("request", "plan"), ("outcome", "outcome")))
        fields = [field for field in entry["data"] if field.startswith("argument.")]
        given = {field[len("argument.") :]: self.payload(field) for field in fields}
        hidden = outcome is None and "outcome" in self.earlier(named["outcome"]).get("data", {})
        if plan is None or hidden or None in given.values() or self.payload("plan") is None:
            return
        stated = read_json(plan)["inverse"] or {"tool": None, "arguments": {}}
        told = (read_json(outcome).get("result") or {}) if outcome is not None else {}
        meant = dict(self.defaults.get(entry["contract"], {}))
        for argument, value in stated["arguments"].items():
            source = value.get("from") if isinstance(value, dict) else None
            meant[argument] = named["action"] if source == "action" else told[value["name"]] if source else value
        for apart in ("reason", "repeat"):
            meant.pop(apart, None)
        same = stated["tool"] == entry["tool"] and meant == {k: read_json(v or b"") for k, v in given.items()}
        need(same, entry["seq"], 9, "it is not the way back that the plan of the action states")

    def _request(self, entry: dict[str, Any], leaf: str, at: datetime) -> None:
        seq = entry["seq"]
        need(entry["action"] not in self.actions, seq, 9, "the action is requested twice")
        made = timedelta(milliseconds=int(entry["action"].replace("-", "")[:12], 16))
        near = abs(at - datetime(1970, 1, 1) - made) <= timedelta(minutes=30)  # noqa: DTZ001 - all times are UTC
        need(near, seq, 9, "the time in the action's id is not that of its request")
        self._in_force(entry)
        published = self.contracts.get(entry["tool"]) == entry["contract"]
        need(published, seq, 10, "its contract is not the published one")
        listed = all(set(lines) <= set(self.people.get(who, ())) for who, lines in entry["reviewers"].items())
        need(listed, seq, 9, "it lists keys of reviewers that the policy in force does not")
        action, held = Action(entry, leaf), entry["decision"] == "hold"
        need(held == bool(entry["obligations"]), seq, 9, "an action that is held, and no other, has obligations")
        asked = (entry["token"] is None) == (action.asker is not None)
        need(asked, seq, 9, "it is asked for by a token or by a signed act, and by one of them alone")
        out = {person for person in (entry["owner"], action.asker) if person is not None}
        need(not held or out <= set(entry["excluded"]), seq, 9, "its owner, or who asks for it, may review it")
        self._not_halted(entry, entry)
        self.actions[action.id] = action

    def _action_reserved(self, entry: dict[str, Any], leaf: str, at: datetime) -> None:
        """What it takes of budgets; whether the policy says so is for `audit verify` to say."""
        self._stands_beside(entry, self._of(entry).seq + 1)
        need(any(entry["amounts"].values()), entry["seq"], 9, "it reserves nothing")

    def _action_withheld(self, entry: dict[str, Any], leaf: str, at: datetime) -> None:
        action = self._of(entry)
        self._stands_beside(entry, action.beside)
        need(entry["rules"] and not action.withheld, entry["seq"], 9, "no rule withholds it, or it was before")
        action.withheld = True

    def _stands_beside(self, entry: dict[str, Any], place: int) -> None:
        action, seq = self._of(entry), entry["seq"]
        fits = seq == place == action.beside and action.facts["decision"] != "shadow"
        need(fits, seq, 9, entry["kind"] + " does not stand directly after its request")
        action.beside = seq + 1

    def _action_released(self, entry: dict[str, Any], leaf: str, at: datetime) -> None:
        """A person's word that exactly this request is to be executed: once, of what is approved and waits for it."""
        action, seq = self._of(entry), entry["seq"]
        waits = action.status(at) == "approved" and action.withheld and action.release is None
        need(waits, seq, 9, "it waits for nobody to sign for its execution")
        self._act(entry, "action.execute", action.id, action.digest)
        action.release = entry["act"]

    def _action_denied(self, entry: dict[str, Any], leaf: str, at: datetime) -> None:
        self._in_force(entry)
        self._token(entry, entry)

    def _requests_throttled(self, entry: dict[str, Any], leaf: str, at: datetime) -> None:
        """It only counts."""

    # ----------------------------------------------------------------------------------- lives of actions

    def _of(self, entry: dict[str, Any]) -> Action:
        action = self.actions.get(entry["action"])
        if action is None:
            raise Bad(entry["seq"], 9, "its action was not requested, or is long over")
        return action

    def _action_reviewed(self, entry: dict[str, Any], leaf: str, at: datetime) -> None:
        """A review counts by a listed and eligible person's own key, for this digest, while the action waits."""
        action, seq, said = self._of(entry), entry["seq"], entry["statement"]
        who: str = said["reviewer"]
        signer = ssh_verify(canonical(said), from_base64(entry["signature"]), b"keyturn.review.v1")
        about = [said[member] for member in ("log", "action", "digest", "reviewer", "verdict", "reason")]
        reason = entry.get("data", {}).get("review.reason")
        told = [entry["log"], action.id, action.digest, entry["reviewer"], entry["verdict"], reason]
        need(about == told, seq, 9, "the signed statement is not about this log, action, digest, person and reason")
        need(signer.key.fingerprint == entry["key"], seq, 9, "the key that signed is not the one it names")
        state = action.status(at)
        waits = state in ("pending", "approved") and action.facts["decision"] == "hold"
        need(waits, seq, 9, f"the action is {state}: it cannot be reviewed")
        signed, before = time_of(said["at"]), [word for word in action.words if word.reviewer == who]
        near = signed - at <= SKEW and action.at - signed <= SKEW
        need(near, seq, 9, "the review was signed before the request, or ahead of the log")
        anew = action.signed_after is None or signed > action.signed_after
        need(anew, seq, 9, "the review was signed before the ledger was restored")
        out = who in action.facts["excluded"] or who == action.asker
        need(not out, seq, 9, f"{who} may not review this action")
        listed = line_of(signer.key) in action.facts["reviewers"].get(who, ())
        need(listed, seq, 9, f"the signing key is not one that the request lists for {who}")
        mine = [due for due in action.facts["obligations"] if who in action.eligible(due, at)]
        need(mine, seq, 9, f"{who} may not review it yet")
        need(not before or signed > before[-1].signed_at, seq, 9, f"{who} has signed a review as new as this")
        word = Word(seq, who, said["verdict"], signed, at, signer.present, signer.pinned)
        fits = word.verdict == "reject" or not all(word.falls_short(due["keys"]) for due in mine)
        need(fits, seq, 9, "the key is not of the class that the request asks for")
        action.words.append(word)

    def _stop(self, entry: dict[str, Any], leaf: str, at: datetime) -> None:
        action, seq = self._of(entry), entry["seq"]
        state = action.status(at)
        need(state in ("pending", "approved"), seq, 9, f"{entry['kind']}, but the action is {state}")
        by = entry.get("by", {})
        own = by.get("type") != "principal" or by["name"] == action.facts["principal"]
        need(own, seq, 9, "it was cancelled by another principal than its own")
        action.ended, action.ended_at = entry["kind"][len("action.") :], at

    _action_cancelled = _action_stale = _stop

    def _action_expired(self, entry: dict[str, Any], leaf: str, at: datetime) -> None:
        action = self._of(entry)
        due = action.ended is None and action.status(at) == "expired"
        need(due, entry["seq"], 9, "action.expired, but the action is " + action.status(at))
        action.ended, action.ended_at = "expired", action.expires

    def _execution_started(self, entry: dict[str, Any], leaf: str, at: datetime) -> None:
        """An intent: approved by now, by the reviews it names alone, on a target where nothing else runs."""
        action, seq = self._of(entry), entry["seq"]
        facts = action.facts
        self._not_halted(entry, facts)
        if facts["token"] is None:
            self._signed(facts["act"], entry)
        else:
            self._token(entry, facts)
            need(facts["token"] not in self.revoked, seq, 9, "it was begun although its token had been revoked")
        old = facts["decision"] == "permit" and self.restored is not None and action.seq < self.restored[0]
        need(not old, seq, 9, "it was begun by a permission from before the ledger was restored")
        state = action.status(at)
        need(state == "approved", seq, 9, "it was begun, but the action is " + state)
        need(action.release or not action.withheld, seq, 9, "it was begun, and nobody had signed for its execution")
        if action.release is not None:
            self._signed(action.release, entry)
        named = set(entry["reviews"])
        counted = [word for word in action.words if word.seq in named]
        need(action.status(at, counted) == "approved", seq, 9, "the reviews that it counts do not suffice")
        self._in_force(entry)
        need(len(counted) == len(named), seq, 9, "it counts a review that is not there")
        others = self.running.setdefault(facts["target"], set())
        need(not others, seq, 9, "another action is running on " + facts["target"])
        others.add(action.id)
        action.instance, action.begun_at = entry["instance"], at
        action.intent = seq if self.anchored.intersection(facts["rules"]) else None

    def _execution_finished(self, entry: dict[str, Any], leaf: str, at: datetime) -> None:
        """An outcome: after its intent, once, by who began it; of a shadowed action directly after its request."""
        action, seq, outcome = self._of(entry), entry["seq"], entry["outcome"]
        shadow = action.facts["decision"] == "shadow"
        mine = action.instance is not None and (entry["recovered"] or entry["instance"] == action.instance)
        due = seq == action.seq + 1 if shadow else mine
        fits = due and action.ended is None and shadow == (outcome == "shadowed")
        need(fits, seq, 9, "an outcome without an intent before it, or a second one, or by another executor")
        self._end(action, entry, at)

    def _execution_resolved(self, entry: dict[str, Any], leaf: str, at: datetime) -> None:
        action, seq, act = self._of(entry), entry["seq"], entry["act"]
        need(action.ended == "unknown", seq, 9, "it settles an outcome that was not unknown")
        need((entry["method"] == "operator") == (act is not None), seq, 9, "an operator's word is signed, no other")
        if act is not None:
            reason = entry.get("data", {}).get("resolve.reason")
            content = sha256({"action": action.digest, "outcome": entry["outcome"], "reason": reason})
            self._act(entry, "action.resolve", action.id, content)
        self._end(action, entry, at)

    def _end(self, action: Action, entry: dict[str, Any], at: datetime) -> None:
        fits = entry["effect"] in ENDS[entry["outcome"]]
        need(fits, entry["seq"], 9, "the outcome cannot have this effect")
        action.ended, action.ended_at = entry["outcome"], at
        first = action.intent is None or action.anchored or entry["effect"] is not True
        why = f"no anchor was recorded to have its intent, {action.intent}, before its outcome, as its rule asks"
        need(first, entry["seq"], 17, why)
        there = self.running.get(action.facts["target"], set())
        there.discard(action.id)
        if not there:
            self.running.pop(action.facts["target"], None)

    def _forget(self, now: datetime) -> None:
        """Drop what has been over for two hours: an action's id carries its time, so none comes twice."""
        for action in list(self.actions.values()):
            since = action.over_since(now)
            if since is not None and now - since > timedelta(hours=2):
                del self.actions[action.id]

    # ---------------------------------------------------- suspensions, restored copies, anchors, erasures

    def _suspension_set(self, entry: dict[str, Any], leaf: str, at: datetime) -> None:
        scope = scope_of(entry)
        before = self.halts.get(scope)
        stricter = before is None or (before[0] == "read-only" and entry["mode"] == "suspended")
        need(stricter, entry["seq"], 9, "it suspends what was suspended no less before")
        self.halts[scope] = entry["mode"], "sha256:" + leaf

    def _suspension_lifted(self, entry: dict[str, Any], leaf: str, at: datetime) -> None:
        scope = scope_of(entry)
        need(scope in self.halts, entry["seq"], 9, "it lifts a suspension that is not there")
        content = sha256({"reason": entry.get("data", {}).get("reason"), "suspension": self.halts[scope][1]})
        subject = "all" if scope[1] is None else f"{scope[0]}:{scope[1]}"
        self._act(entry, "suspension.lift", subject, content)
        del self.halts[scope]

    def _not_halted(self, entry: dict[str, Any], about: dict[str, Any], reads: bool = False) -> None:
        scopes: list[Scope] = [("all", None)]
        scopes += [(subject, about[subject]) for subject in ("principal", "tool", "environment")]
        for scope in scopes:
            mode = self.halts.get(scope, ("", ""))[0]
            halted = mode == "suspended" or (mode == "read-only" and not reads)
            what = scope[1] or scope[0]
            need(not halted, entry["seq"], 9, f"{entry['kind']} although {what} was suspended")

    def _recovery(self, entry: dict[str, Any], leaf: str, at: datetime) -> None:
        seq, clock, restores = entry["seq"], entry["clock"], entry["reason"] == "restored"
        here = (entry["size"], entry["leaf"]) == (seq, entry["prev"])
        need(here, seq, 9, "it names another last entry than the one before it")
        need(restores == (clock is None), seq, 9, "a recovery of the clock, and no other, says what the clock was")
        if clock is not None:
            self._check_clock(entry, clock, at)
        signed = {name: entry[name] for name in ("clock", "missing", "reason")}
        signed.update(size=seq if restores else None, leaf=entry["prev"] if restores else None)
        signed["words"] = entry.get("data", {}).get("reason")
        self._act(entry, "ledger.recover", entry["reason"], sha256(signed))
        if restores:
            self.restored = seq, at
            self.proposals = {}
            for action in self.actions.values():
                action.intent = None  # what was lost may have held the record of its anchor
                if action.status(at) in ("pending", "approved"):
                    newest = {word.reviewer: word for word in action.words}
                    action.words = [w for w in action.words if newest[w.reviewer] is w and w.verdict == "reject"]
                    action.signed_after, action.release = at, None

    def _payload_erased(self, entry: dict[str, Any], leaf: str, at: datetime) -> None:
        seq, place, field = entry["seq"], entry["entry"], entry["field"]
        need(place < seq, seq, 9, "it erases what was not written before it")
        need((place, field) not in self.erased, seq, 9, "it erases what was erased before")
        self.erased.add((place, field))
        need(field not in ALWAYS_DISCLOSED, seq, 9, "it erases what is never erased: " + field)
        of = self.earlier(place)
        need(field in of.get("data", {}), seq, 9, f"entry {place} commits to no payload {field}")
        action = self.actions.get(of.get("action", ""))
        over = action is None or action.status(at) not in ("pending", "approved", "running", "unknown")
        need(over, seq, 9, "it erases a payload of an action that is not over")
        content = sha256({"basis": entry["basis"], "entry": place, "field": field})
        self._act(entry, "payload.erase", f"{place}:{field}", content)

    def _payloads_pruned(self, entry: dict[str, Any], leaf: str, at: datetime) -> None:
        """Every payload before a place is gone, in an environment or in all; none of them is needed any more."""
        seq, before, environment = entry["seq"], entry["before"], entry["environment"]
        need(before <= seq, seq, 9, "it prunes what was not written before it")
        for action in self._open(at):
            early = action.seq < before and environment in (None, action.facts["environment"])
            need(not early, seq, 9, f"it prunes payloads of action {action.id}, which is not over")
        content = sha256({"basis": entry["basis"], "before": before, "environment": environment})
        self._act(entry, "payload.prune", str(before), content)
        known = max(self.pruned.get(environment, 0), self.pruned.get(None, 0))
        need(before > known, seq, 9, "it prunes nothing that was not pruned before")
        self.pruned[environment] = before

    def environment_of(self, entry: dict[str, Any]) -> str | None:
        """Return the environment that an entry belongs to: its own, or that of its action's request."""
        action = self.actions.get(entry.get("action", ""))
        own = entry.get("environment")
        return own if own is not None or action is None else str(action.facts["environment"])

    def _open(self, at: datetime) -> list[Action]:
        states = ("pending", "approved", "running", "unknown")
        return [action for action in self.actions.values() if action.status(at) in states]

    # ------------------------------------------------------------------------ how a log ends, and goes on

    def _log_closed(self, entry: dict[str, Any], leaf: str, at: datetime) -> None:
        seq, successor = entry["seq"], entry["successor"]
        for action in self._open(at):
            raise Bad(seq, 9, f"the log ends although action {action.id} is not over")
        if successor is not None:
            need(log_key_of(successor).name != entry["log"], seq, 9, "no log goes on from itself")
        self._act(entry, "log.close", entry["log"], sha256({"successor": successor}))
        self.closed = entry

    def _log_succeeds(self, entry: dict[str, Any], leaf: str, at: datetime) -> None:
        seq, data = entry["seq"], self.payload("predecessor.note")
        need(self.founding, seq, 9, "a log says which one it goes on from while it is founded")
        need(self.before is None, seq, 9, "a log goes on from one log")
        need("predecessor.note" in entry.get("data", {}), seq, 9, "it keeps no checkpoint of the log before")
        log = log_key_of(entry["verifier"])
        need(log.name != entry["log"], seq, 9, "no log goes on from itself")
        try:
            note = Note(read_json(data or b"").encode("utf-8"))
            note.cosigned(log, ())
        except (ValueError, AttributeError) as error:
            raise Bad(seq, 14, f"its note is not of the log it goes on from: {error}") from error
        same = (note.size, note.root.hex()) == (entry["size"], entry["root"])
        need(same, seq, 14, "its note says another size or root than its facts")
        self.before = entry

    @staticmethod
    def _check_clock(entry: dict[str, Any], clock: dict[str, Any], at: datetime) -> None:
        seq, since = entry["seq"], timedelta(microseconds=entry["up"] - clock["up"])
        need(entry["missing"] is None, seq, 9, "nothing is missing because of a clock")
        soon = clock["boot"] == entry["boot"] and timedelta() <= since <= timedelta(hours=1)
        need(soon, seq, 9, "it was signed at another boot, or too long ago")
        ahead = at - time_of(clock["wall"]) - since
        fits = timedelta(seconds=-60) <= ahead <= timedelta(days=36_525)
        need(fits, seq, 9, "its own time is not that of the clock, nor of the entries before it")

    def _anchor_recorded(self, entry: dict[str, Any], leaf: str, at: datetime) -> None:
        need(entry["size"] <= entry["seq"], entry["seq"], 9, "it records more entries than there were")
        for running in self.running.values():
            for action in map(self.actions.__getitem__, running):
                action.anchored = action.anchored or (action.intent is not None and action.intent < entry["size"])


def anchored_rules(files: dict[str, str]) -> set[str]:
    """Return the ids of the grants that ask for an anchor before the effect, as far as the text says so."""
    if not READS_POLICIES:
        return set()
    import tomllib  # noqa: PLC0415 - earlier Pythons have none

    try:
        grants = tomllib.loads(files["policy.toml"]).get("grants", [])
        return {str(grant["id"]) for grant in grants if grant.get("anchor") == "before"}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return set()


def sha256(value: Any) -> str:
    """Return the digest of a value's canonical bytes, as entries write it."""
    return "sha256:" + hashlib.sha256(canonical(value)).hexdigest()


def line_of(key: SshKey) -> str:
    """Return a key as entries write it."""
    return key.type.decode() + " " + base64.b64encode(key.blob).decode()


def scope_of(entry: dict[str, Any]) -> Scope:
    """Return the scope of a suspension."""
    scope: Scope = entry["scope"]["type"], entry["scope"]["name"]
    need((scope[0] == "all") == (scope[1] is None), entry["seq"], 9, "it suspends what is no scope")
    return scope


# ============================================================================================================ the log


def pae(kind: str, body: bytes) -> bytes:
    """Return what DSSE signs: type and bytes with their lengths."""
    text = f"application/vnd.keyturn.{kind}.v1+json"
    return b"DSSEv1 %d %b %d %b" % (len(text), text.encode(), len(body), body)


class Log:
    """The chain of entries: its log key and entry keys, and what the next entry must link to."""

    def __init__(self) -> None:
        self.key: NoteKey | None = None
        self.keys: dict[str, Ed25519Key] = {}
        self.revoked: dict[str, int] = {}
        self.size, self.leaf, self.at = 0, "0" * 64, ""
        self.entry: dict[str, Any] = {}

    def read(self, row: Row) -> dict[str, Any]:
        """Prove 1 to 4 of a row, and return the entry; `signer` is then whose signature it must bear."""
        entry = self.parsed(row)
        need(entry["seq"] == row.seq, row.seq, 2, f"seq {entry['seq']} stands where {row.seq} must")
        need(entry["prev"] == self.leaf, row.seq, 2, "prev is not the leaf hash of the entry before")
        need(self.entry.get("kind") != "log.closed", row.seq, 2, "the log was closed: nothing follows")
        need(entry["ts"] >= self.at, row.seq, 3, "its time is before the entry before it")
        if row.seq == 0:
            need(entry["kind"] == "log.opened", 0, 1, "the first entry is not log.opened")
            try:
                self.key = log_key_of(entry["verifier"])
            except ValueError as error:
                raise Bad(0, 1, f"verifier: {error}") from error
        self.signer = self._signer(entry)
        return entry

    def advance(self, entry: dict[str, Any], leaf: bytes) -> None:
        """Go on to the next entry; `signer` has signed this one."""
        if entry["kind"] == "key.added":
            self._add(entry)
        if entry["kind"] == "key.revoked":
            old = entry["revoked"]
            signs = old in self.keys and old not in self.revoked
            need(signs, entry["seq"], 4, "it revokes what is no entry key of this log, or none any more")
            self.revoked[old] = entry["seq"]
        self.size, self.leaf, self.at, self.entry = self.size + 1, leaf.hex(), entry["ts"], entry

    @staticmethod
    def parsed(row: Row) -> dict[str, Any]:
        """Prove 1 of a row."""
        need(len(row.body) <= MAX_BODY, row.seq, 1, "the body is too large")
        try:
            entry = read_json(row.body)
        except ValueError as error:
            raise Bad(row.seq, 1, str(error)) from error
        kind = entry.get("kind") if isinstance(entry, dict) else None
        if not isinstance(kind, str) or kind not in KINDS:
            raise Bad(row.seq, 1, f"{kind}: this verifier does not know the kind")
        checks = dict(FRAME, **KINDS[kind])
        if kind.startswith(("action.", "execution.")):
            checks["action"] = uuid
        if "data" in entry:
            checks["data"] = DATA
        wrong = wrong_member(entry, checks)
        need(wrong is None, row.seq, 1, f"{kind}: {wrong}")
        return dict(entry)

    def _signer(self, entry: dict[str, Any]) -> Ed25519Key:
        seq, kind = entry["seq"], entry["kind"]
        if self.key is None or entry["log"] != self.key.name:
            raise Bad(seq, 2, "it belongs to another log, " + entry["log"])
        need(kind != "log.opened" or seq == 0, seq, 2, "a log is opened once")
        if kind in BY_THE_LOG_KEY:
            need(entry["kid"] == self.key.key.kid, seq, 4, kind + " must be signed by the log key")
            return self.key.key
        need(entry["kid"] in self.keys, seq, 4, "its key was not added to this log before it signed")
        need(entry["kid"] not in self.revoked, seq, 4, "its key was revoked before it signed")
        return self.keys[entry["kid"]]

    def _add(self, entry: dict[str, Any]) -> None:
        seq = entry["seq"]
        try:
            key = Ed25519Key(from_base64(entry["key"]))
        except ValueError as error:
            raise Bad(seq, 4, str(error)) from error
        new = key.kid not in self.keys and self.key is not None and key.raw != self.key.key.raw
        need(new, seq, 4, "the key was added before; a key is added once and has one duty")
        claim = canonical({"key": entry["key"], "log": entry["log"], "prev": entry["prev"], "seq": seq})
        proved = key.verifies(pae("key-proof", claim), from_base64(entry["proof"]))
        need(proved, seq, 4, "the new key does not prove possession")
        self.keys[key.kid] = key


# ==================================================================================================== the examination

Signature = Tuple[bytes, bytes, bytes]  # raw public key, body, signature
SIGNERS: dict[bytes, Ed25519Key] = {}


def first_bad_signature(work: Sequence[Signature]) -> int:
    """Return the place of the first signature that is not its key's, -1 if all are good."""
    for place, (raw, body, signature) in enumerate(work):
        key = SIGNERS.setdefault(raw, Ed25519Key(raw)) if raw not in SIGNERS else SIGNERS[raw]
        if not key.verifies(pae("entry", body), signature):
            return place
    return -1


class Signatures:
    """Verifies the signatures of entries: at once, or in groups by processes of their own."""

    def __init__(self, jobs: int) -> None:
        self.pool = multiprocessing.Pool(jobs) if jobs > 1 else None
        self.limit = 4 * jobs
        self.first = 0
        self.work: list[Signature] = []
        self.waiting: deque[tuple[int, Any]] = deque()

    def take(self, seq: int, key: Ed25519Key, row: Row, at_once: bool) -> None:
        """Prove 5 of an entry, now or later."""
        if self.pool is None or at_once:
            good = key.verifies(pae("entry", row.body), row.signature)
            need(good, seq, 5, "the signature is not its key's over these bytes")
        # Every entry has its place in the group, so that a place says which entry it is.
        self.work.append((key.raw, row.body, row.signature))
        if len(self.work) == WIDTH:
            self._hand_over()
            while len(self.waiting) > self.limit:
                self._settle_one()

    def _hand_over(self) -> None:
        if self.pool is not None and self.work:
            self.waiting.append((self.first, self.pool.apply_async(first_bad_signature, (self.work,))))
        self.first, self.work = self.first + len(self.work), []

    def _settle_one(self) -> None:
        first, answer = self.waiting.popleft()
        place = answer.get()
        need(place < 0, first + place, 5, "the signature is not its key's over these bytes")

    def settle(self) -> None:
        """Wait for what is under way. Raises `Bad` for the first signature that is not good."""
        self._hand_over()
        while self.waiting:
            self._settle_one()

    def close(self) -> None:
        """End the processes."""
        if self.pool is not None:
            self.pool.terminate()
            self.pool.join()


class Receipt(NamedTuple):
    """A receipt that somebody kept: the body of the entry and its signature."""

    name: str
    entry: dict[str, Any]
    body: bytes
    signature: bytes
    kid: str  # as the envelope gives it

    @property
    def size(self) -> int:
        """Entries of a log that ends with this one."""
        return int(self.entry["seq"]) + 1


class Report:
    """What is found on the way."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.bad: Bad | None = None
        self.witnessed = 0
        self.by: list[dict[str, Any]] = []
        self.withheld = self.erased = 0
        self.stamps = 0  # RFC 3161 tokens that are there
        self.news = 0  # entries up to the last that does not record an anchor

    @property
    def verdict(self) -> str:
        """FAIL; PASS where somebody outside has seen all but entries that record anchors; else PASS-UNANCHORED."""
        if self.bad is not None:
            return "FAIL"
        return "PASS" if self.witnessed >= self.news else "PASS-UNANCHORED"


class Examination:
    """One pass over a bundle. It stops at the first entry that is not proved."""

    def __init__(
        self, bundle: Bundle, key: NoteKey, witnesses: Sequence[NoteKey], brought: Sequence[Any], jobs: int
    ) -> None:
        self.bundle, self.pinned, self.witnesses = bundle, key, witnesses
        self.report, self.log, self.signatures = Report(), Log(), Signatures(jobs)
        self.tree = Tree(bundle.tile)
        self.payloads: dict[str, bytes] = {}
        self.rules = Rules(bundle, self._payload)
        self.due = deque(bundle.notes)
        here = [one for one in brought if not self._is_elsewhere(one)]
        self.brought = deque(sorted(here, key=lambda one: one.size))
        self.elsewhere = [one for one in brought if self._is_elsewhere(one)]
        self.agreed: list[str] = []
        self.erased: set[tuple[int, str]] = set()
        self.pruned: dict[str | None, int] = {}
        for entry in bundle.erased():
            if entry["kind"] == "payload.erased":
                self.erased.add((entry["entry"], entry["field"]))
            else:
                where = entry["environment"]
                self.pruned[where] = max(entry["before"], self.pruned.get(where, 0))

    def _is_elsewhere(self, given: Any) -> bool:
        """Tell whether what was brought is a checkpoint of another log: perhaps of the one that this goes on from."""
        return isinstance(given, Note) and given.origin != self.pinned.name

    def run(self, progress: Callable[[int], None]) -> Report:
        """Examine everything."""
        try:
            try:
                for row in self.bundle.rows():
                    self._take(row)
                    if row.seq % WIDTH == 0:
                        progress(row.seq)
                self._end()
            except Bad as bad:
                seq = self.log.size if bad.seq is None else bad.seq
                self.report.bad = Bad(seq, bad.proof, bad.reason)
            self._settle()
            if self.report.bad is None:
                self._check_witnesses()
            progress(self.bundle.size)
        finally:
            self.signatures.close()
        return self.report

    def _check_witnesses(self) -> None:
        """Refuse a witness whose key is one of the log's own: nobody is outside of himself."""
        own = {*self.log.keys, self.pinned.key.kid}
        for witness in self.witnesses:
            if witness.key.kid in own:
                raise Misused(f"the witness {witness.name} is a key of this log: a witness is another's")

    def _settle(self) -> None:
        """Let a bad signature of an earlier entry, found later, come first."""
        found = self.report.bad
        try:
            self.signatures.settle()
        except Bad as bad:
            earlier = found is None or (bad.seq or 0, bad.proof) < (found.seq or 0, found.proof)
            self.report.bad = bad if earlier else found

    def _take(self, row: Row) -> None:
        seq, leaf = row.seq, leaf_hash(row.body)
        entry = self.log.read(row)  # 1 to 4
        named = seq > 0 or entry["verifier"] == self.bundle.log.text
        need(named, seq, 8, "manifest.json names another log than the one that is opened here")
        self.signatures.take(seq, self.log.signer, row, entry["kind"] in BY_THE_LOG_KEY)  # 5
        self.log.advance(entry, leaf)
        need(row.leaf == leaf, seq, 7, "the hash in the tile is not that of the body")
        same = self.log.key is not None and self.log.key.text == self.pinned.text
        need(same, seq, 12, "it is another log than the one named with --key")
        self.tree.add(leaf)  # 14
        self._open(row, entry)  # 6
        self.rules.take(entry, leaf.hex())  # 9, 10
        if entry["kind"] == "log.succeeds":
            self._hold_end(entry)
        if entry["kind"] == "anchor.recorded":
            self._check_anchor(entry)
        else:
            self.report.news = seq + 1
        self.report.counts[entry["kind"]] = self.report.counts.get(entry["kind"], 0) + 1
        self._compare(row)

    def _open(self, row: Row, entry: dict[str, Any]) -> None:
        """Prove 6: what is there opens its commitment, and what the manifest promises is there or is erased later."""
        data, seq = entry.get("data", {}), row.seq
        where = self.rules.environment_of(entry)
        pruned = seq < max(self.pruned.get(None, 0), self.pruned.get(where, 0))
        surplus = row.payloads.keys() - data.keys()
        need(not surplus, seq, 6, f"the entry commits to no payload {min(surplus, default='')!r}")
        self.payloads = {}
        for field, promised in data.items():
            withheld = not self.bundle.discloses(seq, entry.get("action"), field)
            gone = (seq, field) in self.erased or (pruned and field not in ALWAYS_DISCLOSED)
            self.report.erased += gone
            self.report.withheld += withheld and not gone
            there = field in row.payloads
            need(
                there or withheld or gone, seq, 6, f"payload {field} is missing, and nothing says that it was erased"
            )
            need(not there or not withheld, seq, 6, f"payload {field} is there, and the manifest withholds it")
            need(not there or not gone, seq, 6, f"payload {field} is there, and an entry says that it was erased")
            if there:
                self._open_one(seq, field, promised, *row.payloads[field])

    def _open_one(self, seq: int, field: str, promised: str, salt: bytes, content: bytes) -> None:
        message = b"keyturn/payload/v1\n" + field.encode() + b"\n" + content
        found = "hmac-sha256:" + hmac.new(salt, message, hashlib.sha256).hexdigest()
        opens = len(salt) == 32 and hmac.compare_digest(found, promised)
        need(opens, seq, 6, f"payload {field} does not open its commitment")
        self.payloads[field] = content

    def _payload(self, field: str) -> bytes | None:
        return self.payloads.get(field)

    def _hold_end(self, entry: dict[str, Any]) -> None:
        """Prove 15 of the checkpoints of the log before that were brought: they are of the end that is named."""
        seq, log = entry["seq"], log_key_of(entry["verifier"])
        for note in [one for one in self.elsewhere if one.origin == log.name]:
            self.elsewhere.remove(note)
            try:
                note.cosigned(log, ())
            except ValueError as error:
                raise Bad(seq, 15, f"what you brought is no checkpoint of the log before: {error}") from error
            if note.size < entry["size"]:
                told = (
                    f"you brought a checkpoint of {note.size} entries of the log before this one, and it ended with "
                )
                raise Misused(f"{told}{entry['size']}: bring its last one")
            same = (note.size, note.root.hex()) == (entry["size"], entry["root"])
            need(same, seq, 15, "what you brought of the log before is another end than the one it goes on from")
            self.agreed.append(f"a checkpoint of {note.size} entries")

    def _check_anchor(self, entry: dict[str, Any]) -> None:
        """Prove 14 of a recorded anchor: its root is the tree's, and its note is the log's and says the same."""
        seq, size = entry["seq"], entry["size"]
        need("anchor.note" in entry.get("data", {}), seq, 14, "it keeps no note of its anchor")
        same = self.tree.root(size).hex() == entry["root"]
        need(same, seq, 14, f"the first {size} entries are not those that the anchor was given")
        self.report.stamps += "anchor.token" in self.payloads
        if "anchor.note" in self.payloads:
            try:
                note = Note(read_json(self.payloads["anchor.note"]).encode("utf-8"))
                self._vouch(note, size)
            except (ValueError, AttributeError) as error:
                raise Bad(seq, 14, f"its note is not the log's: {error}") from error
            says = (note.size, note.root.hex())
            need(says == (size, entry["root"]), seq, 14, "its note says another size or root than its facts")

    def _compare(self, row: Row) -> None:
        """Prove 14 and 15 of the size that is reached now."""
        size = row.seq + 1
        if row.seq == 0:
            self._hold_brought()
        while self.due and self.due[0][0] <= size:
            note = self.bundle.note(self.due.popleft()[1])
            self._check_note(note, row.seq, 14, "a checkpoint in the bundle")
        while self.brought and self.brought[0].size <= size:
            given = self.brought.popleft()
            if isinstance(given, Receipt):
                need(given.body == row.body, row.seq, 15, f"{given.name} is a receipt of another entry than this")
                same = given.signature == row.signature and given.kid == given.entry["kid"]
                need(same, row.seq, 15, f"the signature of {given.name} is not the one its key makes of this entry")
            else:
                self._check_note(given, row.seq, 15, "a checkpoint that you brought")
            self._vouched(size, "what you brought", None)

    def _hold_brought(self) -> None:
        """Prove 15 of what was brought, before any of it is compared: it is of this log, notes by its key."""
        for given in self.brought:
            if isinstance(given, Receipt):
                of = given.entry["log"]
                need(of == self.pinned.name, 0, 15, f"{given.name} is a receipt of another log, {of}")
                continue
            try:
                given.cosigned(self.pinned, self.witnesses)
            except ValueError as error:
                raise Bad(0, 15, f"what you brought is no checkpoint of this log: {error}") from error

    def _check_note(self, note: Note, seq: int, proof: int, what: str) -> None:
        try:
            same = note.size > 0 and note.root == self.tree.root(note.size)
            need(same, seq, proof, f"the first {note.size} entries are not those of {what}")
            self._vouch(note, note.size)
        except ValueError as error:
            raise Bad(seq, proof, f"{what} is not the log's: {error}") from error

    def _vouch(self, note: Note, size: int) -> None:
        for witness, seconds in note.cosigned(self.pinned, self.witnesses).items():
            self._vouched(size, witness, seconds)

    def _vouched(self, size: int, by: str, seconds: int | None) -> None:
        self.report.witnessed = max(self.report.witnessed, size)
        seen = {"by": by, "seconds": seconds, "size": size}
        if seen not in self.report.by:  # the note of an anchor is its payload, too
            self.report.by = [*self.report.by, seen][-100:]

    def _end(self) -> None:
        """Prove that nothing is promised beyond the end."""
        size = self.log.size
        for note in self.elsewhere:
            raise Bad(0, 15, f"what you brought is a checkpoint of another log, {note.origin}")
        if self.brought:
            last = self.brought[-1].size
            raise Bad(size, 15, f"what you brought is of {last} entries, and the log ends here: it was cut off")
        if self.due:
            raise Bad(size, 14, f"a checkpoint is of {self.due[-1][0]} entries: the end was cut off")


def read_witnesses(texts: Iterable[str]) -> list[NoteKey]:
    """Read the keys of witnesses, each one once. Raises `ValueError` where two are one, or nobody can tell which."""
    keys = {text.strip(): NoteKey(text.strip()) for text in texts}
    for key in keys.values():
        if not key.witness:
            raise ValueError("a key given with --witness is not that of a witness")
        for other in keys.values():
            if other is not key and other.key.raw == key.key.raw:
                raise ValueError(f"the witnesses {key.name} and {other.name} have one key: name it once")
            if other is not key and (other.name, other.id) == (key.name, key.id):
                raise ValueError(f"two witnesses answer to {key.name}+{key.id.hex()}: name one of them")
    return list(keys.values())


def read_brought(path: str) -> Any:
    """Read a checkpoint note, or a receipt (a DSSE envelope). Raises `ValueError`, `OSError`."""
    with open(path, "rb") as file:  # noqa: PTH123 - one file that the auditor names
        data = file.read(1 << 20)
    if not data.lstrip().startswith(b"{"):
        note = Note(data)
        if note.size == 0:
            raise ValueError(path + ": a checkpoint of no entries; it vouches for none")
        return note
    try:
        envelope = json.loads(data)
        while "payload" not in envelope:
            envelope = next(envelope[k] for k in ("io.keyturn/receipt", "_meta", "result") if k in envelope)
        (signed,) = envelope["signatures"]
        need(envelope["payloadType"] == "application/vnd.keyturn.entry.v1+json", None, 15, "it is of another type")
        body, signature = from_base64(envelope["payload"]), from_base64(signed["sig"])
        return Receipt(path, Log.parsed(Row(0, body, signature, b"", {})), body, signature, signed["keyid"])
    except (LookupError, TypeError, AttributeError, ValueError, StopIteration, RecursionError, Bad) as error:
        raise ValueError(f"{path}: neither a checkpoint nor a receipt") from error


# ========================================================================================================== the words


def shown(value: Any) -> str:
    """Return text that cannot steer a terminal."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in str(value))


def as_json(report: Report, examination: Examination | None) -> dict[str, Any]:
    """Return the report as the members of a JSON object."""
    size = examination.bundle.size if examination else 0
    last = examination.log.entry if examination else {}
    bad, tail = report.bad, None
    if report.bad is None and report.witnessed < size:
        tail = {"first": report.witnessed, "last": size - 1, "count": size - report.witnessed}
    actions = list(examination.rules.actions.values()) if examination else []
    ends, begins = (examination.rules.closed, examination.rules.before) if examination else (None, None)
    return {
        "verdict": report.verdict,
        "size": size,
        "last_seq": last.get("seq"),
        "last_at": last.get("ts"),
        "first_bad": bad and {"seq": bad.seq, "proof": bad.proof, "reason": bad.reason},
        "log": examination.log.key.text if examination and examination.log.key else None,
        "witnessed": report.witnessed,
        "vouched": report.by,
        "unwitnessed": tail,
        "counts": report.counts,
        "withheld": report.withheld,
        "erased": report.erased,
        "open_intents": [a.id for a in actions if a.begun_at is not None and a.ended is None],
        "unknown_outcomes": [a.id for a in actions if a.ended == "unknown"],
        "pruned": [
            {"before": before, "environment": where}
            for where, before in (examination.rules.pruned.items() if examination else ())
        ],
        "closed": ends and {"seq": ends["seq"], "successor": ends["successor"]},
        "succeeds": begins
        and {
            "seq": begins["seq"],
            "log": begins["verifier"],
            "size": begins["size"],
            "root": begins["root"],
            "agreed": examination.agreed if examination else [],
        },
        "policy": "not re-derived",
        "timestamps": {"there": report.stamps, "checked": 0},
        "anchors_before_effects": "checked" if READS_POLICIES else "not checked",
    }


def neighbours_of(told: dict[str, Any]) -> Iterator[str]:
    """Yield what was pruned, and which log is before this one and which after it."""
    for rule in told["pruned"]:
        where = "" if rule["environment"] is None else f" of {rule['environment']}"
        yield f"pruned: payloads{where} before entry {rule['before']}"
    if told["succeeds"]:
        before = told["succeeds"]
        agreed = "as you brought it" if before["agreed"] else "hold that against its last checkpoint"
        yield f"goes on from {before['log']}, which ended with {before['size']} entries; {agreed}"
    if told["closed"]:
        after = told["closed"]["successor"]
        yield f"closed at entry {told['closed']['seq']}; {after or 'no log'} goes on from it"


def lines_of(told: dict[str, Any]) -> Iterator[str]:
    """Yield the report for people."""
    yield f"{told['verdict']}: {told['log'] or 'nothing of a log was proved'}"
    bad = told["first_bad"]
    if bad is not None:
        where = "the file" if bad["seq"] is None else f"entry {bad['seq']}"
        yield f"first bad: {where}, proof {bad['proof']}: {bad['reason']}"
    if told["last_seq"] is not None:
        claimed = "" if bad is None else ", as the file says"
        yield f"{told['size']} entries{claimed}; the last proved is {told['last_seq']} of {told['last_at']}"
    for seen in told["vouched"]:
        yield f"the first {seen['size']} entries were seen by {seen['by']}"
    tail = told["unwitnessed"]
    if tail is not None:
        where = f"entries {tail['first']} to {tail['last']} ({tail['count']})"
        yield f"unwitnessed: {where}. Whoever holds the keys could have written them anew, or cut off later ones"
    if told["withheld"]:
        yield f"withheld: {told['withheld']} payloads that manifest.json leaves out; their commitments stand"
    if told["erased"]:
        yield f"erased: {told['erased']} payloads, all of them by signed entries"
    yield from neighbours_of(told)
    for title, found in (("open intent", told["open_intents"]), ("unknown outcome", told["unknown_outcomes"])):
        for action in found:
            yield f"{title}: action {action}"
    yield from unproved(told)
    yield "the policy was not re-derived: that it decides as it was decided is not proved here"


def unproved(told: dict[str, Any]) -> Iterator[str]:
    """Yield what this program leaves to others."""
    if told["timestamps"]["there"]:
        yield f"timestamps: {told['timestamps']['there']}, not checked here: `audit verify --tsa-cert` does"
    if told["anchors_before_effects"] == "not checked":
        yield "this Python reads no policy: that intents were anchored first, where rules say so, is not proved here"


def watch(size: int) -> Callable[[int], None]:
    """Return what tells a person on a terminal how far it is."""
    if not sys.stderr.isatty() or size < 2000:
        return lambda done: None
    return lambda done: print(f"\r{done} of {size}", end="\n" if done == size else "", file=sys.stderr, flush=True)


def arguments() -> argparse.ArgumentParser:
    """Return what the command line may say."""
    first, rest = (__doc__ or "").split("\n", 1)
    parser = argparse.ArgumentParser(
        description=first, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", metavar="BUNDLE.zip")
    parser.add_argument("--key", required=True, metavar="VERIFIER", help="the log's verifier string, as you kept it")
    parser.add_argument("--witness", action="append", default=[], metavar="KEY", help="a witness that you trust")
    parser.add_argument("--against", action="append", default=[], metavar="FILE", help="a note or receipt you kept")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="verify signatures in N processes")
    parser.add_argument("--require-anchor", action="store_true", help="exit 11 when nobody vouches for the end")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    return parser


def main() -> int:
    """Examine the bundle that the command line names, tell what was found, and return the exit code."""
    parser = arguments()
    asked = parser.parse_args()
    try:
        key, witnesses = log_key_of(asked.key.strip()), read_witnesses(asked.witness)
        brought = [read_brought(path) for path in asked.against]
    except (ValueError, OSError) as error:
        parser.error(str(error))
    examination = bundle = None
    try:
        bundle = Bundle(asked.bundle)
        examination = Examination(bundle, key, witnesses, brought, max(1, min(asked.jobs, 64)))
        report = examination.run(watch(bundle.size))
    except OSError as error:
        print(f"{asked.bundle}: {error.strerror}", file=sys.stderr)
        return 1
    except MemoryError:
        print(f"{asked.bundle}: there is too little memory to read it; no verdict", file=sys.stderr)
        return 1
    except Misused as wrong:
        parser.error(str(wrong))
    except Bad as bad:
        report = Report()
        report.bad = bad
    finally:
        if bundle is not None:
            bundle.close()
    told = as_json(report, examination)
    for line in [json.dumps(told)] if asked.json else map(shown, lines_of(told)):
        print(line)
    if report.verdict == "PASS-UNANCHORED" and asked.require_anchor:
        return 11
    return 7 if report.verdict == "FAIL" else 0


if __name__ == "__main__":
    sys.exit(main())
