"""Eight processes racing a limit on submissions, one of them killed in the middle: never one too many."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from keyturn.model.plan import Effects
from tests.faults.limits import Rule
from tests.faults.racers import ask, finish, race
from tests.faults.test_limits import ATTEMPTS, DESK, FIT, Racer, racers, requests
from tests.faults.world import found
from tests.ledger.processes import told

HOURS = 6 * 3600


@pytest.mark.parametrize("per", ["principal", "owner", "tool", "target", "environment"])
def test_a_limit_on_submissions_raced_by_eight_processes_gives_exactly_what_it_allows(
    tmp_path: Path, per: str
) -> None:
    place = found(tmp_path, (Rule(FIT, "submissions", HOURS, per),), DESK)
    eight = racers(per, held=False)
    with race(
        *((ask, (place, racer.principal, requests(racer, who), Effects())) for who, racer in enumerate(eight))
    ) as runners:
        victim, said = runners[0]
        assert told(said) in {"approved", "denied"}
        victim.kill()
        states = Counter(state for answers in finish(runners[1:]) for state in answers)
    assert sum(states.values()) == 7 * ATTEMPTS
    granted = [entry for entry in place.entries() if entry.kind == "action.requested"]
    counted = Counter(str(entry.facts[per] or entry.facts["principal"]) for entry in granted)
    assert counted == dict.fromkeys({racer.key for racer in eight}, FIT)
    assert place.verified().verdict == "PASS-UNANCHORED"


def test_what_is_refused_for_another_reason_takes_its_place_in_the_race(tmp_path: Path) -> None:
    place = found(tmp_path, (Rule(FIT, "submissions", HOURS),))
    asked = Racer("claude", "update_ticket", {"ticket": "OPS-1"}, "claude")
    missing = Racer("claude", "update_ticket", {"ticket": "OPS-99"}, "claude")
    with race(
        *((ask, (place, "claude", requests(missing if who % 2 else asked, who), Effects())) for who in range(8))
    ) as runners:
        victim, said = runners[0]
        told(said)
        victim.kill()
        finish(runners[1:])
    before, limited = 0, 0
    for entry in place.entries():
        match entry.kind, entry.facts:
            case "action.requested", _:
                assert before < FIT, entry
                before += 1
            case "action.denied", {"codes": [{"code": code}, *_]}:
                assert code != "limit" or before >= FIT, entry
                limited += code == "limit"
                before += 1
            case "requests.throttled", {"count": int(count)}:
                before += count
    assert limited > 0
    assert before > FIT
    assert place.verified().verdict == "PASS-UNANCHORED"
