"""Goes through a source entry by entry and proves all points; stops at the first entry that fails one.

The source gives bytes; nothing here reads a file, a clock or the network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, ClassVar

from keyturn.fold.signatures import check_act
from keyturn.fold.standing import Token
from keyturn.fold.state import State
from keyturn.fold.undoing import act_of
from keyturn.log.chain import Head, follow, parse
from keyturn.log.entry import Entry
from keyturn.log.keys import LogVerifier
from keyturn.model.sshkey import PublicKey
from keyturn.model.time import parse_timestamp
from keyturn.verifier.anchored import Grown
from keyturn.verifier.decisions import check_claim, check_read, check_request, planned_request
from keyturn.verifier.halts import Halts
from keyturn.verifier.lives import Intent, Lives
from keyturn.verifier.proofs import NotProved, proving
from keyturn.verifier.report import (
    LISTED,
    Activation,
    Begun,
    ClockStep,
    Findings,
    Issued,
    Recovered,
    RefusedReview,
    Report,
    first_bad,
)
from keyturn.verifier.shelf import Shelf
from keyturn.verifier.source import Row, Source, open_payloads
from keyturn.verifier.undone import check_undone

STEP = timedelta(seconds=60)
EVERY = 256  # entries between two calls of `progress`

Progress = Callable[[int, int], None]
Payloads = Mapping[str, bytes]


class Examination:
    """One pass over one source. Memory is bounded by what is open, not by the length of the log."""

    def __init__(
        self,
        source: Source,
        pinned: LogVerifier | None,
        remembered: tuple[int, str] | None,
        progress: Progress | None,
    ) -> None:
        self._source = source
        self._pinned = pinned
        self._remembered = remembered
        self._lost: set[tuple[int, str]] = set()
        self._progress = progress or (lambda done, total: None)
        self._head = Head()
        self._state = State.empty()
        self._shelf = Shelf()
        self._lives = Lives()
        self._halts = Halts()
        self._grown = Grown(source)
        self._found = Findings()
        self._keys: Mapping[str, tuple[str, ...]] = {}
        self._bad: NotProved | None = None

    def run(self) -> Report:
        """Examine everything and report."""
        try:
            for row in self._source.rows():
                self._take(row)
                if row.seq % EVERY == 0:
                    self._progress(row.seq, self._source.size)
            self._end()
        except NotProved as failure:
            # What cannot even be read stands where the next entry should.
            seq = self._head.size if failure.seq is None else failure.seq
            self._fails(NotProved(seq, failure.proof, failure.reason))
        self._progress(self._source.size, self._source.size)
        return self._report()

    def _take(self, row: Row) -> None:
        before = self._head
        entry = self._stands(row)
        payloads = open_payloads(entry, row.payloads)  # 6
        if entry.kind != "catalog.published":
            self._shelf.settle()  # 10: a new policy's contracts follow it directly or not at all
        self._HANDLERS[entry.kind](self, entry, payloads)
        self._found.counts[entry.kind] += 1
        self._note_clock(before, entry)

    def _stands(self, row: Row) -> Entry:
        """Prove 1 to 5, 7, 12 and 13 of a row, and move the head on."""
        with proving(row.seq, 1):
            entry = parse(row.seq, row.body, row.signature)
            head = follow(self._head, entry)
        if row.leaf.hex() != entry.leaf:
            raise NotProved(entry.seq, 7, "the stored leaf hash is not that of the body")
        if self._pinned not in (None, head.verifier):
            raise NotProved(entry.seq, 12, f"the log is {head.verifier}, not the one given from outside")
        if self._remembers(head.size) and self._remembered != (head.size, head.leaf):
            raise NotProved(entry.seq, 13, "another entry stood here when its leaf hash was written down elsewhere")
        self._head = head
        self._grown.add(bytes.fromhex(entry.leaf))
        return entry

    def _end(self) -> None:
        if self._head.size == 0:
            raise NotProved(0, 2, "the log has not been opened: there is no entry")
        self._shelf.settle()
        size = 0 if self._remembered is None else self._remembered[0]
        if self._remembers(size) and self._head.size < size:
            raise NotProved(self._head.size, 13, f"the ledger ends here, and it had {size} entries before")

    def _remembers(self, size: int) -> bool:
        """Tell whether a ledger of this size is remembered, and no recovery signed since names its end as lost."""
        return self._remembered is not None and self._remembered[0] == size and self._remembered not in self._lost

    def _fails(self, failure: NotProved) -> None:
        self._bad = self._bad or failure

    # --- one handler per kind; each proves 9 by the fold, and what else concerns it --------------------------------

    def _follow(self, entry: Entry, payloads: Payloads) -> None:
        with proving(entry.seq, 9):
            self._state.apply(entry)

    def _activate(self, entry: Entry, payloads: Payloads) -> None:
        self._follow(entry, payloads)
        self._shelf.activate(entry, payloads)
        before, self._keys = self._keys, _fingerprints(entry)
        force = self._state.policy
        self._found.activations.add(
            lambda: Activation(
                seq=entry.seq,
                at=entry.at,
                policy=entry.text("policy"),
                by=force.by if force else None,
                added=_beyond(self._keys, before),
                removed=_beyond(before, self._keys),
            )
        )

    def _publish(self, entry: Entry, payloads: Payloads) -> None:
        self._follow(entry, payloads)
        self._shelf.publish(entry, payloads)
        self._shelf.settle()

    def _issue(self, entry: Entry, payloads: Payloads) -> None:
        self._follow(entry, payloads)
        facts: Mapping[str, Any] = entry.facts
        self._found.tokens.add(
            lambda: Issued(
                seq=entry.seq,
                at=entry.at,
                token=facts["token"],
                principal=facts["principal"],
                expires_at=parse_timestamp(facts["expires_at"]),
                by=facts["act"]["statement"]["by"] if facts["act"] else None,
            )
        )

    def _read(self, entry: Entry, payloads: Payloads) -> None:
        token = self._live_token(entry)
        self._shelf.check_contract(entry)
        self._halts.check(entry, entry, reads=True)
        check_read(entry, payloads, self._shelf.policy_for(entry), token, self._state.usage)
        self._follow(entry, payloads)

    def _request(self, entry: Entry, payloads: Payloads) -> None:
        token = self._live_token(entry)
        self._shelf.check_contract(entry)
        self._halts.check(entry, entry)
        check_request(entry, payloads, self._shelf.policy_for(entry), token, self._state.usage)
        self._follow(entry, payloads)
        with proving(entry.seq, 9):
            self._lives.requested(entry)

    def _undo(self, entry: Entry, payloads: Payloads) -> None:
        token = self._live_token(entry) if entry.facts["token"] is not None else None
        self._shelf.check_contract(entry)
        self._halts.check(entry, entry)
        policy = self._shelf.policy_for(entry)
        check_undone(entry, payloads, policy.contracts[entry.text("tool")], self._source)
        check_request(entry, payloads, policy, token, self._state.usage)
        self._follow(entry, payloads)
        with proving(entry.seq, 9):
            self._lives.requested(entry)

    def _deny(self, entry: Entry, payloads: Payloads) -> None:
        self._shelf.policy_for(entry)
        self._token(entry, entry)
        self._follow(entry, payloads)

    def _review(self, entry: Entry, payloads: Payloads) -> None:
        """A review that cannot count is listed and left out; what rests on it then fails as well."""
        try:
            with proving(entry.seq, 9):
                self._lives.reviewed(entry)
            self._follow(entry, payloads)
        except NotProved as failure:
            self._fails(failure)
            reason = failure.reason
            self._found.refused_reviews.add(
                lambda: RefusedReview(
                    seq=entry.seq, action=entry.action or "", reviewer=entry.text("reviewer"), reason=reason
                )
            )

    def _stop(self, entry: Entry, payloads: Payloads) -> None:
        self._lives.stopped(entry)
        self._follow(entry, payloads)

    def _start(self, entry: Entry, payloads: Payloads) -> None:
        asked = self._lives.request_of(entry)
        self._halts.check(entry, asked)
        token = self._asked_with(entry, asked)
        with proving(entry.seq, 11):
            request = planned_request(asked, open_payloads(asked, self._source.payloads(asked.seq)), token)
            words = self._lives.counted(entry)
            self._lives.started(entry)
        usage = self._state.usage.without(asked.action or "")
        policy = self._shelf.policy_for(entry)
        check_claim(entry, request=request, asked=asked, words=words, policy=policy, usage=usage)
        self._follow(entry, payloads)

    def _finish(self, entry: Entry, payloads: Payloads) -> None:
        self._lives.finished(entry)
        self._follow(entry, payloads)

    def _resolve(self, entry: Entry, payloads: Payloads) -> None:
        self._lives.resolved(entry)
        self._follow(entry, payloads)

    def _suspend(self, entry: Entry, payloads: Payloads) -> None:
        self._halts.suspended(entry)
        self._follow(entry, payloads)

    def _lift(self, entry: Entry, payloads: Payloads) -> None:
        self._halts.lifted(entry)
        self._follow(entry, payloads)

    def _recover(self, entry: Entry, payloads: Payloads) -> None:
        self._follow(entry, payloads)
        facts: Mapping[str, Any] = entry.facts
        if facts["reason"] == "restored":
            self._lives.restored(entry)
        if (lost := _end(facts["missing"])) is not None:
            self._lost.add(lost)
        ahead = self._head.basis.ahead if self._head.basis else timedelta()
        self._found.recoveries.add(
            lambda: Recovered(
                seq=entry.seq,
                at=entry.at,
                reason=facts["reason"],
                by=facts["act"]["statement"]["by"],
                missing=_end(facts["missing"]),
                ahead=round(ahead.total_seconds()),
            )
        )

    def _anchor(self, entry: Entry, payloads: Payloads) -> None:
        self._follow(entry, payloads)
        if self._head.verifier is not None:
            self._grown.check(entry, payloads, self._head.verifier)

    # --- parts of the handlers ------------------------------------------------------------------------------------

    def _token(self, entry: Entry, named: Entry) -> Token:
        """Prove 9 of a token: issued in this log, for the principal that `named` says used it."""
        token = self._state.tokens.get(named.text("token"))
        if token is None or token.principal != named.text("principal"):
            raise NotProved(entry.seq, 9, "its token was never issued to its principal")
        return token

    def _asked_with(self, started: Entry, asked: Entry) -> Token | None:
        """Prove 9 of what an action was requested with, as it stands when it begins: token, or a person's act."""
        if asked.facts["token"] is None:
            self._check_asker(started, asked)
            return None
        token = self._token(started, asked)
        if token.revoked_at is not None:
            raise NotProved(started.seq, 9, "it was begun although the token it was requested with had been revoked")
        return token

    def _check_asker(self, started: Entry, asked: Entry) -> None:
        """Prove that whoever asked by an act may still sign; the act itself the fold has proved."""
        act: Any = asked.facts["act"]
        known = self._state.policy.reviewers if self._state.policy else {}
        with proving(started.seq, 9):
            after = act["statement"]["after"]
            check_act(act, act_of(asked), log=asked.log, after=after, reviewers=known, now=asked.at)

    def _live_token(self, entry: Entry) -> Token:
        token = self._token(entry, entry)
        if (refusal := token.refusal(entry.text("transport"), entry.at)) is not None:
            raise NotProved(entry.seq, 9, f"it was let through although {refusal}")
        return token

    def _note_clock(self, before: Head, entry: Entry) -> None:
        if before.size == 0:
            return
        if entry.boot != before.boot:
            self._found.clock_steps.add(lambda: ClockStep(seq=entry.seq, at=entry.at, kind="boot", seconds=None))
            return
        # In whole microseconds: `up` may be any number, more than a time span can hold.
        step = (entry.at - before.at) // timedelta(microseconds=1) - (entry.up - before.up)
        if abs(step) > STEP // timedelta(microseconds=1):
            seconds = round(step / 1_000_000)
            self._found.clock_steps.add(lambda: ClockStep(seq=entry.seq, at=entry.at, kind="step", seconds=seconds))

    def _report(self) -> Report:
        found, lives, head = self._found, self._lives, self._head
        lists = {
            "clock_steps": found.clock_steps.omitted,
            "refused_reviews": found.refused_reviews.omitted,
            "activations": found.activations.omitted,
            "tokens": found.tokens.omitted,
            "recoveries": found.recoveries.omitted,
            "open_intents": max(0, len(lives.running) - LISTED),
            "unknown_outcomes": max(0, len(lives.unknown) - LISTED),
        }
        return Report(
            verdict="PASS-UNANCHORED" if self._bad is None else "FAIL",
            size=self._source.size,
            last_seq=head.size - 1 if head.size else None,
            last_at=head.at if head.size else None,
            first_bad=None if self._bad is None else first_bad(self._bad),
            log=None if head.verifier is None else str(head.verifier),
            pinned=self._pinned is not None and head.verifier == self._pinned,
            opened=self._source.opened,
            unwitnessed=self._source.size,
            counts=dict(found.counts),
            open_intents=_begun(lives.running),
            unknown_outcomes=_begun(lives.unknown),
            clock_steps=found.clock_steps.items,
            refused_reviews=found.refused_reviews.items,
            activations=found.activations.items,
            tokens=found.tokens.items,
            recoveries=found.recoveries.items,
            omitted={name: count for name, count in lists.items() if count},
        )

    _HANDLERS: ClassVar[dict[str, Callable[[Examination, Entry, Payloads], None]]] = {
        "log.opened": _follow,
        "key.added": _follow,
        "policy.activated": _activate,
        "catalog.published": _publish,
        "token.issued": _issue,
        "token.revoked": _follow,
        "read.served": _read,
        "action.requested": _request,
        "action.undoing": _undo,
        "action.denied": _deny,
        "requests.throttled": _follow,
        "action.reviewed": _review,
        "action.cancelled": _stop,
        "action.expired": _stop,
        "action.stale": _stop,
        "execution.started": _start,
        "execution.finished": _finish,
        "execution.resolved": _resolve,
        "suspension.set": _suspend,
        "suspension.lifted": _lift,
        "recovery": _recover,
        "anchor.recorded": _anchor,
    }


def _end(missing: Mapping[str, Any] | None) -> tuple[int, str] | None:
    return None if missing is None else (missing["size"], missing["leaf"])


def _fingerprints(entry: Entry) -> dict[str, tuple[str, ...]]:
    facts: Mapping[str, Any] = entry.facts
    with proving(entry.seq, 10):
        return {
            name: tuple(PublicKey.parse(line).fingerprint for line in lines)
            for name, lines in facts["reviewers"].items()
        }


def _beyond(these: Mapping[str, tuple[str, ...]], those: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Return the keys of `these` that are not in `those`, by person."""
    more = {name: tuple(key for key in keys if key not in those.get(name, ())) for name, keys in these.items()}
    return {name: keys for name, keys in more.items() if keys}


def _begun(intents: Mapping[str, Intent]) -> tuple[Begun, ...]:
    return tuple(
        Begun(action=item.action, seq=item.seq, tool=item.tool, target=item.target, at=item.at)
        for item in list(intents.values())[:LISTED]
    )
