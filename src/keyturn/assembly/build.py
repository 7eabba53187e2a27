"""Building a gateway over a home, and starting the worker that executes for it."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from keyturn import canon
from keyturn.assembly.home import Home
from keyturn.assembly.outside import entropy, environment, new_action_id, new_instance, surroundings
from keyturn.assembly.ports import build_ports, build_tools
from keyturn.assembly.wiring import Wiring, read_wiring
from keyturn.contracts import Catalog, catalog_of, changes, check_pins, disagreements, read_catalog
from keyturn.fold.state import State
from keyturn.gateway.core import Gateway, Look, PolicyShelf
from keyturn.gateway.execute import Executor
from keyturn.ledger.lock import take_instance
from keyturn.ledger.writer import Ledger, Reader, Watcher
from keyturn.model.errors import ConfigurationError, LedgerError
from keyturn.tools.arguments import models

WORKER_LOCK = "worker"
MAX_LOG = 1024 * 1024
WORKER_IDLE = 10  # seconds an on-demand worker stays without work


@dataclass(frozen=True, slots=True)
class Standing:
    """A read-only look at a home: its wiring, contracts and followed ledger."""

    home: Home
    catalog: Catalog
    reader: Reader[State]
    policies: PolicyShelf


def open_gateway(home: Home, program: str) -> Gateway:
    """Build everything for a process that takes actions along their path.

    Raises `ConfigurationError` (all problems of wiring and contracts) or `LedgerError`.
    """
    _require_founded(home)
    wiring = read_wiring(home.wiring)
    catalog = read_own_catalog(home)
    tools = build_tools(build_ports(wiring, home.folder, environment()))
    return Gateway(
        ledger=Ledger(home.place, State, surroundings(program)),
        catalog=catalog,
        models=models(),
        governed=tools.governed,
        reading=tools.reading,
        reach=tools.reach,
        new_id=new_action_id,
        entropy=entropy,
        watch=lambda: Watcher(home.place),
        start_worker=worker_starter(home),
        policies=PolicyShelf(catalog),
    )


def open_standing(home: Home, program: str) -> Standing:
    """Open a home for reading: no keys, no lock, no back ends."""
    _require_founded(home)
    catalog = read_own_catalog(home)
    return Standing(home, catalog, Reader(home.place, State, surroundings(program)), PolicyShelf(catalog))


def open_ledger(home: Home, program: str) -> Ledger[State]:
    """Open the ledger of a home for writing, without back ends."""
    _require_founded(home)
    return Ledger(home.place, State, surroundings(program))


def read_home_wiring(home: Home) -> Wiring:
    """Read a home's wiring."""
    return read_wiring(home.wiring)


def read_own_catalog(home: Home) -> Catalog:
    """Read the contracts of a home and prove that this program enforces exactly them.

    Raises `ConfigurationError` with each difference.
    """
    catalog = read_catalog(home.schemas)
    known = models()
    problems = [
        f"{home.schemas.name}/{tool}: {difference}"
        for tool, contract in catalog.contracts.items()
        for difference in (
            disagreements(contract, known[tool]) if tool in known else ("this program has no such tool",)
        )
    ]
    if problems:
        raise ConfigurationError(*problems)
    return catalog


def check_consent(gate: Gateway) -> None:
    """Refuse to serve unless the contracts are those that the policy in force pins and the ledger published.

    Raises `ConfigurationError` with the differences and the command that mends them.
    """

    def look(view: Look) -> list[str]:
        catalog = view.state.catalog
        if catalog is None:
            raise LedgerError("the ledger publishes no contracts; make a home with `keyturn init`")
        if catalog.digest == gate.catalog.digest:
            return check_pins(gate.catalog, gate.policies.in_force(view).pins())
        texts = published_texts(view, catalog.seq)
        published = catalog_of(texts).contracts
        found = [
            f"tool_schemas/{tool}: {difference}"
            for tool, contract in gate.catalog.contracts.items()
            for difference in (
                changes(published[tool], contract) if tool in published else ("it was not published before",)
            )
        ]
        return [
            *(found or ["tool_schemas: the files are not the published ones"]),
            "to consent to them: keyturn policy pin, then keyturn policy activate -m REASON",
        ]

    if problems := gate.ledger.look(look):
        raise ConfigurationError(*problems)


def published_texts(view: Look, seq: int) -> dict[str, str]:
    """Return the texts of the contracts that entry `seq` published."""
    payload = view.payload(view.entry(seq), "catalog.files")
    files = canon.decode_object(payload or b"{}")
    return {name: str(text) for name, text in files.items()}


def become_executor(home: Home) -> Executor:
    """Take a new instance lock for this process; it proves to others that its intents are alive."""
    instance = new_instance()
    lock = take_instance(home.place.run, instance)
    if lock is None:
        raise LedgerError(f"instance {instance} is taken")
    return Executor(instance, lock)


def take_worker_turn(home: Home) -> Callable[[], None] | None:
    """Take the place of the one on-demand worker; returns how to give it up, or None while another has it."""
    lock = take_instance(home.place.run, WORKER_LOCK)
    return None if lock is None else lock.release


def worker_starter(home: Home) -> Callable[[], None]:
    """Return what starts a worker for `home` unless one is there.

    The worker runs in a session of its own: a client that kills the server's process group does not reach it.
    """

    started: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        started[:] = [worker for worker in started if worker.poll() is None]  # reaps those that have ended
        if _worker_is_there(home.place.run / WORKER_LOCK):
            return
        command = [sys.executable, "-m", "keyturn", "--home", str(home.folder), "worker", "--on-demand"]
        with _worker_log(home) as log:
            worker = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=home.folder,
                env={name: value for name, value in environment().items() if name != "KEYTURN_TOKEN"},
            )
        started.append(worker)

    return start


def _worker_log(home: Home) -> BinaryIO:
    path = home.place.run / "worker.log"
    too_long = path.exists() and path.stat().st_size > MAX_LOG
    descriptor = os.open(
        path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (os.O_TRUNC if too_long else os.O_APPEND), 0o600
    )
    return os.fdopen(descriptor, "wb")


def _worker_is_there(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _require_founded(home: Home) -> None:
    if not home.founded:
        raise ConfigurationError(f"{home.folder} has no ledger yet; found it with: keyturn init {home.folder}")
