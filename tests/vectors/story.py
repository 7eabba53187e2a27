"""One whole small log with an entry of every kind, from fixed keys, salts, ids and times.

Ed25519 is deterministic, so building it again gives the same bytes. The people's signatures are made by stock
`ssh-keygen` with the test-only key in `keys/`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keyturn import canon
from keyturn.canon import Json
from keyturn.log.chain import key_proof
from keyturn.log.checkpoint import Checkpoint
from keyturn.log.commitment import commit
from keyturn.log.entry import ZERO_HASH, leaf_hash, write_body
from keyturn.log.envelope import ENTRY_TYPE, pae
from keyturn.log.keys import LogVerifier, VerifyKey
from keyturn.log.note import Note, NoteKey, signature_of, to_sign
from keyturn.log.tree import Frontier
from keyturn.model.time import format_timestamp

FOLDER: Final = Path(__file__).parent
ORIGIN: Final = "acme/0123456789abcdef0123456789abcdef"
START: Final = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
BOOT: Final = "5a0e2f64-9f0c-4f3e-8f57-6a3a4d1c9b20"
INSTANCE: Final = "00112233445566778899aabbccddeeff"
HELD: Final = "019aa5b2-7d80-7000-8000-000000000001"
DENIED: Final = "019aa5b2-7d80-7000-8000-000000000002"
SHADOWED: Final = "019aa5b2-7d80-7000-8000-000000000003"
STALE: Final = "019aa5b2-7d80-7000-8000-000000000004"
CANCELLED: Final = "019aa5b2-7d80-7000-8000-000000000005"
EXPIRED: Final = "019aa5b2-7d80-7000-8000-000000000006"
UNDOING: Final = "019aa5b2-7d80-7000-8000-000000000007"
BY_HAND: Final = "019aa5b2-7d80-7000-8000-000000000008"


@dataclass(frozen=True)
class Key:
    """A fixed test key; `seed` is the RFC 8032 private key."""

    seed: bytes

    @property
    def public(self) -> VerifyKey:
        return VerifyKey(Ed25519PrivateKey.from_private_bytes(self.seed).public_key().public_bytes_raw())

    def sign(self, message: bytes) -> bytes:
        return Ed25519PrivateKey.from_private_bytes(self.seed).sign(message)


LOG_KEY: Final = Key(b"\x01" * 32)
ENTRY_KEY: Final = Key(b"\x02" * 32)
OTHER_KEY: Final = Key(b"\x03" * 32)
NEXT_KEY: Final = Key(b"\x04" * 32)
VERIFIER: Final = LogVerifier(ORIGIN, LOG_KEY.public)


@dataclass(frozen=True)
class Row:
    """One stored entry with what its commitments open to."""

    key: Key
    body: bytes
    signature: bytes
    payloads: Mapping[str, bytes]

    @property
    def fields(self) -> dict[str, Any]:
        return dict(json.loads(self.body))

    @property
    def leaf(self) -> str:
        return leaf_hash(self.body)


@dataclass
class Log:
    """A log under construction; time goes on by one second per entry."""

    rows: list[Row] = field(default_factory=list)
    key: Key = ENTRY_KEY
    origin: str = ORIGIN

    @property
    def prev(self) -> str:
        return self.rows[-1].leaf if self.rows else ZERO_HASH

    def at(self, seq: int) -> str:
        return format_timestamp(START + timedelta(seconds=seq))

    def add(
        self,
        kind: str,
        facts: Mapping[str, Json],
        payloads: Mapping[str, bytes] | None = None,
        action: str | None = None,
        key: Key | None = None,
    ) -> Row:
        seq, key = len(self.rows), key or self.key
        frame: dict[str, Json] = {
            "v": 1, "log": self.origin, "seq": seq, "prev": self.prev, "ts": self.at(seq), "boot": BOOT,
            "up": 86_400_000_000 + seq * 1_000_000, "kid": key.public.kid, "kind": kind,
        }  # fmt: skip
        data = {name: commit(salt(seq, name), name, text) for name, text in (payloads or {}).items()}
        body = write_body(frame, facts, data, action)
        self.rows.append(Row(key, body, key.sign(pae(ENTRY_TYPE, body)), payloads or {}))
        return self.rows[-1]


def salt(seq: int, name: str) -> bytes:
    """Return the fixed salt of one payload."""
    return hashlib.sha256(f"keyturn test salt {seq} {name}".encode()).digest()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def ssh_sign(statement: Json, namespace: str) -> str:
    """Sign a statement with the test key by stock ssh-keygen; return the blob in base64."""
    with tempfile.TemporaryDirectory() as folder:
        key = Path(folder, "alice")
        shutil.copyfile(FOLDER / "keys" / "alice", key)
        key.chmod(0o600)  # a checkout leaves it 0644, which ssh-keygen refuses
        armoured = subprocess.run(
            ["ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", str(key)],
            input=canon.encode(statement), capture_output=True, check=True,
        ).stdout.decode()  # fmt: skip
    return "".join(armoured.splitlines()[1:-1])


def act(verb: str, after: int, subject: str, digest: str, at: str) -> Json:
    """Return one of alice's acts."""
    statement: dict[str, Json] = {
        "type": "keyturn.act/v1", "log": ORIGIN, "after": after, "verb": verb, "object": subject, "digest": digest,
        "by": "alice", "at": at,
    }  # fmt: skip
    return {"statement": statement, "signature": ssh_sign(statement, "keyturn.act.v1")}


def reviewers() -> dict[str, Json]:
    words = (FOLDER / "keys" / "alice.pub").read_text("ascii").split()
    return {"alice": [" ".join(words[:2])]}  # entries name keys without their comment


POLICY: Final = {"policy.toml": 'version = 1\n\n[reviewers.alice]\ngroups = ["sre"]\n'}
NEXT_POLICY: Final = {"policy.toml": POLICY["policy.toml"] + "\n# Pull requests need one review.\n"}
GUARDED_POLICY: Final = {
    "policy.toml": POLICY["policy.toml"] + '\n[policy]\napproval = { quorum = 1, from = ["group:sre"] }\n'
}
CATALOG: Final = {"open_pull_request.v1.json": '{"title": "Open a pull request"}\n'}
CONTRACT: Final = "v1 " + canon.digest({"title": "Open a pull request"})
TOKEN: Final = canon.sha256(b"a token of the test vectors")
WHO: Final[dict[str, Json]] = {"principal": "claude", "owner": "bob", "token": TOKEN, "transport": "stdio"}
WHERE: Final[dict[str, Json]] = {
    "backend": {"port": "forge", "name": "shop", "kind": "git", "location": "/srv/shop.git", "account": ""},
    "target": "forge:shop/main",
    "environment": "production",
}
DIFF: Final = "--- a/README.md\n+++ b/README.md\n@@ -1 +1 @@\n-Shopp\n+Shop — “open”\n"
ARGUMENTS: Final[dict[str, Json]] = {
    "repository": "shop",
    "base": "main",
    "title": "Spell the name",
    "files": [{"path": "README.md", "edits": [{"old": "Shopp", "new": "Shop — “open”"}]}],
}
PLAN: Final[dict[str, Json]] = {
    "tool": "open_pull_request", **WHERE, "summary": "Change 1 file on a new branch of shop",
    "effects": {"files_changed": 1, "lines_changed": 2, "recipients": 0}, "view": {"files": [{"path": "README.md"}]},
    "facts": {"base": "1111111111111111111111111111111111111111"}, "guard": {}, "change": {}, "inverse": None,
}  # fmt: skip


def found(log: Log) -> None:
    """Append the entries every log begins with."""
    nonce = hashlib.sha256(b"nonce").hexdigest()
    log.add("log.opened", {"format": "keyturn-ledger/v1", "nonce": nonce, "verifier": str(VERIFIER)}, key=LOG_KEY)
    log.add("key.added", key_facts(ENTRY_KEY, 1, log.prev), key=LOG_KEY)
    log.add(
        "policy.activated",
        {"policy": canon.manifest_digest(POLICY), "previous": None, "reviewers": reviewers(), "act": None},
        {"policy.files": canon.encode(POLICY)},
    )
    log.add(
        "catalog.published",
        {"catalog": canon.manifest_digest(CATALOG), "contracts": {"open_pull_request": CONTRACT}},
        {"catalog.files": canon.encode(CATALOG)},
    )
    log.add("token.issued", {**token_facts(), "act": None})


def key_facts(key: Key, seq: int, prev: str) -> dict[str, Json]:
    raw = key.public.raw
    return {"key": b64(raw), "proof": b64(key.sign(key_proof(ORIGIN, seq, prev, raw)))}


def token_facts() -> dict[str, Json]:
    return {
        "token": TOKEN, "principal": "claude", "transports": ["stdio"], "scopes": None,
        "expires_at": format_timestamp(START + timedelta(days=90)),
    }  # fmt: skip


def request_facts(decision: str, **changed: Json) -> dict[str, Json]:
    held = decision == "hold"
    obligation: Json = {
        "rule": "pull requests", "quorum": 1, "from": ["group:sre"], "reviewers": ["alice"], "keys": "any",
        "rejects": 1, "escalate": [{"after": 1800, "reviewers": ["alice"]}],
    }  # fmt: skip
    return {
        **WHO, **WHERE, "tool": "open_pull_request", "contract": CONTRACT, "policy": canon.manifest_digest(POLICY),
        "decision": decision, "rules": ["pull requests"], "obligations": [obligation] if held else [],
        "reviewers": reviewers() if held else {}, "excluded": ["bob"] if held else [],
        "effects": {"calls": 1, "files_changed": 1, "lines_changed": 2, "recipients": 0},
        "expires_at": format_timestamp(START + timedelta(hours=4)), "repeat": False, "supersedes": None, **changed,
    }  # fmt: skip


def request_payloads(
    reason: str = "The shop's name is misspelt.", client: str = "claude-code 2.1"
) -> dict[str, bytes]:
    values: Json = [{"code": "approval", "rule": "pull requests", "text": "one review by group:sre is needed"}]
    return {
        **{f"argument.{name}": canon.encode(value) for name, value in ARGUMENTS.items()},
        "plan": canon.encode(PLAN),
        "diff": DIFF.encode(),
        "reason": canon.encode(reason),
        "decision.values": canon.encode(values),
        "client": canon.encode(client),
    }


def read_and_ask(log: Log) -> None:
    """Append a read, a request that is held, and one that is refused."""
    policy = canon.manifest_digest(POLICY)
    log.add(
        "read.served",
        {**WHO, **WHERE, "tool": "get_pull_request", "contract": CONTRACT, "policy": policy, "rules": ["reads"]},
        {
            "argument.pull_request": canon.encode("7"),
            "result": canon.encode({"title": "Spell the name", "merged": False}),
        },
    )
    ask(log, HELD, "hold")
    refused: list[dict[str, Json]] = [{"code": "forbidden", "rule": "never touch CI definitions"}]
    log.add(
        "action.denied",
        {
            **WHO, "tool": "open_pull_request", "stage": "policy", "codes": refused, "arguments_bytes": 181,
            "policy": policy, "target": "forge:shop/main", "environment": "production",
        },
        {"decision.values": canon.encode([{**refused[0], "text": "the path .ci/run is forbidden"}])},
        DENIED,
    )  # fmt: skip


def review_and_run(log: Log) -> None:
    """Append the review of the held action, its execution, and what settled it."""
    requested = log.rows[6]
    words = canon.encode("Reads well — thank you.")
    statement: dict[str, Json] = {
        "type": "keyturn.review/v1", "log": ORIGIN, "action": HELD, "digest": f"sha256:{requested.leaf}",
        "verdict": "approve", "reviewer": "alice", "reason": commit(salt(8, "review.reason"), "review.reason", words),
        "at": log.at(8),
    }  # fmt: skip
    blob = base64.b64decode((FOLDER / "keys" / "alice.pub").read_text("ascii").split()[1])
    fingerprint = "SHA256:" + b64(hashlib.sha256(blob).digest()).rstrip("=")
    log.add(
        "action.reviewed",
        {
            "reviewer": "alice", "verdict": "approve", "key": fingerprint, "statement": statement,
            "signature": ssh_sign(statement, "keyturn.review.v1"),
        },
        {"review.reason": words},
        HELD,
    )  # fmt: skip
    policy = canon.manifest_digest(POLICY)
    log.add("execution.started", {"instance": INSTANCE, "reviews": [8], "policy": policy}, action=HELD)
    unknown: dict[str, Json] = {"instance": INSTANCE, "outcome": "unknown", "effect": None, "recovered": False}
    log.add("execution.finished", unknown, {"outcome": canon.encode({"reason": "no answer within 60 s"})}, HELD)
    resolved: dict[str, Json] = {"outcome": "succeeded", "effect": True, "method": "operator"}
    words = canon.encode("The branch is there.")
    reason = commit(salt(len(log.rows), "resolve.reason"), "resolve.reason", words)
    meant = canon.digest({"action": f"sha256:{requested.leaf}", "outcome": "succeeded", "reason": reason})
    signed = act("action.resolve", 2, HELD, meant, log.at(11))
    log.add("execution.resolved", {**resolved, "act": signed}, {"resolve.reason": words}, HELD)


def go_on(log: Log) -> None:
    """Append a signed activation, the other ends an action may have, and the kinds left over."""
    old, new = canon.manifest_digest(POLICY), canon.manifest_digest(NEXT_POLICY)
    log.add(
        "policy.activated",
        {
            "policy": new, "previous": old, "reviewers": reviewers(),
            "act": act("policy.activate", 2, old, new, log.at(12)),
        },
        {"policy.files": canon.encode(NEXT_POLICY), "reason": canon.encode("One review for pull requests.")},
    )  # fmt: skip
    ask(log, SHADOWED, "shadow", policy=new)
    done: dict[str, Json] = {"instance": "0" * 32, "outcome": "shadowed", "effect": False, "recovered": False}
    log.add("execution.finished", done, action=SHADOWED)
    ask(log, STALE, "hold", policy=new, repeat=True)
    gone: dict[str, Json] = {"stage": "claim", "codes": ["facts_moved"], "superseded_by": None}
    log.add("action.stale", gone, {"stale.moved": canon.encode(["the base branch moved on"])}, STALE)
    ask(log, CANCELLED, "hold", policy=new, repeat=True)
    by: Json = {"type": "principal", "name": "claude"}
    log.add("action.cancelled", {"by": by}, {"cancel.reason": canon.encode("No longer needed.")}, CANCELLED)
    ask(log, EXPIRED, "hold", policy=new, repeat=True, expires_at=log.at(20))
    log.add("action.expired", {}, action=EXPIRED)
    log.add(
        "requests.throttled",
        {"principal": "claude", "count": 12, "code": "not_granted", "since": log.at(7), "until": log.at(21)},
    )
    log.add("token.revoked", {"token": TOKEN, "by": {"type": "account", "name": "root"}})


def stop_and_resume(log: Log) -> None:
    """Append a suspension, and its signed end."""
    scope: Json = {"type": "tool", "name": "open_pull_request"}
    words = canon.encode("The forge is being moved.")
    facts: dict[str, Json] = {"scope": scope, "mode": "read-only", "by": {"type": "account", "name": "root"}}
    stopped = log.add("suspension.set", facts, {"reason": words})
    words = canon.encode("It has been moved.")
    reason = commit(salt(len(log.rows), "reason"), "reason", words)
    meant = canon.digest({"suspension": f"sha256:{stopped.leaf}", "reason": reason})
    lift = act("suspension.lift", 12, "tool:open_pull_request", meant, log.at(24))
    log.add("suspension.lifted", {"scope": scope, "act": lift}, {"reason": words})


def restore(log: Log) -> None:
    """Append the word of a person who put an older copy in place."""
    words = canon.encode("The disk failed.")
    seq = len(log.rows)
    facts: dict[str, Json] = {
        "reason": "restored", "size": seq, "leaf": log.prev, "missing": {"size": 31, "leaf": "7" * 64}, "clock": None,
    }  # fmt: skip
    meant = canon.digest({**facts, "words": commit(salt(seq, "reason"), "reason", words)})
    signed = act("ledger.recover", 12, "restored", meant, log.at(seq))
    log.add("recovery", {**facts, "act": signed}, {"reason": words})


UNSIGNED: Final = ("decision.values", "risk")  # they come with the decision, after the signature
RISK: Final[Json] = {
    "parts": [
        {"because": [], "most": 10, "name": "history", "points": 0},
        {"because": ["1 file and 2 lines changed; large is 20 files or 500 lines"], "most": 15, "name": "size",
         "points": 1},
    ],
    "score": 1,
}  # fmt: skip


def undo(log: Log) -> None:
    """Append what a person asked for to undo the first action; the assistant's token is revoked by now."""
    seq, undone = len(log.rows), f"sha256:{log.rows[6].leaf}"
    payloads = request_payloads(reason="The name was right.", client="") | {"risk": canon.encode(RISK)}
    signed = {name: commit(salt(seq, name), name, data) for name, data in payloads.items() if name not in UNSIGNED}
    meant = canon.digest({"action": undone, "tool": "open_pull_request", "payloads": dict(signed)})
    undoes: Json = {"action": HELD, "digest": undone, "request": 6, "outcome": 11}
    facts = request_facts(
        "permit", policy=canon.manifest_digest(NEXT_POLICY), token=None, transport="signed", repeat=True,
        undoes=undoes, act=act("action.undo", 12, HELD, meant, log.at(seq)),
    )  # fmt: skip
    log.add("action.undoing", facts, payloads, UNDOING)


def anchor(log: Log) -> None:
    """Append that a checkpoint of the first 20 entries is kept in a folder elsewhere."""
    tree = Frontier()
    for row in log.rows[:20]:
        tree.add(bytes.fromhex(row.leaf))
    checkpoint = Checkpoint(ORIGIN, tree.size, tree.root())
    note = Note(
        checkpoint.text, (signature_of(NoteKey(ORIGIN, LOG_KEY.public), LOG_KEY.sign(to_sign(checkpoint.text))),)
    )
    facts: dict[str, Json] = {
        "anchor": "mount", "type": "file", "size": checkpoint.size, "root": checkpoint.root.hex(),
    }  # fmt: skip
    log.add("anchor.recorded", facts, {"anchor.note": canon.encode(bytes(note).decode())})


def change_key(log: Log) -> None:
    """Append that another entry key takes the place of the first."""
    added = key_facts(NEXT_KEY, len(log.rows), log.prev)
    log.add("key.added", added, key=LOG_KEY)
    old = log.key.public.kid
    meant = canon.digest({"added": added["key"], "reason": "rotated", "revoked": old})
    signed = act("keys.rotate", 12, old, meant, log.at(len(log.rows)))
    log.add("key.revoked", {"revoked": old, "reason": "rotated", "act": signed}, key=LOG_KEY)
    log.key = NEXT_KEY


def erase(log: Log) -> None:
    """Append that a payload of the shadowed action was erased, and take it away."""
    facts: dict[str, Json] = {"entry": 13, "field": "client", "basis": "GDPR article 17"}
    signed = act("payload.erase", 12, "13:client", canon.digest(facts), log.at(len(log.rows)))
    log.add("payload.erased", {**facts, "act": signed})
    row = log.rows[13]
    log.rows[13] = replace(row, payloads={name: data for name, data in row.payloads.items() if name != "client"})


def change_by_several(log: Log) -> None:
    """Append a policy that asks for endorsements, what is said beside it, and how the first one comes back."""
    old, guarded, back = map(canon.manifest_digest, (NEXT_POLICY, GUARDED_POLICY, POLICY))
    seq = len(log.rows)
    facts: dict[str, Json] = {"policy": guarded, "previous": old, "reviewers": reviewers()}
    signed = act("policy.activate", 12, old, guarded, log.at(seq))
    log.add("policy.activated", {**facts, "act": signed}, {"policy.files": canon.encode(GUARDED_POLICY)})
    asked: dict[str, Json] = {"policy": guarded, "quorum": 1, "from": ["group:sre"], "reviewers": ["alice"]}
    log.add("policy.guarded", asked)
    by: Json = {"type": "account", "name": "root"}
    words = {"policy.files": canon.encode(POLICY), "reason": canon.encode("As it was.")}
    log.add("policy.proposed", {"policy": back, "previous": guarded, "by": by}, words)
    signed = act("policy.endorse", seq, guarded, back, log.at(seq + 3))
    log.add("policy.endorsed", {"policy": back, "proposal": seq + 2, "act": signed})
    facts = {"policy": back, "previous": guarded, "reviewers": reviewers()}
    signed = act("policy.activate", seq, guarded, back, log.at(seq + 4))
    log.add("policy.activated", {**facts, "act": signed}, {"policy.files": canon.encode(POLICY)})


def execute_by_hand(log: Log) -> None:
    """Append a request that reserves runtime and cost and is withheld, and a person's signature for its execution."""
    after = max(seq for seq, row in enumerate(log.rows) if row.fields["kind"] == "policy.activated")
    facts = {**token_facts(), "token": canon.sha256(b"another token of the test vectors")}
    signed = act("token.issue", after, "claude", canon.digest(facts), log.at(len(log.rows)))
    log.add("token.issued", {**facts, "act": signed})
    seq = len(log.rows)
    ask(log, BY_HAND, "permit", token=facts["token"], repeat=True)
    log.add("action.reserved", {"amounts": {"cost": 5, "runtime": 60}}, action=BY_HAND)
    log.add("action.withheld", {"rules": ["pull requests"]}, action=BY_HAND)
    signed = act("action.execute", after, BY_HAND, f"sha256:{log.rows[seq].leaf}", log.at(seq + 3))
    log.add("action.released", {"act": signed}, action=BY_HAND)


def set_aside(log: Log) -> None:
    """Append a person's word that a freeze does not count for a while."""
    seq, words = len(log.rows), canon.encode("The shop is down.")
    after = max(seq for seq, row in enumerate(log.rows) if row.fields["kind"] == "policy.activated")
    reason = commit(salt(seq, "reason"), "reason", words)
    facts: dict[str, Json] = {"freeze": "year end", "until": log.at(seq + 3600)}
    signed = act("freeze.override", after, "year end", canon.digest({**facts, "reason": reason}), log.at(seq))
    log.add("freeze.overridden", {**facts, "act": signed}, {"reason": words})


def ask(log: Log, action: str, decision: str, **changed: Json) -> None:
    """Append a request for the same pull request."""
    log.add("action.requested", request_facts(decision, **changed), request_payloads(), action)


def make_log() -> Log:
    """Build the whole log."""
    log = Log()
    found(log)
    read_and_ask(log)
    review_and_run(log)
    go_on(log)
    stop_and_resume(log)
    restore(log)
    undo(log)
    anchor(log)
    change_key(log)
    erase(log)
    change_by_several(log)
    execute_by_hand(log)
    set_aside(log)
    return log
