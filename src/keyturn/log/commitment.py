"""Salted commitments: how an entry binds a payload that is stored apart and can be erased."""

from __future__ import annotations

import hashlib
import hmac

SALT_BYTES = 32
_CONTEXT = b"keyturn/payload/v1\n"


def commit(salt: bytes, field: str, data: bytes) -> str:
    """Return `hmac-sha256:<64 hex>`: HMAC(salt, "keyturn/payload/v1\\n" ‖ field ‖ "\\n" ‖ data).

    `salt` is 32 random bytes used for nothing else; without it the commitment tells nothing about short data.
    """
    if len(salt) != SALT_BYTES:
        raise ValueError(f"a salt has {SALT_BYTES} bytes, not {len(salt)}")
    message = _CONTEXT + field.encode("ascii") + b"\n" + data
    return f"hmac-sha256:{hmac.new(salt, message, hashlib.sha256).hexdigest()}"


def opens(commitment: str, salt: bytes, field: str, data: bytes) -> bool:
    """Tell whether `salt` and `data` open `commitment` for `field`."""
    return len(salt) == SALT_BYTES and hmac.compare_digest(commit(salt, field, data), commitment)
