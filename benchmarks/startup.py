"""How long the command line takes from its start to its end, on a ledger of 100,000 entries."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.growth import make
from benchmarks.homes import folder
from benchmarks.measure import Effort, Row, Topic, alternate

ENTRIES = 100_000
PROGRAM = str(Path(sys.executable).with_name("keyturn"))
VERBS = {"version": "< 100 ms", "inbox": "< 250 ms", "status": "< 250 ms"}


def measure(effort: Effort) -> Topic:
    with folder() as where:
        founded = make(where / "home", effort.count(ENTRIES)).founded
        environment = {**os.environ, "KEYTURN_HOME": str(founded.home.folder)}  # noqa: TID251 - handed on
        completing = {
            **environment,
            "_KEYTURN_COMPLETE": "bash_complete",
            "COMP_WORDS": "keyturn app",
            "COMP_CWORD": "1",
        }
        rows = [_row(verb, [PROGRAM, verb], environment, aim, effort) for verb, aim in VERBS.items()]
        rows.insert(1, _row("completion of a verb", [PROGRAM], completing, "< 100 ms", effort))
    return Topic(
        "The command line",
        f"The installed script, output to a pipe, a ledger of {effort.count(ENTRIES):,} entries in the page cache, "
        "some 5,500 actions a day. Nothing is written.",
        rows,
    )


def _row(what: str, argv: list[str], environment: dict[str, str], aim: str, effort: Effort) -> Row:
    ours, theirs = alternate(
        effort.count(10), lambda: _took(argv, environment), lambda: _took([sys.executable, "-c", "pass"], environment)
    )
    return Row(
        what=f"`keyturn {what}`" if what in VERBS else what,
        ours=f"{ours:,.0f} ms",
        against="`python -c pass`",
        theirs=f"{theirs:,.0f} ms",
        ratio=ours / theirs,
        aim=aim,
    )


def _took(argv: list[str], environment: dict[str, str]) -> float:
    begin = time.perf_counter()
    subprocess.run(argv, env=environment, check=True, capture_output=True)
    return (time.perf_counter() - begin) * 1000
