"""Makes one ticket file, once, under the folder's lock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from keyturn.canon import Json, encode, sha256
from keyturn.connectors.files import Folder
from keyturn.connectors.journal import FENCED, Journal, Mark
from keyturn.connectors.tickets import Draft, NewTicket
from keyturn.connectors.tickets.comments import check_new, opening, tag_of
from keyturn.connectors.tickets.document import MAX_FILE, new_document
from keyturn.connectors.tickets.folder.numbers import ever_given, give_number, highest
from keyturn.connectors.tickets.folder.reading import SUFFIX, ticket_files
from keyturn.model.diff import file_diff
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
from keyturn.model.tool import ActionRef


def drafted(root: Folder, ticket: NewTicket, prefix: str, status: str) -> Draft:
    """Return what making a ticket makes of the folder; refuses what must not be written.

    In its diff `<number>`, `<principal>` and `<action>` stand for what is not known yet.
    """
    check_new(ticket.title, ticket.body, ticket.labels)
    words = ActionRef(action="<action>", principal="<principal>")
    diff = file_diff(f"{prefix}-<number>{SUFFIX}", None, _written(ticket, f"{prefix}-<number>", status, words))
    return Draft(
        ticket=replace(ticket, facts=creation_facts(prefix, status)),
        diff=diff.text,
        added=diff.counted_added,
        recipients=0,
        guard={"highest": highest(root, prefix)},
    )


def creation_facts(prefix: str | None, status: str) -> dict[str, Json]:
    """Return what a new ticket depends on: other tickets that come and go do not void a review."""
    return {"prefix": prefix, "status": status, "recipients": 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Creating:
    """One ticket to be made. `prefix` and `status` are those in force now, which the reviewed ones must equal."""

    ticket: NewTicket
    action: ActionRef
    prefix: str | None = None
    status: str = ""
    refused: Callable[[Draft], str | None] = lambda draft: None

    def run(self, root: Folder, held: Journal) -> Outcome:
        """Make the ticket unless it was made.

        Crash by crash: a number that was given and not used is wasted. Before `intend` nothing else counts; the
        intent holds the id, so that from then on the staged file tells whether the rename happened, and the intent
        which ticket came of it, whatever people do with the file afterwards.
        """
        found = self._mark(root, held)
        match found.state:
            case "done" | "moved":
                return self._recorded(held, found)
            case "fenced":
                return Failed(FENCED)
            case _:
                return self._attempt(root, held, found)

    def settle(self, root: Folder, held: Journal) -> Probe:
        """Return the ticket that was made; fence one that was not."""
        found = self._mark(root, held)
        match found.state:
            case "done" | "moved":
                return Happened(self._record(held, found))
            case "absent" | "prepared":
                held.fence(self.action.action, found, self._body())
                return CannotHappen("it was not made, and a fence keeps a late attempt from making it")
            case "fenced":
                return CannotHappen(FENCED)

    def _attempt(self, root: Folder, held: Journal, found: Mark) -> Outcome:
        against = self._against(root)
        if against is not None:
            self._leave(held, found)
            return against
        ticket = found.body.get("ticket")
        if not isinstance(ticket, str):
            ticket = f"{self.prefix}-{give_number(root, str(self.prefix))}"
        data = _written(self.ticket, ticket, self.status, self.action)
        held.stage_file(self.action.action, data, 0o644)
        if found.state == "absent":
            held.intend(self.action.action, self._body(ticket))
        # The lock keeps other Keyturns out, not an editor: look once more that the name is free, then rename.
        if root.kind(f"{ticket}{SUFFIX}") is not None:
            self._leave(held, Mark("prepared"))
            return Failed(f"somebody else made {ticket} at the same moment; ask again")
        return self._move(root, held, ticket, data)

    def _against(self, root: Folder) -> Outcome | None:
        moved = differing(creation_facts(self.prefix, self.status), self.ticket.facts)
        if moved or self.prefix is None:
            return Stale(moved or ("prefix",))
        objection = self.refused(drafted(root, self.ticket, self.prefix, self.status))
        return None if objection is None else Failed(objection)

    def _leave(self, held: Journal, found: Mark) -> None:
        """Give up an action that has an intent: it must not seem to go on."""
        if found.state == "prepared":
            held.fence(self.action.action, found, self._body())

    def _move(self, root: Folder, held: Journal, ticket: str, data: bytes) -> Outcome:
        name = f"{ticket}{SUFFIX}"
        try:
            held.move(self.action.action, root, name)
            replaced = root.read(name, MAX_FILE) != data
        except ConnectorError as error:
            return Unknown(f"the ticket was begun, then: {error}")
        outcome = self._recorded(held, Mark("moved", self._body(ticket)))
        if replaced and isinstance(outcome, Succeeded):
            reason = f"{ticket} was written and at once replaced from outside Keyturn"
            return Failed(reason, effect=True, result=outcome.result)
        return outcome

    def _mark(self, root: Folder, held: Journal) -> Mark:
        """Find the action's mark; where the journal was lost with `.keyturn/`, the tag in a ticket stands in."""
        found = held.find(self.action.action)
        if found.state == "absent" and not ever_given(root):
            tag = tag_of(self.action.action).encode()
            for name in ticket_files(root):
                if root.kind(name) == "file" and tag in (root.read(name, MAX_FILE) or b""):
                    return Mark("moved", self._body(name.removesuffix(SUFFIX)))
        if found.body and found.body.get("change") != self._body()["change"]:
            raise ConnectorError(f"action {self.action.action} is marked for another change in {root.place}")
        return found

    def _recorded(self, held: Journal, found: Mark) -> Outcome:
        try:
            return Succeeded(self._record(held, found))
        except ConnectorError as error:
            # The ticket stands. A probe finishes its record once what is in the way is gone.
            return Unknown(f"the ticket was made, then: {error}")

    def _record(self, held: Journal, found: Mark) -> dict[str, Json]:
        ticket = found.body.get("ticket")
        if not isinstance(ticket, str):
            raise ConnectorError(f"{held.actions.at(self.action.action)}: does not say which ticket was made")
        if found.state != "done":
            held.finish(self.action.action, self._body(ticket))
        return {"ticket": ticket, "url": None}

    def _body(self, ticket: str | None = None) -> dict[str, Json]:
        new = self.ticket
        said: dict[str, Json] = {"title": new.title, "body": new.body, "labels": list(new.labels)}
        made: dict[str, Json] = {} if ticket is None else {"ticket": ticket}
        return {"change": {"new": sha256(encode(said))}, **made}


def _written(ticket: NewTicket, id_: str, status: str, action: ActionRef) -> bytes:
    words = f"\n{ticket.body.rstrip()}\n" if ticket.body.strip() else ""
    body = f"{opening(action)}\n{words}"
    return new_document(ticket=id_, title=ticket.title, status=status, labels=ticket.labels, body=body)
