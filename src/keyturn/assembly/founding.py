"""Founding a home: its files, its samples, its ledger with both keys, and the first tokens."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from keyturn import canon
from keyturn.assembly.build import read_own_catalog
from keyturn.assembly.home import POLICY, SCHEMAS, WIRING, Home
from keyturn.assembly.outside import account, moment, new_token, surroundings
from keyturn.assembly.samples import Samples, make_samples
from keyturn.assembly.starter import NewPrincipal, NewReviewer, starter_folder, starter_policy
from keyturn.assembly.wiring import read_wiring
from keyturn.fold.state import State
from keyturn.gateway.acts import Candidate, TokenGrant, append_policy, append_token, read_candidate
from keyturn.ledger.founding import found
from keyturn.ledger.transaction import Transaction
from keyturn.model.errors import ConfigurationError
from keyturn.model.sshkey import PublicKey

TOKEN_LIFE = timedelta(days=90)
TRANSPORTS = ("stdio", "http")
_USUAL_KEYS = ("id_ed25519_sk.pub", "id_ed25519.pub", "id_ecdsa_sk.pub", "id_ecdsa.pub", "id_rsa.pub")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to found: the folder, who is in the policy, and whether there are sample systems and rules."""

    folder: Path
    principals: Sequence[NewPrincipal] = ()
    reviewers: Sequence[NewReviewer] = ()
    bare: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NewHome:
    """A founded home. `tokens` are shown once and kept nowhere; `warnings` are the policy's."""

    home: Home
    verifier: str
    tokens: dict[str, str]
    samples: Samples | None
    warnings: tuple[str, ...] = ()
    kept: tuple[str, ...] = field(default=())


def found_home(order: Order) -> NewHome:
    """Found a home: all of it, or nothing. Files that are there already are kept as they are.

    Raises `ConfigurationError` when they do not load, or when the home has a ledger already; `LedgerError` when the
    place is refused.
    """
    home = Home(order.folder.resolve())
    if home.place.folder.exists():
        raise ConfigurationError(f"{home.place.folder} exists: this home was founded already")
    with ExitStack() as undo:
        kept = _write_files(home, order, undo)
        samples = None if order.bare else _samples(home, undo)
        candidate = read_candidate(home.policy_files(), read_own_catalog(home))
        tokens = _tokens(order, candidate)
        wiring = read_wiring(home.wiring)
        founded = found(
            home.place.folder, wiring.name, State, surroundings("keyturn init"), _first_entries(candidate, tokens)
        )
        undo.pop_all()
    return NewHome(
        home=home,
        verifier=founded.verifier,
        tokens=tokens,
        samples=samples,
        warnings=candidate.policy.warnings(),
        kept=kept,
    )


def usual_reviewer(folder: Path) -> NewReviewer:
    """Return the caller as reviewer, with the first of the usual public keys in `folder` (~/.ssh).

    Raises `ConfigurationError` saying how to name or make one.
    """
    for name in _USUAL_KEYS:
        path = folder / name
        if path.is_file():
            return NewReviewer(account(), read_public_key(path))
    raise ConfigurationError(
        f"a home needs a reviewer and there is no SSH public key in {folder}: make one with `ssh-keygen -t ed25519`, "
        "or name one with --reviewer NAME=KEY.pub"
    )


def read_public_key(path: Path) -> PublicKey:
    """Read the one public key of a file. Raises `ConfigurationError` naming what is wrong with it."""
    try:
        return PublicKey.parse(path.read_text(encoding="utf-8").strip())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path}: {error}") from error


def _write_files(home: Home, order: Order, undo: ExitStack) -> tuple[str, ...]:
    """Write what is missing; remember how to take it back. Returns the names of files that were there already."""
    if not home.folder.exists():
        home.folder.mkdir(parents=True, mode=0o755)
        undo.callback(_remove_empty, home.folder)
    kept = tuple(name for name in (POLICY, WIRING, SCHEMAS) if (home.folder / name).exists())
    starter = starter_folder()
    if SCHEMAS not in kept:
        undo.callback(shutil.rmtree, home.schemas, ignore_errors=True)
        shutil.copytree(starter / SCHEMAS, home.schemas)
    if WIRING not in kept:
        undo.callback(home.wiring.unlink, missing_ok=True)
        text = "version = 1\n" if order.bare else (starter / WIRING).read_text(encoding="utf-8")
        home.wiring.write_text(text, encoding="utf-8")
    if POLICY not in kept:
        path = home.folder / POLICY
        undo.callback(path.unlink, missing_ok=True)
        path.write_text(starter_policy(order.principals, order.reviewers, bare=order.bare), encoding="utf-8")
    return kept


def _samples(home: Home, undo: ExitStack) -> Samples | None:
    folder = home.folder / "samples"
    if folder.exists():
        return Samples(folder)
    if 'path = "samples/' not in home.wiring.read_text(encoding="utf-8"):
        return None
    undo.callback(shutil.rmtree, folder, ignore_errors=True)
    return make_samples(folder, moment().wall)


def _tokens(order: Order, candidate: Candidate) -> dict[str, str]:
    """Make a token for each principal asked for, or for all of a policy that was there already."""
    names = [item.name for item in order.principals] or sorted(candidate.policy.principals)
    unknown = [name for name in names if name not in candidate.policy.principals]
    if unknown:
        raise ConfigurationError(
            *(f"policy.toml is there already and names no principal {name!r}" for name in unknown)
        )
    return {name: new_token() for name in names}


def _first_entries(candidate: Candidate, tokens: dict[str, str]) -> Callable[[Transaction[State]], None]:
    def append(tx: Transaction[State]) -> None:
        append_policy(tx, candidate, previous=None, act=None)
        for principal, token in tokens.items():
            append_token(tx, new_grant(tx, principal, token), None)

    return append


def new_grant(tx: Transaction[State], principal: str, token: str) -> TokenGrant:
    """Return the usual grant of a new token: every transport, the principal's scopes, 90 days."""
    return TokenGrant(
        token=canon.sha256(token.encode()),
        principal=principal,
        transports=TRANSPORTS,
        scopes=None,
        expires_at=tx.now + TOKEN_LIFE,
    )


def _remove_empty(folder: Path) -> None:
    if not any(folder.iterdir()):
        folder.rmdir()
