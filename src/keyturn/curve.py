"""Which Ed25519 public keys must never be trusted: the points of small order, in every encoding.

With such a key a signature can verify for many messages at once. OpenSSL accepts several of them, so they are
refused where a key is registered. Source: the small-order points of edwards25519 and their non-canonical encodings,
as listed by libsodium's `ge25519_has_small_order` and by C2SP's Wycheproof vectors.
"""

from __future__ import annotations

_P = 2**255 - 19
_ORDER_8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_SMALL_ORDER_Y = frozenset({0, 1, _P - 1, _P, _P + 1, _ORDER_8, _P - _ORDER_8})


def weak_point(raw: bytes) -> str | None:
    """Say why 32 raw bytes are no acceptable Ed25519 public key, or None when they are.

    Refused: another length, a y coordinate that is not reduced (non-canonical), a point of small order.
    """
    if len(raw) != 32:
        return f"an Ed25519 public key has 32 bytes, not {len(raw)}"
    y = int.from_bytes(raw, "little") & (2**255 - 1)
    if y in _SMALL_ORDER_Y:
        return "the Ed25519 public key is a point of small order"
    if y >= _P:
        return "the Ed25519 public key is not canonically encoded"
    return None
