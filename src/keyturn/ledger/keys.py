"""The log's private keys: made once, kept 0600 in a 0700 folder, used here and nowhere else."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keyturn.ledger.errors import LedgerUnavailable
from keyturn.log.keys import VerifyKey

ENTRY_KEY = "entry.key"
LOG_KEY = "log.key"
VERIFIER = "log.vkey"
_OPENSSH = b"-----BEGIN OPENSSH"


@dataclass(frozen=True, slots=True, repr=False)
class SigningKey:
    """An Ed25519 private key; it signs and never shows itself."""

    private: Ed25519PrivateKey
    public: VerifyKey

    def __repr__(self) -> str:
        return f"SigningKey(kid={self.public.kid})"

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte Ed25519 signature over `message` (RFC 8032)."""
        return self.private.sign(message)


def make_key(seed: bytes) -> SigningKey:
    """Make a key from 32 bytes of entropy."""
    return _signing_key(Ed25519PrivateKey.from_private_bytes(seed))


def store_key(path: Path, key: SigningKey, *, for_ssh: bool = False) -> None:
    """Write a new private key, 0600: PKCS #8 PEM, or in OpenSSH's form, which `ssh-add` takes into an agent.

    Refuses to replace a file.
    """
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - see `load_key`

    form = serialization.PrivateFormat.OpenSSH if for_ssh else serialization.PrivateFormat.PKCS8
    text = key.private.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def load_key(path: Path) -> SigningKey:
    """Read a private key. Refused: a key that other accounts could read, a link, anything but Ed25519."""
    # Imported here: it is slow to load, and who only reads a ledger has no private key.
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
        load_pem_private_key,
        load_ssh_private_key,
    )

    _check_private(path.parent, stat.S_ISDIR, "a folder", 0o700)
    _check_private(path, stat.S_ISREG, "a file", 0o600)
    try:
        text = path.read_bytes()
        load = load_ssh_private_key if text.startswith(_OPENSSH) else load_pem_private_key
        private = load(text, password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise LedgerUnavailable(f"{path}: not a readable private key: {error}") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise LedgerUnavailable(f"{path}: not an Ed25519 private key")
    return _signing_key(private)


def _signing_key(private: Ed25519PrivateKey) -> SigningKey:
    return SigningKey(private, VerifyKey(private.public_key().public_bytes_raw()))


def _check_private(path: Path, is_kind: Callable[[int], bool], what: str, mode: int) -> None:
    try:
        status = path.lstat()
    except OSError as error:
        raise LedgerUnavailable(f"{path}: {error.strerror}; keys are made by `keyturn init`") from error
    if not is_kind(status.st_mode):
        raise LedgerUnavailable(f"{path} is not {what} of its own; put the key there itself, not a link")
    if status.st_uid != os.geteuid():
        raise LedgerUnavailable(f"{path} belongs to another account; run Keyturn as its owner")
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise LedgerUnavailable(f"{path} could be read by other accounts; run: chmod {mode:o} {path}")
