"""Ten thousand refused requests of one assistant leave a ledger and a process about as small as they were."""

from __future__ import annotations

from pathlib import Path

from tests.faults.flood import CONNECTIONS, flood
from tests.faults.limits import Rule
from tests.faults.world import Place, found
from tests.server.home import Place as Served
from tests.server.web import message_of, site

CALLS = 10_000
WARM = 2_000  # calls after which caches and pools have their size
MEBIBYTE = 1 << 20
PAGE = 4096


def resident(process: int) -> int:
    """Return how many bytes of memory a process has."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * PAGE


def test_a_flood_of_refused_calls_grows_neither_the_ledger_nor_the_process(tmp_path: Path) -> None:
    place: Place = found(tmp_path, (Rule(5, "pending", None),))
    size = len(place.entries())
    with site(Served(place.folder, place.tokens["claude"], tmp_path)) as running:
        answered = flood(running.address, place.tokens["claude"], WARM, seed=1)
        before = resident(running.process.pid)
        answered += flood(running.address, place.tokens["claude"], CALLS - WARM, seed=2)
        grown = resident(running.process.pid) - before
        # 200 with a refusal in the envelope, 400 for what is no message or names no tool; nothing of ours went wrong.
        assert set(answered) == {200, 400}
        assert answered.total() == CALLS // CONNECTIONS * CONNECTIONS
        other = message_of(running.call(place.tokens["codex"], "get_ticket", ticket="OPS-1"))
        assert other["result"]["structuredContent"]["status"] == "succeeded"
        assert running.stop() == 0
        assert not any("Traceback" in line or "internal error" in line for line in running.said())
    entries = place.entries()[size:]
    kinds = {kind: sum(entry.kind == kind for entry in entries) for kind in {entry.kind for entry in entries}}
    assert len(entries) < 100, kinds
    assert kinds["action.requested"] == 5  # the cap on what waits held
    refused = kinds["action.denied"] + sum(e.number("count") for e in entries if e.kind == "requests.throttled")
    # What was no message never came as far as being refused; everything else is counted, if not one by one.
    assert refused > CALLS / 2
    assert place.verified().verdict == "PASS-UNANCHORED"
    # 8,000 calls: even 1 kB that each left behind would be as much.
    assert grown < 8 * MEBIBYTE, grown
