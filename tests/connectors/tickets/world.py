"""A tracker on a real folder, with one ticket as people would have written it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import anyio

from keyturn.connectors.files import Disk
from keyturn.connectors.tickets import NewTicket, TicketChange, Tickets
from keyturn.connectors.tickets.folder import Settings, build
from keyturn.model.outcome import Succeeded
from keyturn.model.tool import ActionRef
from tests.connectors.deployments.processes import DyingDisk, SwiftDisk, together
from tests.connectors.surroundings import world_at

TICKET = """\
---
id: OPS-1
title:   "Checkout is slow"   # since Monday
status: open                  # see the board
watchers: [ann@example.org, bob]
recipients:
  - bob
  - carol@example.org
labels: [shop, urgent]
opened: 2026-11-01
---

It takes *nine* seconds.

## Comment by ann at 2026-11-02T08:00:00.000000Z

Still slow.
"""


def open_port(home: Path, disk: Disk | None = None, **settings: Any) -> Tickets:
    parsed = Settings.model_validate({"kind": "folder", "path": "tickets", **settings})
    return build("ops", parsed, world_at(home), disk=disk)


class World:
    """The folder of one tracker, looked at and written to without the code under test."""

    ticket: str = "OPS-1"
    absent: str = "OPS-2"
    statuses: tuple[str, ...] = ("open", "in progress", "resolved", "closed")
    middle: str = "in progress"
    closing: str = "closed"
    watchers: tuple[str, ...] = ("ann@example.org", "bob", "carol@example.org")
    labels: tuple[str, ...] = ("shop", "urgent")

    def __init__(self, home: Path) -> None:
        self.home = home
        self.root = home / "tickets"
        self.root.mkdir()
        self.path = self.root / "OPS-1.md"
        self.path.write_text(TICKET)
        self.port = open_port(home, SwiftDisk())

    def text(self) -> str:
        return self.path.read_bytes().decode()

    def comments_of(self, action: ActionRef) -> int:
        return self.text().count(f"<!-- keyturn/{action.action} -->")

    def set_status(self, status: str) -> None:
        """Change the status as somebody with an editor does."""
        lines = self.text().split("\n")
        self.path.write_text("\n".join(f"status: {status}" if line.startswith("status:") else line for line in lines))

    def comment(self, text: str) -> None:
        with self.path.open("a") as file:
            file.write(f"\n## Comment by bob at noon\n\n{text}\n")

    def remove(self) -> None:
        self.path.unlink()

    def tickets(self) -> list[str]:
        """Return the ids of all tickets in the order of their numbers."""
        return sorted(
            (path.stem for path in self.root.glob("*.md")), key=lambda name: int(re.sub(r"\D", "", name) or 0)
        )

    def marks(self) -> dict[str, str]:
        folder = self.root / ".keyturn" / "actions"
        return {path.stem: json.loads(path.read_text())["state"] for path in folder.glob("*.json")}

    def staged(self) -> list[str]:
        return sorted(path.name for path in (self.root / ".keyturn" / "staged").iterdir())


def apply_and_say(home: Path, change: TicketChange, action: ActionRef) -> str:
    port = open_port(home)
    together()
    return type(anyio.run(port.apply, change, action)).__name__


def apply_until(home: Path, change: TicketChange, action: ActionRef, step: int) -> None:
    anyio.run(open_port(home, DyingDisk(step, half=True)).apply, change, action)


def probe_until(home: Path, change: TicketChange, action: ActionRef, step: int) -> None:
    anyio.run(open_port(home, DyingDisk(step, half=True)).probe, change, action)


def create_and_say(home: Path, ticket: NewTicket, action: ActionRef) -> str:
    port = open_port(home)
    together()
    outcome = anyio.run(port.create, ticket, action)
    return str(outcome.result["ticket"]) if isinstance(outcome, Succeeded) else str(outcome)


def create_until(home: Path, ticket: NewTicket, action: ActionRef, step: int) -> None:
    anyio.run(open_port(home, DyingDisk(step, half=True)).create, ticket, action)


def probe_creation_until(home: Path, ticket: NewTicket, action: ActionRef, step: int) -> None:
    anyio.run(open_port(home, DyingDisk(step, half=True)).probe_creation, ticket, action)
