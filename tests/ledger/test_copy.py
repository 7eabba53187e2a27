"""A copy of a ledger holds what a bare copy of its file would miss."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from keyturn.ledger.copy import copy_ledger
from keyturn.ledger.place import Place
from tests.ledger.world import opened, use, verified


def test_a_copy_holds_the_newest_entries_in_one_private_file(place: Place, tmp_path: Path) -> None:
    to = tmp_path / "copy.db"
    with opened(place) as ledger:
        ledger.transact(use)
        copy_ledger(place, to)
        ledger.transact(use)
        bodies = [(entry.body, entry.signature) for entry in verified(place)]
    with closing(sqlite3.connect(f"{to.as_uri()}?mode=ro&immutable=1", uri=True)) as db:
        assert db.execute("SELECT body, sig FROM entry ORDER BY seq").fetchall() == bodies[:4]
    assert [path.name for path in tmp_path.iterdir() if "copy" in path.name] == ["copy.db"]
    assert to.stat().st_mode & 0o777 == 0o600


def test_a_copy_never_replaces_a_file(place: Place, tmp_path: Path) -> None:
    (tmp_path / "copy.db").write_bytes(b"precious")
    with pytest.raises(FileExistsError):
        copy_ledger(place, tmp_path / "copy.db")
    assert (tmp_path / "copy.db").read_bytes() == b"precious"
