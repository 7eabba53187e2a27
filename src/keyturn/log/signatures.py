"""Verifies the signatures of many entries at once: work for processes of their own, so quick to load."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias

from keyturn.log.envelope import ENTRY_TYPE, pae
from keyturn.log.keys import VerifyKey

Signature: TypeAlias = tuple[bytes, bytes, bytes]
"""A raw public key, the body of the entry it is said to have signed, and the signature."""


def first_bad_signature(work: Sequence[Signature]) -> int | None:
    """Return the place of the first signature that is not its key's over the entry's PAE; None if all are good."""
    for place, (raw, body, signature) in enumerate(work):
        if not _key(raw).verifies(pae(ENTRY_TYPE, body), signature):
            return place
    return None


@lru_cache(maxsize=64)
def _key(raw: bytes) -> VerifyKey:
    return VerifyKey(raw)
