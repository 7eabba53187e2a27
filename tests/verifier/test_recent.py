"""Payloads kept opened between a request and its intent: bounded, and never another entry's."""

from __future__ import annotations

from keyturn.verifier.recent import MOST_BYTES, Recent


def test_what_was_kept_is_given_once() -> None:
    recent = Recent()
    recent.keep(4, {"plan": b"{}"})
    assert (recent.take(5), recent.take(4), recent.take(4)) == (None, {"plan": b"{}"}, None)


def test_the_oldest_go_when_there_is_too_much_and_the_newest_stays() -> None:
    recent, half = Recent(), {"diff": bytes(MOST_BYTES // 2)}
    for seq in (1, 2, 3):
        recent.keep(seq, half)
    assert (recent.take(1), recent.take(2), recent.take(3)) == (None, None, half)
    huge = {"diff": bytes(2 * MOST_BYTES)}
    recent.keep(4, half)
    recent.keep(5, huge)
    assert (recent.take(4), recent.take(5)) == (None, huge)


def test_what_was_taken_makes_room_again() -> None:
    recent, most = Recent(), {"diff": bytes(MOST_BYTES - 2_000)}
    recent.keep(1, most)
    recent.take(1)
    for seq in range(2, 6):
        recent.keep(seq, {"diff": b"+"})
    assert all(recent.take(seq) for seq in range(2, 6))
