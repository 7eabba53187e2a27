"""A write-ahead log that was cut anywhere: what it still holds whole is there, and nobody writes on what was lost."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from keyturn.ledger.errors import LedgerBroken
from keyturn.ledger.place import Place
from keyturn.ledger.writer import Reader
from tests.ledger.world import Uses, found_ledger, opened, surroundings, use, used, verified

FRAME = 24 + 4096  # bytes: a frame's header and a page
HEADER = 32
SIZES = (0, 300, 9_000, 20, 5_000, 100, 40_000, 0)  # bytes of each commit's payload: from few pages to many


@dataclass(frozen=True)
class Commit:
    """How a ledger lay on the disk when a commit was acknowledged."""

    wal: int
    size: int
    head: bytes


@dataclass(frozen=True)
class Killed:
    """The files of a ledger whose writer is gone without closing, and all it had acknowledged."""

    folder: Path
    commits: tuple[Commit, ...]

    @property
    def wal(self) -> bytes:
        return (self.folder / "ledger.db-wal").read_bytes()

    def cut(self, at: int) -> Commit:
        """Return the last commit that a log of `at` bytes holds whole."""
        return [commit for commit in self.commits if commit.wal <= at][-1]

    def copied(self, to: Path, at: int, head: bytes) -> Place:
        """Lay the files out again with the log cut at `at` and this head record."""
        shutil.rmtree(to, ignore_errors=True)
        shutil.copytree(self.folder, to)
        with (to / "ledger.db-wal").open("r+b") as wal:
            wal.truncate(at)
        (to / "head").write_bytes(head)
        return Place(to)


@pytest.fixture(scope="module", params=["for the first time", "again, over an older one"])
def killed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Killed:
    folder = tmp_path_factory.mktemp("killed")
    place = found_ledger(folder / "state").place
    wal = place.database.with_name("ledger.db-wal")
    with opened(place) as ledger:
        if request.param != "for the first time":
            for _ in range(6):
                ledger.transact(lambda tx: use(tx, plan=bytes(30_000)))
            # From here the log is written from its beginning again; what is behind its end stays as it was.
            ledger._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        commits = [Commit(0, used(ledger) + 3, place.head.read_bytes())]
        for size in SIZES:
            entry = ledger.transact(lambda tx, size=size: use(tx, plan=bytes(size)))  # type: ignore[misc]
            commits.append(Commit(written(wal.read_bytes()), entry.seq + 1, place.head.read_bytes()))
        # Copied while the writer lives: closing would fold the log into the file. The index beside it is made anew.
        shutil.copytree(place.folder, folder / "dead", ignore=shutil.ignore_patterns("*-shm"))
    return Killed(folder / "dead", tuple(commits))


def written(wal: bytes) -> int:
    """Return where a log ends: after its last frame that completes a commit and carries the salts of its header."""
    frames = range(HEADER, len(wal), FRAME)
    whole = [at for at in frames if wal[at + 8 : at + 16] == wal[16:24] and wal[at + 4 : at + 8] != bytes(4)]
    return whole[-1] + FRAME


def boundaries(size: int) -> list[int]:
    """Return every place between two frames, and a byte to either side of it."""
    return [at + off for at in range(HEADER, size + 1, FRAME) for off in (-1, 0, 1) if at + off <= size]


def anywhere(size: int, seed: int = 20) -> list[int]:
    chance = random.Random(seed)
    return [0, 1, *(chance.randrange(size) for _ in range(200))]


def cuts(killed: Killed) -> Iterator[tuple[int, Commit]]:
    size = len(killed.wal)
    assert (size - HEADER) % FRAME == 0
    for at in dict.fromkeys([*boundaries(size), *anywhere(size)]):
        yield at, killed.cut(at)


def test_whatever_was_acknowledged_before_the_cut_is_there_and_the_ledger_goes_on(
    killed: Killed, tmp_path: Path
) -> None:
    """As after a power cut: the head record is as old as the last commit that reached the disk, or older."""
    lengths = set()
    for at, commit in cuts(killed):
        place = killed.copied(tmp_path / "state", at, commit.head)
        with opened(place) as ledger:
            assert used(ledger) == commit.size - 3, at
            assert ledger.transact(use).seq == commit.size, at
        assert len(verified(place)) == commit.size + 1, at
        lengths.add(commit.size)
    assert lengths == {commit.size for commit in killed.commits}  # no commit was left out


def test_a_log_cut_below_what_the_head_record_remembers_is_refused_and_stays_as_it_is(
    killed: Killed, tmp_path: Path
) -> None:
    """Whoever reads or writes is told, with the command that looks into it; and nothing is appended to the rest."""
    end = killed.commits[-1]
    refused = 0
    for at, commit in cuts(killed):
        place = killed.copied(tmp_path / "state", at, end.head)
        if commit == end:
            with opened(place) as ledger:
                assert ledger.transact(use).seq == end.size, at
            continue
        refused += 1
        lost = rf"went backwards: entry {end.size - 1} was durable and is gone; .*keyturn audit verify"
        reader = Reader(place, Uses, surroundings())
        with pytest.raises(LedgerBroken, match=lost):
            reader.look(lambda view: view.head.size)
        reader.close()
        with opened(place) as ledger:
            for _ in range(2):
                with pytest.raises(LedgerBroken, match=lost):
                    ledger.transact(use)
        assert len(verified(place)) == commit.size, at
        assert (place.folder / "head").read_bytes() == end.head
    assert refused > 100


def test_a_page_of_the_log_that_was_damaged_ends_it_there(killed: Killed, tmp_path: Path) -> None:
    """A bit that fell over in a frame: its checksum fails, and so the log ends before the commit it belongs to."""
    chance = random.Random(21)
    for _ in range(60):
        at = chance.randrange(HEADER, len(killed.wal))
        commit = killed.cut(HEADER + (at - HEADER) // FRAME * FRAME)
        place = killed.copied(tmp_path / "state", len(killed.wal), commit.head)
        with (place.folder / "ledger.db-wal").open("r+b") as wal:
            wal.seek(at)
            byte = wal.read(1)[0]
            wal.seek(at)
            wal.write(bytes([byte ^ 1 << chance.randrange(8)]))
        with opened(place) as ledger:
            kept = used(ledger) + 3
            assert kept >= commit.size, at
            assert ledger.transact(use).seq == kept
        assert len(verified(place)) == kept + 1
