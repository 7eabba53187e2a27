"""Processes that ask and processes that execute race for a budget, one of each killed: it is never exceeded."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from keyturn.gateway.call import call
from keyturn.gateway.incoming import Incoming
from keyturn.model.plan import Effects
from tests.faults.limits import Recount, Rule
from tests.faults.racers import ask, claim, finish, race
from tests.faults.test_claims import drained
from tests.faults.world import TICKETS, Place, doubled, found
from tests.ledger.processes import told

PRICE = {"cost": 5, "runtime": 60}
DECLARED = f'version = 1\n[tools.update_ticket]\ncost = {PRICE["cost"]}\nruntime = "{PRICE["runtime"]}s"\n'
ATTEMPTS = 10


def more(place: Place, count: int = 40) -> list[str]:
    """Ask once more from a process that was not there before, and say what became of it."""
    gate = place.gateway("late")

    async def every() -> list[str]:
        states = []
        for number in range(count):
            arguments = {"ticket": TICKETS[number % 8], "comment": f"Late {number}."}
            answer = await call(gate, place.caller(gate), Incoming("update_ticket", arguments, 60))
            states.append(str(answer.envelope["status"]))
        return states

    states = anyio.run(every)
    gate.close()
    return states


@pytest.mark.parametrize("unit", PRICE)
def test_a_budget_raced_by_those_who_ask_and_those_who_execute_is_never_exceeded(tmp_path: Path, unit: str) -> None:
    rule = Rule(12 * PRICE[unit] + PRICE[unit] - 1, unit, 86_400)
    place = found(tmp_path, (rule,), ("version = 1\n", DECLARED))
    asking = [
        [("update_ticket", {"ticket": TICKETS[n % 8], "comment": f"{who} asks {n}."}) for n in range(ATTEMPTS)]
        for who in range(4)
    ]
    runners = [(ask, (place, "claude", requests, Effects())) for requests in asking]
    assert more(place, 4) == ["approved"] * 4  # so that those who execute find something
    with race(*runners, *[(claim, (place,))] * 4) as racers:
        for victim, said in (racers[0], racers[4]):
            told(said, 60)
            victim.kill()
        finish([*racers[1:4], *racers[5:]])
    drained(place)
    assert doubled(place.effects) == []
    states = more(place)
    assert states[-1] == "denied"
    recount = Recount((rule,))
    for entry in place.entries():
        recount.take(entry)
    assert recount.above == []
    assert rule.allowed - PRICE[unit] < recount.peaks[rule] <= rule.allowed
    # A runtime that was settled makes room for others; a cost that was incurred does not.
    granted = [entry for entry in place.entries() if entry.kind == "action.requested"]
    assert len(granted) > 12 if unit == "runtime" else len(granted) == 12
    assert place.verified().verdict == "PASS-UNANCHORED"
