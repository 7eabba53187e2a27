"""Reads and writes a release folder's `history.jsonl`: one JSON object per switch, only ever appended to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from keyturn.canon import CanonError, encode, parse
from keyturn.connectors.deployments import Revision, Switch
from keyturn.connectors.files import Folder
from keyturn.model.errors import ConnectorError

HISTORY = "history.jsonl"
MAX_HISTORY = 8 * 1024 * 1024  # bytes; some 40,000 switches


@dataclass(frozen=True, slots=True)
class History:
    """The switches, oldest first, and how many bytes of the file they take (a torn last line is not counted)."""

    switches: tuple[Switch, ...]
    size: int
    ended: bool = True

    def of(self, action: str) -> Switch | None:
        """Return the switch that an action made, or None."""
        return next((switch for switch in reversed(self.switches) if switch.action == action), None)

    def previous(self, current: str) -> str | None:
        """Return what was live before `current`; None when the last switch was to something else, or the first."""
        if not self.switches or self.switches[-1].new != current:
            return None
        return self.switches[-1].old


def read_history(folder: Folder) -> History:
    """Read a folder's history; no file is an empty one.

    A last line without its newline counts if it is whole; if not, an append died there and it is left out.
    Raises `ConnectorError` naming any other line that is not a switch.
    """
    data = folder.read(HISTORY, MAX_HISTORY) or b""
    *lines, tail = data.split(b"\n")
    switches = [_switch(line, f"{folder.at(HISTORY)} line {number}") for number, line in enumerate(lines, 1)]
    if not tail:
        return History(tuple(switches), len(data))
    try:
        last = _switch(tail, "tail")
    except ConnectorError:
        return History(tuple(switches), len(data) - len(tail))
    return History((*switches, last), len(data), ended=False)


def append_history(folder: Folder, history: History, switch: Switch) -> None:
    """Append one switch durably after what `read_history` found; what a dead append left is cut off first."""
    line = history_line(switch)
    folder.append(HISTORY, line if history.ended else b"\n" + line, keep=history.size)


def history_line(switch: Switch) -> bytes:
    """Write one switch as its line."""
    return (
        encode(
            {
                "action": switch.action,
                "at": switch.at,
                "from": switch.old,
                "principal": switch.principal,
                "to": switch.new,
            }
        )
        + b"\n"
    )


def order_revisions(versions: Sequence[str], history: History) -> tuple[Revision, ...]:
    """Put versions in the order they were last live, newest first, then the others by name."""
    last = {switch.new: (number, switch.at) for number, switch in enumerate(history.switches)}
    known = sorted((version for version in versions if version in last), key=lambda v: last[v][0], reverse=True)
    others = sorted(version for version in versions if version not in last)
    return (
        *(Revision(version=version, live_at=last[version][1]) for version in known),
        *(Revision(version=version, live_at=None) for version in others),
    )


def _switch(line: bytes, place: str) -> Switch:
    try:
        value = parse(line)
    except CanonError as error:
        raise ConnectorError(f"{place}: {error}") from error
    if not isinstance(value, dict):
        raise ConnectorError(f"{place}: is not an object")
    new, old, action = value.get("to"), value.get("from"), value.get("action")
    principal, at = value.get("principal", ""), value.get("at", "")
    if not (isinstance(new, str) and isinstance(principal, str) and isinstance(at, str)):
        raise ConnectorError(f'{place}: "to", "principal" and "at" must be text')
    if not (isinstance(old, str | None) and isinstance(action, str | None)):
        raise ConnectorError(f'{place}: "from" and "action" must be text or null')
    return Switch(new=new, old=old, principal=principal, at=at, action=action)
