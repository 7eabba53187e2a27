"""Proof 16: whose hands signed an entry, and whether a list from outside bears out that they are whose they say."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any

from keyturn import canon
from keyturn.approvals.statement import ACT_NAMESPACE, REVIEW_NAMESPACE
from keyturn.log.entry import Entry
from keyturn.model.sshkey import PublicKey
from keyturn.sshsig import SignatureError, verify
from keyturn.verifier.report import Stranger
from keyturn.verifier.signers import Signers


def strangers(entry: Entry, signers: Signers) -> Iterator[Stranger]:
    """Yield the keys that an entry gives reviewers, or people signed it with, and that `signers` do not bear out."""
    for name, key, reason in (*_listed(entry, signers), *_signed(entry, signers)):
        if reason is not None:
            yield Stranger(seq=entry.seq, reviewer=name, key=key.fingerprint, reason=reason)


def _listed(entry: Entry, signers: Signers) -> Iterator[tuple[str, PublicKey, str | None]]:
    facts: Mapping[str, Any] = entry.facts
    if entry.kind == "policy.activated":
        for name, lines in facts["reviewers"].items():
            yield from ((name, key, signers.stranger(name, key)) for key in map(PublicKey.parse, lines))


def _signed(entry: Entry, signers: Signers) -> Iterator[tuple[str, PublicKey, str | None]]:
    for name, key, namespace in hands(entry):
        yield name, key, signers.refusal(name, key, namespace, entry.at)


def hands(entry: Entry) -> Iterator[tuple[str, PublicKey, str]]:
    """Yield name, key and namespace of each person's signature in an entry that verifies.

    One that does not is no person's, and proof 9 has said so.
    """
    if entry.kind == "action.reviewed":
        yield from _hand(entry.text("reviewer"), entry.facts, REVIEW_NAMESPACE)
    act: Any = entry.facts.get("act")
    if act is not None:
        yield from _hand(act["statement"]["by"], act, ACT_NAMESPACE)


def _hand(name: str, signed: Any, namespace: str) -> Iterator[tuple[str, PublicKey, str]]:
    message = canon.encode(signed["statement"])
    try:
        signer = verify(message, base64.b64decode(signed["signature"], validate=True), namespace)
    except (SignatureError, ValueError):
        return
    yield name, signer.key, namespace
