"""The three programs of the soak: assistants that ask, a worker that executes, people that decide; until killed."""

from __future__ import annotations

import logging
import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import anyio

from keyturn.assembly.build import become_executor
from keyturn.gateway.call import UnknownTool, call
from keyturn.gateway.core import Gateway
from keyturn.gateway.desk import Look
from keyturn.gateway.executor import Executor
from keyturn.gateway.incoming import Incoming
from keyturn.gateway.review import Actor, cancel
from keyturn.gateway.work import work
from keyturn.model.errors import Refused
from tests.faults.world import OWNERS, TICKETS, Place, Record, acknowledging, recording, review

DIES = 0.02  # how often a step of an effect is the worker's last
AT_ONCE = 10  # assistants in one server


def ask(said: Connection, place: Place, acknowledged: Path, seed: int) -> None:
    """Be a server with ten busy assistants: changes, held changes, reads, refusals, withdrawals.

    Every other one executes what it permits itself, as over HTTP; the rest leave it to the worker, as over stdio.
    """
    logging.disable()
    executor = become_executor(place.home) if seed % 2 else None
    gate = acknowledging(place, "server", Record(acknowledged), executor=executor)
    gate = recording(gate, place.effects, _dying(random.Random(seed)))
    said.send("ready")

    async def everybody() -> None:
        async with anyio.create_task_group() as tasks:
            if executor is not None:
                tasks.start_soon(_work, gate, executor, place)
            for number in range(AT_ONCE):
                tasks.start_soon(_ask, gate, place, random.Random(seed * 100 + number))

    anyio.run(everybody)


async def _ask(gate: Gateway, place: Place, chance: random.Random) -> None:
    held: list[str] = []
    answers = Record(place.folder.with_name("answers"))
    while True:
        principal = chance.choice(list(OWNERS))
        tool, arguments = _call(chance, held)
        with suppress(UnknownTool):
            answer = await call(gate, place.caller(gate, principal), Incoming(tool, arguments, 60))
            status, action = answer.envelope["status"], answer.envelope["action_id"]
            answers.add(tool, status, action)
            if status == "pending":
                held.append(str(action))


def _call(chance: random.Random, held: list[str]) -> tuple[str, dict[str, Any]]:
    ticket, words = chance.choice(TICKETS), f"{chance.getrandbits(64):016x}"
    match chance.choices(range(7), (40, 20, 15, 5, 5, 5, 10))[0]:
        case 0:
            return "update_ticket", {"ticket": ticket, "comment": words}
        case 1:
            return "update_ticket", {"ticket": ticket, "comment": words, "status": "in progress"}
        case 2:
            return "get_ticket", {"ticket": ticket}
        case 3:
            return "update_ticket", {"ticket": f"../{words}"}
        case 4:
            return words, {}
        case 6 if held:
            return "cancel_action", {"action_id": held.pop(chance.randrange(len(held)))}
    return chance.choice(["get_permissions", "list_actions"]), {}


def execute(said: Connection, place: Place, acknowledged: Path, seed: int) -> None:
    """Be a worker."""
    logging.disable()
    executor = become_executor(place.home)
    gate = acknowledging(place, "worker", Record(acknowledged))
    gate = recording(gate, place.effects, _dying(random.Random(seed)))
    said.send("ready")
    anyio.run(_work, gate, executor, place)


async def _work(gate: Gateway, executor: Executor, place: Place) -> None:
    await work(gate, executor, place.home.place.run, idle=None, stop=anyio.Event())


def _dying(chance: random.Random) -> Callable[[str], None]:
    """Return what makes any step of an effect the last thing its process does, now and then."""

    def step(_name: str) -> None:
        if chance.random() < DIES:
            os.kill(os.getpid(), signal.SIGKILL)

    return step


def decide(said: Connection, place: Place, acknowledged: Path, seed: int) -> None:
    """Be the people: look at what waits, approve, reject, cancel or leave it."""
    logging.disable()
    chance = random.Random(seed)
    gate = acknowledging(place, "people", Record(acknowledged))
    said.send("ready")
    while True:
        waiting = gate.ledger.look(
            lambda view: [a.id for a, state in view.state.open_actions(view.now) if state == "pending"]
        )
        for action in waiting:
            with suppress(Refused):  # decided, expired or cancelled meanwhile, or said already
                _decide(gate, action, chance)
        if not waiting:
            time.sleep(0.002)


def _waiting(view: Look) -> list[str]:
    return [action.id for action, state in view.state.open_actions(view.now) if state == "pending"]


def _decide(gate: Gateway, action: str, chance: random.Random) -> None:
    match chance.choices(range(4), (60, 15, 10, 15))[0]:
        case 0:
            review(gate, action, chance.choice(["alice", "carol"]))
        case 1:
            review(gate, action, "erin", "reject")
        case 2:
            cancel(gate, action, Actor("account", "tester"), "not now")
