"""Golden bundles of logs whose payloads had their time, that ended, and that go on from another; and damaged ones."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from keyturn import canon
from keyturn.canon import Json
from keyturn.log.chain import key_proof
from keyturn.log.checkpoint import Checkpoint
from keyturn.log.keys import LogVerifier
from keyturn.log.note import Note
from tests.vectors.bundle_story import found_log, hold_again, make_good_log
from tests.vectors.story import LOG_KEY, OTHER_KEY, VERIFIER, Key, Log, Row, act, b64
from tests.vectors.tree_cases import by_log, head_text, root_after

NEW_ORIGIN: Final = "acme/fedcba9876543210fedcba9876543210"
NEW_LOG_KEY: Final = Key(b"\x05" * 32)
NEW_ENTRY_KEY: Final = Key(b"\x06" * 32)
NEW_VERIFIER: Final = LogVerifier(NEW_ORIGIN, NEW_LOG_KEY.public)
WHERE: Final = "tracker"
"""The environment of everything in the log of the bundles."""
BOUND: Final = 9
"""Below it lie the read, the request, its review and its intent; the outcome stands there."""
KEPT: Final = frozenset({"policy.files", "catalog.files", "anchor.note", "predecessor.note"})


@dataclass(frozen=True, kw_only=True)
class EndCase:
    """A log and what to find in its bundle: nothing, or what fails at `seq` by `proof`, in these words."""

    name: str
    what: str
    log: Log
    seq: int | None = None
    proof: int | None = None
    reason: str = ""
    verifier: LogVerifier = VERIFIER


def end_cases() -> Iterator[EndCase]:
    """Yield every case."""
    yield from _pruned()
    yield from _closed()
    yield from _succeeding()


def golden_rows() -> Iterator[Row]:
    """Yield an entry of each kind that only such logs have."""
    yield pruned_log().rows[-1]
    yield closed_log().rows[-1]
    yield new_log().rows[-1]


# --- payloads that had their time --------------------------------------------------------------------------------


def prune(log: Log, environment: str | None = WHERE, before: int = BOUND, signed: int | None = None) -> Log:
    """Append that the payloads below a place are gone, and take them away; `signed` is the place in the act."""
    facts: dict[str, Json] = {"environment": environment, "before": before, "basis": "90 days are over"}
    meant = canon.digest({**facts, "before": signed or before})
    signature = act("payload.prune", 2, str(before), meant, log.at(len(log.rows)))
    log.add("payloads.pruned", {**facts, "act": signature})
    for seq in range(min(before, len(log.rows))):
        log.rows[seq] = without(log.rows[seq], *(name for name in log.rows[seq].payloads if name not in KEPT))
    return log


def without(row: Row, *names: str) -> Row:
    """Return an entry whose payloads of these names are gone."""
    return replace(row, payloads={name: data for name, data in row.payloads.items() if name not in names})


def pruned_log() -> Log:
    """Build the log of the bundles, and prune it."""
    return prune(make_good_log())


def _pruned() -> Iterator[EndCase]:
    yield EndCase(name="pruned", what="payloads below entry 9 had their time", log=pruned_log())
    yield EndCase(name="pruned-everywhere", what="of every environment", log=prune(make_good_log(), None, 10))
    twice = prune(pruned_log(), None, 10)
    yield EndCase(name="pruned-further", what="a second time, further, and everywhere", log=twice)
    there = pruned_log()
    there.rows[6] = make_good_log().rows[6]
    yield _bad("pruned-and-there", "the request still has its payloads", there, (6, 6), "is there")
    other = prune(make_good_log(), "staging")
    yield _bad("pruned-elsewhere", "another environment was named", other, (5, 6), "is missing")
    behind = pruned_log()
    behind.rows[9] = without(behind.rows[9], "outcome")
    yield _bad(
        "pruned-too-much", "the outcome stands at the bound, and is gone", behind, (9, 6), "outcome is missing"
    )
    rules = pruned_log()
    rules.rows[2] = without(rules.rows[2], "policy.files")
    yield _bad("pruned-the-policy", "what is never pruned is gone", rules, (2, 6), "policy.files is missing")
    silent = make_good_log()
    silent.rows[5] = without(silent.rows[5], "result")
    yield _bad("pruned-by-nobody", "gone, and no entry says why", silent, (5, 6), "result is missing")
    yield _last("pruned-ahead", "what is not written yet", prune(make_good_log(), None, 15), "there is no entry 14")
    wider = prune(make_good_log(), signed=8)
    yield _last("pruned-more-than-signed", "the act names an earlier place", wider, "the signed act says")
    yield _last("pruned-again", "nothing more than before", prune(pruned_log(), WHERE, 9), "nothing that was not")
    waiting = hold_again(make_good_log())
    yield _last("pruned-while-it-waits", "an action waits", prune(waiting, WHERE, 15), "is not over")


# --- logs that ended ---------------------------------------------------------------------------------------------


def close(log: Log, successor: str | None = str(NEW_VERIFIER), key: Key = LOG_KEY, signed: str = "") -> Log:
    """Append that the log ends; `signed` is the successor that the act names instead."""
    facts: dict[str, Json] = {"successor": successor}
    origin: str = log.rows[0].fields["log"]
    signature = act("log.close", 2, origin, canon.digest({"successor": signed or successor}), log.at(len(log.rows)))
    log.add("log.closed", {**facts, "act": signature}, key=key)
    return log


def closed_log() -> Log:
    """Build the log of the bundles, and end it in favour of another."""
    return close(make_good_log())


def _closed() -> Iterator[EndCase]:
    yield EndCase(name="closed", what="the log ended, and another goes on", log=closed_log())
    yield EndCase(name="closed-for-good", what="the log ended, and none goes on", log=close(make_good_log(), None))
    facts: dict[str, Json] = {"principal": "claude", "count": 2, "code": "not_granted"}
    after = closed_log()
    after.add("requests.throttled", {**facts, "since": after.at(9), "until": after.at(13)})
    yield _last("closed-and-goes-on", "an entry after the end", after, "nothing follows", proof=2)
    waiting = close(hold_again(make_good_log()))
    yield _last("closed-while-it-waits", "an action waits", waiting, "is pending")
    thief = make_good_log()
    stolen = close(thief, key=thief.key)
    yield _last("closed-by-an-entry-key", "the log key did not sign", stolen, "signed by the log key", proof=4)
    itself = close(make_good_log(), str(VERIFIER))
    yield _last("closed-for-itself", "it names itself", itself, "goes on from itself")
    nobody = close(make_good_log(), "acme+00000000+AAAA")
    yield _last("closed-for-no-log", "it names what is no log", nobody, "names no log")
    other = close(make_good_log(), signed=str(VERIFIER))
    yield _last("closed-for-another-than-signed", "the act names another", other, "the signed act says")


# --- logs that go on from another --------------------------------------------------------------------------------


def end_of(log: Log, size: int, key: Key = LOG_KEY) -> Note:
    """Return the checkpoint of the first `size` entries of the log that ended."""
    text = head_text(log, size)
    return Note(text, (by_log(text, key),))


def succeed(log: Log, note: Note, verifier: LogVerifier = VERIFIER, **changed: Json) -> Log:
    """Append that a log goes on from the one of a note."""
    _, size, root = note.text.split("\n")[:3]
    facts: dict[str, Json] = {
        "verifier": str(verifier),
        "size": int(size),
        "root": base64.b64decode(root).hex(),
        **changed,
    }
    log.add("log.succeeds", facts, {"predecessor.note": canon.encode(bytes(note).decode())}, key=NEW_LOG_KEY)
    return log


def founded() -> Log:
    """Build the beginning of another log, which has the policy and contracts of the first."""
    log = Log(key=NEW_ENTRY_KEY, origin=NEW_ORIGIN)
    nonce = hashlib.sha256(b"nonce of the successor").hexdigest()
    opened: dict[str, Json] = {"format": "keyturn-ledger/v1", "nonce": nonce, "verifier": str(NEW_VERIFIER)}
    log.add("log.opened", opened, key=NEW_LOG_KEY)
    raw = NEW_ENTRY_KEY.public.raw
    proof = NEW_ENTRY_KEY.sign(key_proof(NEW_ORIGIN, 1, log.prev, raw))
    log.add("key.added", {"key": b64(raw), "proof": b64(proof)}, key=NEW_LOG_KEY)
    first = found_log()
    for row in first.rows[2:5]:
        facts = {name: value for name, value in row.fields.items() if name not in _FRAME}
        log.add(row.fields["kind"], facts, row.payloads)
    return log


_FRAME: Final = ("v", "log", "seq", "prev", "ts", "boot", "up", "kid", "kind", "data")


def new_log() -> Log:
    """Build a log that goes on from the one that ended."""
    old = closed_log()
    return succeed(founded(), end_of(old, len(old.rows)))


def bundled(log: Log) -> Note:
    """Return the checkpoint of a whole log, signed by its own log key."""
    origin: str = log.rows[0].fields["log"]
    text = Checkpoint(origin, len(log.rows), root_after(log, len(log.rows))).text
    return Note(text, (by_log(text, NEW_LOG_KEY if origin == NEW_ORIGIN else LOG_KEY, origin),))


def _succeeding() -> Iterator[EndCase]:
    def new(name: str, what: str, log: Log, reason: str, proof: int = 9) -> EndCase:
        return replace(_last(name, what, log, reason, proof), verifier=NEW_VERIFIER)

    yield EndCase(name="succeeds", what="it goes on from another log", log=new_log(), verifier=NEW_VERIFIER)
    old = closed_log()
    end = end_of(old, len(old.rows))
    shorter = succeed(founded(), end, size=len(old.rows) - 1)
    yield new("succeeds-another-size", "the note is of one entry more", shorter, "another size or root", 14)
    stranger = succeed(founded(), end_of(old, len(old.rows), OTHER_KEY))
    yield new("succeeds-unsigned", "another key signed the note", stranger, "not of the log", 14)
    itself = succeed(founded(), end, NEW_VERIFIER)
    yield new("succeeds-itself", "it names itself", itself, "goes on from itself")
    yield new("succeeds-twice", "it goes on from two", succeed(new_log(), end), "goes on from one log")
    begun = founded()
    token: str = begun.rows[4].fields["token"]
    begun.add("token.revoked", {"token": token, "by": {"type": "account", "name": "root"}})
    yield new("succeeds-late", "it had begun before", succeed(begun, end), "while it is founded")
    forged = founded()
    size, root = len(old.rows), root_after(old, len(old.rows)).hex()
    facts: dict[str, Json] = {"verifier": str(VERIFIER), "size": size, "root": root}
    forged.add("log.succeeds", facts, {"predecessor.note": canon.encode(bytes(end).decode())})
    yield new("succeeds-by-an-entry-key", "the log key did not sign", forged, "signed by the log key", 4)


def _bad(name: str, what: str, log: Log, at: tuple[int, int], reason: str) -> EndCase:
    return EndCase(name=name, what=what, log=log, seq=at[0], proof=at[1], reason=reason)


def _last(name: str, what: str, log: Log, reason: str, proof: int = 9) -> EndCase:
    return _bad(name, what, log, (len(log.rows) - 1, proof), reason)
