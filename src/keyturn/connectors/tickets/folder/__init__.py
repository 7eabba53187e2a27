"""A tracker as a folder: one Markdown file with front matter per ticket, `OPS-1.md`.

Nobody is told of a change by this back end itself. The watchers in a ticket are whom a mailer over such a folder
would tell; they are counted as the recipients of a change so that budgets mean the same as with a tracker that mails.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import anyio.to_thread
from pydantic import BaseModel, ConfigDict, Field, field_validator

from keyturn.connectors.checking import Finding
from keyturn.connectors.files import Disk, Folder
from keyturn.connectors.journal import STATE_FOLDER, journal
from keyturn.connectors.tickets import (
    CreationObjection,
    Draft,
    NewTicket,
    Objection,
    Preview,
    Ticket,
    TicketChange,
)
from keyturn.connectors.tickets.comments import check_comment
from keyturn.connectors.tickets.document import Document
from keyturn.connectors.tickets.folder.creating import Creating, drafted
from keyturn.connectors.tickets.folder.looking import look
from keyturn.connectors.tickets.folder.numbers import deduced_prefix
from keyturn.connectors.tickets.folder.reading import SUFFIX, is_ticket, read_ticket, ticket_files
from keyturn.connectors.tickets.folder.updating import Updating, worked_out
from keyturn.connectors.world import World
from keyturn.model.errors import ConnectorError
from keyturn.model.outcome import CannotTell, Outcome, Probe
from keyturn.model.plan import Backend, Inverse, from_result
from keyturn.model.text import visible
from keyturn.model.tool import ActionRef

STATUSES = ("open", "in progress", "resolved", "closed")
CLOSING = ("closed", "done", "resolved", "cancelled", "canceled", "rejected")
"""Words for the status of a ticket that is closed, the best one first: what undoes the making of a ticket."""

_STATUS = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 ._-]{0,62}[A-Za-z0-9])?", re.ASCII)


class Settings(BaseModel):
    """`[tickets.<name>]` of the wiring: the folder, the statuses a ticket may be given, the prefix of new ids.

    A new ticket gets the first of the statuses, and without `prefix` the one that all files there have.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["folder"]
    path: str = Field(min_length=1, max_length=1000)
    statuses: tuple[str, ...] = Field(default=STATUSES, min_length=1, max_length=100)
    prefix: str | None = Field(default=None, pattern=r"^[A-Za-z][A-Za-z0-9]{0,30}$")

    @field_validator("statuses")
    @classmethod
    def _spelled(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for status in value:
            if not _STATUS.fullmatch(status):
                raise ValueError(f"{visible(status)!r} is not a status (letters, digits, spaces, `.`, `_`, `-`)")
        if len(set(value)) != len(value):
            raise ValueError("a status stands twice")
        return value


def build(name: str, settings: Settings, world: World, *, disk: Disk | None = None) -> TicketFolder:
    """Build the back end; a relative path is below the home."""
    return TicketFolder(
        name=name,
        folder=world.home / settings.path,
        statuses=settings.statuses,
        prefix=settings.prefix,
        disk=disk or Disk(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketFolder:
    """One folder of tickets; implements `Tickets`."""

    name: str
    folder: Path
    statuses: tuple[str, ...] = STATUSES
    prefix: str | None = None
    disk: Disk = field(default_factory=Disk)

    def backend(self) -> Backend:
        """Identify the tracker by the real path of its folder."""
        location = os.path.realpath(self.folder)
        return Backend(port="tickets", name=self.name, kind="folder", location=location)

    async def holds(self, ticket: str) -> bool:
        """Say whether there is a file of the ticket's name; whether it is a sound ticket shows when it is read."""
        return await anyio.to_thread.run_sync(self._holds, ticket)

    async def snapshot(self, ticket: str) -> Ticket:
        """Read a ticket."""
        return await anyio.to_thread.run_sync(self._snapshot, ticket)

    async def preview(self, ticket: str, status: str | None, comment: str | None) -> Preview:
        """Work out a change; nothing is written, not even the lock file."""
        return await anyio.to_thread.run_sync(self._preview, ticket, status, comment)

    async def apply(self, change: TicketChange, action: ActionRef, objection: Objection | None = None) -> Outcome:
        """Rewrite the file once. The thread is never abandoned: cancelling the task waits for it."""
        return await anyio.to_thread.run_sync(self._apply, change, action, objection)

    async def probe(self, change: TicketChange, action: ActionRef) -> Probe:
        """Settle an action, finishing the record of one that died after its rename."""
        return await anyio.to_thread.run_sync(self._probe, change, action)

    def inverse(self, change: TicketChange) -> Inverse:
        """A status can be set back; a comment stays."""
        old = change.facts.get("status")
        stays = " The comment stays; add another that corrects it." if change.comment is not None else ""
        if not isinstance(old, str):
            return Inverse(summary=stays.strip())
        if old not in self.statuses:
            return Inverse(summary=f"Its status was {visible(old)!r}, which cannot be set here any more.{stays}")
        return Inverse(
            summary=f"Set {change.ticket} back to {old}.{stays}",
            tool="update_ticket",
            arguments={"tracker": self.name, "ticket": change.ticket, "status": old},
        )

    async def draft(self, title: str, body: str, labels: Sequence[str]) -> Draft:
        """Work out a new ticket; nothing is written, not even the lock file."""
        ticket = NewTicket(title=title, body=body, labels=tuple(labels))
        return await anyio.to_thread.run_sync(self._draft, ticket)

    async def create(
        self, ticket: NewTicket, action: ActionRef, objection: CreationObjection | None = None
    ) -> Outcome:
        """Write the file once. The thread is never abandoned: cancelling the task waits for it."""
        return await anyio.to_thread.run_sync(self._create, ticket, action, objection)

    async def probe_creation(self, ticket: NewTicket, action: ActionRef) -> Probe:
        """Settle an action, finishing the record of one that died after its rename."""
        return await anyio.to_thread.run_sync(self._probe_creation, ticket, action)

    def inverse_of_creation(self, ticket: NewTicket) -> Inverse:
        """A ticket is never removed; it is closed, where there is a status for that."""
        del ticket
        closed = next((status for word in CLOSING for status in self.statuses[1:] if status.lower() == word), None)
        if closed is None:
            return Inverse(summary="The ticket stays: none of the statuses here is known to mean that it is closed.")
        return Inverse(
            summary=f"Set the new ticket to {closed}; its file stays.",
            tool="update_ticket",
            arguments={"tracker": self.name, "ticket": from_result("ticket"), "status": closed},
        )

    async def check(self) -> tuple[Finding, ...]:
        """Look whether the folder is there and usable, and how many of its tickets are not."""
        return await anyio.to_thread.run_sync(look, self.folder, self.name, self.prefix)

    def _open(self, location: str = "") -> Folder:
        return Folder.open(self.folder, self.name, self.disk, location)

    def _holds(self, ticket: str) -> bool:
        if not is_ticket(ticket):
            return False
        with self._open() as root:
            return root.kind(f"{ticket}{SUFFIX}") is not None

    def _snapshot(self, ticket: str) -> Ticket:
        with self._open() as root:
            _, document = read_ticket(root, ticket)
        return Ticket(
            id=document.id,
            title=document.title,
            status=document.status,
            watchers=document.watchers,
            labels=document.labels,
            text=document.body.lstrip("\r\n"),
        )

    def _preview(self, ticket: str, status: str | None, comment: str | None) -> Preview:
        with self._open() as root:
            data, document = read_ticket(root, ticket)
        return self._work_out(TicketChange(ticket=ticket, status=status, comment=comment), data, document)

    def _work_out(self, change: TicketChange, data: bytes, document: Document) -> Preview:
        """Return what a change makes of a ticket that was read; refuses what must not be done."""
        self._check(document, change.status, change.comment)
        return worked_out(change, data, document)

    def _check(self, document: Document, status: str | None, comment: str | None) -> None:
        if status is None and comment is None:
            raise ConnectorError("nothing to change: give a status, a comment or both")
        if status is not None and status not in self.statuses:
            raise ConnectorError(f'"{visible(status)}" is not a status here; use one of: {", ".join(self.statuses)}')
        if status == document.status:
            more = "; leave the status out to only comment" if comment is not None else ": nothing to do"
            raise ConnectorError(f'{document.id} has the status "{status}" already{more}')
        if comment is not None:
            check_comment(comment)

    def _apply(self, change: TicketChange, action: ActionRef, objection: Objection | None) -> Outcome:
        def refused(data: bytes, document: Document) -> str | None:
            preview = self._work_out(change, data, document)
            return objection(preview) if objection else None

        with self._open(change.location) as root, journal(root) as held:
            return Updating(self.name, change, action, refused).run(root, held)

    def _probe(self, change: TicketChange, action: ActionRef) -> Probe:
        try:
            with self._open(change.location) as root:
                if root.kind(f"{change.ticket}{SUFFIX}") is None and root.kind(STATE_FOLDER) is None:
                    return _nothing_here(root.at(change.ticket))
                with journal(root) as held:
                    return Updating(self.name, change, action).settle(root, held)
        except ConnectorError as error:
            return CannotTell(str(error))

    def _draft(self, ticket: NewTicket) -> Draft:
        with self._open() as root:
            prefix = self._prefix(root)
            if prefix is None:
                raise ConnectorError(
                    f"{root.place}: which ids new tickets get cannot be told from the files there; the operator sets "
                    f'one, such as prefix = "OPS", in [tickets.{self.name}]'
                )
            return drafted(root, ticket, prefix, self.statuses[0])

    def _prefix(self, root: Folder) -> str | None:
        return self.prefix or deduced_prefix(root)

    def _create(self, ticket: NewTicket, action: ActionRef, objection: CreationObjection | None) -> Outcome:
        def refused(draft: Draft) -> str | None:
            return objection(draft) if objection else None

        with self._open(ticket.location) as root, journal(root) as held:
            return Creating(
                ticket=ticket,
                action=action,
                prefix=self._prefix(root),
                status=self.statuses[0],
                refused=refused,
            ).run(root, held)

    def _probe_creation(self, ticket: NewTicket, action: ActionRef) -> Probe:
        try:
            with self._open(ticket.location) as root:
                if not ticket_files(root) and root.kind(STATE_FOLDER) is None:
                    return _nothing_here(root.place)
                with journal(root) as held:
                    return Creating(ticket=ticket, action=action).settle(root, held)
        except ConnectorError as error:
            return CannotTell(str(error))


def _nothing_here(place: str) -> CannotTell:
    return CannotTell(f"{place}: nothing of the tracker is here; is the disk mounted?")
