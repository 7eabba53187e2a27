"""Goes through a source entry by entry and proves all points; stops at the first entry that fails one.

The source gives bytes; nothing here reads a file, a clock or the network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import timedelta
from typing import Any, ClassVar

from keyturn.fold.pruning import environment_of
from keyturn.fold.state import State
from keyturn.log.chain import Head
from keyturn.log.entry import Entry
from keyturn.verifier.against import Against
from keyturn.verifier.authority import Authority
from keyturn.verifier.before import Before
from keyturn.verifier.beside import Beside
from keyturn.verifier.decisions import check_claim, check_read, check_request, planned_request
from keyturn.verifier.erased import Erasures, missing_for_decision
from keyturn.verifier.findings import Findings, closed
from keyturn.verifier.given import Given
from keyturn.verifier.growth import Grown
from keyturn.verifier.halts import Halts
from keyturn.verifier.hands import strangers
from keyturn.verifier.kept import Checkpoints, check_anchor
from keyturn.verifier.lives import Intent, Lives
from keyturn.verifier.predecessor import Predecessor, check_predecessor
from keyturn.verifier.proofs import NotProved, proving
from keyturn.verifier.recent import Recent
from keyturn.verifier.report import (
    LISTED,
    Anchored,
    Begun,
    Closed,
    Report,
    Tail,
    Verdict,
    first_bad,
)
from keyturn.verifier.shelf import Shelf, check_proposed
from keyturn.verifier.source import Source, open_payloads
from keyturn.verifier.stamps import Stamps
from keyturn.verifier.steps import Step, follow_rows
from keyturn.verifier.tightened import check_tightened
from keyturn.verifier.undone import Undone, check_undone
from keyturn.verifier.vouching import Vouching

EVERY = 256  # entries between two calls of `progress`

Progress = Callable[[int, int], None]
Payloads = Mapping[str, bytes]


class Examination:
    """One pass over one source. Memory is bounded by what is open, not by the length of the log."""

    def __init__(self, source: Source, given: Given, *, progress: Progress | None, jobs: int) -> None:
        self._source = source
        self._given = given
        self._jobs = jobs
        self._lost: set[tuple[int, str]] = set()
        self._progress = progress or (lambda done, total: None)
        self._head = Head()
        self._state = State.empty()
        self._shelf = Shelf()
        self._lives = Lives()
        self._authority = Authority(self._state, self._lives)
        self._undone = Undone(self._lives)
        self._recent = Recent()
        self._halts = Halts()
        self._before = Before()
        self._stamps = Stamps(given.stamping)
        self._beside = Beside()
        self._grown = Grown(source)
        self._vouching = Vouching(given.witnesses, source)
        self._checkpoints = Checkpoints(source, self._grown, self._vouching)
        self._against = Against(given.brought, source=source, grown=self._grown, vouching=self._vouching)
        self._erasures = Erasures(source)
        self._telling = 0
        self._anchors: dict[str, Anchored] = {}
        self._found = Findings()
        self._closed: Closed | None = None
        self._succeeds: Predecessor | None = None
        self._bad: NotProved | None = None

    def run(self) -> Report:
        """Examine everything and report."""
        try:
            with closing(follow_rows(self._source.rows(), self._jobs)) as steps:
                for step in steps:
                    self._take(step)
                    if step.row.seq % EVERY == 0:
                        self._progress(step.row.seq, self._source.size)
            self._end()
        except NotProved as failure:
            # What cannot even be read stands where the next entry should.
            seq = self._head.size if failure.seq is None else failure.seq
            self._fails(NotProved(seq, failure.proof, failure.reason))
        else:
            self._vouching.check_strangers(self._head)
        self._progress(self._source.size, self._source.size)
        return self._report()

    def _take(self, step: Step) -> None:
        entry = self._stands(step)
        where = environment_of(entry, self._state.actions)
        payloads = open_payloads(entry, step.row.payloads, self._erasures.named, where)  # 6
        if entry.kind != "catalog.published":
            self._shelf.settle()  # 10: a new policy's contracts follow it directly or not at all
        if entry.kind not in {"catalog.published", "policy.guarded"}:
            self._shelf.check_guarded()
        self._beside.check(entry)  # 11
        self._HANDLERS[entry.kind](self, entry, payloads)
        self._check_hands(entry)
        self._found.counts[entry.kind] += 1
        self._found.clock(step.before, entry)
        self._compare(entry)

    def _stands(self, step: Step) -> Entry:
        """Prove 7, 12 and 13 of a row that stands in the chain (1 to 5), and move the head and the tree on."""
        entry, head = step.entry, step.head
        if step.row.leaf.hex() != entry.leaf:
            raise NotProved(entry.seq, 7, "the stored leaf hash is not that of the body")
        if self._given.pinned not in (None, head.verifier):
            raise NotProved(entry.seq, 12, f"the log is {head.verifier}, not the one given from outside")
        if self._remembers(head.size) and self._given.remembered != (head.size, head.leaf):
            raise NotProved(entry.seq, 13, "another entry stood here when its leaf hash was written down elsewhere")
        self._head = head
        self._grown.add(bytes.fromhex(entry.leaf))
        if entry.kind != "anchor.recorded":
            self._telling = head.size
        return entry

    def _compare(self, entry: Entry) -> None:
        """Prove 14 and 15 of the size that is reached now."""
        log = self._head.verifier
        if log is None:
            return
        if entry.seq == 0:
            self._against.open(log)
        self._checkpoints.check(self._head, log)
        self._against.check(entry, self._head)

    def _end(self) -> None:
        if self._head.size == 0:
            raise NotProved(0, 2, "the log has not been opened: there is no entry")
        self._shelf.settle()
        self._shelf.check_guarded()
        size = 0 if self._given.remembered is None else self._given.remembered[0]
        if self._remembers(size) and self._head.size < size:
            raise NotProved(self._head.size, 13, f"the ledger ends here, and it had {size} entries before")
        self._grown.end()
        self._against.end(self._head)
        self._checkpoints.end(self._head)

    def _remembers(self, size: int) -> bool:
        """Tell whether a ledger of this size is remembered, and no recovery signed since names its end as lost."""
        known = self._given.remembered
        return known is not None and known[0] == size and known not in self._lost

    def _fails(self, failure: NotProved) -> None:
        self._bad = self._bad or failure

    # --- one handler per kind; each proves 9 by the fold, and what else concerns it --------------------------------

    def _follow(self, entry: Entry, payloads: Payloads) -> None:
        with proving(entry.seq, 9):
            self._state.apply(entry)

    def _activate(self, entry: Entry, payloads: Payloads) -> None:
        proposal = self._state.proposals.get(entry.text("policy"))
        self._follow(entry, payloads)
        self._shelf.activate(entry, payloads)
        force = self._state.policy
        self._found.activated(entry, force.by if force else None, tuple(proposal.endorsed) if proposal else ())

    def _change_key(self, entry: Entry, payloads: Payloads) -> None:
        self._follow(entry, payloads)
        self._found.changed_key(entry)

    def _publish(self, entry: Entry, payloads: Payloads) -> None:
        self._follow(entry, payloads)
        self._shelf.publish(entry, payloads)
        self._shelf.settle()

    def _guard(self, entry: Entry, payloads: Payloads) -> None:
        self._follow(entry, payloads)
        self._shelf.guard(entry)

    def _propose(self, entry: Entry, payloads: Payloads) -> None:
        self._follow(entry, payloads)
        check_proposed(entry, payloads)

    def _issue(self, entry: Entry, payloads: Payloads) -> None:
        self._follow(entry, payloads)
        self._found.issued(entry)

    def _read(self, entry: Entry, payloads: Payloads) -> None:
        token = self._authority.live_token(entry)
        self._shelf.check_contract(entry)
        self._halts.check(entry, entry, reads=True)
        policy = self._shelf.policy_for(entry)
        check_tightened(entry, entry, policy, self._state, reads=True)
        if self._derivable(entry, entry, payloads):
            usage, set_aside = self._state.usage, self._state.circumstances
            check_read(entry, payloads, policy, token, usage, circumstances=set_aside)
        self._follow(entry, payloads)

    def _request(self, entry: Entry, payloads: Payloads) -> None:
        token = self._authority.live_token(entry)
        self._shelf.check_contract(entry)
        self._halts.check(entry, entry)
        policy = self._shelf.policy_for(entry)
        check_tightened(entry, entry, policy, self._state)
        decision = None
        if self._derivable(entry, entry, payloads):
            usage, set_aside = self._state.usage, self._state.circumstances
            decision = check_request(entry, payloads, policy, token, usage, circumstances=set_aside)
        self._beside.expect(entry, policy, decision)
        self._follow(entry, payloads)
        with proving(entry.seq, 9):
            self._lives.requested(entry)
        self._recent.keep(entry.seq, payloads)

    def _undo(self, entry: Entry, payloads: Payloads) -> None:
        token = self._authority.live_token(entry) if entry.facts["token"] is not None else None
        self._shelf.check_contract(entry)
        self._halts.check(entry, entry)
        policy = self._shelf.policy_for(entry)
        check_tightened(entry, entry, policy, self._state)
        contract = policy.contracts[entry.text("tool")]
        lost = check_undone(entry, payloads, contract, self._source, self._erasures.named)
        self._undone.check(entry)
        decision = None
        if self._derivable(entry, entry, payloads, lost):
            usage, set_aside = self._state.usage, self._state.circumstances
            decision = check_request(entry, payloads, policy, token, usage, circumstances=set_aside)
        self._beside.expect(entry, policy, decision)
        self._follow(entry, payloads)
        with proving(entry.seq, 9):
            self._lives.requested(entry)
        self._recent.keep(entry.seq, payloads)
        self._undone.take(entry)

    def _stand_beside(self, entry: Entry, payloads: Payloads) -> None:
        self._lives.followed(entry)
        self._follow(entry, payloads)

    def _release(self, entry: Entry, payloads: Payloads) -> None:
        self._lives.released(entry)
        self._follow(entry, payloads)

    def _deny(self, entry: Entry, payloads: Payloads) -> None:
        self._shelf.policy_for(entry)
        self._authority.token(entry, entry)
        self._follow(entry, payloads)

    def _review(self, entry: Entry, payloads: Payloads) -> None:
        """A review that cannot count is listed and left out; what rests on it then fails as well."""
        try:
            with proving(entry.seq, 9):
                self._lives.reviewed(entry)
            self._follow(entry, payloads)
        except NotProved as failure:
            self._fails(failure)
            self._found.refused(entry, failure.reason)

    def _stop(self, entry: Entry, payloads: Payloads) -> None:
        self._lives.stopped(entry)
        self._follow(entry, payloads)

    def _start(self, entry: Entry, payloads: Payloads) -> None:
        asked = self._lives.request_of(entry)
        self._halts.check(entry, asked)
        token = self._authority.asked_with(entry, asked)
        by_hand = self._authority.released(entry)
        with proving(entry.seq, 11):
            before = self._recent.take(asked.seq) or self._opened(asked)
            words = self._lives.counted(entry)
            self._lives.started(entry)
        policy = self._shelf.policy_for(entry)
        check_tightened(entry, asked, policy, self._state)
        if self._derivable(entry, asked, before):
            with proving(entry.seq, 11):
                request = planned_request(asked, before, token)
            usage = self._state.usage.at_claim(asked.action or "")
            now = check_claim(
                entry,
                request=request,
                asked=asked,
                words=words,
                policy=policy,
                usage=usage,
                reserved=self._reserved(asked),
                circumstances=self._state.circumstances,
                by_hand=by_hand,
            )
            self._before.started(entry, policy, _rules(asked), now)
        else:
            self._before.started(entry, policy, _rules(asked))
        self._follow(entry, payloads)

    def _reserved(self, asked: Entry) -> Mapping[str, int]:
        """Return what the action of a request has of budgets."""
        action = self._state.actions.get(asked.action or "")
        return {} if action is None else action.reserved

    def _finish(self, entry: Entry, payloads: Payloads) -> None:
        self._lives.finished(entry)
        self._before.finished(entry)
        self._undone.ended(entry)
        self._follow(entry, payloads)

    def _resolve(self, entry: Entry, payloads: Payloads) -> None:
        self._lives.resolved(entry)
        self._before.resolved(entry)
        self._undone.ended(entry)
        self._follow(entry, payloads)

    def _suspend(self, entry: Entry, payloads: Payloads) -> None:
        self._halts.suspended(entry)
        self._follow(entry, payloads)

    def _lift(self, entry: Entry, payloads: Payloads) -> None:
        self._halts.lifted(entry)
        self._follow(entry, payloads)

    def _override(self, entry: Entry, payloads: Payloads) -> None:
        self._shelf.check_override(entry)
        self._follow(entry, payloads)

    def _recover(self, entry: Entry, payloads: Payloads) -> None:
        self._follow(entry, payloads)
        facts: Mapping[str, Any] = entry.facts
        if facts["reason"] == "restored":
            self._lives.restored(entry)
            self._before.restored()
        lost = _end(facts["missing"])
        if lost is not None:
            self._lost.add(lost)
        ahead = self._head.basis.ahead if self._head.basis else timedelta()
        self._found.recovered(entry, lost, ahead)

    def _anchor(self, entry: Entry, payloads: Payloads) -> None:
        self._follow(entry, payloads)
        facts: Mapping[str, Any] = entry.facts
        if self._head.verifier is None:
            return
        said = check_anchor(entry, payloads, self._head.verifier, self._grown, self._vouching)
        self._before.recorded(entry, said)
        self._stamps.take(entry, payloads, self._head.verifier)
        if said is not None:
            self._vouching.cosigned(said, self._head)
        if facts["anchor"] in self._anchors or len(self._anchors) < LISTED:
            self._anchors[facts["anchor"]] = Anchored(
                seq=entry.seq, at=entry.at, anchor=facts["anchor"], type=facts["type"], size=facts["size"]
            )

    def _succeed(self, entry: Entry, payloads: Payloads) -> None:
        self._follow(entry, payloads)
        before = check_predecessor(entry, payloads)
        self._against.succeeds(entry, before)
        self._succeeds = before

    def _close(self, entry: Entry, payloads: Payloads) -> None:
        self._lives.closed(entry)
        self._follow(entry, payloads)
        self._closed = closed(entry)

    def _prune(self, entry: Entry, payloads: Payloads) -> None:
        self._follow(entry, payloads)
        self._erasures.prune(entry, (*self._lives.running.values(), *self._lives.unknown.values()))
        self._found.pruning(entry)

    def _erase(self, entry: Entry, payloads: Payloads) -> None:
        self._follow(entry, payloads)
        self._erasures.take(entry, {*self._lives.running, *self._lives.unknown})
        self._found.erasure(entry)

    # --- parts of the handlers ------------------------------------------------------------------------------------

    def _check_hands(self, entry: Entry) -> None:
        """Prove 16: the keys of reviewers and of signatures are listed outside. The rest is examined as well."""
        if self._given.signers is None:
            return
        for item in strangers(entry, self._given.signers):
            self._fails(NotProved(entry.seq, 16, f"the key {item.key} of {item.reviewer}: {item.reason}"))
            self._found.stranger(item)

    def _derivable(self, entry: Entry, asked: Entry, payloads: Payloads, lost: tuple[str, ...] = ()) -> bool:
        """Tell whether what the decision of `entry` follows from is there, and list it if it was erased."""
        own = (f"{field} of entry {asked.seq}" for field in missing_for_decision(asked, payloads))
        missing = (*own, *lost)
        if missing:
            self._found.lacks(entry, missing)
        return not missing

    def _opened(self, asked: Entry) -> Payloads:
        where, stored = asked.text("environment"), self._source.payloads(asked.seq)
        return open_payloads(asked, stored, self._erasures.named, where)

    def _verdict(self) -> Verdict:
        if self._bad is not None:
            return "FAIL"
        # Recorded anchors are no news: each would need another one to be seen.
        return "PASS" if self._vouching.size >= self._telling else "PASS-UNANCHORED"

    def _report(self) -> Report:
        found, lives, head = self._found, self._lives, self._head
        witnessed = self._vouching.size
        return Report(
            verdict=self._verdict(),
            size=self._source.size,
            last_seq=head.size - 1 if head.size else None,
            last_at=head.at if head.size else None,
            first_bad=None if self._bad is None else first_bad(self._bad),
            log=None if head.verifier is None else str(head.verifier),
            pinned=self._given.pinned is not None and head.verifier == self._given.pinned,
            opened=self._source.opened,
            witnessed_size=witnessed,
            unwitnessed=self._source.size - witnessed,
            unwitnessed_tail=Tail(witnessed, self._source.size - 1) if witnessed < self._source.size else None,
            vouched=self._vouching.newest,
            checkpoints=self._checkpoints.count,
            anchors=tuple(self._anchors.values()),
            anchored_before=self._before.found,
            timestamps=self._stamps.count,
            stamps=self._stamps.newest,
            strangers=found.strangers.items,
            counts=dict(found.counts),
            open_intents=_begun(lives.running),
            unknown_outcomes=_begun(lives.unknown),
            clock_steps=found.clock_steps.items,
            refused_reviews=found.refused_reviews.items,
            activations=found.activations.items,
            tokens=found.tokens.items,
            recoveries=found.recoveries.items,
            key_changes=found.key_changes.items,
            erased=found.erased.items,
            pruned=found.pruned.items,
            closed=self._closed,
            succeeds=None if self._succeeds is None else self._against.succeeded(self._succeeds),
            underivable=found.underivable.items,
            omitted=self._omitted(),
        )

    def _omitted(self) -> dict[str, int]:
        """Return what the report's lists leave out, by name: those that leave out something."""
        more = {
            "vouched": self._vouching.count - len(self._vouching.newest),
            "open_intents": len(self._lives.running) - LISTED,
            "unknown_outcomes": len(self._lives.unknown) - LISTED,
        }
        return {name: count for name, count in (self._found.omitted() | more).items() if count > 0}

    _HANDLERS: ClassVar[dict[str, Callable[[Examination, Entry, Payloads], None]]] = {
        "log.opened": _follow,
        "key.added": _follow,
        "key.revoked": _change_key,
        "policy.activated": _activate,
        "policy.guarded": _guard,
        "policy.proposed": _propose,
        "policy.endorsed": _follow,
        "catalog.published": _publish,
        "token.issued": _issue,
        "token.revoked": _follow,
        "read.served": _read,
        "action.requested": _request,
        "action.undoing": _undo,
        "action.reserved": _stand_beside,
        "action.withheld": _stand_beside,
        "action.released": _release,
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
        "freeze.overridden": _override,
        "recovery": _recover,
        "anchor.recorded": _anchor,
        "payload.erased": _erase,
        "payloads.pruned": _prune,
        "log.closed": _close,
        "log.succeeds": _succeed,
    }


def _rules(request: Entry) -> list[str]:
    facts: Mapping[str, Any] = request.facts
    return list(facts["rules"])


def _end(missing: Mapping[str, Any] | None) -> tuple[int, str] | None:
    return None if missing is None else (missing["size"], missing["leaf"])


def _begun(intents: Mapping[str, Intent]) -> tuple[Begun, ...]:
    return tuple(
        Begun(action=item.action, seq=item.seq, tool=item.tool, target=item.target, at=item.at)
        for item in list(intents.values())[:LISTED]
    )
