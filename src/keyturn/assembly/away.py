"""Signing a carried request on a machine without its home: this machine's clock and entropy, a person's key."""

from __future__ import annotations

from collections.abc import Callable

from keyturn.approvals.statement import REVIEW_NAMESPACE
from keyturn.assembly.outside import entropy, moment
from keyturn.gateway.detached import Said, draft_detached, write_signed
from keyturn.gateway.show import Asked
from keyturn.log.commitment import SALT_BYTES


def sign_away(asked: Asked, said: Said, sign: Callable[[bytes, str], bytes]) -> bytes:
    """Have what a person says of a carried request signed (message, namespace → SSHSIG blob); return its file.

    Raises `Refused` when a rejection has no reason, or the digest is not the one they pinned.
    """
    draft = draft_detached(asked, said, salt=entropy(SALT_BYTES), at=moment().wall)
    return write_signed(draft, sign(draft.to_sign, REVIEW_NAMESPACE))
