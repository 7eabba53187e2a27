"""People who sign: software keys made in the process, and hardware tokens in software."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keyturn import canon
from keyturn.canon import Json
from keyturn.model.sshkey import PublicKey
from tests.sshsig.keys import HardwareKey, covered, sshsig, string

Sign = Callable[[bytes, str], bytes]
"""Message and namespace to the raw SSHSIG blob."""


class Key(Protocol):
    """What signs: `public_line` is the line of the `.pub` file."""

    @property
    def public_line(self) -> str: ...

    def sign(self, message: bytes, namespace: str) -> bytes: ...


class SoftwareKey:
    """An Ed25519 key as `ssh-keygen` makes it, without the program."""

    def __init__(self, seed: int) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed.to_bytes(32, "big"))
        self.blob = string(b"ssh-ed25519") + string(self._key.public_key().public_bytes_raw())

    @property
    def public_line(self) -> str:
        return f"ssh-ed25519 {base64.b64encode(self.blob).decode()} somebody"

    def sign(self, message: bytes, namespace: str) -> bytes:
        inner = string(b"ssh-ed25519") + string(self._key.sign(covered(message, namespace)))
        return sshsig(self.blob, namespace, inner)


class Token:
    """A hardware token with the flags it is told to claim."""

    def __init__(self, flags: int, key: HardwareKey | None = None) -> None:
        self.hardware = key or HardwareKey()
        self.flags = flags

    @property
    def public_line(self) -> str:
        return self.hardware.public_line

    def sign(self, message: bytes, namespace: str) -> bytes:
        return self.hardware.sign(message, namespace, flags=self.flags)


@dataclass(frozen=True)
class Person:
    """Somebody with one key."""

    name: str
    key: Key = field(repr=False)

    @property
    def line(self) -> str:
        """The key as policies and entries write it."""
        return PublicKey.parse(self.key.public_line).line

    @property
    def fingerprint(self) -> str:
        return PublicKey.parse(self.key.public_line).fingerprint

    def sign(self, statement: Json, namespace: str) -> bytes:
        return self.key.sign(canon.encode(statement), namespace)


ALICE: Final = Person("alice", SoftwareKey(1))
BOB: Final = Person("bob", SoftwareKey(2))
CAROL: Final = Person("carol", SoftwareKey(3))
OLGA: Final = Person("olga", SoftwareKey(4))
MALLORY: Final = Person("mallory", SoftwareKey(5))
"""The one whom no policy lists."""

LISTED: Final = (ALICE, BOB, CAROL, OLGA)


def listed(*people: Person) -> dict[str, Json]:
    """People as the facts of entries list them."""
    return {person.name: [person.line] for person in people}
