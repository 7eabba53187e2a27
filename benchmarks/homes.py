"""Homes to measure in: what `init` writes with limits too large to meet, and tools that do nothing."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from keyturn.assembly.build import become_executor, open_gateway
from keyturn.assembly.founding import Order, found_home
from keyturn.assembly.home import Home
from keyturn.canon import Json
from keyturn.gateway.callers import authenticate
from keyturn.gateway.core import Gateway
from keyturn.gateway.executor import Executor
from keyturn.model.outcome import CannotTell, Outcome, Probe, Succeeded
from keyturn.model.plan import Backend, Effects, Plan
from keyturn.model.principal import Caller
from keyturn.model.tool import ActionRef, Earlier

ROOT = Path(__file__).parents[1]
NOTHING = Backend(port="tickets", name="ops", kind="nothing", location="/dev/null")
_LIMIT = re.compile(r"\b\d+ (calls|lines_changed) per (hour|day)")


@contextmanager
def folder() -> Iterator[Path]:
    """A folder on this disk: many systems keep /tmp in memory, where fdatasync costs nothing."""
    with tempfile.TemporaryDirectory(dir=ROOT, prefix=".benchmark-") as name:
        yield Path(name)


@dataclass(frozen=True, slots=True)
class Founded:
    """A founded home and the token of its assistant."""

    home: Home
    token: str


def found(where: Path) -> Founded:
    """Found a home with the policy of new homes, whose limits stay and are counted, yet are never met."""
    where.mkdir()
    text = (files("keyturn") / "starter" / "policy.toml").read_text(encoding="utf-8")
    (where / "policy.toml").write_text(_LIMIT.sub(r"1000000000 \1 per \2", text), encoding="utf-8")
    new = found_home(Order(folder=where))
    return Founded(new.home, new.tokens["claude"])


@dataclass(slots=True)
class Opened:
    """A gateway that executes in this process, with tools that do nothing."""

    gate: Gateway
    caller: Caller
    executor: Executor
    run: Path


@contextmanager
def opened(founded: Founded) -> Iterator[Opened]:
    executor = become_executor(founded.home)
    executor.at_once = 1_000
    gate = replace(
        open_gateway(founded.home, "benchmark", executor),
        governed={"update_ticket": Writes()},
        reading={"get_ticket": Reads()},
        start_worker=lambda: None,
    )
    try:
        caller = authenticate(gate, founded.token, transport="stdio", client="benchmark")
        yield Opened(gate, caller, executor, founded.home.place.run)
    finally:
        gate.close()
        executor.lock.release(forget=True)


class Writes:
    """`update_ticket` on a tracker that is not there."""

    name = "update_ticket"

    async def plan(self, arguments: Any, earlier: Earlier) -> Plan:
        return Plan(
            tool=self.name,
            target=f"tickets:ops/{arguments.ticket}",
            backend=NOTHING,
            summary=f"Comment on {arguments.ticket}",
            diff="--- a\n+++ b\n@@ -1 +1,2 @@\n title\n+comment\n",
            effects=Effects(files_changed=1, lines_changed=1, recipients=3),
            view={"comment": True},
            facts={"ticket": arguments.ticket},
            change={"ticket": arguments.ticket, "comment": arguments.comment},
        )

    async def execute(self, plan: Plan, action: ActionRef) -> Outcome:
        return Succeeded({"ticket": plan.change["ticket"]})

    async def probe(self, plan: Plan, action: ActionRef) -> Probe:
        return CannotTell("nothing was done")


class Reads:
    """`get_ticket` on a tracker that is not there."""

    name = "get_ticket"

    async def locate(self, arguments: Any, earlier: Earlier) -> Plan:
        target = f"tickets:ops/{arguments.ticket}"
        return Plan(
            tool=self.name, target=target, backend=NOTHING, summary="Read", change={"ticket": arguments.ticket}
        )

    async def read(self, plan: Plan, arguments: Any) -> Mapping[str, Json]:
        return {"ticket": arguments.ticket, "title": "Nothing", "status": "open", "text": "It does nothing.\n" * 10}


def copy_tickets(home: Home, count: int) -> None:
    """Give the sample tracker `count` tickets, BENCH-0 and so on."""
    tickets = home.folder / "samples/tickets"
    text = (tickets / "OPS-1.md").read_text(encoding="utf-8")
    for number in range(count):
        (tickets / f"BENCH-{number}.md").write_text(text.replace("OPS-1", f"BENCH-{number}"), encoding="utf-8")
