"""Processes that race each other on one home: for what a limit leaves, for claims, words, cancellations, halts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from typing import Any

import anyio

from keyturn.assembly.build import become_executor
from keyturn.fold.suspensions import Scope
from keyturn.gateway.call import call
from keyturn.gateway.claim import claim_ready
from keyturn.gateway.execute import execute
from keyturn.gateway.incoming import Incoming
from keyturn.gateway.review import Actor, cancel
from keyturn.gateway.suspensions import set_suspension
from keyturn.model.errors import Refused
from keyturn.model.plan import Effects, Plan
from tests.faults.world import Place, recording, review
from tests.gateway.world import Simulator
from tests.ledger.processes import CONTEXT, running, told

CONTEXT.set_forkserver_preload(["tests.faults.racers", "tests.faults.load"])


@contextmanager
def race(
    *runners: tuple[Callable[..., None], Sequence[object]],
) -> Iterator[list[tuple[ForkServerProcess, Connection]]]:
    """Start a process for each runner, let them all go at once when all are ready; kill what is left at the end."""
    with ExitStack() as stack:
        racers = [stack.enter_context(running(work, *arguments)) for work, arguments in runners]
        assert [told(said, 60) for _, said in racers] == ["ready"] * len(racers)
        for _, said in racers:
            said.send("go")
        yield racers


def finish(racers: Sequence[tuple[ForkServerProcess, Connection]]) -> list[list[Any]]:
    """Return what each one said until it said that it is done."""
    return [list(_until_done(said)) for _, said in racers]


def _until_done(said: Connection) -> Iterator[Any]:
    while (word := told(said, 60)) != "done":
        yield word


def _ready(said: Connection) -> None:
    logging.disable()
    said.send("ready")
    said.recv()


def ask(
    said: Connection,
    place: Place,
    principal: str,
    requests: Sequence[tuple[str, Mapping[str, Any]]],
    effects: Effects,
) -> None:
    """Make requests whose plans count `effects`, and say each answer's state."""
    gate = place.gateway("asker")
    counted: Callable[[Plan], Plan] = lambda plan: replace(plan, effects=effects)  # noqa: E731 - typed here
    tools = {name: Simulator(tool, plans=counted) for name, tool in gate.governed.items()}
    gate = replace(gate, governed=tools)
    _ready(said)

    async def every() -> None:
        for tool, arguments in requests:
            answer = await call(gate, place.caller(gate, principal), Incoming(tool, arguments, 60))
            said.send(answer.envelope["status"])

    anyio.run(every)
    said.send("done")


def claim(said: Connection, place: Place) -> None:
    """Claim one action after another and execute it; say which."""
    gate, executor = recording(place.gateway("executor"), place.effects), become_executor(place.home)
    _ready(said)
    while claimed := claim_ready(gate, executor, 1):
        said.send(claimed[0].action.id)
        anyio.run(execute, gate, executor, claimed[0])
    said.send("done")


def withdraw(said: Connection, place: Place, actions: Sequence[str]) -> None:
    """Cancel actions one after another; say those that were still to be cancelled."""
    gate = place.gateway("canceller")
    _ready(said)
    for action in actions:
        with suppress(Refused):
            cancel(gate, action, Actor("account", "tester"), "not now")
            said.send(action)
    said.send("done")


def approve(said: Connection, place: Place, who: str, actions: Sequence[str]) -> None:
    """Say yes to one action after another; say after which words of one's own it was approved."""
    gate = place.gateway(who)
    _ready(said)
    for action in actions:
        with suppress(Refused):
            said.send((action, review(gate, action, who).status))
    said.send("done")


def halt(said: Connection, place: Place, mode: str) -> None:
    """Suspend the tracker's environment; say what was cancelled and what was running."""
    gate = place.gateway("halt")
    _ready(said)
    halted = set_suspension(
        gate.ledger, Scope("environment", "tracker"), mode=mode, by=Actor("account", "tester"), reason=""
    )
    said.send(([action.id for action in halted.cancelled], [action.id for action in halted.running]))
    said.send("done")
