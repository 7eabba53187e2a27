"""Checks of what runs and of what is reached: servers, workers, the notice command, the systems acted on."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from keyturn.assembly.boundary import Running
from keyturn.assembly.doctor.finding import Finding, fail, ok, warn
from keyturn.assembly.notifier import Record
from keyturn.assembly.ports import Ports
from keyturn.assembly.wiring import Notify
from keyturn.model.errors import ConnectorError

PATIENCE = 1.0  # seconds for one read of one system
NOBODY = "KEYTURN-0"  # a name that no ticket has


def processes(present: Sequence[Running]) -> Finding:
    """Say what serves the home now."""
    if not present:
        return ok("processes", "none now: clients start servers, and servers start the worker")
    found = sorted(present, key=lambda running: (running.kind, running.pid))
    return ok("processes", ", ".join(f"{one.kind} (pid {one.pid}, {one.account})" for one in found))


def notices(notify: Notify | None, environment: Mapping[str, str], record: Record | None = None) -> Finding:
    """Say whether people are told; the command is looked for, not run, and `record` says how it went so far."""
    if notify is None:
        return ok("notices", "nobody is told: people look with keyturn inbox -w, or set [notify] command")
    program = shutil.which(notify.command[0], path=environment.get("PATH"))
    if program is None:
        return fail("notices", f"{notify.command[0]} is not there or not executable", "nobody is told of anything")
    missing = [word for word in notify.command[1:] if word.startswith("/") and not os.access(Path(word), os.R_OK)]
    if missing:
        return warn("notices", f"{missing[0]}, which [notify] command names, cannot be read", "nobody may be told")
    if record is not None and record.consecutive:
        last = "" if record.last is None else f"; the last one, {record.last.place}: {record.last.why}"
        told = f"failed {record.consecutive} times in a row{last}"
        return warn("notices", told, "people are not told", "docs/how-to/notify-people.md")
    return ok("notices", f"{program} is run for each")


def back_ends(ports: Ports) -> Iterator[Finding]:
    """Read a little of each declared system."""
    for name, forge in ports.forge.items():
        yield ok("back end", f"forge.{name} is {forge.identity.location}")
    for name, deployment in ports.deployments.items():
        for environment in deployment.environments:
            yield _read(f"deployments.{name} {environment}", partial(deployment.snapshot, environment))
    for name, tracker in ports.tickets.items():
        yield _read(f"tickets.{name}", partial(tracker.holds, NOBODY))
    if not (ports.forge or ports.deployments or ports.tickets):
        yield warn("back end", "keyturn.toml declares no system", "no action can be asked for")


def _read(what: str, read: Callable[[], Coroutine[Any, Any, object]]) -> Finding:
    async def bounded() -> None:
        with anyio.fail_after(PATIENCE):
            await read()

    try:
        anyio.run(bounded)
    except TimeoutError:
        return fail("back end", f"{what} does not answer within {PATIENCE:g} s", "its actions fail")
    except ConnectorError as error:
        return fail("back end", f"{what}: {error}", "its actions fail")
    return ok("back end", f"{what} can be read")
