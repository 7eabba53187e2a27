"""Entries told in sentences: the golden log, every kind of entry there is, put into a ledger file and told."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from keyturn.assembly.outside import moment
from keyturn.fold.state import State
from keyturn.gateway.desk import Look
from keyturn.gateway.journal import Wanted, choose, full, sentence
from keyturn.ledger.clock import read_clock
from keyturn.ledger.schema import create
from keyturn.ledger.transaction import View, lookup_row
from keyturn.log.chain import parse
from keyturn.log.kinds import KINDS
from tests.vectors import reading
from tests.vectors.end_cases import golden_rows


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Look]:
    """A look at a ledger file that holds the golden log."""
    path = tmp_path_factory.mktemp("golden") / "ledger.db"
    rows = reading.chain()
    create(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for seq, row in enumerate(rows):
            connection.execute(
                "INSERT INTO entry VALUES (?, ?, ?, ?)", (seq, row.body, row.signature, bytes.fromhex(row.leaf))
            )
            for field, (salt, data) in row.payloads.items():
                connection.execute("INSERT INTO payload VALUES (?, ?, ?, ?)", (seq, field, salt, data))
            entry = lookup_row(parse(seq, row.body, row.signature))
            connection.execute("INSERT INTO lookup VALUES (?, ?, ?, ?, ?, ?)", entry)
        head = reading.head_after(rows)
        yield View(connection, State.empty(), head, read_clock(moment(), head))


def told(view: Look, kind: str) -> list[str]:
    return [sentence(view, entry) for entry in choose(view, Wanted(limit=100, kind=kind))]


def test_every_kind_is_told_and_none_by_its_bare_name(view: Look) -> None:
    lasts = [parse(row.fields["seq"], row.body, row.signature) for row in golden_rows()]
    last = {entry.kind: sentence(view, entry) for entry in lasts}  # of logs that are pruned, that end, or go on
    for kind in KINDS:
        words = [last[kind]] if kind in last else told(view, kind)
        assert words, f"the golden logs hold no {kind}"
        assert kind not in words


def test_the_newest_come_last_and_the_rest_is_left_out(view: Look) -> None:
    size = view.head.size
    assert [entry.seq for entry in choose(view, Wanted(limit=3))] == [size - 3, size - 2, size - 1]
    assert len(choose(view, Wanted(limit=10_000))) == size


def test_what_came_of_actions_is_told_with_its_reason(view: Look) -> None:
    assert told(view, "execution.finished") == [
        "it may or may not have happened: no answer within 60 s",
        "it was not executed (shadow)",
    ]
    assert told(view, "action.expired") == ["it has expired, which is a no"] * len(told(view, "action.expired"))
    assert all(text.startswith("it is stale: ") for text in told(view, "action.stale"))
    assert all(text.startswith("settled by ") for text in told(view, "execution.resolved"))
    assert all(" more refusals of " in text for text in told(view, "requests.throttled"))


def test_an_entry_in_full_opens_every_payload_it_commits_to(view: Look) -> None:
    for entry in view.entries(0):
        shown = full(view, entry)
        assert shown["digest"] == entry.digest
        assert set(shown["payloads"] or ()) == set(entry.data)  # type: ignore[arg-type]  # an object, as full() says


def test_an_action_and_its_principal_gather_all_its_entries(view: Look) -> None:
    request = choose(view, Wanted(limit=1, kind="action.requested"))[0]
    story = choose(view, Wanted(limit=100, action=request.action))
    assert [entry.action for entry in story] == [request.action] * len(story)
    theirs = choose(view, Wanted(limit=1000, principal=request.text("principal")))
    assert {entry.seq for entry in story} <= {entry.seq for entry in theirs}


def test_of_whom_and_what_is_not_there_nothing_is_told(view: Look) -> None:
    assert choose(view, Wanted(limit=10, principal="nobody")) == []
    assert choose(view, Wanted(limit=10, action="019aa5b2-7d80-7000-8000-ffffffffffff")) == []
