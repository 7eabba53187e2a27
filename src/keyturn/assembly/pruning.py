"""Pruning the payloads of a home that have had their time: signed, recorded, and swept from its files."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from keyturn.assembly.erasing import Signer
from keyturn.assembly.home import Home
from keyturn.assembly.standing import open_ledger, require_founded
from keyturn.assembly.wiring import read_retention
from keyturn.gateway.pruning import Retention, Taken, Wish, draft_pruning, prune
from keyturn.ledger.erasing import sweep, traces
from keyturn.log.kinds import text
from keyturn.model.errors import ConfigurationError, Refused

PROGRAM = "keyturn audit prune"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What was taken, by whose word, and files that still hold it: copies of the ledger and the like."""

    taken: tuple[Taken, ...]
    by: str
    left: tuple[Path, ...]


def prune_payloads(home: Home, wish: Wish, signer: Signer, retention: Retention | None = None) -> Pruned:
    """Take what a wish asks for, and every trace of it in the ledger's own files.

    `retention` says how long payloads are kept, by environment; as keyturn.toml says if it is not given. Where
    nothing is left to take, the files are swept again. Raises `Refused`, `ConfigurationError` and `LedgerError`.
    """
    require_founded(home)
    if wrong := text(200)(wish.basis):
        raise Refused("usage", f"--basis: {wrong}")
    said = read_retention(home.wiring)
    if wish.before is None and retention is None and not said.says_anything:
        raise ConfigurationError(
            f"{home.wiring.name} says nowhere how long payloads are kept: add a table [retention], such as "
            'default = "365d", or name a place or a time with --before'
        )
    with closing(open_ledger(home, PROGRAM)) as ledger:
        force = ledger.look(lambda view: view.state.policy)
        name, sign = signer(force.reviewers if force else {})
        draft = draft_pruning(ledger, wish, retention or said.of, name)
        taken = prune(ledger, draft, sign) if draft.rules else []
    # When the ledger is closed: its own connection would keep the log from being cut.
    sweep(home.place, PROGRAM)
    return Pruned(taken=tuple(taken), by=name, left=tuple(traces(home.place.folder, draft.salts)))
