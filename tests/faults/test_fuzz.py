"""Whatever comes in at the stdio door, nothing of ours comes out at its back, nothing hangs and nothing grows."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.faults.fuzz import garbage, wrong_fields
from tests.faults.limits import Rule
from tests.faults.test_flood import MEBIBYTE, resident
from tests.faults.world import SOAK, found
from tests.server.clients import Raw, raw
from tests.server.home import Place
from tests.server.web import MODERN

SEED = int(os.environ.get("KEYTURN_SEED") or (random.randrange(2**32) if SOAK else 1))
GARBAGE = 20_000 if SOAK else 1500
AT_ONCE = 25  # lines between two proofs that the server still answers
ERAS: dict[str, dict[str, Any]] = {"legacy": {}, "modern": {"_meta": MODERN}}


def still_answers(server: Raw, era: str, number: int) -> None:
    """Ask a question and read on until its answer comes; what is read on the way belongs to the noise."""
    name = f"alive {number}"
    server.send({"jsonrpc": "2.0", "id": name, "method": "tools/list", "params": ERAS[era]})
    while (answer := server.receive()).get("id") != name:
        assert answer["jsonrpc"] == "2.0"
    assert answer["result"]["tools"]


def throw(server: Raw, era: str, lines: Sequence[bytes]) -> None:
    for first in range(0, len(lines), AT_ONCE):
        server.send(*lines[first : first + AT_ONCE])
        still_answers(server, era, first)


@pytest.mark.parametrize("era", ERAS)
def test_no_line_brings_the_stdio_door_down_or_makes_it_talk_or_grow(tmp_path: Path, era: str) -> None:
    sys.stdout.write(f"seed {SEED} (set KEYTURN_SEED to repeat it)\n")
    chance = random.Random(f"{SEED} {era}")
    lines = [*wrong_fields(), *(garbage(chance) for _ in range(GARBAGE))]
    chance.shuffle(lines)
    home = found(tmp_path, (Rule(5, "pending", None), Rule(20, "calls", 3600)))
    place = Place(home.folder, home.tokens["claude"], tmp_path)
    with raw(place) as server:
        if era == "legacy":
            server.greet()
        still_answers(server, era, -1)
        warm = len(lines) // 3
        throw(server, era, lines[:warm])
        before = resident(server.process.pid)
        throw(server, era, lines[warm:])
        grown = resident(server.process.pid) - before
        assert server.end() == 0
        assert server.said() == ""
    entries = home.entries()
    assert len(entries) < 150
    assert home.verified().verdict == "PASS-UNANCHORED"
    assert grown < 16 * MEBIBYTE
