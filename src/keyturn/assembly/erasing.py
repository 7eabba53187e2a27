"""Erasing payloads of a home: signed and recorded, swept from its files, and looked for in what else is there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from keyturn.assembly.home import Home
from keyturn.assembly.standing import open_ledger, require_founded
from keyturn.gateway.acts import Sign
from keyturn.gateway.erasing import draft_erasure, erase
from keyturn.ledger.erasing import sweep, traces
from keyturn.ledger.errors import LedgerUnavailable
from keyturn.ledger.place import Place
from keyturn.log.kinds import text
from keyturn.model.errors import Refused

Signer: TypeAlias = Callable[[Mapping[str, Sequence[str]]], tuple[str, Sign]]
"""Told who may sign (name → public key lines), gives a name and what signs for it."""

PROGRAM = "keyturn audit erase"


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """What was erased: (entry, field) of each payload, the entries that say so, who signed, and what became of the
    files."""

    what: tuple[tuple[int, str], ...]
    entries: tuple[int, ...]
    by: str
    cleaned: Cleaned


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What became of the files of a home after something was deleted from its ledger.

    left     files that still hold it: copies of the ledger and the like, which nobody but their owner may change
    problem  why the ledger's own files could not be swept of it; "" when they were
    """

    left: tuple[Path, ...]
    problem: str


def clean(place: Place, program: str, salts: Collection[bytes]) -> Cleaned:
    """Sweep the ledger's files, and look for the salts of what was deleted in all others of the home.

    Only now: once they are deleted, nobody knows what to look for. So what keeps the sweep is told, not raised.
    """
    problem, own = "", frozenset[Path]()
    try:
        sweep(place, program)
    except LedgerUnavailable as error:
        problem, own = str(error), frozenset({place.database, *place.folder.glob(f"{place.database.name}-*")})
    return Cleaned(tuple(path for path in traces(place.folder, salts) if path not in own), problem)


def erase_payloads(home: Home, named: str, fields: Sequence[str], *, basis: str, signer: Signer) -> Erased:
    """Erase `fields` of the action or entry `named`, and every trace of them in the ledger's own files.

    Where all of them were erased before, only the files are swept again. Raises `Refused`, `ConfigurationError` and
    `LedgerError`.
    """
    require_founded(home)
    if wrong := text(200)(basis):
        raise Refused("usage", f"--basis: {wrong}")
    with closing(open_ledger(home, PROGRAM)) as ledger:
        force = ledger.look(lambda view: view.state.policy)
        name, sign = signer(force.reviewers if force else {})
        draft = draft_erasure(ledger, named, list(dict.fromkeys(fields)), basis=basis, by=name)
        entries = erase(ledger, draft, sign) if draft.targets else []
    return Erased(
        what=tuple((target.seq, target.field) for target in draft.targets),
        entries=tuple(entries),
        by=name,
        # When the ledger is closed: its own connection would keep the log from being cut.
        cleaned=clean(home.place, PROGRAM, [target.salt for target in draft.targets]),
    )
