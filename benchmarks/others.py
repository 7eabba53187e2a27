"""Two other programs' guarded calls beside Keyturn's, each in an environment of its own, in the same run."""

from __future__ import annotations

import shutil
import statistics
import subprocess
from dataclasses import dataclass
from pathlib import Path

import anyio

from benchmarks import calls
from benchmarks.homes import folder, found, opened
from benchmarks.measure import Effort, Row, Topic, p50

RIVALS = Path(__file__).parent / "rivals"
CALLS = 500


@dataclass(frozen=True, slots=True)
class Rival:
    """Another program: how it is installed, what calls it, and what its call does and does not do."""

    name: str
    requirement: str
    program: str
    does: str


OTHERS = (
    Rival(
        "CTRLRun 0.12.2",
        "ctrlrun==0.12.2",
        "ctrlrun_call.py",
        "CTRLRun's `@protect` decides by its policy, reserves an effect key, and writes events and a hash-chained "
        "receipt to SQLite (WAL, `synchronous=NORMAL`: a power cut may take the last commits) and to JSON lines "
        "files. It signs nothing, has no contracts, plans or payload commitments, and runs the function in the "
        "caller's thread.",
    ),
    Rival(
        "agent-governance-toolkit 4.1.0",
        "agent-governance-toolkit[core]==4.1.0",
        "agt_call.py",
        "The toolkit's `govern` decides by its policy and adds an entry to a hash-linked trail in memory: nothing is "
        "on a disk when the call returns, nothing is signed, and nothing is left when the process ends.",
    ),
)
KEYTURN = (
    "Keyturn's call checks token, contract, policy and limits, plans, writes three Ed25519-signed entries with "
    "committed payloads in two commits (WAL, `synchronous=FULL`: both are on the disk before the answer), and runs "
    "the effect apart from the call that asked."
)


def measure(effort: Effort) -> Topic:
    rows, notes = [], [KEYTURN]
    with folder() as where:
        for number, rival in enumerate(OTHERS):
            python = install(rival, where / f"environment{number}")
            if isinstance(python, str):
                print(f"{rival.name}: left out: {python}")
                notes.append(f"{rival.name} was left out: it could not be installed.")
                continue
            notes.append(rival.does)
            rows += [_row(rival, python, callers, where / f"run{number}-{callers}", effort) for callers in (1, 64)]
    return Topic(
        "Beside others", "Said below for each; what they do differs more than the figures.", rows, " ".join(notes)
    )


def install(rival: Rival, environment: Path) -> Path | str:
    """Make an environment with the program in it; return its Python, or why there is none."""
    python = environment / "bin/python"
    uv = shutil.which("uv")
    if uv is None:
        return "uv is not there to make an environment with"
    for argv in ([uv, "venv", "-q", str(environment)], [uv, "pip", "install", "-q", "--python", str(python)]):
        done = subprocess.run(
            [*argv, *([rival.requirement] if "install" in argv else [])], capture_output=True, text=True, check=False
        )
        if done.returncode:
            return done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "uv failed"
    return python


def _row(rival: Rival, python: Path, callers: int, where: Path, effort: Effort) -> Row:
    count, ours, theirs = effort.count(CALLS), [], []
    for number in range(effort.rounds):
        place = where / str(number)
        place.mkdir(parents=True)
        argv = [str(python), "-W", "ignore", str(RIVALS / rival.program), str(count), str(callers)]
        told = subprocess.run(argv, cwd=place, check=True, capture_output=True, text=True).stdout.split()
        theirs.append((float(told[0]), float(told[1])))
        ours.append(_keyturn(place / "home", callers, count))
    mine, its = statistics.median(one.rate for one in ours), statistics.median(one for one, _ in theirs)
    seconds = [value for one in ours for value in one.seconds]
    return Row(
        what=f"mutating call, {callers} caller{'s' if callers > 1 else ''}",
        ours=f"{mine:,.0f}/s, p50 {p50(seconds):.1f} ms",
        against=rival.name,
        theirs=f"{its:,.0f}/s, p50 {statistics.median(half for _, half in theirs):.1f} ms",
        ratio=mine / its,
        aim="> 1" if "CTRLRun" in rival.name else "",
    )


def _keyturn(where: Path, callers: int, count: int) -> calls.Round:
    async def run() -> calls.Round:
        with opened(found(where)) as world:
            async with calls.working(world):
                await calls.calling(world, "update_ticket", 1, 20)
                return await calls.calling(world, "update_ticket", callers, count)

    return anyio.run(run)
