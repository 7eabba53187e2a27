"""Proof 9 a second time, in few words: which actions wait, run or are unknown, and whether people agreed.

The fold proves the same for the processes that act. This says it again from the recorded facts alone and shares no
rule with it, so that a mistake in one of them shows as a disagreement instead of passing unseen.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from keyturn import canon
from keyturn.log.entry import Entry
from keyturn.model.decision import Escalation, Obligation
from keyturn.model.time import parse_timestamp
from keyturn.sshsig import SignatureError, verify
from keyturn.verifier.proofs import NotProved

NAMESPACE = "keyturn.review.v1"
RELEASE = "action.execute"
ID_MARGIN = timedelta(minutes=30)
"""How far the time inside an action's UUIDv7 may be from its entry's. The fold remembers every action for longer than
this, so an id cannot come twice: neither within the margin nor after it."""
_KEEP = timedelta(hours=2)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EFFECTS: Mapping[str, tuple[object, ...]] = {
    "succeeded": (True,),
    "failed": (True, False),
    "stale": (False,),
    "unknown": (None,),
    "shadowed": (False,),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One person's recorded review whose signature verified, with the line of the key that made it."""

    seq: int
    reviewer: str
    verdict: str
    line: str
    present: bool | None
    pinned: bool | None


@dataclass(slots=True)
class Waiting:
    """An action that has not begun: its request, when it expires, and what people said, in order.

    `anew` is when the ledger was restored meanwhile: what was signed until then does not count. `beside` counts the
    entries that stand with the request. `withheld` says that a person has to sign for its execution, and `release` is
    the entry in which somebody did.
    """

    request: Entry
    expires_at: datetime
    words: list[Word] = field(default_factory=list)
    anew: datetime | None = None
    beside: int = 0
    withheld: bool = False
    release: Entry | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """An action that has begun: its request's seq and digest, what it is about, and its intent."""

    action: str
    seq: int
    digest: str
    tool: str
    target: str
    instance: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What must be met for an action to run: obligations, whose keys count, and who is left out."""

    obligations: tuple[Obligation, ...]
    reviewers: Mapping[str, Iterable[str]]
    excluded: frozenset[str]


class Lives:
    """The actions that are not over. Bounded by what is open: memory does not grow with the ledger."""

    def __init__(self) -> None:
        self.waiting: dict[str, Waiting] = {}
        self.running: dict[str, Intent] = {}
        self.unknown: dict[str, Intent] = {}

    def requested(self, entry: Entry) -> None:
        """Take `action.requested` or `action.undoing`."""
        action = _action(entry)
        made = timedelta(milliseconds=UUID(action).int >> 80)
        if abs(entry.at - _EPOCH - made) > ID_MARGIN:
            raise NotProved(entry.seq, 9, "the time inside the action's id is not the time of its request")
        expires_at = parse_timestamp(entry.text("expires_at"))
        self._forget(entry.at)
        self.waiting[action] = Waiting(entry, expires_at)

    def followed(self, entry: Entry) -> None:
        """Take `action.reserved` or `action.withheld`: with the request in one commit, in this order."""
        waiting = self._waiting(entry)
        waiting.beside += 1
        again = waiting.withheld or (waiting.beside > 1 and entry.kind == "action.reserved")
        if entry.seq != waiting.request.seq + waiting.beside or again:
            raise NotProved(entry.seq, 9, f"{entry.kind} does not stand directly after its request")
        waiting.withheld = entry.kind == "action.withheld"

    def released(self, entry: Entry) -> None:
        """Take `action.released`: of an approved action that is withheld, signed for its digest, once."""
        waiting, said = self._waiting(entry), _facts(entry)["act"]["statement"]
        if not waiting.withheld or waiting.release is not None:
            raise NotProved(entry.seq, 9, "it waits for nobody to sign for its execution")
        if [said[name] for name in ("verb", "object", "digest")] != [RELEASE, entry.action, waiting.request.digest]:
            raise NotProved(entry.seq, 9, "what was signed is not the execution of this action with this digest")
        request = waiting.request
        lacking = shortfalls(waiting.words, recorded_terms(request), request.at, entry.at)
        if lacking or entry.at >= waiting.expires_at:
            raise NotProved(entry.seq, 9, f"signed for before it was approved, or too late: {'; '.join(lacking)}")
        waiting.release = entry

    def release_of(self, started: Entry) -> Entry | None:
        """Return the entry in which a person signed for an execution, if one had to. Raises `NotProved`."""
        waiting = self._waiting(started)
        if waiting.withheld and waiting.release is None:
            raise NotProved(started.seq, 9, "it was begun although nobody had signed for its execution")
        return waiting.release

    def reviewed(self, entry: Entry) -> None:
        """Take `action.reviewed`: a listed person's signature over this action's digest in this log."""
        waiting = self._waiting(entry)
        word, statement = _heard(entry)
        said = [statement[name] for name in ("log", "action", "digest", "reviewer", "verdict")]
        if said != [entry.log, entry.action, waiting.request.digest, word.reviewer, word.verdict]:
            raise NotProved(entry.seq, 9, "the signed statement is not about this action, log, person and verdict")
        if word.line not in _facts(waiting.request)["reviewers"].get(word.reviewer, ()):
            raise NotProved(entry.seq, 9, f"the signing key is not one the request lists for {word.reviewer!r}")
        if entry.at >= waiting.expires_at:
            raise NotProved(entry.seq, 9, "the review came after the action had expired")
        if waiting.anew is not None and parse_timestamp(statement["at"]) <= waiting.anew:
            raise NotProved(entry.seq, 9, "the review was signed before the ledger was restored")
        waiting.words.append(word)

    def started(self, entry: Entry) -> None:
        """Take `execution.started`: approved by its own recorded obligations, in time, once.

        A shadowed action has no time: it expires with its request.
        """
        waiting = self._waiting(entry)
        request = waiting.request
        if entry.at >= waiting.expires_at:
            raise NotProved(entry.seq, 9, "it was begun after it had expired")
        if waiting.anew is not None and request.text("decision") == "permit":
            raise NotProved(entry.seq, 9, "it was begun by a permission from before the ledger was restored")
        if lacking := shortfalls(self.counted(entry), recorded_terms(request), request.at, entry.at):
            raise NotProved(entry.seq, 9, f"it was begun without approval: {'; '.join(lacking)}")
        action = _action(entry)
        del self.waiting[action]
        self.running[action] = Intent(
            action=action,
            seq=request.seq,
            digest=request.digest,
            tool=request.text("tool"),
            target=request.text("target"),
            instance=entry.text("instance"),
            at=entry.at,
        )

    def closed(self, entry: Entry) -> None:
        """Take `log.closed`: nothing runs any more, and no outcome is unknown. Who waits is for the fold to say."""
        for action in (*self.running, *self.unknown):
            raise NotProved(entry.seq, 9, f"the log ends although action {action} is not over")

    def restored(self, entry: Entry) -> None:
        """Take a `recovery` of a restored ledger: who agreed before has to agree again, and who refused stays."""
        for waiting in self.waiting.values():
            last = {word.reviewer: word.seq for word in waiting.words}
            no = [word for word in waiting.words if word.verdict == "reject" and word.seq in last.values()]
            waiting.words, waiting.anew, waiting.release = no, entry.at, None

    def counted(self, started: Entry) -> list[Word]:
        """Return the words that an `execution.started` entry says it counts."""
        named = _facts(started)["reviews"]
        return [word for word in self._waiting(started).words if word.seq in named]

    def request_of(self, started: Entry) -> Entry:
        """Return the request of an action that has not begun. Raises `NotProved`."""
        return self._waiting(started).request

    def stopped(self, entry: Entry) -> None:
        """Take `action.cancelled`, `action.stale` or `action.expired`: of an action that has not begun."""
        if entry.kind == "action.expired" and entry.action not in self.waiting:
            return  # over at its time already; the fold proves that the entry is due
        own = {"type": "principal", "name": self._waiting(entry).request.text("principal")}
        by = _facts(entry).get("by", own)
        if by["type"] == "principal" and by != own:
            raise NotProved(entry.seq, 9, "it was cancelled by another principal than its own")
        del self.waiting[_action(entry)]

    def finished(self, entry: Entry) -> None:
        """Take `execution.finished`: after its intent and once, or, in shadow, directly after its request."""
        outcome = entry.text("outcome")
        if entry.facts["effect"] not in _EFFECTS[outcome]:
            raise NotProved(entry.seq, 9, f"an outcome {outcome} cannot have this effect")
        if outcome == "shadowed":
            if self._waiting(entry).request.seq + 1 != entry.seq:
                raise NotProved(entry.seq, 9, "a shadowed action is finished directly after its request")
            del self.waiting[_action(entry)]
            return
        intent = self.running.pop(_action(entry), None)
        if intent is None:
            raise NotProved(entry.seq, 9, "an outcome without an intent before it, or a second one")
        if entry.text("instance") != intent.instance and entry.facts["recovered"] is not True:
            raise NotProved(entry.seq, 9, "the outcome is of another executor than the intent, and is not a recovery")
        if outcome == "unknown":
            self.unknown[intent.action] = intent

    def resolved(self, entry: Entry) -> None:
        """Take `execution.resolved`: it settles an unknown outcome and no other."""
        if self.unknown.pop(_action(entry), None) is None:
            raise NotProved(entry.seq, 9, "it settles an outcome that was not unknown")
        if entry.facts["effect"] not in _EFFECTS[entry.text("outcome")]:
            raise NotProved(entry.seq, 9, "the outcome cannot have this effect")

    def open(self, action: str, now: datetime) -> bool:
        """Tell whether an action may still happen, or may have happened: it waits, runs, or nobody knows."""
        if action in self.running or action in self.unknown:
            return True
        waiting = self.waiting.get(action)
        if waiting is None or now >= waiting.expires_at or waiting.request.text("decision") == "shadow":
            return False
        terms, at = recorded_terms(waiting.request), waiting.request.at
        return not any(_rejected(due, counted) for due, counted in _counted(waiting.words, terms, at, now))

    def _waiting(self, entry: Entry) -> Waiting:
        waiting = self.waiting.get(_action(entry))
        if waiting is None:
            raise NotProved(entry.seq, 9, f"{entry.kind}, but its action was not requested or does not wait any more")
        return waiting

    def _forget(self, now: datetime) -> None:
        """Drop what has expired long ago: nothing can come of it, with or without its `action.expired`."""
        over = [action for action, waiting in self.waiting.items() if now - waiting.expires_at > _KEEP]
        for action in over:
            del self.waiting[action]


def recorded_terms(request: Entry) -> Terms:
    """Return the terms that a request records; its owner and a person who asks for it are left out in any case."""
    facts = _facts(request)
    owner = () if facts["owner"] is None else (facts["owner"],)
    asker = (facts["act"]["statement"]["by"],) if facts.get("act") else ()
    return Terms(
        obligations=tuple(_obligation(item) for item in facts["obligations"]),
        reviewers=facts["reviewers"],
        excluded=frozenset((*facts["excluded"], *owner, *asker)),
    )


def shortfalls(words: Iterable[Word], terms: Terms, asked_at: datetime, now: datetime) -> list[str]:
    """Return what is missing for the terms at `now`; empty when the words suffice.

    `words` are in order: the newest of each person counts, if its key is one that the terms list. People count, not
    keys.
    """
    found: list[str] = []
    for due, heard in _counted(words, terms, asked_at, now):
        yes = {word.reviewer for word in heard if word.verdict == "approve" and _fits(due.keys, word)}
        if len(yes) < due.quorum:
            found.append(f"{due.rule}: {len(yes)} of {due.quorum} people approved")
        if no := _rejected(due, heard):
            found.append(f"{due.rule}: rejected by {', '.join(no)}")
    return found


def _counted(
    words: Iterable[Word], terms: Terms, asked_at: datetime, now: datetime
) -> Iterator[tuple[Obligation, list[Word]]]:
    """Yield each obligation with the words of those who may speak to it by now."""
    newest = {word.reviewer: word for word in words if word.reviewer not in terms.excluded}
    heard = [word for word in newest.values() if word.line in terms.reviewers.get(word.reviewer, ())]
    for due in terms.obligations:
        people = set(due.reviewers)
        for step in due.escalations:
            if (now - asked_at).total_seconds() >= step.after:
                people |= set(step.reviewers)
        yield due, [word for word in heard if word.reviewer in people]


def _rejected(due: Obligation, heard: Iterable[Word]) -> list[str]:
    """Return who rejected, where they are enough; else nobody."""
    no = sorted({word.reviewer for word in heard if word.verdict == "reject"})
    return no if len(no) >= due.rejects else []


def _fits(keys: str, word: Word) -> bool:
    touched = word.present is True
    return keys == "any" or (keys == "hardware" and touched) or (touched and word.pinned is True)


def _obligation(item: Mapping[str, Any]) -> Obligation:
    return Obligation(
        rule=item["rule"],
        quorum=item["quorum"],
        sources=tuple(item["from"]),
        reviewers=tuple(item["reviewers"]),
        keys=item["keys"],
        rejects=item["rejects"],
        escalations=tuple(Escalation(step["after"], tuple(step["reviewers"])) for step in item["escalate"]),
    )


def _heard(entry: Entry) -> tuple[Word, Mapping[str, Any]]:
    """Verify the signature of a review over the statement's bytes as recorded."""
    facts = _facts(entry)
    statement = facts["statement"]
    try:
        signer = verify(canon.encode(statement), base64.b64decode(facts["signature"], validate=True), NAMESPACE)
    except SignatureError as error:
        raise NotProved(entry.seq, 9, f"the review's signature does not verify: {error.reason}") from error
    word = Word(
        seq=entry.seq,
        reviewer=facts["reviewer"],
        verdict=facts["verdict"],
        line=signer.key.line,
        present=signer.user_present,
        pinned=signer.user_verified,
    )
    return word, statement


def _facts(entry: Entry) -> Mapping[str, Any]:
    return entry.facts


def _action(entry: Entry) -> str:
    return entry.action or ""
