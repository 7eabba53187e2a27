"""Eight processes racing a limit, one of them killed in the middle, get exactly what it allows; for every kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import cycle, product
from pathlib import Path
from typing import Any

import pytest

from keyturn.model.plan import Effects
from tests.faults.limits import Recount, Rule
from tests.faults.racers import ask, finish, race
from tests.faults.world import Place, found
from tests.ledger.processes import told

FIT = 5  # requests that a limit has room for
ATTEMPTS = 6  # requests of each racer
EFFECTS = Effects(files_changed=2, lines_changed=7, recipients=3)
RESERVED = {"runtime": 60, "cost": 5}
AMOUNTS = {"calls": 1, "files_changed": 2, "lines_changed": 7, "recipients": 3, "pending": 1, **RESERVED}
PRICES = "".join(
    f'[tools.{tool}]\ncost = {RESERVED["cost"]}\nruntime = "{RESERVED["runtime"]}s"\n'
    for tool in ("update_ticket", "rollback_deployment")
)
WINDOWS = (60, 3600, 86_400, 7 * 86_400)
DESK = (
    'targets = ["tickets:ops/*"]',
    'targets = ["tickets:ops/OPS-1"]\n\n[environments.desk]\ntargets = ["tickets:ops/OPS-2"]',
)


@dataclass(frozen=True)
class Racer:
    """Who asks for what, and under which value of the limit's dimension that counts."""

    principal: str
    tool: str
    arguments: Mapping[str, Any]
    key: str


def racers(per: str, *, held: bool) -> list[Racer]:
    """Return eight racers, four for each of two values of the dimension."""
    change = {"ticket": "OPS-1", **({"status": "closed"} if held else {})}
    other = {**change, "ticket": "OPS-2"}
    rollback = {"deployment": "web", "environment": "production" if held else "staging", "to": "previous"}

    def asks(principal: str, key: str, tool: str = "update_ticket", arguments: Mapping[str, Any] = change) -> Racer:
        return Racer(principal, tool, arguments, key)

    match per:
        case "principal":
            some = [asks("claude", "claude")] * 4 + [asks("codex", "codex")] * 4
        case "owner":
            some = [asks("claude", "bob"), asks("codex", "bob")] * 2 + [asks("gemini", "dora")] * 4
        case "tool":
            one = asks("claude", "update_ticket")
            some = [one] * 4 + [asks("claude", "rollback_deployment", "rollback_deployment", rollback)] * 4
        case "target":
            some = [asks("claude", "tickets:ops/OPS-1"), asks("gemini", "tickets:ops/OPS-1")] * 2
            some += [asks("codex", "tickets:ops/OPS-2", arguments=other)] * 4
        case _:
            some = [asks("claude", "tracker"), asks("gemini", "tracker")] * 2
            some += [asks("codex", "desk", arguments=other)] * 4
    return [some[number // 2 + number % 2 * 4] for number in range(8)]


def requests(racer: Racer, who: int) -> list[tuple[str, Mapping[str, Any]]]:
    """Return different requests: a comment of its own each, or the words that it is to be done again."""
    if racer.tool == "update_ticket":
        return [(racer.tool, {**racer.arguments, "comment": f"{who} asks {n}"}) for n in range(ATTEMPTS)]
    return [(racer.tool, {**racer.arguments, "repeat": True, "reason": f"{who} asks {n}"}) for n in range(ATTEMPTS)]


CHOICES = [
    (unit, per, None if unit == "pending" else window)
    for (unit, per), window in zip(
        product(AMOUNTS, ("principal", "owner", "tool", "target", "environment")), cycle(WINDOWS)
    )
]


@pytest.mark.parametrize(("unit", "per", "window"), CHOICES)
def test_a_limit_raced_by_eight_processes_gives_exactly_what_it_allows(
    tmp_path: Path, unit: str, per: str, window: int | None
) -> None:
    # Not a multiple of what one request takes: the last one that fits leaves some over.
    rule = Rule(FIT * AMOUNTS[unit] + AMOUNTS[unit] - 1, unit, window, per)
    place = found(tmp_path, (rule,), DESK, ("version = 1\n", f"version = 1\n{PRICES if unit in RESERVED else ''}"))
    eight = racers(per, held=unit == "pending")
    with race(
        *((ask, (place, racer.principal, requests(racer, who), EFFECTS)) for who, racer in enumerate(eight))
    ) as runners:
        victim, said = runners[0]
        assert told(said) in {"approved", "pending", "denied"}
        victim.kill()
        states = Counter(state for answers in finish(runners[1:]) for state in answers)
    assert sum(states.values()) == 7 * ATTEMPTS
    hold_against_the_ledger(place, rule, eight)


def hold_against_the_ledger(place: Place, rule: Rule, eight: list[Racer]) -> None:
    """Count what was granted: never above, and not below either, for many more were asked than fit."""
    entries = place.entries()
    recount = Recount((rule,))
    for entry in entries:
        recount.take(entry)
    assert (recount.above, recount.peaks[rule]) == ([], FIT * AMOUNTS[rule.unit])
    granted = [entry for entry in entries if entry.kind == "action.requested"]
    assert Counter(str(entry.facts[rule.per]) for entry in granted) == dict.fromkeys(
        {racer.key for racer in eight}, FIT
    )
    assert place.verified().verdict == "PASS-UNANCHORED"
