"""Writes entries as in-toto statements in DSSE envelopes, for tools that gather attestations and judge them.

Sources: in-toto Attestation Framework, Statement v1, envelope and bundle (JSON lines); DSSE 1.0. `docs/format.md`
defines the predicate.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from keyturn import canon
from keyturn.evidence.bundle import Opening, opened
from keyturn.log.entry import Entry
from keyturn.log.envelope import pae
from keyturn.log.keys import LogVerifier

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT: Final = "https://in-toto.io/Statement/v1"
PREDICATE: Final = "https://keyturn.io/attestation/entry/v1"
"""Names the predicate; nothing needs to be found there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attester:
    """Who signs statements: an entry key of the log `verifier`, by its kid."""

    verifier: LogVerifier
    kid: str
    sign: Callable[[bytes], bytes]


def statement_lines(
    entries: Iterable[Entry], opening: Callable[[Entry, str], Opening | None], attester: Attester
) -> Iterator[str]:
    """Yield a DSSE envelope with a statement for each entry.

    `opening` returns salt and bytes of a payload, None where it is left out or was erased.
    """
    for entry in entries:
        payload = _written(statement_of(entry, opening, attester.verifier)).encode("utf-8")
        signature = attester.sign(pae(PAYLOAD_TYPE, payload))
        yield _written(
            {
                "payload": _base64(payload),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [{"keyid": attester.kid, "sig": _base64(signature)}],
            }
        )


def statement_of(
    entry: Entry, opening: Callable[[Entry, str], Opening | None], verifier: LogVerifier
) -> dict[str, Any]:
    """Return what is said of an entry; its subject is found by the leaf hash, which for a request is the digest."""
    disclosed = {name: opened(found) for name in sorted(entry.data) if (found := opening(entry, name)) is not None}
    return {
        "_type": STATEMENT,
        "subject": [{"name": f"{entry.log}#{entry.seq}", "digest": {"sha256": entry.leaf}}],
        "predicateType": PREDICATE,
        "predicate": {
            "entry": canon.decode_object(entry.body),
            "payloads": disclosed,
            "signature": _base64(entry.signature),
            "verifier": str(verifier),
        },
    }


def _written(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
