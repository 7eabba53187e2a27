"""What calls of a tool reserve of budgets for runtime and cost, beside what their plans count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from keyturn.model.contract import Contract
from keyturn.policy.shown import shown
from keyturn.policy.tables import Table

RUNTIME = "runtime"
COST = "cost"
LONGEST_RUNTIME = timedelta(days=1)
MOST_COST = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What each call of one tool reserves.

    cost     in units of the policy's own; 0 where it costs nothing
    runtime  whole seconds that its effect may take at most; 0 where it is not counted
    """

    cost: int
    runtime: int

    @property
    def amounts(self) -> dict[str, int]:
        """The amounts by unit, without those that are nothing."""
        return {unit: amount for unit, amount in ((COST, self.cost), (RUNTIME, self.runtime)) if amount}


def read_prices(document: Table, catalog: Mapping[str, Contract]) -> dict[str, Price]:
    """Read `[tools.NAME]` by the name of the tool, recording problems."""
    return {name: _price(name, table, catalog) for name, table in document.named("tools")}


def _price(name: str, table: Table, catalog: Mapping[str, Contract]) -> Price:
    table.only(COST, RUNTIME)
    if name not in catalog:
        table.problems.unknown(table.place, f"there is no tool {shown(name)}", name, catalog)
    elif catalog[name].kind != "governed":
        table.problems.add(table.place, f"{name} only reads or is about the caller: it reserves nothing but the call")
    if not table.raw:
        table.problems.add(table.place, 'says nothing: write cost = 5, or runtime = "60s"')
    cost = table.integer(COST, low=1, high=MOST_COST, default=0)
    runtime = table.duration(RUNTIME, longest=LONGEST_RUNTIME, default=timedelta())
    return Price(cost=cost or 0, runtime=(runtime or timedelta()) // timedelta(seconds=1))
