"""Finds and reads the ticket files of a folder."""

from __future__ import annotations

import re

from keyturn.connectors.files import Folder
from keyturn.connectors.tickets.document import MAX_FILE, Document, parse_document
from keyturn.model.errors import ConnectorError
from keyturn.model.text import visible

SUFFIX = ".md"

_TICKET = re.compile(r"([A-Za-z][A-Za-z0-9]{0,30})-([0-9]{1,9})", re.ASCII)


def is_ticket(ticket: str) -> bool:
    """Say whether a text has the form of a ticket's id, `OPS-1`."""
    return _TICKET.fullmatch(ticket) is not None


def parts(name: str) -> tuple[str, int] | None:
    """Return prefix and number of a ticket file's name, or None for another name."""
    found = _TICKET.fullmatch(name.removesuffix(SUFFIX)) if name.endswith(SUFFIX) else None
    return None if found is None else (found[1], int(found[2]))


def ticket_files(root: Folder) -> tuple[str, ...]:
    """Return the names of all ticket files, sound or not, sorted."""
    return tuple(name for name in root.names() if parts(name) is not None)


def read_ticket(root: Folder, ticket: str) -> tuple[bytes, Document]:
    """Return the bytes of a ticket and what they say.

    Raises `ConnectorError` where there is none or it is not sound.
    """
    if not is_ticket(ticket):
        raise ConnectorError(f"{visible(ticket)!r} is not a ticket id such as OPS-1")
    name = f"{ticket}{SUFFIX}"
    data = root.read(name, MAX_FILE)
    if data is None:
        raise ConnectorError(f'ticket "{ticket}" is not in {root.place}')
    document = parse_document(data, root.at(name))
    if document.id != ticket:
        raise ConnectorError(f"{root.at(name)}: says that its id is {visible(document.id)!r}")
    return data, document
