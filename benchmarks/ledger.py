"""The ledger near its limits: appends, proofs and a million entries, each against its raw counterpart in one run.

Run as a program of its own, it verifies one ledger and tells how long that took and how much memory it had.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.appends import Nothing, append, door, raw_commits, threads
from benchmarks.growth import ENTRIES, SMALL, Made, make, open_later
from benchmarks.homes import ROOT, folder
from benchmarks.measure import Effort, Row, Topic, alternate, rate
from keyturn.assembly.outside import entropy, surroundings
from keyturn.assembly.writing import log_verifier
from keyturn.evidence.bundle import write_bundle
from keyturn.fold.state import State
from keyturn.gateway.desk import Look
from keyturn.ledger.founding import found
from keyturn.ledger.writer import Ledger
from keyturn.log.chain import Head, follow
from keyturn.log.entry import read_entry
from keyturn.log.manifest import Manifest
from keyturn.log.tree import verify_consistency, verify_inclusion
from keyturn.verifier import verify_ledger
from keyturn.verifier.file import open_file
from keyturn.verifier.source import Row as Stored
from keyturn.verifier.steps import follow_rows

QUICK = 20_000  # entries, where it is only to be seen that everything runs
PROVED = 30_000  # entries that verification is timed on, in each round


def measure(effort: Effort) -> Topic:
    with folder() as where:
        outside = surroundings("benchmark")
        ledger = Ledger(found(where / "state", "bench", Nothing, outside, lambda tx: None).place, Nothing, outside)
        rows = _appends(ledger, raw_commits(where / "raw.db"), effort)
        ledger.close()
        small = make(where / "small", effort.count(SMALL), small=effort.count(SMALL))
        entries = ENTRIES if effort.divided == 1 else QUICK
        large = make(where / "large", entries, small=effort.count(SMALL))
        rows += _verification(large, effort)
        rows += _size(where, small, large, effort)
    return Topic(
        f"The ledger, up to {large.entries:,} entries",
        "Appends of both sides commit with WAL and `synchronous=FULL`: each waits for fdatasync, on the "
        f"disk of the repository; entries of {large.body:,.0f} bytes on average, with signature, "
        f"payloads, indexes and tree {large.file / large.entries:,.0f}. "
        "Signatures and verifications are Ed25519 of the same library, one key, over as many bytes. "
        "What computes in one process is measured in its own time, what takes two on the clock. "
        f"The ledger of {large.entries:,} entries holds whole permitted actions of three entries, some 5,500 a day, "
        "and a checkpoint to 3,000 entries; its file is in the page cache.",
        rows,
        f"The writer made the {large.entries:,} entries in {large.took:,.0f} s "
        f"({large.took / large.entries * 1e6:,.0f} µs an entry), a hundred actions to a commit; its snapshot has "
        f"{large.snapshot / 1024:,.0f} kB.",
    )


# ---------------------------------------------------------------------------------------------------------- appends


def _appends(ledger: Ledger[Nothing], commit: Callable[[], object], effort: Effort) -> list[Row]:
    few, many = effort.count(1_000), effort.count(5_000)
    key = Ed25519PrivateKey.from_private_bytes(entropy(32))
    rate(few, lambda: ledger.transact(append))  # both WALs reach the length they keep
    rate(few, commit)
    single, through, raw = alternate(
        effort.rounds,
        lambda: rate(few, lambda: ledger.transact(append)),
        lambda: door(ledger, few, 1),
        lambda: rate(few, commit),
    )
    crowd, tasks, signing = alternate(
        effort.rounds,
        lambda: threads(ledger, many),
        lambda: door(ledger, many, 256),
        lambda: rate(many, lambda: key.sign(bytes(600))),
    )
    disk = partial(Row, against="one-row commit of SQLite, 600 bytes", theirs=_per_second(raw))
    keys = partial(Row, against="Ed25519 signatures, 600 bytes", theirs=_per_second(signing))
    return [
        disk(
            what="one append: decide, sign, entry, payload, lookup row, commit",
            ours=_per_second(single), ratio=single / raw, aim="≥ 0.28",
        ),
        disk(what="the same through the async door", ours=_per_second(through), ratio=through / raw, aim="≥ 0.20"),
        keys(what="appends of 256 threads", ours=_per_second(crowd), ratio=crowd / signing, aim="≥ 0.28"),
        keys(
            what="appends of 256 tasks through the async door",
            ours=_per_second(tasks), ratio=tasks / signing,
        ),
    ]  # fmt: skip


# ----------------------------------------------------------------------------------------------------- verification


def _verification(made: Made, effort: Effort) -> list[Row]:
    """Time what verifying takes on the same entries, without reading them and without the policy."""
    with open_file(made.database) as file:
        stored = list(islice(file.rows(), min(PROVED, made.entries)))
    key = Ed25519PrivateKey.from_private_bytes(entropy(32))
    public, body = key.public_key(), bytes(made.body)
    signature = key.sign(body)

    def verify() -> object:
        return public.verify(signature, body)

    count = len(stored)
    one, hashed, raw = alternate(
        effort.rounds,
        lambda: _followed(stored, 1, time.process_time),
        lambda: _linked(stored),
        lambda: rate(count // 4, verify, time.process_time),
    )
    alone, both, clock = alternate(
        effort.rounds,
        lambda: _followed(stored, 1, time.perf_counter),
        lambda: _followed(stored, 2, time.perf_counter),
        lambda: rate(count // 4, verify),
    )
    against = f"Ed25519 verifications, {made.body:,} bytes"
    cpu = partial(Row, against=against, theirs=_per_second(raw))
    return [
        cpu(
            what="verify entries: parse strictly, link, signature; one process",
            ours=_per_second(one), ratio=one / raw, aim="≥ 0.80",
        ),
        Row(
            what="the same with `--jobs 2`, on the clock",
            ours=_per_second(both), against="with one process, on the clock", theirs=_per_second(alone),
            ratio=both / alone, aim="≥ 1.8",
        ),
        Row(
            what="the same with `--jobs 2`, on the clock",
            ours=_per_second(both), against=against, theirs=_per_second(clock), ratio=both / clock,
        ),
        cpu(what="hash entries only: parse strictly, link", ours=_per_second(hashed), ratio=hashed / raw, aim="≥ 3"),
    ]  # fmt: skip


def _followed(stored: Sequence[Stored], jobs: int, clock: Callable[[], float]) -> float:
    begin = clock()
    done = sum(1 for _ in follow_rows(iter(stored), jobs))
    return done / (clock() - begin)


def _linked(stored: Sequence[Stored]) -> float:
    head, begin = Head(), time.process_time()
    for row in stored:
        head = follow(head, read_entry(row.body, row.signature), signed=False)
    return len(stored) / (time.process_time() - begin)


# ------------------------------------------------------------------------------------------------------ a long ledger


def _size(where: Path, small: Made, large: Made, effort: Effort) -> list[Row]:
    rows = [_opening(small, large, effort)]
    with closing(large.opened()) as ledger:
        rows += ledger.look(lambda view: _proofs(view, effort))
        rows.append(_bundle(ledger, large, where / "bundle.zip"))
    rows += [_hashes(large), *_whole(small, large), *_memory(small, large)]
    return rows


def _opening(small: Made, large: Made, effort: Effort) -> Row:
    few, many = alternate(effort.rounds, lambda: _opened(small), lambda: _opened(large))
    return Row(
        what=f"open as a writer: {large.entries:,} entries",
        ours=f"{many * 1000:,.0f} ms",
        against=f"{small.entries:,} entries",
        theirs=f"{few * 1000:,.0f} ms",
        ratio=many / few,
        aim="< 1 s",
    )


def _opened(made: Made) -> float:
    begin = time.perf_counter()
    with closing(open_later(made.founded.home, made.later)) as ledger:
        ledger.look(lambda view: view.head)
        return time.perf_counter() - begin


def _proofs(view: Look, effort: Effort) -> list[Row]:
    """Make proofs near the beginning, the middle and the end, and check them; the slowest place counts."""
    size = view.head.size
    root = view.tree.root(size)
    places = [1, size // 3, size // 2 + 77, size - 2]

    def included(index: int) -> None:
        path = view.tree.inclusion(index, size)
        verify_inclusion(bytes.fromhex(view.entry(index).leaf), index, size, path, root)

    def consistent(old: int) -> None:
        verify_consistency(old, size, view.tree.consistency(old, size), view.tree.root(old), root)

    count = effort.count(100)
    found = [
        (what, max(1 / rate(count, partial(work, place)) for place in places), aim)
        for what, work, aim in (
            (f"one inclusion proof in {size:,}, made and checked", included, "< 20 ms"),
            (f"one consistency proof to {size:,}, made and checked", consistent, ""),
        )
    ]
    return [
        Row(what=what, ours=f"{seconds * 1000:.2f} ms", against="", theirs="", ratio=None, aim=aim)
        for what, seconds, aim in found
    ]


def _bundle(ledger: Ledger[State], large: Made, out: Path) -> Row:
    def write(view: Look) -> None:
        size = view.head.size
        manifest = Manifest(verifier=log_verifier(large.founded.home), size=size, first=0, end=size)
        with out.open("wb") as file:
            write_bundle(file, view, manifest, view.checkpoint() or b"")

    begin = time.perf_counter()
    ledger.look(write)
    took, size = time.perf_counter() - begin, out.stat().st_size
    return Row(
        what=f"export a bundle of {large.entries:,} entries with all payloads, {took:,.1f} s",
        ours=f"{size / 2**20:,.0f} MiB, {size / large.entries:,.0f} bytes an entry",
        against="the ledger's file",
        theirs=f"{large.file / 2**20:,.0f} MiB",
        ratio=size / large.file,
    )


def _hashes(large: Made) -> Row:
    begin, head = time.perf_counter(), Head()
    with open_file(large.database) as file:
        for row in file.rows():
            head = follow(head, read_entry(row.body, row.signature), signed=False)
    took = time.perf_counter() - begin
    return Row(
        what=f"hash-only verification of the file: {head.size:,} entries read, parsed strictly, linked",
        ours=f"{took:,.1f} s, {head.size / took:,.0f}/s", against="", theirs="", ratio=None,
    )  # fmt: skip


def _whole(small: Made, large: Made) -> list[Row]:
    """Verify everything, decisions derived again, in processes of their own."""
    one, two = _verified(large, 1), _verified(large, 2)
    few = _verified(small, 1)
    size = f"`audit verify` of {one.size:,} entries, every proof, decisions derived again"
    return [
        Row(
            what=f"{size}: `--jobs 2`",
            ours=f"{two.seconds:,.1f} s, {two.size / two.seconds:,.0f}/s",
            against="`--jobs 1`",
            theirs=f"{one.seconds:,.1f} s, {one.size / one.seconds:,.0f}/s",
            ratio=one.seconds / two.seconds,
        ),
        Row(
            what=f"memory of `audit verify`, {few.size:,} to {one.size:,} entries",
            ours=_grown(one.memory - few.memory),
            against="its memory before",
            theirs=_mib(few.memory),
            ratio=None,
            aim="≤ 8 MiB",
        ),
        Row(
            what=f"memory of `audit verify --jobs 2`, {one.size:,} entries, without its two processes",
            ours=_mib(two.memory),
            against="`--jobs 1`",
            theirs=_mib(one.memory),
            ratio=two.memory / one.memory,
        ),
    ]


def _memory(small: Made, large: Made) -> list[Row]:
    return [
        Row(
            what=f"memory of the writer, {small.entries:,} to {large.entries:,} entries",
            ours=_grown(large.memory - large.memory_small),
            against="its memory before",
            theirs=_mib(large.memory_small),
            ratio=None,
            aim="≤ 8 MiB",
        )
    ]


@dataclass(frozen=True, slots=True)
class Verified:
    """A verification in a process of its own: entries, seconds on its clock, and the most memory it had."""

    size: int
    seconds: float
    memory: int


def _verified(made: Made, jobs: int) -> Verified:
    program = [sys.executable, "-m", "benchmarks.ledger", str(made.database), str(jobs)]
    done = subprocess.run(program, cwd=ROOT, check=True, capture_output=True, text=True)
    told: dict[str, Any] = json.loads(done.stdout)
    return Verified(**told)


def main() -> None:
    begin = time.perf_counter()
    report = verify_ledger(Path(sys.argv[1]), jobs=int(sys.argv[2]))
    took = time.perf_counter() - begin
    if report.verdict == "FAIL":
        raise SystemExit(f"the ledger that was made does not verify: {report.first_bad}")
    print(json.dumps({"size": report.size, "seconds": took, "memory": _peak()}))


def _peak() -> int:
    lines = Path(f"/proc/{os.getpid()}/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmHWM:")))


def _per_second(value: float) -> str:
    return f"{value:,.0f}/s"


def _mib(value: int) -> str:
    return f"{value / 2**20:,.0f} MiB"


def _grown(value: int) -> str:
    return f"{value / 2**20:+.1f} MiB"


if __name__ == "__main__":
    main()
