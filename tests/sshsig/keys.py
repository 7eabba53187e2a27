"""Makes SSH keys for tests: real ones by `ssh-keygen`, an agent, and a simulated FIDO token; asks stock OpenSSH."""

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from keyturn.model.sshkey import SK_ECDSA, SK_ED25519, PublicKey
from keyturn.sshsig import armor

KINDS: Final = {
    "ed25519": ("-t", "ed25519"),
    "ecdsa256": ("-t", "ecdsa", "-b", "256"),
    "ecdsa384": ("-t", "ecdsa", "-b", "384"),
    "ecdsa521": ("-t", "ecdsa", "-b", "521"),
    "rsa2048": ("-t", "rsa", "-b", "2048"),
    "rsa3072": ("-t", "rsa", "-b", "3072"),
}
"""The kinds of key `make_key` makes, with what ssh-keygen calls them."""

PRESENT: Final = 0x01
VERIFIED: Final = 0x04


def environment(home: Path, **more: str) -> dict[str, str]:
    """An environment in which OpenSSH finds nothing of the developer's and asks nobody."""
    return {"PATH": os.environ["PATH"], "HOME": str(home), "SSH_ASKPASS_REQUIRE": "never", **more}


def make_key(directory: Path, kind: str = "ed25519", comment: str = "test", passphrase: str = "") -> Path:
    """Make a key pair in `directory` and return the private file; the public one has `.pub` after it."""
    path = directory / f"id_{kind}_{len(list(directory.iterdir()))}"
    arguments = ["-q", *KINDS[kind], "-N", passphrase, "-C", comment, "-f", str(path)]
    subprocess.run(["ssh-keygen", *arguments], check=True, stdin=subprocess.DEVNULL)
    return path


def public_key(private: Path) -> PublicKey:
    """Read the public half beside a key made by `make_key`."""
    return PublicKey.parse(private.with_name(f"{private.name}.pub").read_text())


@contextmanager
def agent(home: Path) -> Iterator[dict[str, str]]:
    """Run a real ssh-agent of our own; gives the environment that reaches it."""
    with tempfile.TemporaryDirectory(prefix="agent-") as folder:  # socket paths must be short
        socket = Path(folder, "socket")
        with subprocess.Popen(
            ["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
        ) as process:
            assert process.stdout is not None
            try:
                process.stdout.readline()  # it speaks once it listens
                yield environment(home, SSH_AUTH_SOCK=str(socket))
            finally:
                process.terminate()


def add_to_agent(key: Path, reaching: dict[str, str]) -> None:
    """Load a private key into the agent that `agent` gave."""
    subprocess.run(["ssh-add", "-q", str(key)], env=reaching, check=True, stdin=subprocess.DEVNULL)


def string(data: bytes) -> bytes:
    """One SSH wire string."""
    return len(data).to_bytes(4, "big") + data


def mpint(number: int) -> bytes:
    """One SSH wire integer, positive and in its shortest form."""
    return string(number.to_bytes(number.bit_length() // 8 + 1, "big"))


def covered(message: bytes, namespace: str, hash_name: str = "sha512") -> bytes:
    """The bytes an SSHSIG signature covers (PROTOCOL.sshsig), written independently of the code under test."""
    digest = hashlib.new(hash_name, message).digest()
    return b"SSHSIG" + string(namespace.encode()) + string(b"") + string(hash_name.encode()) + string(digest)


def sshsig(public: bytes, namespace: str, signature: bytes, hash_name: str = "sha512") -> bytes:
    """An SSHSIG blob around a complete inner signature."""
    head = b"SSHSIG" + (1).to_bytes(4, "big") + string(public)
    return head + string(namespace.encode()) + string(b"") + string(hash_name.encode()) + string(signature)


class HardwareKey:
    """A FIDO token in software: signs what OpenSSH's PROTOCOL.u2f says a token signs, with any flags.

    `kind` is "ed25519" or "ecdsa". The counter goes up by one with each signature.
    """

    def __init__(self, kind: str = "ed25519", application: str = "ssh:") -> None:
        self.application = application
        self.counter = 0
        self._ed25519 = Ed25519PrivateKey.generate() if kind == "ed25519" else None
        self._ecdsa = ec.generate_private_key(ec.SECP256R1())

    @property
    def algorithm(self) -> str:
        return SK_ECDSA if self._ed25519 is None else SK_ED25519

    @property
    def blob(self) -> bytes:
        if self._ed25519 is None:
            point = self._ecdsa.public_key().public_bytes(
                serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
            )
            numbers = string(b"nistp256") + string(point)
        else:
            numbers = string(self._ed25519.public_key().public_bytes_raw())
        return string(self.algorithm.encode()) + numbers + string(self.application.encode())

    @property
    def public_line(self) -> str:
        """The line of the `.pub` file."""
        return f"{PublicKey(self.algorithm, self.blob).line} token"

    def sign(self, message: bytes, namespace: str, *, flags: int = PRESENT, hash_name: str = "sha512") -> bytes:
        """The SSHSIG blob over `message`, claiming `flags`."""
        self.counter += 1
        tail = bytes([flags]) + self.counter.to_bytes(4, "big")
        data = hashlib.sha256(covered(message, namespace, hash_name)).digest()
        signed = hashlib.sha256(self.application.encode()).digest() + tail + data
        inner = string(self.algorithm.encode()) + string(self._raw(signed)) + tail
        return sshsig(self.blob, namespace, inner, hash_name)

    def _raw(self, signed: bytes) -> bytes:
        if self._ed25519 is not None:
            return self._ed25519.sign(signed)
        r, s = decode_dss_signature(self._ecdsa.sign(signed, ec.ECDSA(hashes.SHA256())))
        return mpint(r) + mpint(s)


def stock_accepts(message: bytes, blob: bytes, key: PublicKey, namespace: str) -> bool:
    """Whether `ssh-keygen -Y verify` accepts the signature for an allowed signer with this key."""
    with tempfile.TemporaryDirectory() as folder:
        allowed, signature = Path(folder, "allowed"), Path(folder, "signature")
        allowed.write_text(f"alice {key.line}\n")
        signature.write_text(armor(blob))
        arguments = ["-Y", "verify", "-f", str(allowed), "-I", "alice", "-n", namespace, "-s", str(signature)]
        return _stock(arguments, message)


def stock_finds_valid(message: bytes, blob: bytes, namespace: str) -> bool:
    """Whether `ssh-keygen -Y check-novalidate` finds the signature mathematically good."""
    with tempfile.TemporaryDirectory() as folder:
        signature = Path(folder, "signature")
        signature.write_text(armor(blob))
        return _stock(["-Y", "check-novalidate", "-n", namespace, "-s", str(signature)], message)


def _stock(arguments: list[str], message: bytes) -> bool:
    done = subprocess.run(["ssh-keygen", *arguments], input=message, capture_output=True, check=False)
    return done.returncode == 0 and done.stdout.startswith(b"Good ")
