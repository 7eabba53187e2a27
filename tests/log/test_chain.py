"""The chain: keys come from the log key, and only entries that follow are followed."""

from __future__ import annotations

import pytest

from keyturn.log.chain import ChainError, Head, follow, parse, verify_signature
from tests.vectors.reading import chain, head_after
from tests.vectors.story import LOG_KEY, OTHER_KEY, Log, found, key_facts, make_log

ROWS = chain()


def test_nothing_belongs_to_a_log_that_was_not_opened() -> None:
    entry = parse(2, ROWS[2].body, ROWS[2].signature)
    with pytest.raises(ChainError, match="the log has not been opened") as caught:
        verify_signature(Head(), entry)
    assert caught.value.proof == 2


def test_an_entry_followed_by_hash_alone_is_proved_later() -> None:
    head = head_after(ROWS)
    verify_signature(head, parse(9, ROWS[9].body, ROWS[9].signature))
    with pytest.raises(ChainError, match="the signature is not key") as caught:
        verify_signature(head, parse(9, ROWS[9].body, ROWS[8].signature))
    assert (caught.value.seq, caught.value.proof) == (9, 5)


def test_a_second_entry_key_signs_beside_the_first() -> None:
    log = make_log()
    first = len(log.rows)
    log.add("key.added", key_facts(OTHER_KEY, first, log.prev), key=LOG_KEY)
    log.add("action.expired", {}, action="019aa5b2-7d80-7000-8000-000000000007", key=OTHER_KEY)
    log.add("action.expired", {}, action="019aa5b2-7d80-7000-8000-000000000008")
    head = head_of(log)
    assert head.size == first + 3
    assert OTHER_KEY.public.kid in head.keys


def test_following_leaves_the_head_before_it_as_it_was() -> None:
    before = head_after(ROWS[:1])
    after = follow(before, parse(1, ROWS[1].body, ROWS[1].signature))
    assert (before.size, dict(before.keys)) == (1, {})
    assert (after.size, len(after.keys)) == (2, 1)


def test_the_head_knows_the_clocks_of_the_last_entry() -> None:
    head = head_after(ROWS)
    last = parse(len(ROWS) - 1, ROWS[-1].body, ROWS[-1].signature)
    assert (head.at, head.boot, head.up) == (last.at, last.boot, last.up)


class StandingStill(Log):
    """A log whose clock stands still."""

    def at(self, seq: int) -> str:
        return super().at(0 * seq)


def test_two_entries_may_have_the_same_time() -> None:
    log = StandingStill()
    found(log)
    assert head_of(log).size == 5


def head_of(log: Log) -> Head:
    head = Head()
    for seq, row in enumerate(log.rows):
        head = follow(head, parse(seq, row.body, row.signature))
    return head
