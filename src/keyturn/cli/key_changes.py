"""What is told of a change of the entry key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keyturn.cli.output import AsJson, Column, emit, note

if TYPE_CHECKING:
    from keyturn.assembly.keys import Changed

_COLUMNS = (
    Column("ENTRY", "entry"),
    Column("BY", "by", identifier=True),
    Column("ADDED", "added"),
    Column("REVOKED", "revoked"),
    Column("CHECKPOINT", "checkpoint"),
)


def tell(done: Changed, as_json: AsJson) -> None:
    """Tell which key took the place of which, and whether a checkpoint covers it."""
    value = {
        "entry": done.entry,
        "by": done.by,
        "added": done.added,
        "revoked": done.revoked,
        "checkpoint": done.checkpoint,
    }
    emit(value, as_json=as_json, columns=_COLUMNS)
    if done.checkpoint is None:
        note(f"no checkpoint covers the change yet: {done.problem or 'somebody signed one meanwhile'}")
    else:
        note(f"a checkpoint of {done.checkpoint} entries covers the change; bring it elsewhere: keyturn audit anchor")
