"""Changes one ticket file, once, under the folder's lock."""

from __future__ import annotations

import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from keyturn.canon import Json, sha256
from keyturn.connectors.files import Folder
from keyturn.connectors.journal import FENCED, Journal, Mark
from keyturn.connectors.tickets import Preview, TicketChange
from keyturn.connectors.tickets.comments import section, tag_of
from keyturn.connectors.tickets.document import MAX_FILE, Document, parse_document, with_section, with_status
from keyturn.connectors.tickets.folder.reading import SUFFIX, read_ticket
from keyturn.model.diff import counted, file_diff, net_change
from keyturn.model.errors import ConnectorError
from keyturn.model.outcome import (
    CannotHappen,
    Failed,
    Happened,
    Outcome,
    Probe,
    Stale,
    Succeeded,
    Unknown,
    differing,
)
from keyturn.model.text import visible
from keyturn.model.time import action_time, format_timestamp
from keyturn.model.tool import ActionRef

ATTEMPTS = 5  # an editor that ignores the lock may write between our reading and our rename


def worked_out(change: TicketChange, data: bytes, document: Document) -> Preview:
    """Return what a change that may be made makes of a ticket that was read."""
    words = ActionRef(action="<action>", principal="<principal>")
    diff = file_diff(f"{change.ticket}{SUFFIX}", data, edited(document, change, words, "<time>")).text
    net = net_change(diff)
    return Preview(
        change=replace(change, facts=facts_of(change, document)),
        diff=diff,
        added=counted([line.encode() for line in net.added]),
        removed=counted([line.encode() for line in net.removed]),
        recipients=len(document.watchers),
        audience=document.watchers,
        guard={"sha256": sha256(data)},
    )


@dataclass(frozen=True, slots=True)
class Updating:
    """One action on one ticket, under the folder's lock."""

    tracker: str
    change: TicketChange
    action: ActionRef
    refused: Callable[[bytes, Document], str | None] = lambda data, document: None

    def run(self, root: Folder, held: Journal) -> Outcome:
        """Make the change unless it was made.

        Crash by crash: before `intend` nothing counts. After it, `journal` tells from the staged file whether the
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
        name, intended = f"{self.change.ticket}{SUFFIX}", found.state == "prepared"
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
        if root.kind(f"{self.change.ticket}{SUFFIX}") is None:
            return Stale(("ticket",))
        data, document = read_ticket(root, self.change.ticket)
        moved = differing(facts_of(self.change, document), self.change.facts)
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
        new = edited(document, self.change, self.action, format_timestamp(action_time(self.action.action)))
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
            data = root.read(f"{self.change.ticket}{SUFFIX}", MAX_FILE) or b""
            if tag_of(self.action.action).encode() in data:
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
        _, document = read_ticket(root, self.change.ticket)
        result: dict[str, Json] = {
            "tracker": self.tracker,
            "ticket": document.id,
            "status": visible(document.status[:100]),
            "commented": tag_of(self.action.action) in document.text,
        }
        held.finish(self.action.action, {**self._body(), "result": result})
        return result

    def _body(self) -> dict[str, Json]:
        return {"change": _digests(self.change)}


def edited(document: Document, change: TicketChange, action: ActionRef, at: str) -> bytes:
    """Return the bytes of a ticket after a change; refused where they would be too many."""
    text = document.text if change.status is None else with_status(document, change.status)
    if change.comment is not None:
        text = with_section(text, section(change.comment, action, at))
    data = text.encode("utf-8")
    if len(data) > MAX_FILE:
        raise ConnectorError(f"{document.id}: would be larger than {MAX_FILE} bytes")
    return data


def facts_of(change: TicketChange, document: Document) -> dict[str, Json]:
    """Return only what the change and its reach depend on: other people's comments do not void a review."""
    facts: dict[str, Json] = {"ticket": document.id, "recipients": len(document.watchers)}
    if change.status is not None:
        facts["status"] = document.status
    if change.comment is not None:
        facts["exists"] = True
    return facts


def _digests(change: TicketChange) -> dict[str, Json]:
    comment = None if change.comment is None else sha256(change.comment.encode("utf-8"))
    return {"ticket": change.ticket, "status": change.status, "comment": comment}


def _mode(root: Folder, name: str) -> int:
    found = root.stat(name)
    return 0o600 if found is None else stat.S_IMODE(found.st_mode)
