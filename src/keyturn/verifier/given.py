"""What an auditor brings from outside, as values: nothing that the ledger says can add to it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from keyturn.log.keys import BadKey, LogVerifier, parse_verifier
from keyturn.log.note import COSIGNATURE, NoteKey, parse_note_key
from keyturn.log.timestamp import Authorities
from keyturn.model.errors import ConfigurationError
from keyturn.verifier.brought import Brought
from keyturn.verifier.signers import Signers


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a ledger is held against.

    pinned      the log's verifier string as it was written down elsewhere
    remembered  a size the ledger had, and the leaf hash (hex) its last entry had then
    witnesses   keys whose cosignatures count
    brought     notes, receipts and proofs of entries that were kept elsewhere
    signers     whose keys may be reviewers'
    stamping    whose timestamps count
    """

    pinned: LogVerifier | None = None
    remembered: tuple[int, str] | None = None
    witnesses: tuple[NoteKey, ...] = ()
    brought: tuple[Brought, ...] = ()
    signers: Signers | None = None
    stamping: Authorities | None = None


def read_pinned(text: str) -> LogVerifier:
    """Read the verifier string of a log. Raises `ConfigurationError`."""
    try:
        return parse_verifier(text.strip())
    except BadKey as error:
        raise ConfigurationError(f"the verifier string given is none: {error}") from error


def read_witnesses(texts: Iterable[str]) -> tuple[NoteKey, ...]:
    """Read the verifier keys of witnesses (C2SP tlog-cosignature). Raises `ConfigurationError`.

    One key under two names would be two witnesses in a report; two keys under one name and key id could not be told
    apart in a note. Both are refused. Two keys under one name are a witness that changed its key.
    """
    keys = tuple(dict.fromkeys(_witness(text.strip()) for text in texts))
    for place, key in enumerate(keys):
        for other in keys[:place]:
            if key.key == other.key:
                raise ConfigurationError(f"the witnesses {other.name} and {key.name} have one key: name it once")
            if (key.name, key.id) == (other.name, other.id):
                raise ConfigurationError(f"two witnesses answer to {key.name}+{key.id.hex()}: name one of them")
    return keys


def _witness(text: str) -> NoteKey:
    try:
        key = parse_note_key(text)
    except BadKey as error:
        raise ConfigurationError(f"the key of a witness is none: {error}") from error
    if key.algorithm != COSIGNATURE:
        raise ConfigurationError(
            f"{key.name}: not the key of a witness (algorithm byte 0x04); a log key vouches for nothing but itself"
        )
    return key
