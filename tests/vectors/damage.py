"""Damaged entries: each may not stand where it stands, for one reason.

All but the first few are signed by the key they name, so that nothing but the damage tells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from keyturn import canon
from keyturn.canon import Json
from keyturn.log.entry import ZERO_HASH
from keyturn.log.envelope import ENTRY_TYPE, SNAPSHOT_TYPE, pae
from tests.vectors.story import (
    ENTRY_KEY,
    HELD,
    LOG_KEY,
    NEXT_KEY,
    ORIGIN,
    OTHER_KEY,
    VERIFIER,
    Key,
    Log,
    Row,
    b64,
    key_facts,
)

L: Final = 2**252 + 27742317777372353535851937790883648493  # order of the Ed25519 base point


@dataclass(frozen=True)
class Bad:
    """One entry that may not follow the first `after` entries of chain.json."""

    name: str
    what: str
    proof: int
    reason: str
    body: bytes
    signature: bytes
    after: int


AT: Final = 6  # most damage is done to the request that is held


def signed(body: bytes, key: Key = ENTRY_KEY) -> tuple[bytes, bytes]:
    return body, key.sign(pae(ENTRY_TYPE, body))


def damaged(log: Log) -> Iterator[Bad]:
    """Yield every damaged entry."""
    yield from _bytes_and_signatures(log.rows[AT])
    yield from _spellings(log.rows[AT])
    yield from _fields(log.rows[AT])
    yield from _places(log)
    yield from _keys(log)
    yield from _changes(log)
    yield from _openings(log)


def _bytes_and_signatures(row: Row) -> Iterator[Bad]:
    body, sig = row.body, row.signature

    def bad(name: str, what: str, body: bytes, sig: bytes) -> Bad:
        return Bad(name, what, 5, "the signature is not key", body, sig, AT)

    yield bad("body-letter-changed", "one letter of a name is another", body.replace(b"claude", b"claudf", 1), sig)
    flipped = body.replace(b"claude", b"clau\xe4e", 1)
    yield Bad("body-bit-flipped", "one bit flipped: no longer UTF-8", 1, "not JSON in UTF-8", flipped, sig, AT)
    yield Bad("body-cut", "the last byte is missing", 1, "not JSON in UTF-8", body[:-1], sig, AT)
    yield bad("signature-bit-flipped", "one bit of the signature flipped", body, bytes([sig[0] ^ 1]) + sig[1:])
    yield bad("signature-missing", "no signature at all", body, b"")
    yield bad("signature-cut", "the last byte of the signature is missing", body, sig[:-1])
    yield bad("signature-longer", "a byte follows the signature", body, sig + b"\x00")
    larger = (int.from_bytes(sig[32:], "little") + L).to_bytes(32, "little")
    yield bad("signature-s-not-reduced", "S + L in place of S (RFC 8032 section 5.1.7)", body, sig[:32] + larger)
    yield bad("signed-without-pae", "the bare body is signed", body, ENTRY_KEY.sign(body))
    yield bad("signed-as-another-type", "signed as a snapshot", body, ENTRY_KEY.sign(pae(SNAPSHOT_TYPE, body)))
    other = OTHER_KEY.sign(pae(ENTRY_TYPE, body))
    yield bad("signed-by-another-key", "another key signed under this kid", body, other)


def _spellings(row: Row) -> Iterator[Bad]:
    def bad(name: str, what: str, body: bytes, reason: str) -> Bad:
        if body == row.body:
            raise AssertionError(f"{name} changes nothing")
        return Bad(name, what, 1, reason, *signed(body), AT)

    def swap(old: bytes, new: bytes) -> bytes:
        return row.body.replace(old, new, 1)

    other = "not canonical"
    yield bad("spelling-float", "an integer written with a fraction", swap(b'"seq":6', b'"seq":6.0'), "6.0")
    yield bad("spelling-exponent", "an integer written with an exponent", swap(b'"seq":6', b'"seq":6e0'), "6e0")
    yield bad("spelling-nan", "NaN", swap(b'"seq":6', b'"seq":NaN'), "NaN")
    yield bad("spelling-minus-zero", "-0", swap(b'"recipients":0', b'"recipients":-0'), other)
    yield bad("spelling-2-to-the-53", "2^53", swap(b'"up":86406000000', b'"up":9007199254740992'), "2**53")
    yield bad("spelling-leading-zero", "a leading zero", swap(b'"seq":6', b'"seq":06'), "not JSON")
    yield bad("spelling-duplicate-key", "a member twice", swap(b'"v":1', b'"v":1,"v":1'), "stands twice")
    order = swap(b'"seq":6,', b"").replace(b'{"action"', b'{"seq":6,"action"', 1)
    yield bad("spelling-key-order", "the same members in another order", order, other)
    yield bad("spelling-white-space", "a space after a colon", swap(b'"seq":6', b'"seq": 6'), other)
    yield bad("spelling-newline-at-the-end", "a line end after the body", row.body + b"\n", other)
    yield bad("spelling-byte-at-the-end", "a zero byte after the body", row.body + b"\x00", "not JSON")
    yield bad("spelling-bom", "a byte order mark before the body", b"\xef\xbb\xbf" + row.body, "not JSON")
    yield bad("spelling-needless-escape", "an escape where none is needed", swap(b"claude", b"\\u0063laude"), other)
    yield bad("spelling-escaped-slash", "an escaped slash", swap(b"/srv/shop", b"\\/srv/shop"), other)
    yield bad("spelling-lone-surrogate", "half a surrogate pair", swap(b"claude", b"\\ud83dclaude"), "surrogate")
    yield bad("spelling-overlong-utf8", "UTF-8 longer than it need be", swap(b"claude", b"\xc1\xa3laude"), "UTF-8")
    umlaut = swap(b'"v":1', '"v":1,"ü":1'.encode())
    yield bad("spelling-key-not-ascii", "a member name outside ASCII", umlaut, "ASCII")
    deep = swap(b'"rules":[', b'"rules":[' + b"[" * 63 + b"]" * 63 + b",")
    yield bad("spelling-too-deep", "65 containers inside each other", deep, "deeper")
    yield bad("spelling-list", "a list in place of the object", b"[" + row.body + b"]", "not an object")
    long = swap(b'"target":"', b'"target":"' + b"x" * 65_536)
    yield bad("body-too-large", "more than 65,535 bytes", long, "at most 65535")


def _fields(row: Row) -> Iterator[Bad]:
    def bad(name: str, what: str, reason: str, change: Callable[[dict[str, Any]], object]) -> Bad:
        fields = row.fields
        change(fields)
        return Bad(name, what, 1, reason, *signed(canon.encode(fields)), AT)

    def to(name: str, value: Json) -> Callable[[dict[str, Any]], object]:
        return lambda fields: fields.update({name: value})

    yield bad("kind-unknown", "a kind of a later version", "action.dreamt", to("kind", "action.dreamt"))
    yield bad("kind-missing", "no kind", "kind", lambda f: f.pop("kind"))
    yield bad("version-2", "another version of the format", "v: expected 1", to("v", 2))
    yield bad("version-true", "true in place of 1", "v: expected 1", to("v", value=True))
    yield bad("field-unknown", "a member the kind does not have", "mood is not known", to("mood", "good"))
    yield bad("field-missing", "a fact is missing", "policy is missing", lambda f: f.pop("policy"))
    yield bad("frame-field-missing", "a frame field is missing", "boot is missing", lambda f: f.pop("boot"))
    yield bad("action-missing", "a request without its action", "action is missing", lambda f: f.pop("action"))
    uuid4 = HELD.replace("-7000-", "-4000-")
    yield bad("action-not-a-uuid7", "a UUIDv4", "action: expected a UUIDv7", to("action", uuid4))
    yield bad("integer-true", "a count that is true", "calls", lambda f: f["effects"].update(calls=True))
    yield bad("integer-below-its-bound", "a quorum of 0", "quorum", lambda f: f["obligations"][0].update(quorum=0))
    yield bad("digest-in-capitals", "hex in capitals", "policy", to("policy", row.fields["policy"].replace("a", "A")))
    yield bad("time-without-microseconds", "a shorter time", "expires_at", to("expires_at", "2026-11-21T13:00:00Z"))
    yield bad("time-24-hours", "hour 24", "expires_at", to("expires_at", "2026-11-21T24:00:00.000000Z"))
    yield bad("time-no-such-day", "30 February", "expires_at", to("expires_at", "2026-02-30T09:00:00.000000Z"))
    yield bad("name-with-a-line-end", "a line end in a name", "principal", to("principal", "claude\nroot"))
    yield bad("name-that-turns-around", "a bidirectional override", "principal", to("principal", "claude\u202etoor"))
    yield bad("name-empty", "an empty name", "principal", to("principal", ""))
    yield bad("data-empty", "an empty data object", "data: expected", to("data", {}))
    yield bad("data-null", "data that is null", "data: expected", to("data", None))
    bare = {"diff": canon.sha256(b"")}
    yield bad("data-no-commitment", "a bare hash for a payload", "diff", to("data", bare))
    yield bad("data-bad-field-name", "no name of a payload", "Diff", to("data", {"Diff": row.fields["data"]["diff"]}))


def _places(log: Log) -> Iterator[Bad]:
    row = log.rows[AT]

    def moved(name: str, what: str, proof: int, reason: str, **changed: Json) -> Bad:
        return Bad(name, what, proof, reason, *signed(canon.encode({**row.fields, **changed})), AT)

    yield moved("prev-of-an-older-entry", "prev skips an entry", 2, "prev is not", prev=log.rows[AT - 2].leaf)
    yield moved("prev-zero", "prev of a first entry", 2, "prev is not", prev=ZERO_HASH)
    yield moved("seq-gap", "a number is left out", 2, "stands where 6 must", seq=AT + 1)
    yield moved("seq-again", "a number comes twice", 2, "stands where 6 must", seq=AT - 1)
    yield moved("time-back", "a microsecond before the last", 3, "before", ts="2026-11-21T09:00:04.999999Z")
    yield moved("other-log", "another log's origin", 2, "another log", log="acme/" + "f" * 32)
    opened = {**log.rows[0].fields, "seq": AT, "prev": row.fields["prev"], "ts": row.fields["ts"]}
    again = signed(canon.encode(opened), LOG_KEY)
    yield Bad("log-opened-again", "a log is opened once", 2, "opened once", *again, AT)
    follower = log.rows[AT + 1]
    reason = "stands where 6 must"
    yield Bad("entry-left-out", "the entry after the one missing", 2, reason, follower.body, follower.signature, AT)


def _keys(log: Log) -> Iterator[Bad]:
    row = log.rows[AT]

    def by(name: str, what: str, reason: str, key: Key) -> Bad:
        body = canon.encode({**row.fields, "kid": key.public.kid})
        return Bad(name, what, 4, reason, *signed(body, key), AT)

    yield by("signed-by-the-log-key", "the log key signs a request", "was not added", LOG_KEY)
    yield by("key-never-added", "a key the log does not know", "was not added", OTHER_KEY)

    def adding(name: str, what: str, reason: str, changed: Mapping[str, Json], key: Key = LOG_KEY) -> Bad:
        frame = {**log.rows[1].fields, "seq": AT, "prev": log.rows[AT - 1].leaf, "ts": log.at(AT)}
        body = canon.encode({**frame, "kid": key.public.kid, **changed})
        return Bad(name, what, 4, reason, *signed(body, key), AT)

    prev = log.rows[AT - 1].leaf
    good = key_facts(OTHER_KEY, AT, prev)
    again = "added before"
    yield adding("key-added-by-an-entry-key", "only the log key adds keys", "by the log key", good, ENTRY_KEY)
    yield adding("key-added-twice", "the entry key again", again, key_facts(ENTRY_KEY, AT, prev))
    yield adding("log-key-added", "the log key as an entry key", again, key_facts(LOG_KEY, AT, prev))
    nothing = {**good, "proof": b64(bytes(64))}
    yield adding("key-without-proof", "no proof of possession", "possession", nothing)
    elsewhere = key_facts(OTHER_KEY, AT + 1, prev)
    yield adding("key-proof-of-another-place", "a proof for another seq", "possession", elsewhere)
    forger = {**good, "proof": key_facts(ENTRY_KEY, AT, prev)["proof"]}
    yield adding("key-proof-by-another-key", "another key's proof", "possession", forger)
    small = {"key": b64(b"\x01" + bytes(31)), "proof": b64(b"\x01" + bytes(63))}
    yield adding("key-of-small-order", "the identity, whose signature fits all", "small order", small)
    spelt = {**good, "key": b64((2**255 - 19 + 3).to_bytes(32, "little"))}
    yield adding("key-not-canonical", "a y coordinate that is not reduced", "not canonically", spelt)


def _changes(log: Log) -> Iterator[Bad]:
    """Damage done where one key has taken the place of another."""
    [place] = [seq for seq, row in enumerate(log.rows) if row.fields["kind"] == "key.revoked"]
    change, after = log.rows[place], log.rows[place + 1]

    def bad(name: str, what: str, reason: str, key: Key, fields: Mapping[str, Json]) -> Bad:
        body = canon.encode({**fields, "kid": key.public.kid})
        return Bad(name, what, 4, reason, *signed(body, key), int(str(fields["seq"])))

    late = after.fields
    yield bad("signed-by-a-revoked-key", "by a key after its end", "was revoked", ENTRY_KEY, late)
    early = log.rows[place - 2].fields
    yield bad("signed-before-its-key", "by a key before its beginning", "was not added", NEXT_KEY, early)
    by_key = change.fields
    yield bad("key-revoked-by-an-entry-key", "only the log key revokes", "by the log key", ENTRY_KEY, by_key)
    unknown = {**change.fields, "revoked": OTHER_KEY.public.kid}
    yield bad("key-revoked-that-was-never-added", "a key the log does not know", "revokes", LOG_KEY, unknown)
    mine = {**change.fields, "revoked": LOG_KEY.public.kid}
    yield bad("log-key-revoked", "the log key ends with its log", "revokes", LOG_KEY, mine)
    frame = {name: after.fields[name] for name in ("v", "log", "seq", "prev", "ts", "boot", "up")}
    facts = {name: change.fields[name] for name in ("kind", "revoked", "reason", "act")}
    yield bad("key-revoked-twice", "a key ends once", "none any more", LOG_KEY, {**frame, **facts})
    again = {"kind": "key.added", **key_facts(ENTRY_KEY, place + 1, after.fields["prev"])}
    yield bad("revoked-key-added", "a key that ended begins anew", "added before", LOG_KEY, frame | again)


def _openings(log: Log) -> Iterator[Bad]:
    first = log.rows[0]

    def opening(name: str, what: str, proof: int, reason: str, key: Key = LOG_KEY, **changed: Json) -> Bad:
        body = canon.encode({**first.fields, "kid": key.public.kid, **changed})
        return Bad(name, what, proof, reason, *signed(body, key), 0)

    yield opening("opened-by-another-key", "not the key of its verifier", 4, "by the log key", OTHER_KEY)
    yield opening("opened-as-another-log", "log and verifier disagree", 2, "another log", log="acme/" + "f" * 32)
    id_of_another = str(VERIFIER).replace(str(VERIFIER).split("+")[1], "00000000")
    yield opening("opened-with-a-wrong-key-id", "key id and key disagree", 1, "key id", verifier=id_of_another)
    yield opening("opened-with-words", "no verifier string at all", 1, "verifier string", verifier="trust me")
    not_ascii = f"{ORIGIN}+00000000+Aé=="
    yield opening("opened-with-a-key-not-ascii", "a key outside ASCII", 1, "not base64", verifier=not_ascii)
    body = canon.encode({**log.rows[2].fields, "seq": 0, "prev": ZERO_HASH})
    yield Bad("first-is-no-opening", "a log that begins elsewhere", 1, "not log.opened", *signed(body), 0)
    null = canon.encode({**log.rows[2].fields, "action": None})
    yield Bad("action-where-none-belongs", "null is not absent", 1, "action is not known", *signed(null), 2)
