"""What a snapshot says stands is held against the entries that make it: the entry key alone adds nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Self

import pytest

from keyturn.canon import Json
from keyturn.ledger import snapshot
from keyturn.ledger.errors import LedgerBroken
from keyturn.ledger.keys import make_key
from keyturn.ledger.place import Place
from keyturn.ledger.rows import read_entry_at
from keyturn.ledger.transaction import Transaction
from keyturn.ledger.writer import Ledger, Reader
from keyturn.log.chain import Basis, Head
from keyturn.log.entry import Entry
from keyturn.log.fold import FoldError
from tests.ledger.world import EPOCH, entry_key, raw, surroundings, tamper, use


@dataclass
class Tokens:
    """Which tokens were issued, and how many entries went by."""

    version = 1
    entries: int = 0
    tokens: list[str] = field(default_factory=list)

    @classmethod
    def empty(cls) -> Self:
        return cls()

    @classmethod
    def from_json(cls, value: Json) -> Self:
        assert isinstance(value, dict)
        fields: dict[str, Any] = value
        return cls(fields["entries"], list(fields["tokens"]))

    def to_json(self) -> Json:
        return {"entries": self.entries, "tokens": list(self.tokens)}

    def apply(self, entry: Entry) -> None:
        self.entries += 1
        if entry.kind == "token.issued":
            if entry.text("token") in self.tokens:
                raise FoldError(f"entry {entry.seq}: issued twice")
            self.tokens.append(entry.text("token"))

    def standing(self) -> Json:
        return list(self.tokens)

    @classmethod
    def standing_of(cls, entries: Iterable[Entry], size: int) -> Json:
        state = cls()
        for entry in entries:
            assert entry.seq < size
            state.apply(entry)
        return state.standing()


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def issue(tx: Transaction[Any], number: int) -> Entry:
    facts: dict[str, Json] = {
        "token": digest(number),
        "principal": "token.revoked",
        "transports": [],
        "scopes": None,
        "expires_at": EPOCH,
        "act": None,
    }
    return tx.append("token.issued", facts)


@pytest.fixture
def issued(place: Place) -> Place:
    """A ledger of 12 entries, two of them tokens, and no snapshot."""
    ledger = Ledger(place, Tokens, surroundings())
    ledger.transact(lambda tx: issue(tx, 1))
    ledger.transact(lambda tx: [use(tx, "token.issued") for _ in range(6)])
    ledger.transact(lambda tx: issue(tx, 2))
    ledger.transact(use)
    ledger.close()
    return place


def taken(place: Place, change: Callable[[Head, Tokens], tuple[Head, Tokens]], kind: type[Reader[Tokens]]) -> Tokens:
    """Sign a snapshot as `change` makes it of the true state; return what a process then starts with."""
    ledger = Ledger(place, Tokens, surroundings())
    head, state = change(*ledger.look(lambda view: (view.head, view.state)))
    ledger.close()
    with raw(place) as db:
        snapshot.write_snapshot(db, head, state, entry_key(place))
    reader = kind(place, Tokens, surroundings())
    state = reader.look(lambda view: view.state)
    reader.close()
    return state


TRUE = Tokens(12, [digest(1), digest(2)])
each_kind = pytest.mark.parametrize("kind", [Ledger, Reader])


@each_kind
def test_a_snapshot_that_tells_what_stands_is_taken_whatever_else_it_says(
    kind: type[Reader[Tokens]], issued: Place
) -> None:
    assert taken(issued, lambda head, state: (head, replace(state, entries=1_000)), kind) == replace(
        TRUE, entries=1_000
    )


@each_kind
@pytest.mark.parametrize(
    "tokens", [[digest(1), digest(2), digest(3)], [digest(1)], [], [digest(2), digest(1)]], ids=len
)
def test_a_snapshot_with_a_token_more_or_less_is_passed_over(
    tokens: list[str], kind: type[Reader[Tokens]], issued: Place
) -> None:
    assert taken(issued, lambda head, _: (head, Tokens(1_000, tokens)), kind) == TRUE


@each_kind
def test_a_snapshot_with_another_key_is_passed_over(kind: type[Reader[Tokens]], issued: Place) -> None:
    stranger = make_key(bytes(32)).public

    def change(head: Head, state: Tokens) -> tuple[Head, Tokens]:
        return replace(head, keys={**head.keys, stranger.kid: stranger}), replace(state, entries=1_000)

    assert taken(issued, change, kind) == TRUE


@each_kind
@pytest.mark.parametrize("clock", [{"up": 5}, {"boot": "c" * 32}])
def test_a_snapshot_with_another_time_than_its_last_entry_is_passed_over(
    clock: dict[str, Any], kind: type[Reader[Tokens]], issued: Place
) -> None:
    assert taken(issued, lambda head, state: (replace(head, **clock), replace(state, entries=1_000)), kind) == TRUE


@pytest.mark.parametrize("basis", [{"seq": 5}, {"seq": 99}, {"up": 5}, {"ahead": timedelta(hours=1)}], ids=str)
def test_a_snapshot_that_holds_clocks_against_something_else_is_passed_over(
    basis: dict[str, Any], issued: Place
) -> None:
    def change(head: Head, state: Tokens) -> tuple[Head, Tokens]:
        assert head.basis is not None
        return replace(head, basis=replace(head.basis, **basis)), replace(state, entries=1_000)

    assert taken(issued, change, Ledger) == TRUE


def test_a_snapshot_may_hold_clocks_against_the_entry_that_begins_the_boot_and_against_no_later_one(
    issued: Place,
) -> None:
    def change(head: Head, state: Tokens) -> tuple[Head, Tokens]:
        with raw(issued) as db:
            later = read_entry_at(db, 6)
        return replace(head, basis=Basis(later.seq, later.at, later.up)), replace(state, entries=1_000)

    assert taken(issued, change, Ledger) == TRUE
    assert taken(issued, lambda head, state: (head, replace(state, entries=1_000)), Ledger).entries == 1_000


@pytest.mark.parametrize("seq", [1, 3, 10])
def test_nothing_stands_on_an_entry_that_nobody_signed(seq: int, issued: Place) -> None:
    tamper(issued, ("UPDATE entry SET sig = zeroblob(64) WHERE seq = ?", (seq,)))
    with raw(issued) as db:
        assert db.execute("SELECT count(*) FROM snapshot").fetchone() == (0,)
    ledger = Ledger(issued, Tokens, surroundings())
    with pytest.raises(Exception, match=f"entry {seq}: the signature is not key"):
        ledger.look(lambda view: view.state)
    ledger.close()


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take every ledger for a long one: what stands is found by the lookup table."""
    monkeypatch.setattr("keyturn.ledger.standing.LOOKED_OVER", 0)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("kind", [Reader, Ledger])
def test_a_long_ledgers_snapshot_is_held_against_the_entries_that_the_lookup_table_names(
    kind: type[Reader[Tokens]], issued: Place
) -> None:
    assert taken(issued, lambda head, _: (head, Tokens(1_000, [digest(3)])), kind) == TRUE
    # The table only says where to look: a row that names another entry gives nobody a token.
    tamper(issued, "UPDATE lookup SET kind = 'token.issued'")
    assert taken(issued, lambda head, state: (head, state), kind) == TRUE


@pytest.mark.usefixtures("short")
def test_what_a_long_ledgers_lookup_table_hides_is_found_by_the_scrub(issued: Place) -> None:
    with closing(Ledger(issued, Tokens, surroundings())) as ledger:
        assert ledger.scrub(0, 100) == 0
        tamper(issued, "DELETE FROM lookup WHERE kind = 'token.issued'")
        with pytest.raises(LedgerBroken, match=r"the lookup table hides entry \d+ \(token\.issued\)"):
            ledger.scrub(0, 100)
