"""The evidence of one action as files that stock tools check: envelopes, proofs, payloads, people's signatures."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from keyturn.evidence.bundle import Opening
from keyturn.evidence.signers import namespace_of, person_of, signed_files, signers_of
from keyturn.log.checkpoint import parse_checkpoint
from keyturn.log.entry import Entry
from keyturn.log.envelope import ENTRY_TYPE
from keyturn.log.keys import LogVerifier, VerifyKey
from keyturn.log.note import Note
from keyturn.log.proof import EntryProof

_PEM = bytes.fromhex("302a300506032b6570032100")  # SubjectPublicKeyInfo of Ed25519 up to the key (RFC 8410)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What an action is proved by.

    story     its entries, in order
    keys      the entries that admitted the keys which signed them
    note      a checkpoint that covers all of these
    include   returns the audit path of an entry in the tree of a size
    opening   returns salt and bytes of a payload, None where it is not disclosed
    gone      tells whether a payload was erased or pruned: nobody can disclose it any more
    """

    verifier: LogVerifier
    story: Sequence[Entry]
    keys: Sequence[Entry]
    note: Note
    include: Callable[[int, int], Sequence[bytes]]
    opening: Callable[[Entry, str], Opening | None]
    gone: Callable[[Entry, str], bool] = lambda entry, name: False


def files_of(evidence: Evidence) -> Iterator[tuple[str, bytes]]:
    """Yield the files by their paths."""
    yield "README.txt", _readme(evidence).encode("utf-8")
    yield "log.vkey", f"{evidence.verifier}\n".encode()
    yield "checkpoint", bytes(evidence.note)
    for entry in (*evidence.keys, *evidence.story):
        yield from _entry_files(evidence, entry)
    for entry in evidence.story:
        yield from _payload_files(evidence, entry)
    for kid, key in _keys(evidence).items():
        yield f"keys/{kid}.pem", _pem(key)
    yield "signers", signers_of(evidence.story).encode("utf-8")
    for name, data in signed_files(evidence.story):
        yield f"signed/{name}", data


def _entry_files(evidence: Evidence, entry: Entry) -> Iterator[tuple[str, bytes]]:
    size = parse_checkpoint(evidence.note.text).size
    proof = EntryProof(entry.seq, tuple(evidence.include(entry.seq, size)), evidence.note)
    stem = f"entries/{entry.seq}"
    yield f"{stem}.json", json.dumps(entry.envelope.to_json()).encode()
    yield f"{stem}.tlog-proof", str(proof).encode("utf-8")
    # The same in pieces, for tools that know no envelope.
    yield f"{stem}.body", entry.body
    yield f"{stem}.signed", entry.signed_bytes
    yield f"{stem}.signature", entry.signature


def _payload_files(evidence: Evidence, entry: Entry) -> Iterator[tuple[str, bytes]]:
    for name in sorted(entry.data):
        opening = evidence.opening(entry, name)
        if opening is not None:
            yield f"payloads/{entry.seq}/{name}", opening[1]
            yield f"payloads/{entry.seq}/{name}.salt", opening[0].hex().encode("ascii")


def _keys(evidence: Evidence) -> Mapping[str, VerifyKey]:
    admitted = [VerifyKey(base64.b64decode(entry.text("key"))) for entry in evidence.keys]
    return {key.kid: key for key in (evidence.verifier.key, *admitted)}


def _pem(key: VerifyKey) -> bytes:
    return b"-----BEGIN PUBLIC KEY-----\n" + base64.b64encode(_PEM + key.raw) + b"\n-----END PUBLIC KEY-----\n"


def _readme(evidence: Evidence) -> str:
    entries = [*evidence.keys, *evidence.story]
    first = evidence.story[0]
    opened = [(entry.seq, name) for entry in evidence.story for name in entry.data if evidence.opening(entry, name)]
    hidden = sum(len(entry.data) for entry in evidence.story) - len(opened)
    signed = [name for name, _ in signed_files(evidence.story) if not name.endswith(".sig")]
    parts = [
        _README_HEAD.format(action=first.action, log=evidence.verifier, files=", ".join(str(e.seq) for e in entries)),
        _README_ENTRY.format(seq=first.seq, kid=first.kid, leaf=first.leaf, type=f"{len(ENTRY_TYPE)} {ENTRY_TYPE}"),
    ]
    if opened:
        seq, name = opened[0]
        parts.append(_README_PAYLOAD.format(seq=seq, name=name, hidden=hidden))
    if lost := sum(evidence.gone(entry, name) for entry in evidence.story for name in entry.data):
        parts.append(_README_GONE.format(lost=lost))
    if signed:
        name = signed[0]
        parts.append(_README_SIGNED.format(name=name, who=person_of(name), namespace=namespace_of(name)))
    return "\n".join([*parts, _README_TAIL])


_README_HEAD = """\
Evidence of one action

action  {action}
log     {log}
entries {files}

Before anything else: compare log.vkey with the verifier string of the log that you
have from elsewhere. What is here is worth as much as that line.

entries/N.json        the entry as a DSSE envelope; its payload is the exact body
entries/N.tlog-proof  that it is in the log (c2sp.org/tlog-proof), with the checkpoint
entries/N.body, .signed, .signature
                      the body, the bytes that are signed (DSSE PAE), the signature
payloads/N/FIELD      what the body commits to under data, with its .salt in hex
signed/, signers      what people signed, and whose keys may sign
keys/KID.pem          the log key and the keys that it admitted in key.added entries
checkpoint            size and root of the log, signed by the log key, and cosignatures
"""

_README_ENTRY = """\
1. An entry is signed by its key, named kid in its body:

   openssl pkeyutl -verify -rawin -pubin -inkey keys/{kid}.pem \\
       -in entries/{seq}.signed -sigfile entries/{seq}.signature

   and .signed is "DSSEv1 {type}", the length
   of the body in bytes, and the body, with single spaces between. The key itself stands in
   a key.added entry, signed by the log key, which log.vkey holds.

2. Its leaf hash, which reviewers sign as the action's digest and the next entry carries
   as prev:

   (printf '\\0'; cat entries/{seq}.body) | sha256sum

   gives {leaf}.
   Whatever checks c2sp.org/tlog-proof files proves with log.vkey and that hash that the
   entry is in the tree of the checkpoint.
"""

_README_PAYLOAD = """\
3. A payload is what the entry committed to ({hidden} more were not disclosed):

   (printf 'keyturn/payload/v1\\n{name}\\n'; cat payloads/{seq}/{name}) | openssl dgst \\
       -sha256 -mac HMAC -macopt hexkey:$(cat payloads/{seq}/{name}.salt)

   gives the digits after hmac-sha256: under data, {name}, in entries/{seq}.body.
"""

_README_GONE = """\
   Not here: {lost} payloads that were erased or pruned from the log. Their commitments stay in
   the bodies, and entries payload.erased or payloads.pruned of the log say who signed for it.
"""

_README_SIGNED = """\
4. A person signed the statement, and the statement is in the entry:

   ssh-keygen -Y verify -f signers -I {who} -n {namespace} \\
       -s signed/{name}.sig < signed/{name}

   It names the action, its digest (2), the verdict, and the commitment of the reason.
   Files ending in .act are operators' acts, in the namespace keyturn.act.v1.
"""

_README_TAIL = """\
What this does not show: that nothing else happened, and that the policy asked for no more
people than it says. `keyturn audit export` gives the whole log, and verify.py in it
checks that.
"""
