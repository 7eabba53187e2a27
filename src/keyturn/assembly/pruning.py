"""Pruning the payloads of a home that have had their time: signed, recorded, and swept from its files."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta

from keyturn.assembly.build import read_own_catalog
from keyturn.assembly.erasing import Cleaned, Signer, clean
from keyturn.assembly.home import Home
from keyturn.assembly.standing import open_ledger, require_founded
from keyturn.assembly.wiring import read_retention
from keyturn.gateway.core import PolicyShelf
from keyturn.gateway.pruning import Retention, Taken, Wish, draft_pruning, prune
from keyturn.log.kinds import text
from keyturn.model.errors import ConfigurationError, Refused
from keyturn.policy import Policy

PROGRAM = "keyturn audit prune"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What was taken, by whose word, and what became of the files."""

    taken: tuple[Taken, ...]
    by: str
    cleaned: Cleaned


def prune_payloads(home: Home, wish: Wish, signer: Signer, retention: Retention | None = None) -> Pruned:
    """Take what a wish asks for, and every trace of it in the ledger's own files.

    `retention` says how long payloads are kept, by environment. If it is not given, the lanes of the policy in force
    say it, and keyturn.toml for all that lies in none that does. Where nothing is left to take, the files are swept
    again. Raises `Refused`, `ConfigurationError` and `LedgerError`.
    """
    require_founded(home)
    if wrong := text(200)(wish.basis):
        raise Refused("usage", f"--basis: {wrong}")
    said = read_retention(home.wiring)
    with closing(open_ledger(home, PROGRAM)) as ledger:
        policy = ledger.look(PolicyShelf(read_own_catalog(home)).in_force)
        lanes = _of_lanes(policy)
        if wish.before is None and retention is None and not (lanes or said.says_anything):
            raise ConfigurationError(
                f"neither a lane of the policy in force nor {home.wiring.name} says how long payloads are kept: add "
                'a table [retention], such as default = "365d", or name a place or a time with --before'
            )
        force = ledger.look(lambda view: view.state.policy)
        name, sign = signer(force.reviewers if force else {})
        kept = retention or (lambda environment: lanes.get(environment or "") or said.of(environment))
        draft = draft_pruning(ledger, wish, kept, name)
        if not draft.rules and wish.environment is not None and wish.environment not in policy.environments:
            known = ", ".join(sorted(policy.environments))
            raise Refused(
                "not_found", f"no payload is of an environment {wish.environment!r}; the policy has: {known}"
            )
        taken = prune(ledger, draft, sign) if draft.rules else []
    # When the ledger is closed: its own connection would keep the log from being cut.
    return Pruned(taken=tuple(taken), by=name, cleaned=clean(home.place, PROGRAM, draft.salts))


def _of_lanes(policy: Policy) -> Mapping[str, timedelta]:
    """Return how long payloads are kept by environment, where its lane says so."""
    lanes = {name: place.lane for name, place in policy.environments.items()}
    return {name: lane.retention for name, lane in lanes.items() if lane is not None and lane.retention is not None}
