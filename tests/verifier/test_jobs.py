"""Signatures verified by processes of their own: the same answer to the letter as by one."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from keyturn.log.signatures import first_bad_signature
from keyturn.model.errors import LedgerError
from keyturn.verifier import Report
from keyturn.verifier.proofs import NotProved
from keyturn.verifier.source import Row
from keyturn.verifier.steps import CHUNK_BYTES, Step, follow_rows
from tests.verifier.outside import fill
from tests.verifier.test_file import bad
from tests.verifier.world import World, entries, raw, tamper


@pytest.fixture(scope="session")
def long(good: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A ledger of several chunks."""
    world = good.copied(tmp_path_factory.mktemp("long"))
    fill(world, 1400)
    return world


def both(world: World, **options: object) -> Report:
    """Verify with one process and with two; they say the same."""
    one, two = world.verify(**options), world.verify(**options, jobs=2)
    assert one == two
    return two


def test_a_good_ledger_gets_the_same_report_from_two_processes(long: World) -> None:
    assert both(long, pinned=long.verifier).verdict == "PASS-UNANCHORED"


@pytest.mark.parametrize("seqs", [(0,), (1,), (2,), (700,), (1399,), (300, 299), (255, 256), (900, 1300)])
def test_the_first_bad_signature_is_the_same_wherever_it_is(
    long: World, tmp_path: Path, seqs: tuple[int, ...]
) -> None:
    world = long.copied(tmp_path)
    for seq in seqs:
        tamper(world.database, ("UPDATE entry SET sig = ? WHERE seq = ?", (bytes(64), seq)))
    assert bad(both(world)) == (min(seqs), 5)


@pytest.mark.parametrize("other", [299, 300, 301])
def test_what_else_is_wrong_counts_in_the_order_of_the_entries(long: World, tmp_path: Path, other: int) -> None:
    world = long.copied(tmp_path)
    tamper(world.database, ("UPDATE entry SET sig = ? WHERE seq = 300", (bytes(64),)))
    tamper(world.database, ("UPDATE entry SET leaf = ? WHERE seq = ?", (bytes(32), other)))
    assert bad(both(world)) == ((299, 7) if other == 299 else (300, 5))


def test_a_link_that_does_not_hold_is_the_same_with_two_processes(long: World, tmp_path: Path) -> None:
    world = long.copied(tmp_path)
    tamper(world.database, "DELETE FROM entry WHERE seq = 1000")
    assert bad(both(world)) == (1000, 2)


def test_big_payloads_are_not_gathered_beyond_a_bound(long: World) -> None:
    with raw(long.database) as db:
        rows = [
            Row(seq=seq, body=body, signature=sig, leaf=leaf, payloads={})
            for seq, body, sig, leaf in db.execute("SELECT seq, body, sig, leaf FROM entry ORDER BY seq LIMIT 60")
        ]
    ahead: list[int] = []

    def read() -> Iterator[Row]:
        for row in rows:
            ahead.append(row.seq)
            yield replace(row, payloads={"x": _Big()})  # type: ignore[dict-item]  # only its length is asked for

    steps = follow_rows(read(), 2)
    assert next(steps).entry.seq == 0
    assert len(ahead) <= 6  # chunks of one row each: two for each process, and the one that is due
    steps.close()


class _Big:
    data = type("Long", (), {"__len__": lambda self: CHUNK_BYTES})()


def test_a_process_that_dies_leaves_no_verdict(long: World) -> None:
    def rows() -> Iterator[Row]:
        with raw(long.database) as db:
            found = db.execute("SELECT seq, body, sig, leaf FROM entry ORDER BY seq").fetchall()
        for seq, body, sig, leaf in found:
            yield Row(seq=seq, body=body, signature=sig, leaf=leaf, payloads={})
            if seq == 1399:
                for child in children():
                    os.kill(child, signal.SIGKILL)

    with pytest.raises(LedgerError, match="no verdict"):
        consume(follow_rows(rows(), 2))


def children() -> list[int]:
    """The processes that this one started to verify signatures."""
    path = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    pids = [int(pid) for pid in path.read_text().split()]
    return [pid for pid in pids if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def consume(steps: Iterator[Step]) -> list[Step]:
    return list(steps)


def test_a_worker_names_the_first_of_several(long: World) -> None:
    found = entries(long.database)[200:204]
    key = long.entry_key.public.raw
    work = [(key, entry.body, entry.signature) for entry in found]
    assert first_bad_signature(work) is None
    work[3] = work[1] = (key, found[1].body, bytes(64))
    assert first_bad_signature(work) == 1


def test_rows_that_end_in_a_failure_are_followed_up_to_there(long: World) -> None:
    def rows() -> Iterator[Row]:
        for entry in entries(long.database)[:10]:
            leaf = bytes.fromhex(entry.leaf)
            yield Row(seq=entry.seq, body=entry.body, signature=entry.signature, leaf=leaf, payloads={})
        raise NotProved(10, 7, "a column of another type")

    seen: list[int] = []
    steps = follow_rows(rows(), 2)
    with pytest.raises(NotProved, match="another type"):
        seen.extend(step.entry.seq for step in steps)
    assert seen == list(range(10))
