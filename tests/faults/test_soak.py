"""Three processes on one home, killed at random points again and again, lose nothing and do nothing twice."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import pytest

from tests.faults.limits import Recount, Rule
from tests.faults.soak import COLUMNS, row, soak
from tests.faults.world import SOAK, Place, Record, doubled, found

ROUNDS = 200 if SOAK else 12
SEED = int(os.environ.get("KEYTURN_SEED") or (random.randrange(2**32) if SOAK else 1))


@pytest.mark.timeout(3600 if SOAK else 600)
def test_what_processes_killed_at_random_points_had_acknowledged_or_begun_is_there_and_settled_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = [f"seed {SEED} (set KEYTURN_SEED to repeat it)", f"| {' | '.join(COLUMNS)} |"]
    sys.stdout.write(f"{said[0]}\n")
    for home in soak(tmp_path, ROUNDS, SEED):
        said.append(row(home))
        assert home.tried, (said, home.recount.peaks)
    if SOAK:
        with capsys.disabled():
            sys.stdout.write("\n".join(["", *said, ""]))


def test_the_proof_sees_an_effect_that_happened_again(tmp_path: Path) -> None:
    record = Record(tmp_path / "effects")
    for action in ("a", "b", "a"):
        record.add("begun", action)
    assert doubled(tmp_path / "effects") == [("begun", "a")]


def test_the_count_of_its_own_sees_a_limit_that_was_exceeded(tmp_path: Path) -> None:
    place: Place = found(tmp_path)
    gate = place.gateway()
    entries = gate.ledger.look(lambda view: view.entries(0))
    gate.close()
    recount = Recount((Rule(1, "calls", 10),))
    for entry in entries:
        recount.take(entry)
    assert (recount.above, recount.peaks) == ([], {})
