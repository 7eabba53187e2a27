"""What credentials of the test bed have in common, and the forms in which one of them may turn up."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

MARK = "c4n4rYbEd"
"""A part of every password and token of the test bed: where it turns up later, one of them leaked."""

JWT = b"eyJhbGciOiJSUzI1NiI"
"""How the tokens begin that an App signs: `{"alg":"RS256"` in base64."""


def forms(secret: str) -> frozenset[bytes]:
    """Return the bytes that give a secret away: as it is, in URLs, in hex, and in base64 wherever it begins.

    Of a PEM file, which nobody would print as it is, each line of its body.
    """
    if "-----BEGIN" in secret:
        lines = [line.strip() for line in secret.splitlines() if not line.startswith("-----")]
        return frozenset(line.encode() for line in lines if len(line) >= 32)
    data = secret.encode()
    found = {data, quote(secret, safe="").encode(), data.hex().encode()}
    return frozenset(found | set(_in_base64(data)))


def _in_base64(data: bytes) -> Iterator[bytes]:
    """Yield what stays the same of the base64 of a text that holds `data`, whatever stands before and after it."""
    for before in range(3):
        coded = base64.b64encode(b"\0" * before + data)
        inner = coded[(0, 2, 3)[before] :].rstrip(b"=")
        kept = inner[: len(inner) - (len(data) + before) % 3] if (len(data) + before) % 3 else inner
        yield kept
        yield kept.replace(b"+", b"-").replace(b"/", b"_")


@dataclass(slots=True)
class Canaries:
    """Credentials by what they are; `sightings` looks for every form of each."""

    secrets: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, secret: str) -> str:
        """Take a credential in; returns it."""
        self.secrets[name] = secret
        return secret

    def sightings(self, data: bytes) -> list[str]:
        """Name the credentials that give themselves away in some bytes."""
        pattern, names = self._compiled()
        return sorted({names[found] for found in pattern.findall(data)})

    def _compiled(self) -> tuple[re.Pattern[bytes], Mapping[bytes, str]]:
        names = {form: name for name, secret in self.secrets.items() for form in forms(secret)}
        return re.compile(b"|".join(re.escape(form) for form in sorted(names))), names


def sought(secrets: Iterable[str]) -> re.Pattern[bytes]:
    """Return the pattern that finds any of some secrets in any form."""
    every = sorted(form for secret in secrets for form in forms(secret))
    return re.compile(b"|".join(re.escape(form) for form in every))
