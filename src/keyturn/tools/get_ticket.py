"""Reads a ticket: its status, labels and what people wrote there."""

from __future__ import annotations

from collections.abc import Mapping

from keyturn.canon import Json
from keyturn.connectors.tickets import Tickets, declared, holder
from keyturn.model.plan import Plan
from keyturn.model.text import visible
from keyturn.model.tool import Earlier
from keyturn.tools.arguments.get_ticket import Arguments

MAX_TEXT = 16_000
"""Characters of description and comments told; from a longer text the middle is left out."""

MAX_LABELS = 50


class GetTicket:
    """`get_ticket` on the trackers declared in the wiring; where none is named, each is asked for the ticket."""

    name = "get_ticket"
    port = "tickets"

    def __init__(self, trackers: Mapping[str, Tickets]) -> None:
        self._trackers = trackers

    async def locate(self, arguments: Arguments, earlier: Earlier) -> Plan:
        """Find the tracker that holds the ticket, without opening it."""
        tracker = await holder(self._trackers, arguments.ticket, arguments.tracker)
        return Plan(
            tool=self.name,
            target=f"tickets:{tracker.name}/{arguments.ticket}",
            backend=tracker.backend(),
            summary=f"Read {arguments.ticket}",
            change={"ticket": arguments.ticket},
        )

    async def read(self, plan: Plan, arguments: Arguments) -> Mapping[str, Json]:
        """Return the ticket. Watchers are counted, not named: addresses are no business of an assistant."""
        tracker = declared(self._trackers, plan.backend.name)
        ticket = await tracker.snapshot(str(plan.change["ticket"]))
        text = visible(ticket.text.replace("\r\n", "\n"), keep="\n\t")
        return {
            "tracker": tracker.name,
            "ticket": ticket.id,
            "title": visible(ticket.title[:500]),
            "status": visible(ticket.status[:100]),
            "labels": [visible(label[:100]) for label in ticket.labels[:MAX_LABELS]],
            "watchers": len(ticket.watchers),
            "text": _bounded(text),
            "truncated": len(text) > MAX_TEXT,
        }


def _bounded(text: str) -> str:
    """Keep the beginning, which says what it is about, and the end, which says how it stands."""
    if len(text) <= MAX_TEXT:
        return text
    half = MAX_TEXT // 2
    return f"{text[:half]}\n[… {len(text) - 2 * half} characters left out …]\n{text[-half:]}"


TOOL = GetTicket
