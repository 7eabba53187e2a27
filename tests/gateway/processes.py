"""Processes of their own that submit, execute and die on one home."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from multiprocessing.connection import Connection

import anyio

import keyturn.assembly.worker
from keyturn.assembly.build import become_executor, open_gateway
from keyturn.assembly.home import Home
from keyturn.assembly.worker import run_worker
from keyturn.gateway.call import call
from keyturn.gateway.callers import authenticate
from keyturn.gateway.core import Gateway
from keyturn.gateway.execute import execute
from keyturn.gateway.incoming import Incoming
from keyturn.model.outcome import Outcome, Succeeded
from keyturn.model.plan import Plan
from keyturn.model.tool import ActionRef, GovernedTool
from tests.gateway.hands import claim_next, drain
from tests.gateway.world import Simulator


def execute_in_rounds(said: Connection, home: Home) -> None:
    """In each round, at the moment told, claim and execute what is there; say which actions these were."""
    gate, executor = open_gateway(home, "racer"), become_executor(home)
    said.send("ready")
    while (moment := said.recv()) is not None:
        while time.monotonic() < moment:
            pass
        done = []
        while (claimed := claim_next(gate, executor.instance)) is not None:
            anyio.run(execute, gate, executor, claimed)
            done.append(claimed.action.id)
        said.send(done)
    gate.ledger.close()


def ask_often(said: Connection, home: Home, token: str, who: int, attempts: int) -> None:
    """Make different requests that run by themselves (nobody executes here); say the states of the answers."""
    gate = replace(open_gateway(home, f"asker {who}"), start_worker=_nobody)
    said.send("ready")
    said.recv()

    async def ask() -> list[str]:
        states = []
        for n in range(attempts):
            caller = authenticate(gate, token, transport="stdio")
            arguments = {"ticket": "OPS-1", "comment": f"Request {n} of {who}."}
            answer = await call(gate, caller, Incoming("update_ticket", arguments, 60))
            states.append(str(answer.envelope["status"]))
        return states

    said.send(anyio.run(ask))
    gate.ledger.close()


def undo_often(said: Connection, home: Home, token: str, action: str, attempts: int) -> None:
    """Ask to undo one action again and again (nobody executes here); say the ids of the answers."""
    gate = replace(open_gateway(home, "undoer"), start_worker=_nobody)
    said.send("ready")
    said.recv()

    async def ask() -> list[str]:
        ids = []
        for _ in range(attempts):
            caller = authenticate(gate, token, transport="stdio")
            answer = await call(gate, caller, Incoming("undo_action", {"action_id": action}, 60))
            ids.append(str(answer.envelope["action_id"]))
        return ids

    said.send(anyio.run(ask))
    gate.ledger.close()


def _nobody() -> None:
    raise OSError("nobody executes here")


def die(said: Connection, home: Home, step: str) -> None:
    """Execute what is approved with the real tool, and be killed at the step."""
    gate, executor = open_gateway(home, "victim"), become_executor(home)
    dying = _with(gate, lambda real: Simulator(real, executes=_effect(real, step)))
    if step == "before the claim":
        os.kill(os.getpid(), signal.SIGKILL)
    anyio.run(drain, dying, executor, home.place.run)
    said.send("survived")


def hold_on(said: Connection, home: Home) -> None:
    """Begin what is approved and stay in the middle of the effect until told to go on."""
    gate, executor = open_gateway(home, "slow"), become_executor(home)

    async def wait(_plan: Plan, action: ActionRef) -> Outcome:
        said.send(action.action)
        await anyio.to_thread.run_sync(said.recv)
        return Succeeded({"waited": True})

    slow = _with(gate, lambda real: Simulator(real, executes=wait))
    anyio.run(drain, slow, executor, home.place.run)
    said.send("done")


def _with(gate: Gateway, make: Callable[[GovernedTool], Simulator]) -> Gateway:
    return replace(gate, governed={name: make(tool) for name, tool in gate.governed.items()})


def _effect(real: GovernedTool, step: str) -> Callable[[Plan, ActionRef], Awaitable[Outcome]]:
    async def effect(plan: Plan, action: ActionRef) -> Outcome:
        if step == "before the effect":
            os.kill(os.getpid(), signal.SIGKILL)
        outcome = await real.execute(plan, action)
        if step == "after the effect":
            os.kill(os.getpid(), signal.SIGKILL)
        return outcome

    return effect


def serve_and_start(said: Connection, home: Home, times: int) -> None:
    """Be a client's server in a process group of its own: start the worker as often as told, and stay."""
    os.setpgid(0, 0)
    gate = open_gateway(home, "server")
    starters = [threading.Thread(target=gate.start_worker) for _ in range(times)]
    for starter in starters:
        starter.start()
    for starter in starters:
        starter.join()
    said.send("started")
    said.recv()


def work_until_idle(said: Connection, home: Home, idle: float) -> None:
    """Be an on-demand worker that does not wait long for more; say when it leaves by itself."""
    vars(keyturn.assembly.worker)["WORKER_IDLE"] = idle
    run_worker(home, on_demand=True)
    said.send("left")


def work_impatiently(_said: Connection, home: Home, patience: float) -> None:
    """Be a worker that does not wait long for what runs once it is told to end."""
    vars(keyturn.assembly.worker)["PATIENCE"] = patience
    run_worker(home, on_demand=False)
