"""Snapshots and the lookup table only save work: nothing written there changes what is decided."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyturn.canon import Json
from keyturn.ledger import snapshot
from keyturn.ledger.errors import LedgerBroken
from keyturn.ledger.place import Place
from keyturn.ledger.rebuild import rebuild_lookup
from keyturn.ledger.transaction import Transaction
from keyturn.ledger.writer import Ledger, Reader, Watcher
from keyturn.log.chain import Head, follow
from keyturn.log.entry import Entry
from tests.ledger.world import (
    Uses,
    body_at,
    denied,
    entry_key,
    found_ledger,
    opened,
    raw,
    surroundings,
    tamper,
    use,
    verified,
)

EVERY = 4


class Counted(Uses):
    """Counts how many entries were folded."""

    folded: ClassVar[int] = 0

    def apply(self, entry: Entry) -> None:
        type(self).folded += 1
        super().apply(entry)


class Newer(Counted):
    """The same fold in another shape."""

    version = 2


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take snapshots often enough for small ledgers."""
    monkeypatch.setattr("keyturn.ledger.snapshot.EVERY", EVERY)


@pytest.fixture
def long(place: Place) -> Place:
    """A ledger of 21 entries with its snapshots."""
    with opened(place) as ledger:
        for number in range(18):
            ledger.transact(partial(use, principal=f"p{number % 3}", plan=b"x"))
    return place


def folded(place: Place, kind: type[Counted] = Counted) -> tuple[Json, int]:
    """Open anew; return the state and how many entries were folded for it."""
    kind.folded = 0
    reader = Reader(place, kind, surroundings())
    state = reader.look(lambda view: view.state.to_json())
    reader.close()
    return state, kind.folded


def whole(place: Place) -> tuple[Json, Head]:
    """Fold everything from genesis, without the ledger."""
    state, head = Uses.empty(), Head()
    for entry in verified(place):
        head = follow(head, entry)
        state.apply(entry)
    return state.to_json(), head


def snapshots(place: Place) -> list[int]:
    with raw(place) as db:
        return [seq for (seq,) in db.execute("SELECT seq FROM snapshot ORDER BY seq")]


def test_the_larger_a_state_the_rarer_its_snapshots(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keyturn.ledger.snapshot.EVERY", 4)
    monkeypatch.setattr("keyturn.ledger.snapshot.MOST", 12)
    with opened(place) as ledger, opened(place) as another:
        for _ in range(5):
            ledger.transact(use)
            another.transact(use)
        small = snapshots(place)
        monkeypatch.setattr("keyturn.ledger.snapshot.BYTES", 40)
        for number in range(40):
            ledger.transact(partial(use, principal=f"p{number}"))
    assert small == [8, 12]  # one every four entries, whichever process is at it
    older, newest = snapshots(place)
    assert 4 < newest - older == 12


def test_opening_from_a_snapshot_folds_only_what_came_after_it(long: Place) -> None:
    assert snapshots(long) == [16, 20]
    assert folded(long) == (whole(long)[0], 1)


def test_a_fold_of_another_version_starts_over(long: Place) -> None:
    assert folded(long, Newer) == (whole(long)[0], 21)


def test_the_first_commit_of_another_version_writes_a_snapshot_it_can_read(long: Place) -> None:
    with closing(Ledger(long, Newer, surroundings())) as ledger:
        ledger.transact(use)
        ledger.transact(use)
    assert snapshots(long) == [20, 22]
    assert folded(long, Newer) == (whole(long)[0], 1)


def insert(place: Place, *rows: Sequence[object]) -> None:
    with raw(place) as db:
        db.executemany("INSERT OR REPLACE INTO snapshot (seq, body, sig) VALUES (?, ?, ?)", rows)


def rows(place: Place) -> list[tuple[int, bytes, bytes]]:
    with raw(place) as db:
        return db.execute("SELECT seq, body, sig FROM snapshot ORDER BY seq DESC").fetchall()


def wrong_state() -> Uses:
    return Uses(21, {"claude": 1_000})


def falsified(place: Place, head: Head, key_of: Place | None = None) -> None:
    """Add a snapshot with a wrong state; signed by the entry key of `key_of`."""
    with raw(place) as db:
        snapshot.write_snapshot(db, head, wrong_state(), entry_key(key_of or place))


def bad_signature(place: Place) -> None:
    seq, body, _ = rows(place)[0]
    insert(place, (seq, body.replace(b'"p0":6', b'"p0":0'), bytes(64)), (seq + 1, body, bytes(64)))


def of_another_log(place: Place) -> None:
    other = found_ledger(place.folder.with_name("other")).place
    falsified(place, whole(other)[1])
    falsified(place, replace(whole(place)[1], verifier=whole(other)[1].verifier))


def signed_by_another_key(place: Place) -> None:
    falsified(place, whole(place)[1], found_ledger(place.folder.with_name("other")).place)


def of_the_future(place: Place) -> None:
    head = whole(place)[1]
    falsified(place, replace(head, size=head.size + 1))


def of_another_history(place: Place) -> None:
    falsified(place, replace(whole(place)[1], leaf="5" * 64))


def garbage(place: Place) -> None:
    insert(place, (10**12, b"{}", bytes(64)), (10**12 + 1, b"no json", bytes(64)), (10**12 + 2, b"[]", bytes(64)))


def no_state(place: Place) -> None:
    class Other(Uses):
        def to_json(self) -> Json:
            return {"another": "shape"}

    with raw(place) as db:
        snapshot.write_snapshot(db, whole(place)[1], Other(), entry_key(place))


def none_left(place: Place) -> None:
    with raw(place) as db:
        db.execute("DELETE FROM snapshot")


@pytest.mark.parametrize(
    "change",
    [
        bad_signature,
        of_another_log,
        signed_by_another_key,
        of_the_future,
        of_another_history,
        garbage,
        no_state,
        none_left,
    ],
)
def test_a_falsified_snapshot_changes_no_state(change: object, long: Place) -> None:
    assert callable(change)
    before = whole(long)[0]
    with opened(long) as ledger:
        assert ledger.look(lambda view: view.state.to_json()) == before
        change(long)
        assert ledger.look(lambda view: view.state.to_json()) == before
    assert folded(long)[0] == before
    with opened(long) as ledger:
        ledger.transact(use)
        for _ in range(EVERY):
            ledger.transact(use)
    # The ledger mends the table by itself: what it writes next is used again.
    assert folded(long)[1] <= EVERY
    assert max(snapshots(long)) <= 26


def test_an_older_snapshot_with_a_right_signature_is_no_harm(long: Place) -> None:
    old = rows(long)[-1]
    tamper(long, "DELETE FROM snapshot")
    insert(long, old)
    assert folded(long) == (whole(long)[0], 5)


def test_a_snapshot_vouches_only_for_entries_that_are_there(long: Place) -> None:
    body = body_at(long, 18).replace(b'"count":1', b'"count":9')
    tamper(long, ("UPDATE entry SET body = ? WHERE seq = 18", (body,)))
    with opened(long) as ledger, pytest.raises(LedgerBroken, match="entry 18 was changed or removed"):
        ledger.transact(use)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("use"), st.integers(1, 3)),
        st.tuples(st.just("fail"), st.integers(1, 3)),
        st.tuples(st.just("reopen"), st.just(0)),
    ),
    max_size=14,
)


def attempt(ledger: Ledger[Uses], step: str, count: int) -> None:
    def job(tx: Transaction[Uses]) -> None:
        for number in range(count):
            use(tx, f"p{number}")
        if step == "fail":
            raise LookupError

    try:
        ledger.transact(job)
    except LookupError:
        assert step == "fail"


@settings(max_examples=25, deadline=None)
@given(steps=STEPS)
def test_whatever_happened_a_state_from_a_snapshot_equals_the_fold_of_all_entries(
    steps: list[tuple[str, int]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = found_ledger(Path(folder) / "state").place
        ledger = Ledger(place, Uses, surroundings())
        for step, count in steps:
            if step == "reopen":
                ledger.close()
                ledger = Ledger(place, Uses, surroundings())
            else:
                attempt(ledger, step, count)
        state = ledger.look(lambda view: view.state.to_json())
        ledger.close()
        again, count = folded(place)
        assert state == again == whole(place)[0]
        assert count <= EVERY + 3 or not snapshots(place)


def dump(place: Place) -> list[str]:
    with raw(place) as db:
        return [line for line in db.iterdump() if '"lookup"' in line or "lookup_" in line]


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM lookup",
        "DELETE FROM lookup WHERE seq % 2",
        "UPDATE lookup SET principal = 'alice', action = '0197a1b2-c3d4-7e5f-8a6b-000000000000'",
        "UPDATE lookup SET kind = 'action.requested', ts = ''",
        "UPDATE lookup SET seq = seq + 1000000",
        "INSERT INTO lookup VALUES (99, 'action.denied', '0197a1b2-c3d4-7e5f-8a6b-000000000000', 'alice', 'x', 'y')",
    ],
)
def test_nothing_done_to_the_lookup_table_changes_a_state_and_rebuilding_restores_it(
    statement: str, long: Place
) -> None:
    with opened(long) as ledger:
        refusal = ledger.transact(lambda tx: denied(tx, "p0"))
        before, state = dump(long), ledger.look(lambda view: view.state.to_json())
        tamper(long, statement)
        # What is shown may be less, never another's and never a failure.
        assert ledger.look(lambda view: view.requests(principal="alice")) == []
        assert ledger.look(lambda view: view.newest_of("alice")) is None
        assert ledger.look(lambda view: view.history("0197a1b2-c3d4-7e5f-8a6b-000000000000")) == []
        assert ledger.look(lambda view: view.requests()) in ([], [refusal])
        assert ledger.look(lambda view: view.state.to_json()) == state
        assert folded(long)[0] == state
        assert rebuild_lookup(long, "tests") == 22
        assert dump(long) == before
        assert ledger.transact(use).seq == 22


def test_a_row_of_the_lookup_table_before_its_entry_stops_no_append(long: Place) -> None:
    with opened(long) as ledger:
        size = ledger.look(lambda view: view.head.size)
        tamper(long, f"INSERT INTO lookup VALUES ({size}, 'action.denied', NULL, 'alice', 'x', 'y')")
        assert ledger.transact(use).seq == size
        assert ledger.look(lambda view: view.newest_of("alice")) is None


def test_rebuilding_over_a_tampered_ledger_leaves_the_table_as_it_was(long: Place) -> None:
    before = dump(long)
    tamper(long, ("UPDATE entry SET body = ? WHERE seq = 18", (b"{}",)))
    with pytest.raises(LedgerBroken, match="entry 18"):
        rebuild_lookup(long, "tests")
    assert dump(long) == before


@pytest.fixture
def watcher(place: Place) -> Iterator[Watcher]:
    """A watcher of that ledger."""
    watcher = Watcher(place)
    yield watcher
    watcher.close()


def test_a_watcher_tells_of_every_commit_once_whoever_made_it(place: Place, watcher: Watcher) -> None:
    assert watcher.changed()
    assert not watcher.changed()
    with opened(place) as ledger, opened(place) as other:
        for writer in (ledger, other):
            writer.transact(use)
            assert watcher.changed()
            assert not watcher.changed()
            writer.transact(lambda tx: tx.head)
            assert not watcher.changed()
