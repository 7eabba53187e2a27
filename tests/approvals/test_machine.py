"""Lives at random, held against a second, simpler telling of what an action may do.

The second telling keeps plain votes and one word for the fate. It is written from the diagram and shares no rule
with the code: whatever one of them allows or says, the other must too.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from keyturn.approvals import life
from keyturn.approvals.action import TERMINAL, Action, ended_at, status, tallies
from keyturn.approvals.judgement import Counts, judge_review, unmet
from keyturn.approvals.life import LifeError
from keyturn.approvals.statement import ReviewStatement
from keyturn.log.entry import Entry
from keyturn.model.decision import Escalation, Obligation
from tests.approvals.world import ORIGIN, REASON, START, Book, held, key_of, review, seconds

PEOPLE: Final = ("alice", "bob", "carol", "olga")
KEYS: Final = {"plain": (None, None), "asleep": (False, False), "touched": (True, False), "pinned": (True, True)}
FITS: Final = {"any": set(KEYS), "hardware": {"touched", "pinned"}, "hardware+pin": {"pinned"}}
LIFETIME: Final = 100  # seconds

groups = st.lists(st.sampled_from(PEOPLE), max_size=3, unique=True).map(tuple)
obligations = st.builds(
    Obligation,
    rule=st.sampled_from(["a", "b"]),
    quorum=st.integers(1, 3),
    sources=st.just(("group:sre",)),
    reviewers=groups,
    keys=st.sampled_from(sorted(FITS)),
    rejects=st.integers(1, 2),
    escalations=st.lists(st.builds(Escalation, st.integers(0, 120), groups), max_size=2).map(tuple),
)


@dataclass
class Telling:
    """The independent model: who said what last with which key, and what became of the action."""

    obligations: tuple[Obligation, ...]
    owner: str | None
    votes: dict[str, tuple[str, str, int]] = field(default_factory=dict)
    fate: str | None = None

    def may(self, due: Obligation, second: int) -> set[str]:
        people = set(due.reviewers)
        for step in due.escalations:
            if step.after <= second:
                people.update(step.reviewers)
        people.discard(self.owner or "")
        return people

    def yes(self, due: Obligation, second: int) -> set[str]:
        return {
            person
            for person in self.may(due, second)
            if person in self.votes and self.votes[person][0] == "approve" and self.votes[person][1] in FITS[due.keys]
        }

    def no(self, due: Obligation, second: int) -> set[str]:
        return {p for p in self.may(due, second) if p in self.votes and self.votes[p][0] == "reject"}

    def state(self, second: int) -> str:
        if self.fate is not None:
            return self.fate
        seen = min(second, LIFETIME)
        if any(len(self.no(due, seen)) >= due.rejects for due in self.obligations):
            return "rejected"
        if second >= LIFETIME:
            return "expired"
        met = all(len(self.yes(due, seen)) >= due.quorum for due in self.obligations)
        return "approved" if met else "pending"

    def counts(self, person: str, verdict: str, key: str, signed: int, second: int) -> bool:
        if self.state(second) not in {"pending", "approved"} or person == self.owner:
            return False
        theirs = [due for due in self.obligations if person in self.may(due, second)]
        if not theirs or (person in self.votes and signed <= self.votes[person][2]):
            return False
        return verdict == "reject" or any(key in FITS[due.keys] for due in theirs)


class Life(RuleBasedStateMachine):
    """Time goes on, people speak, executors try; after each step both tellings agree."""

    action: Action
    telling: Telling
    book: Book

    @initialize(due=st.lists(obligations, min_size=1, max_size=2), owner=st.sampled_from([None, "olga", "alice"]))
    def ask(self, due: list[Obligation], owner: str | None) -> None:
        excluded = [] if owner is None else [owner]
        self.action = held(*due, owner=owner, excluded=excluded, ttl=timedelta(seconds=LIFETIME))
        self.telling = Telling(tuple(due), owner)
        self.book = Book()
        self.book.request(9)  # the place of the action's own request
        self.second = 0
        self.over: tuple[str, datetime] | None = None
        self.note_an_end()

    @rule(count=st.sampled_from([0, 1, 10, 40, 101]))
    def wait(self, count: int) -> None:
        for _ in range(count):
            self.second += 1
            self.note_an_end()
        self.book.now = START + seconds(self.second)

    def note_an_end(self) -> None:
        """Keep the first second at which the second telling says that it is over."""
        state = self.telling.state(self.second)
        if self.over is None and state in TERMINAL:
            self.over = state, START + seconds(self.second)

    @rule(
        person=st.sampled_from(PEOPLE),
        verdict=st.sampled_from(["approve", "approve", "reject"]),
        key=st.sampled_from(sorted(KEYS)),
        earlier=st.integers(0, 5),
    )
    def review(self, person: str, verdict: str, key: str, earlier: int) -> None:
        now, signed = self.book.now, self.second - earlier
        said = ReviewStatement(
            log=ORIGIN,
            action=self.action.id,
            digest=self.action.digest,
            verdict=verdict,
            reviewer=person,
            reason=REASON,
            at=START + seconds(signed),
        )
        present, pinned = KEYS[key]
        self.book.cancel(9)  # takes the review's place in the book
        given = review(person, verdict, at=said.at, seq=len(self.book.entries) - 1, present=present, pinned=pinned)
        given = replace(given, recorded_at=now)
        counted = judge_review(self.action, said, given, key_of(person), now) == Counts()
        assert counted == self.telling.counts(person, verdict, key, signed, self.second)
        if counted:
            self.action = life.reviewed(self.action, given)
            self.telling.votes[person] = (verdict, key, signed)
            self.note_an_end()

    @rule()
    def start(self) -> None:
        entry = self.book.start(*(given.seq for given in self.action.reviews))
        self._try("started", entry, {"approved"}, "running")

    @rule(outcome=st.sampled_from(["succeeded", "failed", "stale", "unknown", "unknown"]))
    def finish(self, outcome: str) -> None:
        self._try("finished", self.book.finish(outcome), {"running"}, outcome)

    @rule(outcome=st.sampled_from(["succeeded", "failed"]))
    def resolve(self, outcome: str) -> None:
        self._try("resolved", self.book.resolve(outcome), {"unknown"}, outcome)

    @rule(stale=st.booleans())
    def stop(self, stale: bool) -> None:
        entry = self.book.stale() if stale else self.book.cancel()
        self._try("stopped", entry, {"pending", "approved"}, "stale" if stale else "cancelled")

    @rule()
    def expire(self) -> None:
        unwritten = {"expired"} if self.telling.fate is None else set[str]()
        self._try("expired", self.book.expire(), unwritten, "expired")

    def _try(self, verb: str, entry: Entry, allowed: set[str], leads_to: str) -> None:
        before = self.telling.state(self.second)
        try:
            after = getattr(life, verb)(self.action, entry)
        except LifeError:
            assert before not in allowed
            return
        assert before in allowed
        self.action, self.telling.fate = after, leads_to
        self.note_an_end()

    @invariant()
    def both_tellings_agree(self) -> None:
        assert status(self.action, self.book.now) == self.telling.state(self.second)

    @invariant()
    def nothing_is_approved_without_its_quorum_of_distinct_eligible_people(self) -> None:
        if status(self.action, self.book.now) != "approved":
            return
        for due in self.telling.obligations:
            assert len(self.telling.yes(due, self.second)) >= due.quorum
        assert unmet(self.action, self.book.now) == ()

    @invariant()
    def tallies_name_the_same_people(self) -> None:
        for due, count in zip(self.telling.obligations, tallies(self.action, self.book.now), strict=True):
            assert set(count.eligible) == self.telling.may(due, self.second)
            assert set(count.approved) == self.telling.yes(due, self.second)
            assert set(count.rejected) == self.telling.no(due, self.second)
            assert len(set(count.approved)) == len(count.approved)

    @invariant()
    def what_is_over_stays_over_since_the_same_moment(self) -> None:
        state, end = status(self.action, self.book.now), ended_at(self.action, self.book.now)
        assert (None if end is None else (state, end)) == self.over


Life.TestCase.settings = settings(max_examples=120, stateful_step_count=25, deadline=None)
TestLife = Life.TestCase
