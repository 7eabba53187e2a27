"""A signature made elsewhere: what to sign is printed, and the signature is read from standard input.

For acts at a home whose account holds nobody's key and reaches nobody's agent.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from keyturn.cli.output import note
from keyturn.model.errors import ConfigurationError

END = "-----END SSH SIGNATURE-----"
LONGEST = 64 * 1024  # characters that are read at most


@dataclass(frozen=True, slots=True)
class ByHand:
    """The keys of a person, none of which is here: their public lines."""

    name: str
    lines: Sequence[str]

    def sign(self, message: bytes, namespace: str) -> bytes:
        """Print the command that signs, read what it prints, and return the SSHSIG blob.

        Raises `ConfigurationError` when what comes is no signature of one of the keys over the message.
        """
        from keyturn.sshsig.envelope import SignatureError, unarmor
        from keyturn.sshsig.verification import verify

        text = message.decode("utf-8")
        if not (text.isascii() and text.isprintable()):
            raise ConfigurationError("what is to be signed holds more than plain ASCII: sign it with a key at hand")
        note(
            f"Where the key of {self.name} is, run this with its file in the place of KEY; paste here what it prints:"
        )
        note(f"printf %s {shlex.quote(text)} | ssh-keygen -Y sign -n {namespace} -f KEY")
        try:
            blob = unarmor(_read_signature())
            signer = verify(message, blob, namespace)
        except SignatureError as error:
            raise ConfigurationError(f"this is not the signature that was asked for: {error.reason}") from error
        if signer.key.line not in self.lines:
            raise ConfigurationError(f"{signer.key.fingerprint} has signed, which is no key of {self.name}")
        return blob


def _read_signature() -> str:
    """Read up to the line that ends a signature."""
    said = ""
    while len(said) < LONGEST and (line := sys.stdin.readline(LONGEST)):
        said += line
        if line.strip() == END:
            break
    return said.strip() + "\n"
