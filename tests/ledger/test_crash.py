"""What was acknowledged is there, whenever a writer dies and whatever the disk refuses."""

from __future__ import annotations

import random
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from keyturn.ledger.errors import LedgerUnavailable
from keyturn.ledger.place import Place
from keyturn.ledger.writer import WAL_LIMIT, Reader
from tests.ledger.processes import append_for_ever, heard, open_and_die, running, told
from tests.ledger.world import Uses, found_ledger, opened, surroundings, use, used, verified

ROOT = Path(__file__).parents[2]
STRACE = shutil.which("strace")


def test_every_acknowledged_entry_survives_writers_killed_at_random_moments(place: Place) -> None:
    chance = random.Random(20)
    acknowledged: dict[int, str] = {}
    for number in range(400):
        if number >= 20 and len(acknowledged) > 100:
            break  # a slow disk acknowledges little in each round
        with ExitStack() as stack:
            writers = [stack.enter_context(running(append_for_ever, place, f"p{number}{n}")) for n in range(2)]
            assert [told(said) for _, said in writers] == ["ready"] * 2
            assert told(writers[0][1])
            time.sleep(chance.random() * 0.05)  # the moment of death is what is random here
            for process, _ in writers:
                process.kill()
            for process, said in writers:
                process.join()
                assert process.exitcode == -signal.SIGKILL
                acknowledged.update(heard(said))
    chain = verified(place)
    assert len(acknowledged) > 100
    assert {seq: chain[seq].leaf for seq in acknowledged} == acknowledged
    with opened(place) as ledger:
        assert ledger.look(lambda view: view.state.entries) == len(chain)
        assert ledger.transact(use).seq == len(chain)


def test_the_wal_of_a_killed_process_is_recovered_by_whoever_opens_next(place: Place) -> None:
    with running(open_and_die, place, 5) as (process, said):
        assert told(said) > 0
        process.join()
        assert process.exitcode == -signal.SIGKILL
    wal = place.database.with_name("ledger.db-wal")
    assert wal.stat().st_size > 0
    reader = Reader(place, Uses, surroundings())
    assert reader.look(lambda view: view.state.uses) == {"dead": 5}
    reader.close()
    with opened(place) as ledger:
        assert used(ledger, "dead") == 5
    assert not wal.exists()
    assert len(verified(place)) == 8


def faulty(place: Place, inject: str, count: int, size: int = 100) -> list[list[str]]:
    """Append under strace with a fault injected; return the words of each attempt's line."""
    if STRACE is None:
        pytest.skip("strace is not installed: no fault can be injected into system calls")
    call = inject.partition(":")[0]
    strace = [
        STRACE,
        "-f",
        "-qq",
        "--seccomp-bpf",
        "-o",
        "/dev/null",
        "-e",
        f"trace={call}",
        "-e",
        f"inject={inject}",
    ]
    program = [sys.executable, "-m", "tests.ledger.processes", str(place.folder), str(count), str(size)]
    done = subprocess.run([*strace, *program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    if "ptrace" in done.stderr:
        pytest.skip(f"strace may not trace here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return [line.split(" ", 4) for line in done.stdout.splitlines()]


def test_all_of_a_new_ledger_is_on_the_disk_before_it_gets_its_name(tmp_path: Path) -> None:
    if STRACE is None:
        pytest.skip("strace is not installed: the order of system calls cannot be seen")
    program = f"from tests.ledger.world import *; found_ledger(Path({str(tmp_path / 'state')!r}))"
    trace = [STRACE, "-f", "-y", "-qq", "--seccomp-bpf", "-o", str(tmp_path / "trace")]
    calls = ["-e", "trace=fsync,fdatasync,rename"]
    done = subprocess.run(
        [*trace, *calls, sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "ptrace" in done.stderr:
        pytest.skip(f"strace may not trace here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    before, _, after = (tmp_path / "trace").read_text(encoding="utf-8").partition("rename(")
    synced = set(re.findall(r"f(?:data)?sync\(\d+<.*?/state\.new-[0-9a-f]{8}(?:/([^>]*))?>", before))
    assert {"", "keys", "keys/log.key", "keys/entry.key", "keys/log.vkey", "head", "ledger.db"} <= synced
    assert f"<{tmp_path}>" in after


@pytest.mark.parametrize(
    ("inject", "words"),
    [
        ("fdatasync:error=EIO:when=2+3", "SQLITE_IOERR_FSYNC"),
        ("fdatasync:error=EIO:when=1+2", "SQLITE_IOERR_FSYNC"),
        ("pwrite64:error=ENOSPC:when=13+31", "SQLITE_FULL"),
        ("pwrite64:error=EIO:when=14+37", "SQLITE_IOERR_WRITE"),
    ],
)
def test_a_disk_that_refuses_now_and_then_loses_nothing_acknowledged_and_acknowledges_nothing_lost(
    inject: str, words: str, place: Place
) -> None:
    lines = faulty(place, inject, 30)
    acknowledged = [int(line[2]) for line in lines if line[0] == "ok"]
    failures = [line for line in lines if line[0] == "failed"]
    assert len(lines) == 30
    assert len(acknowledged) >= 5
    assert failures
    assert all(line[2] == "LedgerUnavailable" for line in failures), failures
    assert any(words in " ".join(line) for line in failures), failures
    # Every acknowledged entry is there, nothing else is, and each attempt decided on exactly what was acknowledged.
    assert acknowledged == list(range(3, 3 + len(acknowledged)))
    assert [entry.seq for entry in verified(place)[3:]] == acknowledged
    before = 0
    for line in lines:
        if line[0] == "ok":
            assert int(line[3]) == before
            before += 1
        elif line[3].isdigit():
            assert int(line[3]) == before
    with opened(place) as ledger:
        assert used(ledger) == len(acknowledged)
        assert ledger.transact(use).seq == 3 + len(acknowledged)


def test_a_wal_that_cannot_be_truncated_takes_no_acknowledgement_back(place: Place) -> None:
    lines = faulty(place, "ftruncate:error=EIO:when=2+", 60, 60_000)
    assert place.database.with_name("ledger.db-wal").stat().st_size > WAL_LIMIT
    assert [line[0] for line in lines] == ["ok"] * 60
    with opened(place) as ledger:
        assert used(ledger) == 60
    assert len(verified(place)) == 63


def test_a_disk_that_cannot_be_read_stops_the_process_and_a_new_one_goes_on_when_it_can(place: Place) -> None:
    lines = faulty(place, "pread64:error=EIO:when=6", 5)
    assert [line[:3] for line in lines] == [["failed", str(n), "LedgerBroken"] for n in range(5)]
    with opened(place) as ledger:
        assert ledger.transact(use).seq == 3


FILL = """
import os, resource, subprocess, sys
from pathlib import Path
from keyturn.ledger.errors import LedgerUnavailable
from keyturn.ledger.errors import LedgerUnavailable
from keyturn.ledger.place import Place
from tests.ledger.world import opened, use, used
with opened(Place(Path(sys.argv[1]))) as ledger:
    exec(sys.argv[2])
    seqs = []
    try:
        while True:
            seqs.append(ledger.transact(lambda tx: use(tx, plan=os.urandom(4000))).seq)
    except LedgerUnavailable as error:
        print(error)
    for _ in range(3):
        try:
            ledger.transact(lambda tx: use(tx, plan=os.urandom(40000)))
        except LedgerUnavailable as error:
            print(error)
    assert seqs == list(range(3, 3 + used(ledger)))
    exec(sys.argv[3])
    print("then", ledger.transact(use).seq, used(ledger))
"""


def fill(place: Place, before: str, make_room: str) -> None:
    """Append until nothing fits, make room, append again."""
    program = [sys.executable, "-c", FILL, str(place.folder), before, make_room]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    *errors, last = done.stdout.splitlines()
    assert len(errors) == 4, done.stdout
    assert all("SQLITE_FULL" in error or "SQLITE_IOERR_WRITE" in error for error in errors)
    assert all("full disk" in error or "free some disk space" in error for error in errors)
    _, seq, uses = last.split()
    assert int(seq) == int(uses) + 2
    assert [entry.seq for entry in verified(place)] == list(range(int(seq) + 1))


def test_a_file_that_may_not_grow_refuses_and_goes_on_when_it_may(place: Place) -> None:
    fill(
        place,
        "resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, resource.RLIM_INFINITY))",
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)",
    )


def test_a_full_disk_refuses_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a tiny disk cannot be mounted here: {mounted.stderr.strip()}")
    try:
        place = found_ledger(disk / "state").place
        fill(place, "", f"subprocess.run(['mount', '-o', 'remount,size=8m', {str(disk)!r}], check=True)")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_read_only_disk_is_refused_with_what_mends_it(place: Place, tmp_path: Path) -> None:
    with opened(place) as ledger:
        ledger.transact(use)
    view = tmp_path / "view"
    view.mkdir()
    bound = subprocess.run(
        ["mount", "--bind", "-o", "ro", str(place.folder), str(view)], capture_output=True, text=True, check=False
    )
    if bound.returncode:
        pytest.skip(f"nothing can be mounted here: {bound.stderr.strip()}")
    try:
        with pytest.raises(LedgerUnavailable, match="Read-only file system"), opened(Place(view)):
            pytest.fail("it opened for writing")
    finally:
        subprocess.run(["umount", str(view)], check=True)
