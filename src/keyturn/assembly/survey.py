"""A home surveyed for its operator: its ledger, its proposed policy, its worker, and what to worry about."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from keyturn.assembly.build import check_consent, open_gateway
from keyturn.assembly.home import Home
from keyturn.assembly.outside import account
from keyturn.assembly.proposal import check_proposal
from keyturn.assembly.standing import open_reader, worker_present
from keyturn.gateway.overview import Overview, overview
from keyturn.model.errors import ConfigurationError, LedgerError

SAME_ACCOUNT = (
    "an assistant that can run commands as {account} can do everything Keyturn can here: "
    "give the home to an account of its own before you rely on it"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """How a home stands.

    proposal   the policy file against the policy in force: "in force", "differs", or why it is of no use
    worker     whether an on-demand worker has its turn now
    obstacles  why neither server nor worker could start here now; empty when they could
    warnings   what to worry about, the account that Keyturn shares included
    """

    home: Path
    seen: Overview
    proposal: str
    worker: bool
    obstacles: tuple[str, ...]
    warnings: tuple[str, ...]


def survey(home: Home) -> Survey:
    """Look at a home whole, and try what a server tries before it serves; nothing is recorded.

    Raises `ConfigurationError` without a ledger, `LedgerError` when it cannot be read.
    """
    reader = open_reader(home, "keyturn status")
    try:
        seen = reader.look(overview)
    finally:
        reader.close()
    return Survey(
        home=home.folder,
        seen=seen,
        proposal=_proposal(home, seen),
        worker=worker_present(home),
        obstacles=_obstacles(home),
        warnings=(*_faults(seen), *seen.warnings, SAME_ACCOUNT.format(account=account())),
    )


def _proposal(home: Home, seen: Overview) -> str:
    try:
        if home.policy_files() == dict(seen.policy.files):
            return "in force"
    except ConfigurationError as error:
        return f"unreadable: {'; '.join(error.problems)}"
    errors = len(check_proposal(home).errors)
    return f"does not load: {errors} error{'s' if errors > 1 else ''}" if errors else "differs"


def _obstacles(home: Home) -> tuple[str, ...]:
    try:
        gate = open_gateway(home, "keyturn status")
        try:
            check_consent(gate)
        finally:
            gate.ledger.close()
    except ConfigurationError as error:
        return error.problems
    except LedgerError as error:
        return (str(error),)
    return ()


def _faults(seen: Overview) -> Iterator[str]:
    if seen.fault is not None:
        yield f"governed actions are refused: {seen.fault}"
    if seen.unknown:
        yield f"nobody knows whether these happened: {', '.join(seen.unknown)}; see keyturn action show ID"
