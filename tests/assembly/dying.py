"""A process of its own that executes under a rule with `anchor = "before"`, and is killed at a chosen step."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection

import anyio

from keyturn.anchors import Offer
from keyturn.assembly.anchoring import Declared
from keyturn.assembly.build import become_executor, open_gateway
from keyturn.assembly.covering import coverage_of
from keyturn.assembly.home import Home
from keyturn.assembly.notary import notary_of
from keyturn.gateway.execute import execute
from keyturn.model.outcome import Outcome
from keyturn.model.plan import Plan
from keyturn.model.tool import ActionRef, GovernedTool
from tests.gateway.hands import claim_next
from tests.gateway.world import Simulator

STEPS = ("intent", "signed", "kept", "recorded", "done")
"""The intent is durable; a checkpoint of it is signed; an anchor has that; that is recorded; the effect is there."""

Step = Callable[[str], None]


class Watched:
    """An anchor with a step before and after it is brought something."""

    def __init__(self, one: Declared, step: Step) -> None:
        self._anchor, self._step = one.anchor, step
        self.name, self.type, self.seconds = one.anchor.name, one.anchor.type, one.anchor.seconds

    def put(self, offer: Offer) -> bytes:
        self._step("signed")
        note = self._anchor.put(offer)
        self._step("kept")
        return note


def effect(tool: GovernedTool, step: Step) -> Simulator:
    """A tool with a step before and after its effect."""

    async def executes(plan: Plan, action: ActionRef) -> Outcome:
        step("recorded")
        outcome = await tool.execute(plan, action)
        step("done")
        return outcome

    return Simulator(tool, executes=executes)


def execute_and_die(said: Connection, home: Home, last: str) -> None:
    """Claim the next action and be killed at the step `last`."""

    def step(name: str) -> None:
        if name == last:
            os.kill(os.getpid(), signal.SIGKILL)

    gate, executor = open_gateway(home, "dying"), become_executor(home)
    coverage = coverage_of(notary_of(home, gate.ledger))
    coverage.anchors = [Declared(Watched(one, step), one.every, required=True) for one in coverage.anchors]

    def cover(intent: int) -> str | None:
        step("intent")
        return coverage.cover(intent)

    tools = {name: effect(tool, step) for name, tool in gate.governed.items()}
    gate = replace(gate, cover=cover, governed=tools)
    claimed = claim_next(gate, executor.instance)
    assert claimed is not None
    anyio.run(execute, gate, executor, claimed)
    said.send("it lives")
