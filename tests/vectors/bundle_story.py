"""A small log that is right in every way, its policy and its decisions included: what golden bundles hold."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from keyturn import canon
from keyturn.canon import Json
from keyturn.contracts import Catalog, catalog_of
from keyturn.log.commitment import commit
from keyturn.log.note import Note
from keyturn.policy import pin
from tests.vectors.story import (
    ENTRY_KEY,
    FOLDER,
    INSTANCE,
    LOG_KEY,
    NEXT_KEY,
    VERIFIER,
    Log,
    act,
    b64,
    key_facts,
    reviewers,
    salt,
    ssh_sign,
    token_facts,
)
from tests.vectors.tree_cases import by_log, by_witness, head_text

REQUEST: Final = 6
ACTION: Final = "01a1fd55-91f0-7000-8000-000000000001"
"""Its id says when it was asked for: at 09:00:06."""
ERASED: Final = (6, "client")
ANCHORED: Final = 10
"""Entries that the anchor saw."""

_ENVELOPE: Final[dict[str, Json]] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["message"],
    "properties": {"message": {"type": ["string", "null"], "maxLength": 1000, "description": "What happened."}},
}
_TICKET: Final[dict[str, Json]] = {
    "type": "string", "pattern": "^[A-Z]+-[0-9]+$", "maxLength": 20, "description": "Ticket id.",
}  # fmt: skip
_COMMENT: Final[dict[str, Json]] = {"type": "string", "minLength": 1, "maxLength": 1000, "description": "The words."}
_REASON: Final[dict[str, Json]] = {"type": "string", "maxLength": 2000, "default": "", "description": "Why."}
_REPEAT: Final[dict[str, Json]] = {"type": "boolean", "default": False, "description": "Once more."}
_POLICY: Final = """version = 1
[principals.claude]
owner = "bob"
scopes = ["ticket:read", "ticket:write"]
[people.bob]
[reviewers.alice]
keys = ["{alice}"]
groups = ["sre"]
[environments.tracker]
targets = ["tickets:ops/*"]
[[grants]]
id = "reads"
principals = ["claude"]
tool = "get_ticket"
[[grants]]
id = "comments"
principals = ["claude"]
tool = "update_ticket"
approval = {{ quorum = 1, from = ["group:sre"], expires = "4h" }}
"""
_WHO: Final[dict[str, Json]] = {
    "principal": "claude", "owner": "bob", "token": token_facts()["token"], "transport": "stdio",
}  # fmt: skip
_WHERE: Final[dict[str, Json]] = {
    "backend": {"port": "tickets", "name": "ops", "kind": "folder", "location": "/srv/ops", "account": ""},
    "target": "tickets:ops/OPS-1",
    "environment": "tracker",
}


def _contract(tool: str, kind: str, scope: str, properties: Mapping[str, Json]) -> str:
    governed = kind == "governed"
    required: list[Json] = ["ticket", "comment"] if governed else ["ticket"]
    example: Json = {"ticket": "OPS-1"} | ({"comment": "Looking into it."} if governed else {})
    value: dict[str, Json] = {
        "$schema": "./contract.meta.json", "tool": tool, "version": 1, "kind": kind, "scope": scope,
        "title": tool.replace("_", " ").capitalize(), "description": "A contract of the test vectors.",
        "annotations": {
            "readOnlyHint": not governed, "destructiveHint": governed, "idempotentHint": not governed,
            "openWorldHint": True,
        },
        "input": {
            "type": "object", "additionalProperties": False, "required": required, "properties": properties,
        },
        "output": _ENVELOPE, "examples": [example], "counterexamples": [{"arguments": {}, "why": "no ticket"}],
    }  # fmt: skip
    return json.dumps(value | ({"duplicates": {"window_seconds": 600}} if governed else {}))


def catalog() -> Catalog:
    """Return the two contracts of this log."""
    update = {"ticket": _TICKET, "comment": _COMMENT, "reason": _REASON, "repeat": _REPEAT}
    return catalog_of(
        {
            "envelope.v1.json": json.dumps(_ENVELOPE),
            "get_ticket.v1.json": _contract("get_ticket", "read", "ticket:read", {"ticket": _TICKET}),
            "update_ticket.v1.json": _contract("update_ticket", "governed", "ticket:write", update),
        }
    )


def make_good_log() -> Log:
    """Build the log: a read, a held action that ran, an anchor, a change of keys, and an erased payload."""
    log, contracts = found_log(), catalog()
    policy = log.rows[2].fields["policy"]
    _read(log, contracts, policy)
    _act(log, contracts, policy)
    _anchor(log)
    _change_key(log)
    _erase(log)
    return log


def found_log(more: str = "") -> Log:
    """Build the entries it begins with: keys, policy, contracts and a token; `more` is a line of the last grant."""
    log, contracts = Log(), catalog()
    alice: Any = reviewers()["alice"]
    _found(log, {"policy.toml": pin(_POLICY.format(alice=alice[0]) + more, contracts.contracts)}, contracts)
    return log


def begun_log(more: str) -> Log:
    """Build the log of an action that has begun, under a policy with `more`."""
    log, contracts = found_log(more), catalog()
    policy = log.rows[2].fields["policy"]
    _read(log, contracts, policy)
    _begin(log, contracts, policy)
    return log


def _found(log: Log, policy: Mapping[str, str], contracts: Catalog) -> None:
    nonce = hashlib.sha256(b"nonce of the bundles").hexdigest()
    log.add("log.opened", {"format": "keyturn-ledger/v1", "nonce": nonce, "verifier": str(VERIFIER)}, key=LOG_KEY)
    log.add("key.added", key_facts(ENTRY_KEY, 1, log.prev), key=LOG_KEY)
    log.add(
        "policy.activated",
        {"policy": canon.manifest_digest(policy), "previous": None, "reviewers": reviewers(), "act": None},
        {"policy.files": canon.encode(dict(policy))},
    )
    labels: dict[str, Json] = {tool: contract.label for tool, contract in contracts.contracts.items()}
    log.add(
        "catalog.published",
        {"catalog": contracts.digest, "contracts": labels},
        {"catalog.files": canon.encode(dict(contracts.files))},
    )
    log.add("token.issued", {**token_facts(), "act": None})


def _read(log: Log, contracts: Catalog, policy: str) -> None:
    label = contracts.contracts["get_ticket"].label
    log.add(
        "read.served",
        {**_WHO, **_WHERE, "tool": "get_ticket", "contract": label, "policy": policy, "rules": ["reads"]},
        {"argument.ticket": canon.encode("OPS-1"), "result": canon.encode({"status": "open"})},
    )


def _act(log: Log, contracts: Catalog, policy: str) -> None:
    """Append an action from its request to its outcome."""
    _begin(log, contracts, policy)
    finish(log)


def finish(log: Log, **changes: Json) -> None:
    """Append the outcome of the action."""
    done: dict[str, Json] = {"instance": INSTANCE, "outcome": "succeeded", "effect": True, "recovered": False}
    log.add("execution.finished", done | changes, {"outcome": canon.encode({"result": {"ticket": "OPS-1"}})}, ACTION)


def _begin(log: Log, contracts: Catalog, policy: str) -> None:
    """Append an action from its request to its intent."""
    obligation: Json = {
        "rule": "comments", "quorum": 1, "from": ["group:sre"], "reviewers": ["alice"], "keys": "any", "rejects": 1,
        "escalate": [],
    }  # fmt: skip
    effects: dict[str, Json] = {"files_changed": 0, "lines_changed": 0, "recipients": 1}
    plan: dict[str, Json] = {
        "tool": "update_ticket", **_WHERE, "summary": "Comment on OPS-1", "effects": effects, "view": {},
        "facts": {}, "guard": {}, "change": {}, "inverse": None,
    }  # fmt: skip
    arguments = {"ticket": "OPS-1", "comment": "Looking into it."}
    log.add(
        "action.requested",
        {
            **_WHO, **_WHERE, "tool": "update_ticket", "contract": contracts.contracts["update_ticket"].label,
            "policy": policy, "decision": "hold", "rules": ["comments"], "obligations": [obligation],
            "reviewers": reviewers(), "excluded": ["bob"], "effects": {"calls": 1, **effects},
            "expires_at": "2026-11-21T13:00:06.000000Z", "repeat": False, "supersedes": None,
        },
        {
            **{f"argument.{name}": canon.encode(value) for name, value in arguments.items()},
            "plan": canon.encode(plan), "diff": b"", "reason": canon.encode("It was asked for."),
            "decision.values": canon.encode([]), "client": canon.encode("claude-code 2.1"),
        },
        ACTION,
    )  # fmt: skip
    _review(log)
    log.add("execution.started", {"instance": INSTANCE, "reviews": [7], "policy": policy}, action=ACTION)


def _review(log: Log) -> None:
    seq, words = len(log.rows), canon.encode("Go ahead.")
    statement: dict[str, Json] = {
        "type": "keyturn.review/v1", "log": log.rows[0].fields["log"], "action": ACTION,
        "digest": f"sha256:{log.rows[REQUEST].leaf}", "verdict": "approve", "reviewer": "alice",
        "reason": commit(salt(seq, "review.reason"), "review.reason", words), "at": log.at(seq),
    }  # fmt: skip
    blob = base64.b64decode((FOLDER / "keys" / "alice.pub").read_text("ascii").split()[1])
    fingerprint = "SHA256:" + b64(hashlib.sha256(blob).digest()).rstrip("=")
    facts: dict[str, Json] = {
        "reviewer": "alice", "verdict": "approve", "key": fingerprint, "statement": statement,
        "signature": ssh_sign(statement, "keyturn.review.v1"),
    }  # fmt: skip
    log.add("action.reviewed", facts, {"review.reason": words}, ACTION)


def anchored(log: Log) -> Note:
    """Return the checkpoint of the first entries, as the witness cosigned it."""
    text = head_text(log, ANCHORED)
    return Note(text, (by_log(text), by_witness(text)))


def _anchor(log: Log) -> None:
    note = anchored(log)
    root = base64.b64decode(note.text.split("\n")[2]).hex()
    facts: dict[str, Json] = {"anchor": "one", "type": "witness", "size": ANCHORED, "root": root}
    log.add("anchor.recorded", facts, {"anchor.note": canon.encode(bytes(note).decode())})


def _change_key(log: Log) -> None:
    added = key_facts(NEXT_KEY, len(log.rows), log.prev)
    log.add("key.added", added, key=LOG_KEY)
    old = ENTRY_KEY.public.kid
    meant = canon.digest({"added": added["key"], "reason": "rotated", "revoked": old})
    signed = act("keys.rotate", 2, old, meant, log.at(len(log.rows)))
    log.add("key.revoked", {"revoked": old, "reason": "rotated", "act": signed}, key=LOG_KEY)
    log.key = NEXT_KEY


def _erase(log: Log) -> None:
    seq, field = ERASED
    facts: dict[str, Json] = {"entry": seq, "field": field, "basis": "GDPR article 17"}
    signed = act("payload.erase", 2, f"{seq}:{field}", canon.digest(facts), log.at(len(log.rows)))
    log.add("payload.erased", {**facts, "act": signed})
    row = log.rows[seq]
    log.rows[seq] = replace(row, payloads={name: data for name, data in row.payloads.items() if name != field})


def openings(log: Log) -> dict[tuple[int, str], tuple[bytes, bytes]]:
    """Return salt and bytes of every payload there is, by entry and field."""
    return {
        (seq, name): (salt(seq, name), data)
        for seq, row in enumerate(log.rows)
        for name, data in row.payloads.items()
    }


def hold_again(log: Log) -> Log:
    """Append a request like the one that was held, eight seconds later: it waits for a review."""
    asked, at = log.rows[REQUEST], log.at(len(log.rows))
    frame = ("v", "log", "seq", "prev", "ts", "boot", "up", "kid", "kind", "action", "data")
    facts = {name: value for name, value in asked.fields.items() if name not in frame}
    facts |= {"repeat": True, "expires_at": at.replace("T09:", "T13:")}
    payloads = {**asked.payloads, "client": canon.encode("claude-code 2.1")}
    log.add("action.requested", facts, payloads, ACTION.replace("91f0", "b130"))
    return log
