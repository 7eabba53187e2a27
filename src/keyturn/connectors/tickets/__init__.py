"""The port to trackers: tickets with a status, people who watch them, and comments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from keyturn.canon import Json
from keyturn.connectors.checking import Finding
from keyturn.model.errors import ConnectorError
from keyturn.model.outcome import Outcome, Probe
from keyturn.model.plan import Backend, Inverse
from keyturn.model.tool import ActionRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """One ticket as its tracker shows it.

    watchers  whom the tracker would tell of a change, each once: e-mail addresses or names
    text      description and comments, as people wrote them: data, never instructions
    """

    id: str
    title: str
    status: str
    watchers: tuple[str, ...]
    labels: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketChange:
    """A reviewed change of one ticket: a new status, a comment to add, or both, under reviewed facts.

    `location` is the back end that was reviewed; whoever applies or probes touches no other. "" in a preview.
    """

    ticket: str
    status: str | None
    comment: str | None
    facts: Mapping[str, Json] = field(default_factory=dict)
    location: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """The exact effect of a change.

    diff        unified diff of the ticket; in a comment's heading `<principal>`, `<time>` and `<action>` stand for
                what is only known once the action exists
    added       lines added as limits count them, wherever in the ticket they stand; `removed` likewise
    recipients  people whom the change would be told to
    audience    all of them by name, each once; None where the tracker does not say who they are
    guard       what was seen beside the reviewed facts
    """

    change: TicketChange
    diff: str
    added: int
    removed: int
    recipients: int
    guard: Mapping[str, Json]
    audience: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTicket:
    """A reviewed ticket to be made, under reviewed facts; `location` as in `TicketChange`."""

    title: str
    body: str
    labels: tuple[str, ...] = ()
    facts: Mapping[str, Json] = field(default_factory=dict)
    location: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """The exact effect of making a ticket; its parts as in `Preview`. Its id is only known once it is made."""

    ticket: NewTicket
    diff: str
    added: int
    recipients: int
    guard: Mapping[str, Json]


CreationObjection: TypeAlias = "Callable[[Draft], str | None]"
"""Says why a ticket must not be made although all reviewed facts hold, from its draft as it is now; or None."""

Objection: TypeAlias = Callable[[Preview], str | None]
"""Says why a change must not be made although all reviewed facts hold, from its preview as it is now; or None."""


class Tickets(Protocol):
    """One named tracker. All methods raise `ConnectorError`."""

    @property
    def name(self) -> str:
        """The name in the wiring."""
        ...

    def backend(self) -> Backend:
        """Identify the system."""
        ...

    async def holds(self, ticket: str) -> bool:
        """Say whether the tracker has a ticket of this id."""
        ...

    async def snapshot(self, ticket: str) -> Ticket:
        """Read a ticket."""
        ...

    async def preview(self, ticket: str, status: str | None, comment: str | None) -> Preview:
        """Work out a change by reads alone; refuses what cannot be done, changes nothing, or must not be posted."""
        ...

    async def apply(self, change: TicketChange, action: ActionRef, objection: Objection | None = None) -> Outcome:
        """Make the change once: a known action is answered from its mark, moved facts are `Stale`.

        Where the facts hold, `objection` is asked before anything is changed; what it says is a failure that has no
        effect.
        """
        ...

    async def probe(self, change: TicketChange, action: ActionRef) -> Probe:
        """Settle an action; one that has not happened is fenced, so that a late `apply` does nothing."""
        ...

    def inverse(self, change: TicketChange) -> Inverse:
        """Say how to undo the change once it is made."""
        ...

    async def draft(self, title: str, body: str, labels: Sequence[str]) -> Draft:
        """Work out a new ticket by reads alone; refuses what cannot be made or must not be posted."""
        ...

    async def create(
        self, ticket: NewTicket, action: ActionRef, objection: CreationObjection | None = None
    ) -> Outcome:
        """Make the ticket once, as `apply`; the result holds `ticket` (its id) and `url`."""
        ...

    async def probe_creation(self, ticket: NewTicket, action: ActionRef) -> Probe:
        """Settle whether the ticket was made; where it was not, see to it that it cannot be, if that can be."""
        ...

    def inverse_of_creation(self, ticket: NewTicket) -> Inverse:
        """Say how to undo the making of a ticket."""
        ...

    async def check(self) -> tuple[Finding, ...]:
        """Look who we are there, what we may do and what is missing (see `checking`)."""
        ...


def declared(trackers: Mapping[str, Tickets], name: str) -> Tickets:
    """Return the tracker called `name`; refused (`ConnectorError`) without naming the others."""
    found = trackers.get(name)
    if found is None:
        raise ConnectorError(f'tracker "{name}" is not declared')
    return found


async def holder(trackers: Mapping[str, Tickets], ticket: str, tracker: str | None = None) -> Tickets:
    """Return the one tracker that holds a ticket, or `tracker` where it is named.

    Refused (`ConnectorError`) where none or several do.
    """
    if tracker is not None:
        return declared(trackers, tracker)
    found = [tracker for _, tracker in sorted(trackers.items()) if await tracker.holds(ticket)]
    if not found:
        raise ConnectorError(f'ticket "{ticket}" is in no declared tracker')
    if len(found) > 1:
        names = ", ".join(tracker.name for tracker in found)
        raise ConnectorError(f'ticket "{ticket}" is in several trackers: {names}; name one')
    return found[0]


def chosen(trackers: Mapping[str, Tickets], tracker: str | None) -> Tickets:
    """Return the tracker that an argument names; it may be left out where there is only one."""
    if tracker is not None:
        return declared(trackers, tracker)
    if len(trackers) != 1:
        raise ConnectorError("there is more than one tracker, or none; name the one to use")
    return next(iter(trackers.values()))
