"""A tracker as a folder: one Markdown file with front matter per ticket, `OPS-1.md`.

Nobody is told of a change by this back end itself. The watchers in a ticket are whom a mailer over such a folder
would tell; they are counted as the recipients of a change so that budgets mean the same as with a tracker that mails.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import anyio.to_thread
from pydantic import BaseModel, ConfigDict, Field, field_validator

from keyturn.canon import Json, sha256
from keyturn.connectors.files import Disk, Folder
from keyturn.connectors.journal import FENCED, STATE_FOLDER, Journal, Mark, journal
from keyturn.connectors.tickets import Objection, Preview, Ticket, TicketChange
from keyturn.connectors.tickets.comments import check_comment, mark, section
from keyturn.connectors.tickets.document import MAX_FILE, Document, parse_document, with_section, with_status
from keyturn.connectors.world import World
from keyturn.model.diff import counted, file_diff, net_change
from keyturn.model.errors import ConnectorError
from keyturn.model.outcome import (
    CannotHappen,
    CannotTell,
    Failed,
    Happened,
    Outcome,
    Probe,
    Stale,
    Succeeded,
    Unknown,
)
from keyturn.model.plan import Backend, Inverse
from keyturn.model.text import visible
from keyturn.model.time import action_time, format_timestamp
from keyturn.model.tool import ActionRef

STATUSES = ("open", "in progress", "resolved", "closed")
ATTEMPTS = 5  # an editor that ignores the lock may write between our reading and our rename

_TICKET = re.compile(r"[A-Za-z][A-Za-z0-9]{0,30}-[0-9]{1,9}", re.ASCII)
_STATUS = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 ._-]{0,62}[A-Za-z0-9])?", re.ASCII)


class Settings(BaseModel):
    """`[tickets.<name>]` of the wiring: the folder, and the statuses a ticket may be given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["folder"]
    path: str = Field(min_length=1, max_length=1000)
    statuses: tuple[str, ...] = Field(default=STATUSES, min_length=1, max_length=100)

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
    return TicketFolder(name=name, folder=world.home / settings.path, statuses=settings.statuses, disk=disk or Disk())


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketFolder:
    """One folder of tickets; implements `Tickets`."""

    name: str
    folder: Path
    statuses: tuple[str, ...] = STATUSES
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
            arguments={"ticket": change.ticket, "status": old},
        )

    def _open(self, location: str = "") -> Folder:
        return Folder.open(self.folder, self.name, self.disk, location)

    def _holds(self, ticket: str) -> bool:
        if not _TICKET.fullmatch(ticket):
            return False
        with self._open() as root:
            return root.kind(f"{ticket}.md") is not None

    def _snapshot(self, ticket: str) -> Ticket:
        with self._open() as root:
            _, document = _read(root, ticket)
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
            data, document = _read(root, ticket)
        return self._work_out(TicketChange(ticket=ticket, status=status, comment=comment), data, document)

    def _work_out(self, change: TicketChange, data: bytes, document: Document) -> Preview:
        """Return what a change makes of a ticket that was read; refuses what must not be done."""
        self._check(document, change.status, change.comment)
        words = ActionRef(action="<action>", principal="<principal>")
        diff = file_diff(f"{change.ticket}.md", data, _edited(document, change, words, "<time>")).text
        net = net_change(diff)
        return Preview(
            change=replace(change, facts=_facts(change, document)),
            diff=diff,
            added=counted([line.encode() for line in net.added]),
            removed=counted([line.encode() for line in net.removed]),
            recipients=len(document.watchers),
            guard={"sha256": sha256(data)},
        )

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
            return _Updating(self.name, change, action, refused).run(root, held)

    def _probe(self, change: TicketChange, action: ActionRef) -> Probe:
        try:
            with self._open(change.location) as root:
                if root.kind(f"{change.ticket}.md") is None and root.kind(STATE_FOLDER) is None:
                    return CannotTell(
                        f"{root.at(change.ticket)}: nothing of the tracker is here; is the disk mounted?"
                    )
                with journal(root) as held:
                    return _Updating(self.name, change, action).settle(root, held)
        except ConnectorError as error:
            return CannotTell(str(error))


@dataclass(frozen=True, slots=True)
class _Updating:
    """One action on one ticket, under the folder's lock."""

    tracker: str
    change: TicketChange
    action: ActionRef
    refused: Callable[[bytes, Document], str | None] = lambda data, document: None

    def run(self, root: Folder, held: Journal) -> Outcome:
        """Make the change unless it was made.

        Crash by crash: before `intend` nothing counts. After it, `files` tells from the staged file whether the
        rename happened, so this method or `settle` goes on from there; the `done` mark only adds what was read back.
        """
        found = self._mark(root, held)
        match found.state:
            case "done" | "moved":
                return self._recorded(root, held, found)
            case "fenced":
                return Failed(FENCED)
            case _:
                return self._attempt(root, held, found)

    def settle(self, root: Folder, held: Journal) -> Probe:
        """Return the result of a change that was made; fence one that was not."""
        found = self._mark(root, held)
        match found.state:
            case "done" | "moved":
                return Happened(self._record(root, held, found))
            case "absent" | "prepared":
                held.fence(self.action.action, found, self._body())
                return CannotHappen("it was not done, and a fence keeps a late attempt from doing it")
            case "fenced":
                return CannotHappen(FENCED)

    def _attempt(self, root: Folder, held: Journal, found: Mark) -> Outcome:
        name, intended = f"{self.change.ticket}.md", found.state == "prepared"
        for _ in range(ATTEMPTS):
            seen = self._seen(root)
            if not isinstance(seen, tuple):
                if intended:
                    held.fence(self.action.action, Mark("prepared"), self._body())
                return seen
            data, document = seen
            new = self._written(document)
            held.stage_file(self.action.action, new, _mode(root, name))
            if not intended:
                held.intend(self.action.action, self._body())
                intended = True
            # The lock keeps other Keyturns out, not an editor: compare the whole file once more, then rename.
            if root.read(name, MAX_FILE) == data:
                return self._move(root, held, name, new)
        raise ConnectorError(f"{root.at(name)}: keeps changing", kind="retry", retry_after=30)

    def _seen(self, root: Folder) -> tuple[bytes, Document] | Stale | Failed:
        """Read the ticket; where it must not be changed, say why: facts that moved, or the caller's objection."""
        if root.kind(f"{self.change.ticket}.md") is None:
            return Stale(("ticket",))
        data, document = _read(root, self.change.ticket)
        moved = _moved(document, self.change)
        if moved:
            return Stale(moved)
        refused = self.refused(data, document)
        return (data, document) if refused is None else Failed(refused)

    def _move(self, root: Folder, held: Journal, name: str, new: bytes) -> Outcome:
        try:
            held.move(self.action.action, root, name)
            replaced = root.read(name, MAX_FILE) != new
        except ConnectorError as error:
            return Unknown(f"the change was begun, then: {error}")
        outcome = self._recorded(root, held, Mark("moved"))
        if replaced and isinstance(outcome, Succeeded):
            reason = f"{self.change.ticket} was written and at once replaced from outside Keyturn"
            return Failed(reason, effect=True, result=outcome.result)
        return outcome

    def _written(self, document: Document) -> bytes:
        """Return the new bytes, read again to be sure that they say what was asked and nothing else changed."""
        new = _edited(document, self.change, self.action, format_timestamp(action_time(self.action.action)))
        again = parse_document(new, document.id)
        if again != replace(
            document,
            text=again.text,
            body=again.body,
            status=self.change.status or document.status,
            status_at=again.status_at,
        ):
            raise ConnectorError(f"{document.id}: writing it would change more than was asked")
        return new

    def _mark(self, root: Folder, held: Journal) -> Mark:
        """Find the action's mark; the tag of a comment stands in for one that was lost with `.keyturn/`."""
        found = held.find(self.action.action)
        if found.state == "absent" and self.change.comment is not None:
            data = root.read(f"{self.change.ticket}.md", MAX_FILE) or b""
            if mark(self.action.action).encode() in data:
                return Mark("moved")
        if found.body and found.body.get("change") != _digests(self.change):
            raise ConnectorError(f"action {self.action.action} is marked for another change in {root.place}")
        return found

    def _recorded(self, root: Folder, held: Journal, found: Mark) -> Outcome:
        try:
            return Succeeded(self._record(root, held, found))
        except ConnectorError as error:
            # The change stands. A probe finishes its record once what is in the way is gone.
            return Unknown(f"the change was made, then: {error}")

    def _record(self, root: Folder, held: Journal, found: Mark) -> dict[str, Json]:
        told = found.body.get("result")
        if found.state == "done" and isinstance(told, Mapping):
            return dict(told)
        _, document = _read(root, self.change.ticket)
        result: dict[str, Json] = {
            "tracker": self.tracker,
            "ticket": document.id,
            "status": visible(document.status[:100]),
            "commented": mark(self.action.action) in document.text,
        }
        held.finish(self.action.action, {**self._body(), "result": result})
        return result

    def _body(self) -> dict[str, Json]:
        return {"change": _digests(self.change)}


def _read(root: Folder, ticket: str) -> tuple[bytes, Document]:
    if not _TICKET.fullmatch(ticket):
        raise ConnectorError(f"{visible(ticket)!r} is not a ticket id such as OPS-1")
    name = f"{ticket}.md"
    data = root.read(name, MAX_FILE)
    if data is None:
        raise ConnectorError(f'ticket "{ticket}" is not in {root.place}')
    document = parse_document(data, root.at(name))
    if document.id != ticket:
        raise ConnectorError(f"{root.at(name)}: says that its id is {visible(document.id)!r}")
    return data, document


def _edited(document: Document, change: TicketChange, action: ActionRef, at: str) -> bytes:
    text = document.text if change.status is None else with_status(document, change.status)
    if change.comment is not None:
        text = with_section(text, section(change.comment, action, at))
    data = text.encode("utf-8")
    if len(data) > MAX_FILE:
        raise ConnectorError(f"{document.id}: would be larger than {MAX_FILE} bytes")
    return data


def _facts(change: TicketChange, document: Document) -> dict[str, Json]:
    """Return only what the change and its reach depend on: other people's comments do not void a review."""
    facts: dict[str, Json] = {"ticket": document.id, "recipients": len(document.watchers)}
    if change.status is not None:
        facts["status"] = document.status
    if change.comment is not None:
        facts["exists"] = True
    return facts


def _moved(document: Document, change: TicketChange) -> tuple[str, ...]:
    seen = _facts(change, document)
    return tuple(
        name for name in sorted(seen.keys() | change.facts.keys()) if seen.get(name) != change.facts.get(name)
    )


def _digests(change: TicketChange) -> dict[str, Json]:
    comment = None if change.comment is None else sha256(change.comment.encode("utf-8"))
    return {"ticket": change.ticket, "status": change.status, "comment": comment}


def _mode(root: Folder, name: str) -> int:
    found = root.stat(name)
    return 0o600 if found is None else stat.S_IMODE(found.st_mode)
