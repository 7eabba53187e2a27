"""A ledger that may have been cut is not used until somebody answers for it."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from tests.cli.operator import Operator


def cut(operator: Operator) -> None:
    """Remove the newest entry and all that belongs to it, leaving the schema as it was."""
    with closing(sqlite3.connect(operator.home / "state" / "ledger.db", isolation_level=None)) as db:
        belts = db.execute("SELECT name, sql FROM sqlite_master WHERE name LIKE '%remains'").fetchall()
        for name, _ in belts:
            db.execute(f"DROP TRIGGER {name}")
        for table in ("payload", "lookup", "entry"):
            db.execute(f"DELETE FROM {table} WHERE seq = (SELECT max(seq) FROM entry)")
        for _, sql in belts:
            db.execute(sql)


def test_a_cut_tail_is_named_by_verify_as_long_as_the_home_remembers_its_end(operator: Operator) -> None:
    assert operator.tell("audit", "verify").code == 0
    cut(operator)
    said = operator.tell("audit", "verify", "--json")
    assert (said.code, said.json["verdict"], said.json["first_bad"]["proof"]) == (7, "FAIL", 13)
    file = operator.home / "state" / "ledger.db"
    assert operator.tell("audit", "verify", "--ledger", file).code == 0


def test_a_lost_head_record_is_refused_until_it_is_made_again(operator: Operator) -> None:
    head = operator.home / "state" / "head"
    before = head.read_bytes()
    cut(operator)
    head.unlink()
    for verb in (["status"], ["action", "list"]):
        said = operator.tell(*verb)
        assert (said.code, "audit rebuild --head" in said.err) == (1, True), said.err
    said = operator.tell("audit", "verify")
    assert (said.code, "state/head is missing or damaged" in said.err) == (0, True), said.err
    entries = operator.tell("audit", "verify", "--json").json["size"]
    assert operator.tell("audit", "rebuild", "--head").out == f"the ledger is taken to end after {entries} entries\n"
    assert head.read_bytes() != before
    assert operator.tell("status").code == 0
    assert operator.tell("audit", "rebuild", "--head", "--json").json == {"entries": entries}
