"""Makes a new ticket in a tracker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from keyturn.connectors.tickets import Draft, NewTicket, Tickets, chosen, declared
from keyturn.model.agreement import disagreeing
from keyturn.model.errors import ConnectorError
from keyturn.model.outcome import CannotTell, Outcome, Probe, Stale
from keyturn.model.plan import Effects, Plan
from keyturn.model.text import visible
from keyturn.model.tool import ActionRef, Earlier
from keyturn.tools.arguments.create_ticket import Arguments
from keyturn.tools.audience import watchers

NEW = "+new"
"""Stands in a target for the ticket to be made; no id of a ticket begins with a plus sign."""


class CreateTicket:
    """`create_ticket` on the trackers declared in the wiring."""

    name = "create_ticket"
    port = "tickets"

    def __init__(self, trackers: Mapping[str, Tickets]) -> None:
        self._trackers = trackers

    async def plan(self, arguments: Arguments, earlier: Earlier) -> Plan:
        """Work out the ticket; what its facts and its guard are, the tracker says."""
        tracker = chosen(self._trackers, arguments.tracker)
        return planned(tracker, await tracker.draft(arguments.title, arguments.body, arguments.labels or ()))

    async def execute(self, plan: Plan, action: ActionRef) -> Outcome:
        """Make the ticket once, if the reviewed facts still hold and the plan shows what it does."""
        tracker = declared(self._trackers, plan.backend.name)
        if tracker.backend() != plan.backend:
            return Stale(_in_words(("backend",)))
        outcome = await tracker.create(_ticket(plan), action, partial(disagreement, plan, tracker))
        return Stale(_in_words(outcome.moved)) if isinstance(outcome, Stale) else outcome

    async def probe(self, plan: Plan, action: ActionRef) -> Probe:
        """Settle whether the ticket was made; where it was not, make sure it cannot be, if that can be."""
        try:
            tracker = declared(self._trackers, plan.backend.name)
            if tracker.backend() != plan.backend:
                return CannotTell(f'tracker "{tracker.name}" is another one now than when this was planned')
            return await tracker.probe_creation(_ticket(plan), action)
        except ConnectorError as error:
            return CannotTell(str(error))


def planned(tracker: Tickets, draft: Draft) -> Plan:
    """Return the plan of a ticket as drafted."""
    ticket = draft.ticket
    labels = f", labels {', '.join(visible(label) for label in ticket.labels)}" if ticket.labels else ""
    return Plan(
        tool=CreateTicket.name,
        target=f"tickets:{tracker.name}/{NEW}",
        backend=tracker.backend(),
        summary=f'Create ticket "{visible(ticket.title)}" in {tracker.name} ({watchers(draft.recipients)}{labels})',
        diff=draft.diff,
        effects=Effects(files_changed=1, lines_changed=draft.added, recipients=draft.recipients),
        view={
            "tracker": tracker.name,
            "title": ticket.title,
            "body": ticket.body,
            "labels": list(ticket.labels),
            "recipients": draft.recipients,
        },
        facts=ticket.facts,
        guard=draft.guard,
        change={"title": ticket.title, "body": ticket.body, "labels": list(ticket.labels)},
        inverse=tracker.inverse_of_creation(ticket),
    )


def disagreement(plan: Plan, tracker: Tickets, draft: Draft) -> str | None:
    """Say what a plan shows that its own ticket, drafted again, does not; None when all of it follows."""
    return disagreeing(plan, planned(tracker, draft))


def _in_words(moved: Sequence[str]) -> tuple[str, ...]:
    """Say of each fact that differs what was reviewed."""
    words = {
        "backend": "the tracker is declared as another system than the one that was reviewed",
        "recipients": "another number of people would be told than at the review",
        "labels": "the labels are not there any more as they were at the review",
        "prefix": "new tickets are numbered in another way than at the review",
        "status": "new tickets get another status than at the review",
    }
    return tuple(words.get(name, name) for name in moved)


def _ticket(plan: Plan) -> NewTicket:
    labels = plan.change["labels"]
    if not isinstance(labels, Sequence) or isinstance(labels, str):
        raise ConnectorError("the plan's labels are not a list")
    return NewTicket(
        title=str(plan.change["title"]),
        body=str(plan.change["body"]),
        labels=tuple(str(label) for label in labels),
        facts=plan.facts,
        location=plan.backend.location,
    )


TOOL = CreateTicket
