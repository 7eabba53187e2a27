"""Entry keys that change: while others write, killed at every step, and with keys that the log does not believe."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from keyturn.ledger.errors import LedgerBroken, LedgerUnavailable
from keyturn.ledger.keychain import Keychain, path_of, take_away, whereabouts, write_beside
from keyturn.ledger.keys import ENTRY_KEY, LOG_KEY, SigningKey, load_key, make_key
from keyturn.ledger.place import Place
from keyturn.ledger.transaction import Transaction
from keyturn.log.chain import ChainError, Head, follow, key_proof, verify_signature
from keyturn.log.entry import read_entry
from keyturn.log.envelope import ENTRY_TYPE, pae
from keyturn.model.errors import LedgerError
from tests.ledger.processes import heard, running, told
from tests.ledger.world import body_at, entry_key, forged, found_ledger, opened, raw, tamper, use, used, verified
from tests.vectors.story import b64

ROUNDS = 12
ACT: dict[str, Any] = {
    "statement": {
        "type": "keyturn.act/v1", "log": "tests/0", "after": 2, "verb": "keys.rotate", "object": "key",
        "digest": "sha256:" + "5" * 64, "by": "alice", "at": "2026-01-01T00:00:00.000000Z",
    },
    "signature": "",
}  # fmt: skip


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return found_ledger(tmp_path / "state").place


def change(tx: Transaction[Any], new: SigningKey, log_key: SigningKey, old: str = "") -> None:
    """Append that `new` takes the place of `old`: who may, the fold says, and this one lets everybody."""
    assert tx.head.verifier is not None
    place = key_proof(tx.head.verifier.origin, tx.head.size, tx.head.leaf, new.public.raw)
    old = old or next(kid for kid in tx.head.keys if tx.head.signs(kid))
    tx.append("key.added", {"key": b64(new.public.raw), "proof": b64(new.sign(place))}, key=log_key)
    tx.append("key.revoked", {"revoked": old, "reason": "rotated", "act": ACT}, key=log_key)


def rotate(place: Place, seed: bytes = b"\x07" * 32, then: Callable[[Transaction[Any]], object] = use) -> SigningKey:
    """Change the entry key as `keyturn audit keys rotate` does, without its people."""
    new, log_key = make_key(seed), load_key(place.keys / LOG_KEY)
    with opened(place) as ledger:
        write_beside(place.keys, new)
        ledger.transact(lambda tx: change(tx, new, log_key))
        ledger.transact(then)
    return new


def head_of(place: Place) -> Head:
    head = Head()
    for entry in verified(place):
        head = follow(head, entry)
    return head


def test_after_a_change_the_new_key_signs_and_has_the_place_of_the_old(place: Place) -> None:
    old = entry_key(place).public.kid
    new = rotate(place).public.kid
    assert [entry.kid for entry in verified(place)][-1] == new
    assert entry_key(place).public.kid == new
    assert not path_of(place.keys, new).exists()
    assert (place.keys / ENTRY_KEY).stat().st_mode & 0o777 == 0o600
    assert whereabouts(place.keys) == {new: ENTRY_KEY}
    assert head_of(place).revoked == {old: 4}


def test_a_writer_that_runs_takes_the_new_key_up_and_appends_nothing_with_the_old(place: Place) -> None:
    old = entry_key(place).public.kid
    with opened(place) as running_writer:
        running_writer.transact(use)
        rotate(place)
        running_writer.transact(use)
        assert used(running_writer) == 3
    signers = [entry.kid for entry in verified(place)]
    assert signers[3] == old
    assert old not in signers[5:]


def test_jobs_that_share_a_commit_with_the_change_are_signed_by_the_new_key(place: Place) -> None:
    new, log_key = make_key(b"\x08" * 32), load_key(place.keys / LOG_KEY)
    write_beside(place.keys, new)
    with opened(place) as ledger:
        ended = ledger.transact_all([use, lambda tx: change(tx, new, log_key), use])
    assert [one.error for one in ended] == [None] * 3
    assert verified(place)[-1].kid == new.public.kid
    assert entry_key(place).public.kid == new.public.kid  # in its place although nothing was appended since


def test_a_change_that_is_rolled_back_leaves_the_old_key_in_use(place: Place) -> None:
    old, new, log_key = entry_key(place), make_key(b"\x08" * 32), load_key(place.keys / LOG_KEY)
    write_beside(place.keys, new)

    def job(tx: Transaction[Any]) -> None:
        change(tx, new, log_key)
        raise ZeroDivisionError

    with opened(place) as ledger:
        with pytest.raises(ZeroDivisionError):
            ledger.transact(job)
        assert ledger.transact(use).kid == old.public.kid
        assert entry_key(place).public.kid == old.public.kid
        take_away(place.keys, ledger.look(lambda view: view.head))
    assert whereabouts(place.keys) == {old.public.kid: ENTRY_KEY}


def test_a_key_whose_file_is_not_there_signs_nothing_and_the_message_names_the_file(place: Place) -> None:
    new = rotate(place, then=lambda tx: None)
    (place.keys / ENTRY_KEY).unlink()
    shutil.copy(place.keys / LOG_KEY, place.keys / ENTRY_KEY)
    with opened(place) as ledger, pytest.raises(LedgerUnavailable, match=f"entry-{new.public.kid}.key"):
        ledger.transact(use)


def test_a_key_beside_that_the_log_believes_is_used_and_an_unknown_one_in_place_is_left_alone(place: Place) -> None:
    old, stranger = entry_key(place), make_key(b"\x09" * 32)
    (place.keys / ENTRY_KEY).unlink()
    write_beside(place.keys, stranger).rename(place.keys / ENTRY_KEY)
    write_beside(place.keys, old)
    with opened(place) as ledger:
        assert ledger.transact(use).kid == old.public.kid
        assert ledger.transact(use).kid == old.public.kid
    assert entry_key(place).public.kid == stranger.public.kid
    assert path_of(place.keys, old.public.kid).exists()


@pytest.mark.parametrize(
    ("spoil", "words"), [(lambda path: path.chmod(0o640), "chmod 600"), (Path.unlink, "no key in")]
)
def test_no_key_comes_in_whose_file_could_not_be_used(
    place: Place, spoil: Callable[[Path], None], words: str
) -> None:
    old, new, log_key = entry_key(place), make_key(b"\x08" * 32), load_key(place.keys / LOG_KEY)
    spoil(write_beside(place.keys, new))
    with opened(place) as ledger:
        with pytest.raises(LedgerUnavailable, match=words):
            ledger.transact(lambda tx: change(tx, new, log_key))
        assert ledger.transact(use).kid == old.public.kid


def test_a_key_is_not_written_over_a_file(place: Place) -> None:
    write_beside(place.keys, make_key(b"\x08" * 32))
    with pytest.raises(LedgerUnavailable, match="File exists"):
        write_beside(place.keys, make_key(b"\x08" * 32))


@pytest.mark.parametrize("reason", ["log", "known", "revoked"])
def test_the_log_takes_no_key_that_was_there_before(place: Place, reason: str) -> None:
    log_key, first = load_key(place.keys / LOG_KEY), entry_key(place)
    rotate(place)
    key = {"log": log_key, "known": entry_key(place), "revoked": first}[reason]
    with opened(place) as ledger, pytest.raises(LedgerError, match="was added before"):
        ledger.transact(lambda tx: change(tx, key, log_key))


def test_a_thief_of_the_old_key_can_neither_append_nor_rewrite(place: Place) -> None:
    thief = entry_key(place)
    rotate(place)
    last = verified(place)[-1]
    body = body_at(place, last.seq)
    mine = body.replace(last.kid.encode(), thief.public.kid.encode())
    tamper(place, forged(place, mine, last.seq, thief))
    with opened(place) as ledger, pytest.raises(LedgerBroken):
        ledger.look(lambda view: view.head)
    with pytest.raises(ChainError, match="was revoked at entry 4"):
        verified(place)


def test_a_receipt_from_before_the_change_stays_one_and_one_from_after_is_none(place: Place) -> None:
    thief = entry_key(place)
    with opened(place) as ledger:
        receipt = ledger.transact(use)
    rotate(place)
    head = head_of(place)
    verify_signature(head, read_entry(receipt.body, receipt.signature))
    later = body_at(place, head.size - 1).replace(entry_key(place).public.kid.encode(), thief.public.kid.encode())
    with pytest.raises(ChainError, match="was revoked"):
        verify_signature(head, read_entry(later, thief.sign(pae(ENTRY_TYPE, later))))


def test_a_start_after_a_change_is_helped_by_a_snapshot_of_the_new_key(place: Place) -> None:
    with opened(place) as ledger:
        ledger.transact(lambda tx: [use(tx) for _ in range(600)])
    new = rotate(place)
    with raw(place) as db:
        bodies = [body for (body,) in db.execute("SELECT body FROM snapshot ORDER BY seq")]
    assert [new.public.kid.encode() in body.split(b'"kid":')[1][:36] for body in bodies] == [False, True]
    with opened(place) as ledger:
        assert used(ledger) == 601


def test_a_snapshot_that_a_revoked_key_signed_helps_nobody(place: Place) -> None:
    """The thief signs one of before the change, in which a limit was never used."""
    thief = entry_key(place)
    with opened(place) as ledger:
        ledger.transact(lambda tx: [use(tx) for _ in range(600)])
    rotate(place)
    with raw(place) as db:
        db.execute("DELETE FROM snapshot WHERE seq > 603")
        seq, body = db.execute("SELECT seq, body FROM snapshot").fetchone()
    poor = body.replace(b'"uses":{"claude":600}', b'"uses":{}')
    assert poor != body
    signature = thief.sign(pae("application/vnd.keyturn.snapshot.v1+json", poor))
    tamper(place, ("UPDATE snapshot SET body = ?, sig = ? WHERE seq = ?", (poor, signature, seq)))
    with opened(place) as ledger:
        assert used(ledger) == 601


def rotate_and_die(said: Connection, place: Place, step: int) -> None:
    """Change the key and be killed right before the `step`-th call into C (0: never; says how many there are)."""
    calls = 0

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event == "c_call"
        if calls == step > 0:
            os.kill(os.getpid(), signal.SIGKILL)

    new, log_key = make_key(b"\x0a" * 32), load_key(place.keys / LOG_KEY)
    with opened(place) as ledger:
        ledger.look(lambda view: view.head)
        sys.setprofile(count)
        write_beside(place.keys, new)
        ledger.transact(lambda tx: change(tx, new, log_key))
        sys.setprofile(None)
    said.send(calls)


def test_killed_at_any_step_of_a_change_the_home_goes_on(place: Place, tmp_path: Path) -> None:
    def copy(name: str) -> Place:
        shutil.copytree(place.folder, tmp_path / name)
        return Place(tmp_path / name)

    with running(rotate_and_die, copy("whole"), 0) as (process, said):
        calls: int = told(said)
    old, new, seen = entry_key(place).public.kid, make_key(b"\x0a" * 32).public.kid, set()
    for number in range(ROUNDS):
        killed = copy(f"killed-{number}")
        with running(rotate_and_die, killed, 1 + number * (calls - 1) // ROUNDS) as (process, _):
            process.join(20)
            assert process.exitcode == -signal.SIGKILL
        with opened(killed) as ledger:
            ledger.transact(use)
        kinds = [entry.kind for entry in verified(killed)]
        changed = "key.revoked" in kinds
        assert kinds.count("key.added") == 1 + changed  # both or neither
        assert verified(killed)[-1].kid == entry_key(killed).public.kid == (new if changed else old)
        # The old key is lost only where the log knows the new one; and a next change is taken in any case.
        take_away(killed.keys, head_of(killed))
        assert set(whereabouts(killed.keys)) == {new if changed else old}
        rotate(killed, b"\x0b" * 32)
        seen.add(changed)
    assert seen == {True, False}


def use_until_told(said: Connection, place: Place, principal: str) -> None:
    """Append until told to end; say what was acknowledged."""
    with opened(place) as ledger:
        said.send("ready")
        done = []
        while not said.poll(0):
            done.append(ledger.transact(lambda tx: use(tx, principal)).seq)
        said.send(done)


def test_eight_writers_lose_nothing_while_keys_change_and_sign_with_none_that_was_revoked(place: Place) -> None:
    with ExitStack() as stack:
        writers = [stack.enter_context(running(use_until_told, place, f"writer-{number}")) for number in range(8)]
        for _, said in writers:
            assert told(said) == "ready"
        for number in range(5):
            rotate(place, bytes([0x20 + number]) * 32)
        for _, said in writers:
            said.send("end")
        done = {f"writer-{number}": told(said) for number, (_, said) in enumerate(writers)}
        assert all(heard(said) == [] for _, said in writers)
    entries = verified(place)  # each signature, by a key that was believed then
    for principal, places in done.items():
        assert places == [entry.seq for entry in entries if entry.facts.get("principal") == principal]
        assert places
    assert len([entry for entry in entries if entry.kind == "key.revoked"]) == 5
    assert entries[-1].kid == entry_key(place).public.kid


def test_for_a_log_without_entries_the_key_in_place_signs(place: Place) -> None:
    assert Keychain(place.keys).signing(Head()).public == entry_key(place).public
