"""What stands, told again from the few entries that make it, is what the whole fold came to."""

from __future__ import annotations

import pytest

from keyturn.fold.state import State
from keyturn.log.entry import Entry
from keyturn.log.fold import STANDING, FoldError
from tests.approvals.world import POLICY
from tests.fold.test_state import golden
from tests.fold.world import OTHER_POLICY, World


def few(entries: list[Entry]) -> list[Entry]:
    return [entry for entry in entries if entry.kind in STANDING]


def test_the_standing_of_the_golden_log_follows_at_every_length_from_few_entries() -> None:
    state, entries = State.empty(), golden()
    for size, entry in enumerate(entries, start=1):
        state.apply(entry)
        assert State.standing_of(few(entries[:size]), size) == state.standing()


def test_a_policy_activated_later_and_tokens_revoked_and_issued_by_people_are_told_again() -> None:
    made = World().found()
    made.throttle()
    made.activate(OTHER_POLICY, POLICY, made.act_activating(OTHER_POLICY))
    made.ask(policy=OTHER_POLICY)
    made.revoke(1)
    made.issue(2, made.act_issuing(2))
    made.throttle()
    assert State.standing_of(few(made.entries), len(made.entries)) == made.state.standing()


def test_whatever_lies_between_ends_the_founding() -> None:
    made = World().found()
    standing = State.standing_of(few(made.entries), len(made.entries))
    assert standing == made.state.standing() == {**standing, "founding": True}
    size = len(made.entries)
    assert State.standing_of(few(made.entries), size + 1) == {**standing, "founding": False}
    made.issue(2)
    without = [entry for entry in few(made.entries) if entry.seq != size - 1]
    with pytest.raises(FoldError, match="only the founding entries"):
        State.standing_of(without, size + 1)
