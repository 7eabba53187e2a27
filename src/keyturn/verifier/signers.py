"""Proof 16: reviewers' keys as somebody outside lists them, in an allowed-signers file (ssh-keygen(1)).

A key counts under the names that its line gives it: who holds two names would be two people in a quorum. Options
understood are `namespaces`, `valid-after` and `valid-before`; a line with another one is refused, not passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase

from keyturn.model.errors import ConfigurationError
from keyturn.model.sshkey import ALGORITHMS, PublicKey

_OPTIONS = re.compile(r'((?:[^\s"]|"[^"]*")+)\s+(.*)')
_OPTION = re.compile(r'([a-z-]+)="([^"]*)"(?:,|$)')
_TIME = re.compile(r"\d{8}(\d{4}(\d{2})?)?Z", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Allowed:
    names: str
    key: str
    namespaces: str | None
    after: datetime | None
    before: datetime | None


class Signers:
    """The lines of an allowed-signers file."""

    def __init__(self, lines: Iterable[_Allowed]) -> None:
        self._lines = tuple(lines)

    def stranger(self, name: str, key: PublicKey) -> str | None:
        """Return why `key` is not one that the file gives to the person `name`; None if it is."""
        if self._given(name, key):
            return None
        others = [line.names for line in self._lines if line.key == key.fingerprint]
        return f"it is listed for {', '.join(others)}, not for {name}" if others else "it is not listed"

    def refusal(self, name: str, key: PublicKey, namespace: str, at: datetime) -> str | None:
        """Return why a signature made by `at` does not count by the file; None if it does."""
        lines = self._given(name, key)
        if not lines:
            return self.stranger(name, key)
        lines = [line for line in lines if line.namespaces is None or _matches(namespace, line.namespaces)]
        if not lines:
            return f"it is not listed for {namespace}"
        if not any((not line.after or line.after <= at) and (not line.before or at < line.before) for line in lines):
            return "it is not listed for that time"
        return None

    def _given(self, name: str, key: PublicKey) -> list[_Allowed]:
        return [line for line in self._lines if line.key == key.fingerprint and _matches(name, line.names)]


def read_signers(text: str) -> Signers:
    """Read an allowed-signers file. Raises `ConfigurationError` naming the first line that is not understood."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                found.append(_allowed(line.strip()))
            except ValueError as error:
                raise ConfigurationError(f"line {number} of the allowed signers: {error}") from error
    if not found:
        raise ConfigurationError("the file of allowed signers lists nobody")
    return Signers(found)


def _allowed(line: str) -> _Allowed:
    names, _, rest = line.partition(" ") if " " in line else line.partition("\t")
    options, key = _divided(rest.strip())
    return _Allowed(
        names=names,
        key=PublicKey.parse(key).fingerprint,
        namespaces=options.get("namespaces"),
        after=_time(options.get("valid-after")),
        before=_time(options.get("valid-before")),
    )


def _divided(text: str) -> tuple[Mapping[str, str], str]:
    """Return the options and the public key of what follows the names."""
    match = None if text.split(" ", maxsplit=1)[0] in ALGORITHMS else _OPTIONS.fullmatch(text)
    if match is None:
        return {}, text
    return _options(match[1]), match[2]


def _options(text: str) -> Mapping[str, str]:
    found: dict[str, str] = {}
    rest = text
    while rest:
        match = _OPTION.match(rest)
        if match is None or match[1] not in {"namespaces", "valid-after", "valid-before"} or match[1] in found:
            raise ValueError(f"the option {rest!r} is not understood")
        found[match[1]] = match[2]
        rest = rest[match.end() :]
    return found


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    if not _TIME.fullmatch(text):
        raise ValueError(f"the time {text!r} is not in UTC; write it as YYYYMMDD, HHMM and SS as you like, and Z")
    return datetime.strptime(text[:-1].ljust(14, "0"), "%Y%m%d%H%M%S").replace(tzinfo=UTC)


def _matches(name: str, patterns: str) -> bool:
    """Tell whether a pattern list (ssh_config(5)) takes a name: `*`, `?`, and `!` for what it leaves out."""
    taken = False
    for pattern in patterns.split(","):
        # Brackets mean nothing in these patterns, and something to fnmatch.
        plain = pattern.removeprefix("!").replace("[", "[[]")
        if fnmatchcase(name, plain):
            if pattern.startswith("!"):
                return False
            taken = True
    return taken
