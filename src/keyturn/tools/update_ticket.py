"""Sets the status of a ticket, adds a comment, or both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from keyturn.canon import Json
from keyturn.connectors.tickets import Preview, TicketChange, Tickets, declared, holder
from keyturn.model.agreement import disagreeing
from keyturn.model.diff import net_change
from keyturn.model.errors import ConnectorError
from keyturn.model.outcome import CannotTell, Outcome, Probe, Stale
from keyturn.model.plan import Effects, Plan
from keyturn.model.text import visible
from keyturn.model.tool import ActionRef, Earlier
from keyturn.tools.arguments.update_ticket import Arguments
from keyturn.tools.audience import watchers


class UpdateTicket:
    """`update_ticket` on the trackers declared in the wiring; where none is named, each is asked for the ticket."""

    name = "update_ticket"
    port = "tickets"

    def __init__(self, trackers: Mapping[str, Tickets]) -> None:
        self._trackers = trackers

    async def plan(self, arguments: Arguments, earlier: Earlier) -> Plan:
        """Work out the change.

        Reviewed facts are the ticket, how many people watch it, its status where that is to change, and its being
        there for a comment; the guard is the digest of the whole ticket.
        """
        tracker = await holder(self._trackers, arguments.ticket, arguments.tracker)
        return planned(tracker, await tracker.preview(arguments.ticket, arguments.status, arguments.comment))

    async def execute(self, plan: Plan, action: ActionRef) -> Outcome:
        """Change the ticket once, if the reviewed facts still hold and the plan shows what it does."""
        tracker = declared(self._trackers, plan.backend.name)
        if tracker.backend() != plan.backend:
            return Stale(_in_words(("backend",), plan))
        outcome = await tracker.apply(_change(plan), action, partial(disagreement, plan, tracker))
        return Stale(_in_words(outcome.moved, plan)) if isinstance(outcome, Stale) else outcome

    async def probe(self, plan: Plan, action: ActionRef) -> Probe:
        """Settle whether the ticket was changed; where it was not, make sure it cannot be any more."""
        try:
            tracker = declared(self._trackers, plan.backend.name)
            if tracker.backend() != plan.backend:
                return CannotTell(f'tracker "{tracker.name}" is another one now than when this was planned')
            return await tracker.probe(_change(plan), action)
        except ConnectorError as error:
            return CannotTell(str(error))


def planned(tracker: Tickets, preview: Preview) -> Plan:
    """Return the plan of a change as previewed."""
    change = preview.change
    return Plan(
        tool=UpdateTicket.name,
        target=f"tickets:{tracker.name}/{change.ticket}",
        backend=tracker.backend(),
        summary=_summary(preview),
        diff=preview.diff,
        effects=Effects(
            files_changed=1, lines_changed=preview.added + preview.removed, recipients=preview.recipients
        ),
        view={"status": change.status, "comment": change.comment is not None, **_told(preview)},
        facts=change.facts,
        guard=preview.guard,
        change={"ticket": change.ticket, "status": change.status, "comment": change.comment},
        inverse=tracker.inverse(change),
    )


def _told(preview: Preview) -> dict[str, Json]:
    """Say whom the change is told to: how many, and who they are where the tracker says so."""
    count: dict[str, Json] = {"recipients": preview.recipients}
    return count if preview.audience is None else {**count, "audience": list(preview.audience)}


def disagreement(plan: Plan, tracker: Tickets, preview: Preview) -> str | None:
    """Say what a plan shows that its own change, previewed again, does not; None when all of it follows.

    Others may have written into the ticket since: that moves where the change stands in it, and not what it changes.
    """
    again = planned(tracker, preview)
    same = net_change(plan.diff) == net_change(again.diff)
    return disagreeing(plan, replace(again, diff=plan.diff) if same else again)


def _in_words(moved: Sequence[str], plan: Plan) -> tuple[str, ...]:
    """Say of each fact that differs what was reviewed."""
    words = {
        "backend": "the tracker is declared as another system than the one that was reviewed",
        "status": f"the ticket's status is no longer {visible(str(plan.facts.get('status')))!r}",
        "ticket": "the ticket is not there any more",
        "issue": "another ticket has this number now: another repository has taken the name",
        "unlocked": "the ticket's conversation has been locked since the review",
        "recipients": "another number of people watch the ticket than at the review",
    }
    return tuple(words.get(name, name) for name in moved)


def _change(plan: Plan) -> TicketChange:
    status, comment = plan.change["status"], plan.change["comment"]
    return TicketChange(
        ticket=str(plan.change["ticket"]),
        status=None if status is None else str(status),
        comment=None if comment is None else str(comment),
        facts=plan.facts,
        location=plan.backend.location,
    )


def _summary(preview: Preview) -> str:
    change, parts = preview.change, []
    if change.status is not None:
        parts.append(f"set {change.ticket} from {visible(str(change.facts['status']))!r} to {change.status!r}")
    if change.comment is not None:
        parts.append(f"comment on {change.ticket}")
    text = " and ".join(parts)
    return f"{text[0].upper()}{text[1:]} ({watchers(preview.recipients)})"


TOOL = UpdateTicket
