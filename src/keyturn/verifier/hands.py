"""Whose hands signed an entry: the reviewer of a review, the person of an act, and the keys they used."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from keyturn import canon
from keyturn.approvals.statement import ACT_NAMESPACE, REVIEW_NAMESPACE
from keyturn.log.entry import Entry
from keyturn.model.sshkey import PublicKey
from keyturn.sshsig import SignatureError, verify


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
