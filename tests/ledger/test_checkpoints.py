"""Checkpoints: signed for what is there, never against the one before, and with no other key."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from keyturn.ledger.checkpoints import LogSigner, newest_checkpoint, sign_checkpoint
from keyturn.ledger.errors import LedgerBroken, LedgerUnavailable
from keyturn.ledger.keys import ENTRY_KEY, LOG_KEY, load_key
from keyturn.ledger.place import Place
from keyturn.ledger.transaction import Transaction
from keyturn.ledger.writer import Ledger
from keyturn.log.checkpoint import parse_checkpoint
from keyturn.log.keys import parse_verifier
from keyturn.log.note import NoteKey, parse_note, verify_note
from tests.ledger.world import Uses, opened, raw, use


@pytest.fixture
def signer(place: Place) -> LogSigner:
    verifier = parse_verifier((place.keys / "log.vkey").read_text().strip())
    return LogSigner(verifier, load_key(place.keys / LOG_KEY).sign)


@pytest.fixture
def ledger(place: Place) -> Iterator[Ledger[Uses]]:
    with opened(place) as ledger:
        yield ledger


def add(ledger: Ledger[Uses], count: int) -> None:
    def job(tx: Transaction[Uses]) -> None:
        for _ in range(count):
            use(tx)

    ledger.transact(job)


def test_a_checkpoint_names_size_and_root_and_is_the_log_keys(ledger: Ledger[Uses], signer: LogSigner) -> None:
    add(ledger, 300)
    kept = sign_checkpoint(ledger, signer)
    assert kept is not None
    note = parse_note(kept.note)
    verify_note(note, [NoteKey(signer.verifier.origin, signer.verifier.key)])
    checkpoint = parse_checkpoint(note.text)
    assert (checkpoint.size, checkpoint.extensions) == (303, ())
    assert checkpoint.root == ledger.look(lambda view: view.tree.root(303))


def test_without_news_nothing_is_signed(ledger: Ledger[Uses], signer: LogSigner) -> None:
    assert sign_checkpoint(ledger, signer) is not None
    assert sign_checkpoint(ledger, signer) is None
    add(ledger, 1)
    again = sign_checkpoint(ledger, signer)
    assert again == ledger.look(lambda view: newest_checkpoint(view, signer.verifier))


def test_two_that_sign_at_once_keep_the_same(ledger: Ledger[Uses], signer: LogSigner, place: Place) -> None:
    second: list[object] = []

    def meanwhile(message: bytes) -> bytes:
        with opened(place) as other:
            second.append(sign_checkpoint(other, signer))
        return signer.sign(message)

    assert [sign_checkpoint(ledger, LogSigner(signer.verifier, meanwhile))] == second
    with raw(place) as db:
        assert db.execute("SELECT count(*) FROM checkpoint").fetchone() == (1,)


def test_a_ledger_that_is_not_the_one_of_its_checkpoint_gets_no_further_one(
    ledger: Ledger[Uses], signer: LogSigner, place: Place
) -> None:
    add(ledger, 300)
    sign_checkpoint(ledger, signer)
    add(ledger, 300)
    with raw(place) as db:
        db.execute("UPDATE subtree SET hash = zeroblob(32) WHERE level = 8 AND idx = 0")
    with pytest.raises(LedgerBroken, match="not the one of its checkpoint of 303 entries"):
        sign_checkpoint(ledger, signer)


def test_a_key_that_is_not_the_logs_signs_nothing_that_is_kept(
    ledger: Ledger[Uses], signer: LogSigner, place: Place
) -> None:
    other = load_key(place.keys / ENTRY_KEY)
    for sign in (other.sign, lambda _: b"", lambda _: bytes(64)):
        with pytest.raises(LedgerUnavailable, match="what signs is not the key of this log"):
            sign_checkpoint(ledger, LogSigner(signer.verifier, sign))
    with raw(place) as db:
        assert db.execute("SELECT count(*) FROM checkpoint").fetchone() == (0,)


@pytest.mark.parametrize("note", [b"", b"tests\n3\nAAAA\n\n", "tests\n1\n\n— a AAAAAAAA\n".encode()])
def test_what_somebody_put_in_place_of_a_checkpoint_is_not_believed(
    ledger: Ledger[Uses], signer: LogSigner, place: Place, note: bytes
) -> None:
    with raw(place) as db:
        db.execute("INSERT INTO checkpoint (size, note) VALUES (1, ?)", (note,))
    with pytest.raises(LedgerBroken, match="not the log key's"):
        sign_checkpoint(ledger, signer)
