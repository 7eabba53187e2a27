"""Rows of actions, as lists and the inbox show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from keyturn.cli.ids import short_id
from keyturn.cli.output import Column, Row
from keyturn.cli.times import span

if TYPE_CHECKING:
    from keyturn.canon import Json
    from keyturn.gateway.desk import Look
    from keyturn.log.entry import Entry

WIDEST = 100  # cells of a summary in a table; all of it is in `action show`, in pipes and in JSON


def _standing(row: Row) -> str:
    reviews = row["reviews"]
    waits = row["status"] == "pending" and reviews
    return f"{row['status']} {reviews['have']}/{reviews['need']}" if waits else str(row["status"])


def _reviews(row: Row) -> str:
    """Count the reviews of what waits; what has them all, or needs none, waits for a person to execute it."""
    reviews = row["reviews"]
    return "execute" if row["status"] == "approved" else f"{reviews['have']}/{reviews['need']}"


COLUMNS = (
    Column("ID", "short_id", identifier=True, piped="action_id"),
    Column("STATUS", _standing, piped="status"),
    Column("ASKED", "age", piped="requested_at"),
    Column("BY", "principal", identifier=True),
    Column("ENV", "environment", identifier=True),
    Column("WHAT", lambda row: row["plan_summary"] or row["message"], widest=WIDEST),
)
INBOX = (
    Column("ID", "short_id", identifier=True, piped="action_id"),
    Column("REVIEWS", _reviews),
    Column("ASKED", "age", piped="requested_at"),
    Column("LEFT", "left", piped="expires_at"),
    Column("BY", "principal", identifier=True),
    Column("ENV", "environment", identifier=True),
    Column("WHAT", "plan_summary", widest=WIDEST),
)


RISK_AT = 4
RISK_COLUMN = Column("RISK", lambda row: "-" if row["risk"] is None else str(row["risk"]))
"""Where the inbox shows scores, if any of what waits has one, and how."""

ONLY_SHOWN = frozenset({"short_id", "age", "left"})
BESIDE = ONLY_SHOWN | {"principal", "requested_at", "risk"}
"""Fields of a row that are no part of the envelope."""


def without(rows: Sequence[Row], fields: frozenset[str]) -> list[Row]:
    """Return the rows without some of their fields."""
    return [{name: value for name, value in row.items() if name not in fields} for row in rows]


def rows_of(view: Look, entries: Sequence[Entry]) -> list[dict[str, Json]]:
    """Return a row for each request or refusal: its envelope, and what tables show beside it."""
    from keyturn.gateway.envelope import envelope_of
    from keyturn.gateway.payloads import RISK, read_value
    from keyturn.model.time import format_timestamp, parse_timestamp

    names = {entry.action or "" for entry in entries} | set(view.state.actions)
    found = []
    for entry in entries:
        envelope = envelope_of(view, entry)
        risk = read_value(view, entry, RISK) if RISK in entry.data else None
        expires = envelope["expires_at"]
        found.append(
            {
                **envelope,
                "short_id": short_id(entry.action or "", names),
                "principal": entry.facts["principal"],
                "risk": risk["score"] if isinstance(risk, Mapping) else None,
                "requested_at": format_timestamp(entry.at),
                "age": span(entry.at, view.now),
                "left": span(view.now, parse_timestamp(expires)) if isinstance(expires, str) else None,
            }
        )
    return found
