"""Everybody outside a log, and what somebody who holds all its keys can do: notes, witnesses, and rewriting."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from keyturn import canon
from keyturn.canon import Json
from keyturn.ledger.keys import SigningKey, make_key
from keyturn.ledger.tree import Forest, plant
from keyturn.log.checkpoint import Checkpoint
from keyturn.log.entry import Entry, leaf_hash
from keyturn.log.envelope import ENTRY_TYPE, pae
from keyturn.log.keys import parse_verifier
from keyturn.log.note import COSIGNATURE, Note, NoteKey, NoteSignature, parse_note, signature_of, to_sign
from keyturn.log.proof import EntryProof
from keyturn.model.time import format_timestamp
from tests.verifier.world import Thief, World, entries, raw, tamper

NOON = 1_795_262_400
"""21 November 2026, 12:00 UTC, in seconds since 1970."""


def origin(world: World) -> str:
    return parse_verifier(world.verifier).origin


@dataclass
class Witness:
    """A witness with a key of its own."""

    name: str = "witness.example/one"
    seed: bytes = bytes([9]) * 32

    @property
    def secret(self) -> SigningKey:
        return make_key(self.seed)

    @property
    def key(self) -> NoteKey:
        return NoteKey(self.name, self.secret.public, COSIGNATURE)

    @property
    def vkey(self) -> str:
        return str(self.key)

    def cosign(self, text: str, time: int = NOON) -> NoteSignature:
        return signature_of(self.key, self.secret.sign(to_sign(text, time)), time)


def root(world: World, size: int) -> bytes:
    with raw(world.database) as db:
        return Forest(db).root(size)


def log_signature(world: World, text: str, key: SigningKey | None = None) -> NoteSignature:
    """The signature line of the log key, or of another key under the log's name."""
    signer = key or world.log_key
    return signature_of(NoteKey(origin(world), signer.public), signer.sign(to_sign(text)))


def text_of(world: World, size: int, of: bytes | None = None) -> str:
    return Checkpoint(origin(world), size, of if of is not None else root(world, size)).text


def note(world: World, size: int, *witnesses: Witness, time: int = NOON, of: bytes | None = None) -> bytes:
    """A checkpoint of the first `size` entries, signed by the log and cosigned; `of` is another root."""
    text = text_of(world, size, of)
    return bytes(Note(text, (log_signature(world, text), *(one.cosign(text, time) for one in witnesses))))


def receipt(world: World, seq: int) -> bytes:
    return json.dumps(entries(world.database)[seq].envelope.to_json()).encode()


def proof(world: World, index: int, size: int) -> bytes:
    with raw(world.database) as db:
        path = Forest(db).inclusion(index, size)
    return str(EntryProof(index, tuple(path), parse_note(note(world, size)))).encode()


def keep(world: World, size: int, data: bytes) -> None:
    """Put a note where the ledger keeps its checkpoints."""
    with raw(world.database) as db:
        db.execute("INSERT INTO checkpoint VALUES (?, ?)", (size, data))


def record_anchor(thief: Thief, size: int, data: bytes, /, **facts: Any) -> Entry:
    """Append that a note was brought to an anchor."""
    said: dict[str, Any] = {"anchor": "outside", "type": "witness", "size": size}
    said |= {"root": root(thief.world, size).hex(), **facts}
    return thief.append("anchor.recorded", said, data={"anchor.note": canon.encode(data.decode())})


def throttle(thief: Thief, count: int = 500) -> Entry:
    """Append how often somebody was turned away: what a thief would like to be less."""
    at = format_timestamp(thief.all[-1].at)
    facts = {"principal": "claude", "count": count, "code": "limit", "since": at, "until": at}
    return thief.append("requests.throttled", facts)


def fill(world: World, size: int) -> None:
    """Append entries until there are `size`, and keep the subtrees over them as the writer would."""
    last = entries(world.database)[-1]
    with raw(world.database) as db:
        db.execute("BEGIN")
        prev, ts = last.leaf, format_timestamp(last.at)
        for seq in range(last.seq + 1, size):
            facts: dict[str, Json] = {"principal": "claude", "count": 1, "code": "limit", "since": ts, "until": ts}
            frame: dict[str, Json] = {"v": 1, "log": last.log, "seq": seq, "prev": prev, "kind": "requests.throttled"}
            clock: dict[str, Json] = {"ts": ts, "boot": last.boot, "up": last.up}
            body = canon.encode({**frame, **clock, **facts, "kid": world.entry_key.public.kid})
            prev = leaf_hash(body)
            signature = world.entry_key.sign(pae(ENTRY_TYPE, body))
            db.execute("INSERT INTO entry VALUES (?, ?, ?, ?)", (seq, body, signature, bytes.fromhex(prev)))
        plant(db)
        db.execute("COMMIT")


Change = Callable[[dict[str, Any]], object]


def rewrite(world: World, changes: Mapping[int, Change], *, log_key: SigningKey | None = None) -> None:
    """Change entries, link everything after them anew and sign it with the log's keys: a thief of all of them."""
    keys = {key.public.kid: key for key in (world.entry_key, log_key or world.log_key)}
    rows: list[tuple[str, tuple[object, ...]]] = []
    prev = ""
    for entry in entries(world.database):
        fields: dict[str, Any] = json.loads(entry.body)
        fields["prev"] = prev or fields["prev"]
        if entry.seq in changes:
            changes[entry.seq](fields)
        body = canon.encode(fields)
        prev = leaf_hash(body)
        if entry.seq >= min(changes):
            signature = keys[fields["kid"]].sign(pae(ENTRY_TYPE, body))
            row = (body, signature, bytes.fromhex(prev), entry.seq)
            rows.append(("UPDATE entry SET body = ?, sig = ?, leaf = ? WHERE seq = ?", row))
    tamper(world.database, *rows)
    with raw(world.database) as db:
        plant(db)


def less(fields: dict[str, Any]) -> None:
    """Say that somebody was turned away once."""
    fields["count"] = 1


def drop_checkpoints(world: World) -> None:
    with raw(world.database) as db:
        kept = db.execute("SELECT count(*) FROM checkpoint").fetchone()[0]
    if kept:
        tamper(world.database, "DELETE FROM checkpoint")


def cut(world: World, size: int) -> None:
    """Leave the first `size` entries, and no checkpoint."""
    drop_checkpoints(world)
    statements: list[tuple[str, tuple[int]]] = [("DELETE FROM entry WHERE seq >= ?", (size,))]
    with raw(world.database) as db:
        if db.execute("SELECT count(*) FROM payload WHERE seq >= ?", (size,)).fetchone()[0]:
            statements.insert(0, ("DELETE FROM payload WHERE seq >= ?", (size,)))
    tamper(world.database, *statements)
    with raw(world.database) as db:
        plant(db)
