"""A ledger reaches as far as somebody remembers that it did (proof 13)."""

from __future__ import annotations

import pytest

from tests.verifier.test_file import bad
from tests.verifier.world import World, entries, raw, tamper


def leaf(world: World, seq: int) -> str:
    with raw(world.database) as db:
        return bytes(db.execute("SELECT leaf FROM entry WHERE seq = ?", (seq,)).fetchone()[0]).hex()


def test_every_end_that_the_ledger_once_had_is_borne_out(good: World) -> None:
    size = len(entries(good.database))
    for seq in (0, size // 2, size - 1):
        assert good.verify(head=(seq + 1, leaf(good, seq))).verdict == "PASS-UNANCHORED"


@pytest.mark.parametrize("cut", [1, 2])
def test_an_end_that_was_cut_off_is_noticed_by_who_remembers_it(world: World, cut: int) -> None:
    size = len(entries(world.database))
    end = (size, leaf(world, size - 1))
    gone = (size - cut,)
    tamper(world.database, ("DELETE FROM payload WHERE seq >= ?", gone), ("DELETE FROM entry WHERE seq >= ?", gone))
    assert world.verify().verdict == "PASS-UNANCHORED"
    report = world.verify(head=end)
    assert bad(report) == (size - cut, 13)
    assert report.first_bad is not None
    assert report.first_bad.reason == f"the ledger ends here, and it had {size} entries before"


def test_another_entry_in_a_remembered_place_is_named(good: World) -> None:
    assert bad(good.verify(head=(9, "5" * 64))) == (8, 13)
