"""The policy in force as the ledger holds it: its text, who activated it, when and why."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from keyturn import canon
from keyturn.fold.guarding import Guard
from keyturn.gateway.desk import Look
from keyturn.gateway.payloads import read_value
from keyturn.model.errors import LedgerError

POLICY_FILES = "policy.files"
"""The payload that holds the texts of a policy, path → text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """The last activation: `files` maps path → text; `by` is None for the policy the log was founded with.

    `contracts` maps each tool to the label of the contract the ledger published last; `guard` says who must sign for
    the policy that follows, where it asks several people to.
    """

    digest: str
    seq: int
    at: datetime
    by: str | None
    reason: str | None
    files: Mapping[str, str]
    reviewers: Mapping[str, tuple[str, ...]]
    catalog: str
    contracts: Mapping[str, str]
    guard: Guard | None = None

    @property
    def principals(self) -> tuple[str, ...]:
        """The names of the assistants in it."""
        return named_in(self.files, "principals")


def read_in_force(view: Look) -> InForce:
    """Read the policy in force. Raises `LedgerError` when the ledger holds none."""
    force, catalog = view.state.policy, view.state.catalog
    if force is None or catalog is None:
        raise LedgerError("the ledger holds no policy; make a home with `keyturn init`")
    entry = view.entry(force.seq)
    reason = read_value(view, entry, "reason")
    return InForce(
        digest=force.digest,
        seq=force.seq,
        at=force.at,
        by=force.by,
        reason=reason if isinstance(reason, str) else None,
        files=texts_of(view, force.seq, POLICY_FILES),
        reviewers=force.reviewers,
        catalog=catalog.digest,
        contracts=catalog.contracts,
        guard=view.state.guard,
    )


def named_in(files: Mapping[str, str], section: str) -> tuple[str, ...]:
    """Return the names of the tables `[section.<name>]` in all files of a policy that was read before."""
    main = tomllib.loads(files["policy.toml"])
    folders = tuple(main.get("includes", ()))
    paths = [path for path in sorted(files) if path.startswith(folders) and path.endswith(".toml")]
    parts = [tomllib.loads(files[path]) for path in paths]
    return tuple(name for part in (main, *parts) for name in part.get(section, {}))


def texts_of(view: Look, seq: int, field: str) -> dict[str, str]:
    """Return the files that the entry `seq` carries in a payload. Raises `LedgerError` when it carries none."""
    payload = view.payload(view.entry(seq), field)
    if payload is None:
        raise LedgerError(f"entry {seq} carries no {field}")
    return {name: str(text) for name, text in canon.decode_object(payload).items()}
