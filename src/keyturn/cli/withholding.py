"""Payloads that somebody withholds: says of a name that leaves nothing out, which may be a slip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from keyturn.cli.output import note

if TYPE_CHECKING:
    from keyturn.assembly.home import Home


def warn_of_unknown(home: Home, fields: Sequence[str]) -> None:
    """Warn of each field that no entry carries. It is no error: a log may have none of its kind yet."""
    if not fields:
        return
    from keyturn.assembly.evidence import carried_by_none

    for field in carried_by_none(home, fields):
        note(f"warning: no entry carries a payload {field!r}, so --withhold leaves nothing out for it; is it right?")
