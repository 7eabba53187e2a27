"""Operators' acts that add authority: drafted, signed by a listed person's SSH key, checked, and recorded."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from keyturn import canon
from keyturn.approvals.action import Action, status
from keyturn.approvals.statement import ACT_NAMESPACE, ActStatement
from keyturn.canon import Json
from keyturn.contracts import Catalog, check_pins
from keyturn.fold.guarding import check_endorsed
from keyturn.fold.signatures import Act
from keyturn.fold.state import State, resolution_digest, token_digest
from keyturn.gateway.core import PolicyShelf
from keyturn.gateway.desk import Desk, Job, Look
from keyturn.gateway.in_force import POLICY_FILES, texts_of
from keyturn.gateway.review import Actor, check_reason
from keyturn.ledger.transaction import Transaction, View
from keyturn.ledger.writer import Ledger
from keyturn.log.commitment import SALT_BYTES, commit
from keyturn.log.entry import Entry
from keyturn.model.errors import ConfigurationError, Refused
from keyturn.model.time import format_timestamp
from keyturn.policy import Policy, read_policy
from keyturn.policy.cases.running import run_cases
from keyturn.policy.guard import asks_for_endorsements, guard_facts

RESOLVE_REASON = "resolve.reason"

Sign: TypeAlias = Callable[[bytes, str], bytes]
"""Signs for one person: message, namespace → SSHSIG blob."""


@dataclass(frozen=True, slots=True)
class ActDraft:
    """An act before it is signed, and the job that records it once it is."""

    statement: ActStatement
    record: Callable[[Transaction[State], dict[str, Json]], Entry]

    @property
    def to_sign(self) -> bytes:
        """The bytes to sign in the namespace `keyturn.act.v1`."""
        return self.statement.signed_bytes


def sign_act(ledger: Ledger[State], draft: ActDraft, sign: Sign) -> Entry:
    """Have an act signed and record it; as `submit_act`."""
    return submit_act(ledger, draft, sign(draft.to_sign, ACT_NAMESPACE))


def submit_act(ledger: Ledger[State], draft: ActDraft, signature: bytes) -> Entry:
    """Record a signed act if it counts under the policy in force. Raises `Refused`; nothing is written then."""
    act = signed_fact(draft.statement, signature)

    def job(tx: Transaction[State]) -> Entry:
        said = draft.statement
        expected = Act(verb=said.verb, object=said.object, digest=said.digest)
        tx.state.check_act(act, expected, origin_of(tx), tx.now)
        return draft.record(tx, act)

    return ledger.transact(job)


def signed_fact(statement: ActStatement, signature: bytes) -> dict[str, Json]:
    """Return the fact `act` of an entry that a person signed for."""
    return {"statement": statement.to_json(), "signature": base64.b64encode(signature).decode("ascii")}


# --- policy.activate ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A policy text that loads with these contracts, whose pins are theirs, and whose own cases pass."""

    files: Mapping[str, str]
    policy: Policy
    catalog: Catalog


def read_candidate(files: Mapping[str, str], catalog: Catalog) -> Candidate:
    """Read a proposed policy whole and run its cases.

    Raises `ConfigurationError` with every problem, unequal pins and cases that do not pass included.
    """
    policy = read_policy(files, catalog.contracts)
    if problems := (*check_pins(catalog, policy.pins()), *run_cases(policy).failures):
        raise ConfigurationError(*problems)
    return Candidate(files=files, policy=policy, catalog=catalog)


def draft_activation(ledger: Ledger[State], candidate: Candidate, by: str, reason: str = "") -> ActDraft:
    """Draft the activation of a policy, bound to the one in force. Raises `Refused` when it is in force already.

    `reason` is kept beside the act for readers; the signature covers the policy, not these words.
    """
    check_reason(reason, "approve")

    def look(view: View[State]) -> ActStatement:
        force = view.state.policy
        if force is None:
            raise Refused("no_policy", "the ledger holds no policy; make a home with `keyturn init`")
        unchanged = view.state.catalog is not None and view.state.catalog.digest == candidate.catalog.digest
        if force.digest == candidate.policy.digest and unchanged:
            raise Refused("already_in_force", "this policy is in force already")
        check_guard(view, candidate.policy.digest, by)
        return statement_of(view, "policy.activate", force.digest, candidate.policy.digest, by)

    statement = ledger.look(look)

    def record(tx: Transaction[State], act: dict[str, Json]) -> Entry:
        check_guard(tx, statement.digest, statement.by)
        return append_policy(tx, candidate, previous=statement.object, act=act, reason=reason)

    return ActDraft(statement, record)


def append_policy(
    tx: Transaction[Any], candidate: Candidate, *, previous: str | None, act: dict[str, Json] | None, reason: str = ""
) -> Entry:
    """Append the activation of a policy, and its contracts when they are not the published ones."""
    policy = candidate.policy
    facts: dict[str, Json] = {
        "policy": policy.digest,
        "previous": previous,
        "reviewers": {name: [key.line for key in person.keys] for name, person in policy.reviewers.items()},
        "act": act,
    }
    data = {POLICY_FILES: canon.encode(dict(candidate.files))}
    if reason:
        data["reason"] = canon.encode(reason)
    entry = tx.append("policy.activated", facts, data=data)
    published = tx.state.catalog
    if published is None or published.digest != candidate.catalog.digest:
        _append_catalog(tx, candidate.catalog)
    if policy.guard is not None:
        tx.append("policy.guarded", guard_facts(policy, policy.guard))
    return entry


def check_guard(view: View[State], digest: str, by: str) -> None:
    """Refuse an activation signed by `by` for which fewer people signed than the policy in force asks."""
    force = view.state.policy
    if force is not None and view.state.guard is None:
        text = texts_of(view, force.seq, POLICY_FILES).get("policy.toml", "")
        if asks_for_endorsements(text):
            missing = "the policy in force asks for endorsements, and the ledger does not say so"
            raise Refused("guard_missing", missing)
    check_endorsed(digest, by, view.state.guard, view.state.proposals)


def _append_catalog(tx: Transaction[Any], catalog: Catalog) -> None:
    contracts = {tool: contract.label for tool, contract in catalog.contracts.items()}
    facts: dict[str, Json] = {"catalog": catalog.digest, "contracts": contracts}
    tx.append("catalog.published", facts, data={"catalog.files": canon.encode(dict(catalog.files))})


# --- token.issue, token.revoke --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenGrant:
    """What a token grants. `token` is the digest of the secret; `scopes` None adds no restriction."""

    token: str
    principal: str
    transports: tuple[str, ...]
    scopes: tuple[str, ...] | None
    expires_at: datetime

    def facts(self) -> dict[str, Json]:
        """Return the grant as entries write it."""
        return {
            "token": self.token,
            "principal": self.principal,
            "transports": list(self.transports),
            "scopes": None if self.scopes is None else list(self.scopes),
            "expires_at": format_timestamp(self.expires_at),
        }


def draft_token(ledger: Ledger[State], policies: PolicyShelf, grant: TokenGrant, by: str) -> ActDraft:
    """Draft the issue of a token. Raises `Refused` when the policy in force has no such principal or it no scope."""

    def look(view: Look) -> ActStatement:
        principal = policies.in_force(view).principals.get(grant.principal)
        if principal is None:
            raise Refused("not_found", f"the policy in force has no principal {grant.principal!r}")
        if useless := sorted(set(grant.scopes or ()) - principal.scopes):
            has = ", ".join(sorted(principal.scopes)) or "none"
            raise Refused(
                "usage", f"{grant.principal} has no scope {', '.join(useless)} in the policy; it has: {has}"
            )
        return statement_of(view, "token.issue", grant.principal, token_digest(grant.facts()), by)

    def record(tx: Transaction[State], act: dict[str, Json]) -> Entry:
        return append_token(tx, grant, act)

    return ActDraft(ledger.look(look), record)


def append_token(tx: Transaction[Any], grant: TokenGrant, act: dict[str, Json] | None) -> Entry:
    """Append `token.issued`; without an act only while the log is being founded."""
    return tx.append("token.issued", {**grant.facts(), "act": act})


def revoke_token(ledger: Ledger[State], named: str, by: Actor) -> list[str]:
    """Revoke all tokens of the principal `named`, or else the one whose id begins so; returns their digests.

    Raises `Refused` when there is none that is not revoked yet, or when several ids begin so.
    """

    def job(tx: Job) -> list[str]:
        wanted = _tokens_named(tx.state, named)
        for digest in wanted:
            tx.append("token.revoked", {"token": digest, "by": {"type": by.kind, "name": by.name}})
        return wanted

    return ledger.transact(job)


def _tokens_named(state: State, named: str) -> list[str]:
    live = [token for token in state.tokens.values() if token.revoked_at is None]
    if owned := [token.digest for token in live if token.principal == named]:
        return owned
    begun = [t.digest for t in live if named and t.digest.removeprefix("sha256:").startswith(named)]
    if not begun:
        raise Refused("not_found", f"no token that could be revoked belongs to {named!r} or has an id that begins so")
    if len(begun) > 1:
        raise Refused("usage", f"{len(begun)} tokens have an id that begins with {named!r}: give more of it")
    return begun


# --- action.resolve -------------------------------------------------------------------------------------------


def draft_resolution(desk: Desk, action_id: str, *, happened: bool, reason: str, by: str) -> ActDraft:
    """Draft an operator's word on an unknown outcome. Raises `Refused` unless the action's outcome is unknown."""
    check_reason(reason, "resolve")
    outcome = "succeeded" if happened else "failed"
    words, salt = canon.encode(reason), desk.entropy(SALT_BYTES)

    def look(view: Look) -> ActStatement:
        action = _unknown(view, action_id)
        content = resolution_digest(action.digest, outcome, commit(salt, RESOLVE_REASON, words))
        return statement_of(view, "action.resolve", action.id, content, by)

    def record(tx: Transaction[State], act: dict[str, Json]) -> Entry:
        action = _unknown(tx, action_id)
        facts: dict[str, Json] = {"outcome": outcome, "effect": happened, "method": "operator", "act": act}
        return tx.append(
            "execution.resolved",
            facts,
            action=action.id,
            data={RESOLVE_REASON: words},
            salts={RESOLVE_REASON: salt},
        )

    return ActDraft(desk.ledger.look(look), record)


def _unknown(view: View[State], action_id: str) -> Action:
    action = view.state.actions.get(action_id)
    if action is None or status(action, view.now) != "unknown":
        raise Refused("already_decided", f"action {action_id} has no unknown outcome to settle")
    return action


def origin_of(view: View[State]) -> str:
    """Return the origin of the log, to which every signed word is bound."""
    return view.head.verifier.origin if view.head.verifier else ""


def statement_of(view: View[State], verb: str, obj: str, digest: str, by: str) -> ActStatement:
    """Return what `by` signs now to do `verb` to `obj`; it counts only under the policy in force now."""
    force = view.state.policy
    return ActStatement(
        log=origin_of(view),
        after=force.seq if force else 0,
        verb=verb,
        object=obj,
        digest=digest,
        by=by,
        at=view.now,
    )
