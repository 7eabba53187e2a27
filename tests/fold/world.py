"""A log as the fold meets it, with real signatures of people; who signs entries is the chain's concern."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from keyturn.approvals.life import obligation_to_json
from keyturn.approvals.statement import ACT_NAMESPACE, REVIEW_NAMESPACE, ActStatement, ReviewStatement
from keyturn.canon import Json
from keyturn.fold.state import State, resolution_digest, token_digest
from keyturn.log.entry import Entry
from keyturn.model.decision import Obligation
from keyturn.model.time import format_timestamp
from tests.approvals.world import CONTRACT, ORIGIN, POLICY, START, Book, action_id, obligation
from tests.fold.people import ALICE, LISTED, Person, listed

OTHER_POLICY: Final = "sha256:" + "b" * 64
TOOL: Final = "open_pull_request"
WORDS: Final = "hmac-sha256:" + "5" * 64
"""The commitment of whatever reason a person gave."""


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def token(number: int) -> str:
    return f"sha256:{number:064x}"


@dataclass
class World(Book):
    """A book whose entries go straight into a state. `found` begins it as every log begins."""

    state: State = field(default_factory=State)

    def add(self, *args: Any, **named: Any) -> Entry:
        """Append an entry and apply it; one that the fold refuses is not kept."""
        entry = super().add(*args, **named)
        try:
            self.state.apply(entry)
        except BaseException:
            self.entries.pop()
            raise
        return entry

    def found(self, people: Sequence[Person] = LISTED) -> World:
        nonce, verifier = "0" * 64, f"{ORIGIN}+00000000+{b64(bytes(33))}"
        self.add("log.opened", {"format": "keyturn-ledger/v1", "nonce": nonce, "verifier": verifier})
        self.add("key.added", {"key": b64(bytes(32)), "proof": b64(bytes(64))})
        self.activate(POLICY, people=people)
        self.publish()
        self.issue(1)
        return self

    # --- what stands ------------------------------------------------------------------------------------------

    def activate(
        self, policy: str, previous: str | None = None, act: Json = None, people: Sequence[Person] = LISTED
    ) -> Entry:
        facts: dict[str, Json] = {"policy": policy, "previous": previous, "reviewers": listed(*people), "act": act}
        return self.add("policy.activated", facts)

    def publish(self, **contracts: Json) -> Entry:
        return self.add("catalog.published", {"catalog": token(99), "contracts": {TOOL: CONTRACT, **contracts}})

    def token_facts(self, number: int, **changed: Json) -> dict[str, Json]:
        facts: dict[str, Json] = {
            "token": token(number),
            "principal": "claude",
            "transports": ["stdio"],
            "scopes": None,
            "expires_at": format_timestamp(START + timedelta(days=90)),
        }
        return {**facts, **changed}

    def issue(self, number: int, act: Json = None, **changed: Json) -> Entry:
        return self.add("token.issued", {**self.token_facts(number, **changed), "act": act})

    def revoke(self, number: int) -> Entry:
        return self.add("token.revoked", {"token": token(number), "by": {"type": "account", "name": "root"}})

    def read(self, **changed: Json) -> Entry:
        asked = self.request_facts()
        names = ("principal", "owner", "token", "transport", "backend", "target", "environment", "tool", "contract")
        facts = {name: asked[name] for name in (*names, "policy", "rules")}
        return self.add("read.served", {**facts, **changed})

    def deny(self, principal: str = "claude", number: int = 4000) -> Entry:
        asked = self.request_facts()
        facts: dict[str, Json] = {
            **{name: asked[name] for name in ("owner", "token", "transport", "tool", "policy")},
            "principal": principal,
            "stage": "policy",
            "codes": [],
            "arguments_bytes": 0,
            "target": None,
            "environment": None,
        }
        return self.add("action.denied", facts, action_id(number))

    def throttle(self) -> Entry:
        moment = format_timestamp(self.now)
        facts: dict[str, Json] = {"principal": "claude", "count": 3, "code": "x", "since": moment, "until": moment}
        return self.add("requests.throttled", facts)

    # --- people -----------------------------------------------------------------------------------------------

    def act(
        self,
        verb: str,
        subject: str,
        digest: str,
        by: Person = ALICE,
        /,
        *,
        namespace: str = ACT_NAMESPACE,
        **changed: Any,
    ) -> dict[str, Json]:
        """One act, signed now under the policy in force unless changed."""
        force = self.state.policy
        statement = ActStatement(
            log=ORIGIN,
            after=force.seq if force else 0,
            verb=verb,
            object=subject,
            digest=digest,
            by=by.name,
            at=self.now,
        )
        value = replace(statement, **changed).to_json()
        return {"statement": value, "signature": b64(by.sign(value, namespace))}

    def act_activating(self, policy: str, by: Person = ALICE, /, **changed: Any) -> dict[str, Json]:
        force = self.state.policy
        return self.act("policy.activate", force.digest if force else "", policy, by, **changed)

    def act_issuing(self, number: int, by: Person = ALICE, /, **changed: Any) -> dict[str, Json]:
        return self.act("token.issue", "claude", token_digest(self.token_facts(number)), by, **changed)

    def act_resolving(self, outcome: str, number: int = 1, by: Person = ALICE, /, **changed: Any) -> dict[str, Json]:
        action = self.state.actions[action_id(number)]
        digest = resolution_digest(action.digest, outcome, WORDS)
        return self.act("action.resolve", action.id, digest, by, **changed)

    def statement(self, by: Person, verdict: str = "approve", number: int = 1, **changed: Any) -> ReviewStatement:
        """What a person says about an action now, unless changed."""
        found = [entry for entry in self.entries if entry.kind == "action.requested"]
        digest = next(entry.digest for entry in reversed(found) if entry.action == action_id(number))
        said = ReviewStatement(
            log=ORIGIN,
            action=action_id(number),
            digest=digest,
            verdict=verdict,
            reviewer=by.name,
            reason=WORDS,
            at=self.now,
        )
        return replace(said, **changed)

    def review_facts(self, said: ReviewStatement, by: Person, namespace: str = REVIEW_NAMESPACE) -> dict[str, Json]:
        return {
            "reviewer": said.reviewer,
            "verdict": said.verdict,
            "key": by.fingerprint,
            "statement": said.to_json(),
            "signature": b64(by.sign(said.to_json(), namespace)),
        }

    def review(self, by: Person, verdict: str = "approve", number: int = 1) -> Entry:
        facts = self.review_facts(self.statement(by, verdict, number), by)
        return self.add("action.reviewed", facts, action_id(number), {"review.reason": WORDS})

    # --- actions ----------------------------------------------------------------------------------------------

    def ask(self, number: int = 1, *due: Obligation, people: Sequence[Person] = LISTED, **changed: Any) -> Entry:
        """Append a request; held for alice or bob unless changed."""
        if changed.get("decision", "hold") != "hold":
            return self.request(number, **changed)
        written: list[Json] = [obligation_to_json(one) for one in due or (obligation("alice", "bob"),)]
        return self.request(number, **{"obligations": written, "reviewers": listed(*people), **changed})

    def ask_and_start(self, number: int = 1, **changed: Any) -> None:
        """Bring a permitted action to running."""
        self.ask(number, **{"decision": "permit", **changed})
        self.start(number=number)

    def wait(self, time: timedelta) -> datetime:
        self.now += time
        return self.now

    def pad(self, count: int = 64) -> None:
        """Let entries pass that change nothing: the fold tidies up every so many."""
        for _ in range(count):
            self.throttle()
