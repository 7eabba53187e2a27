"""Founding a home: its files, its samples, its ledger with both keys, and the first tokens.

A folder that is not there yet is built beside its final name and renamed into place at the end. In a folder that is
there, each missing piece is built beside its name and renamed, and the ledger comes last. So an interrupted founding
leaves a home that is whole or not founded: it can be run again, and says what the first run left lying.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from keyturn import canon
from keyturn.assembly.boundary import SAME_ACCOUNT, shared
from keyturn.assembly.build import read_own_catalog
from keyturn.assembly.home import POLICY, SCHEMAS, WIRING, Home
from keyturn.assembly.outside import account, entropy, environment, moment, new_token, surroundings
from keyturn.assembly.samples import SAMPLES, Samples, make_samples
from keyturn.assembly.starter import (
    NewPrincipal,
    NewReviewer,
    example_keys,
    starter_folder,
    starter_policy,
    starter_wiring,
)
from keyturn.assembly.wiring import read_wiring
from keyturn.fold.state import State
from keyturn.gateway.acts import Candidate, TokenGrant, append_policy, append_token, read_candidate
from keyturn.ledger.founding import found
from keyturn.ledger.transaction import Transaction
from keyturn.model.errors import ConfigurationError
from keyturn.model.principal import TRANSPORTS
from keyturn.model.sshkey import PublicKey
from keyturn.policy import Policy
from keyturn.policy.tables import is_name
from keyturn.sshsig.signing import SigningError, list_agent_keys

TOKEN_LIFE = timedelta(days=90)
FIRST_PRINCIPAL = NewPrincipal("claude")

_USUAL_KEYS = ("id_ed25519_sk.pub", "id_ed25519.pub", "id_ecdsa_sk.pub", "id_ecdsa.pub", "id_rsa.pub")
_LEFT = re.compile(
    r"\.(policy\.toml|keyturn\.toml|tool_schemas|samples|gitignore)\.new-[0-9a-f]{8}|state\.new-[0-9a-f]{8}"
)
_IGNORED = "# Keys and ledger stay on this machine.\n/state/\n/samples/\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to found: the folder, who is in the policy, and whether there are sample systems and rules.

    Without principals a new policy gets one, `claude`; a policy that is there already keeps its own. A new policy
    needs a reviewer.
    """

    folder: Path
    principals: Sequence[NewPrincipal] = ()
    reviewers: Sequence[NewReviewer] = ()
    bare: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NewHome:
    """A founded home. `tokens` are shown once and kept nowhere; `kept` names the files that were there already."""

    home: Home
    verifier: str
    tokens: dict[str, str]
    samples: Samples | None
    warnings: tuple[str, ...] = ()
    kept: tuple[str, ...] = field(default=())


def found_home(order: Order) -> NewHome:
    """Found a home: all of it, or nothing. Files that are there already are kept as they are.

    Raises `ConfigurationError` when they do not load or do not fit the order, or when the home has a ledger already;
    `LedgerError` when the place is refused.
    """
    home = Home(order.folder.resolve())
    if os.path.lexists(home.place.folder):
        raise ConfigurationError(f"{home.place.folder} exists: this home was founded already")
    _check_names(order)
    left = _left_over(home.folder)
    try:
        new = _found_within(home, order) if home.folder.exists() else _found_beside(home, order)
    except OSError as error:
        raise ConfigurationError(f"{error.filename or home.folder}: {error.strerror}; nothing was founded") from error
    return replace(new, warnings=(*new.warnings, *left))


def usual_reviewer(folder: Path) -> NewReviewer:
    """Return the caller as reviewer, with the first of the usual public keys in `folder` (~/.ssh), or in the agent.

    Raises `ConfigurationError` saying how to name or make one.
    """
    for name in _USUAL_KEYS:
        path = folder / name
        if path.is_file():
            return NewReviewer(account(), read_public_key(path))
    for key in _agent_keys():
        return NewReviewer(account(), key)
    raise ConfigurationError(
        f"a home needs a reviewer and there is no SSH public key in {folder}: make one with `ssh-keygen -t ed25519`, "
        "or name one with --reviewer NAME=KEY.pub"
    )


def _agent_keys() -> tuple[PublicKey, ...]:
    """Return what the agent holds: nothing where OpenSSH, whose program asks it, is not installed."""
    try:
        return list_agent_keys(environment())
    except SigningError:
        return ()


def needs_reviewer(folder: Path) -> bool:
    """Say whether founding in `folder` writes a policy, which needs a reviewer."""
    return not (folder / POLICY).exists()


def read_public_key(path: Path) -> PublicKey:
    """Read the one public key of a file. Raises `ConfigurationError` naming what is wrong with it."""
    try:
        return PublicKey.parse(path.expanduser().read_text(encoding="utf-8").strip())
    except FileNotFoundError as error:
        way = "make a key with `ssh-keygen -t ed25519`, or name another file that holds a public one"
        raise ConfigurationError(f"{path}: {error.strerror}; {way}") from error
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigurationError(f"{path}: {error}") from error


def new_grant(tx: Transaction[State], principal: str, token: str) -> TokenGrant:
    """Return the usual grant of a new token: every transport, the principal's scopes, 90 days."""
    return TokenGrant(
        token=canon.sha256(token.encode()),
        principal=principal,
        transports=TRANSPORTS,
        scopes=None,
        expires_at=tx.now + TOKEN_LIFE,
    )


# --- where it is built ----------------------------------------------------------------------------------------


def _found_beside(home: Home, order: Order) -> NewHome:
    """Build a home under another name and rename it: until then there is nothing at the place it was ordered for."""
    building = home.folder.with_name(f".{home.folder.name}.new-{entropy(4).hex()}")
    with ExitStack() as undo:
        for folder in _missing(building.parent):
            folder.mkdir()
            undo.callback(_remove_empty, folder)
        building.mkdir(mode=0o755)
        undo.callback(shutil.rmtree, building, ignore_errors=True)
        new = _build(Home(building), order, undo)
        try:
            building.rename(home.folder)
        except OSError as error:
            if error.errno in {errno.ENOTEMPTY, errno.EEXIST}:
                raise ConfigurationError(f"{home.folder} has just been made by another program") from error
            raise
        undo.pop_all()
    _sync(home.folder.parent)
    samples = None if new.samples is None else Samples(home.folder / SAMPLES)
    return replace(new, home=home, samples=samples)


def _found_within(home: Home, order: Order) -> NewHome:
    if not home.folder.is_dir():
        raise ConfigurationError(f"{home.folder} is not a folder")
    with _alone(home.folder), ExitStack() as undo:
        new = _build(home, order, undo)
        undo.pop_all()
    return new


def _build(home: Home, order: Order, undo: ExitStack) -> NewHome:
    kept = _write_files(home, order, undo)
    samples = None if order.bare else _samples(home, undo)
    candidate = read_candidate(home.policy_files(), read_own_catalog(home))
    _check_fits(order, candidate.policy)
    tokens = {name: new_token() for name in _principals(order, candidate.policy)}
    wiring = read_wiring(home.wiring)
    first = _first_entries(candidate, tokens)
    founded = found(home.place.folder, wiring.name, State, surroundings("keyturn init"), first)
    return NewHome(
        home=home,
        verifier=founded.verifier,
        tokens=tokens,
        samples=samples,
        warnings=(*candidate.policy.warnings(), *_warnings(home, candidate.policy)),
        kept=kept,
    )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep a second founding out of a folder while one is at work: it would keep files that the first takes back."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise ConfigurationError(f"another keyturn init is at work in {folder}") from error
    finally:
        os.close(descriptor)


def _missing(folder: Path) -> list[Path]:
    """Return the folders that are not there on the way to `folder`, outermost first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    return missing[::-1]


def _left_over(folder: Path) -> tuple[str, ...]:
    """Say what an interrupted founding left: nothing reads it."""
    left: list[Path] = []
    if folder.is_dir():
        left += [path for path in folder.iterdir() if _LEFT.fullmatch(path.name)]
    if folder.parent.is_dir():
        beside = re.compile(re.escape(f".{folder.name}.new-") + "[0-9a-f]{8}")
        left += [path for path in folder.parent.iterdir() if beside.fullmatch(path.name)]
    return tuple(f"{path} was left by an init that was interrupted, and nothing reads it: remove it" for path in left)


# --- the files ------------------------------------------------------------------------------------------------


def _write_files(home: Home, order: Order, undo: ExitStack) -> tuple[str, ...]:
    """Write what is missing; remember how to take it back. Returns the names of files that were there already."""
    kept = tuple(name for name in (POLICY, WIRING, SCHEMAS) if os.path.lexists(home.folder / name))
    if SCHEMAS not in kept:
        _place(home.schemas, _copy_schemas, undo)
    if WIRING not in kept:
        _place(home.wiring, _writer(starter_wiring(bare=order.bare)), undo)
    if POLICY not in kept:
        _place(home.folder / POLICY, _writer(_policy_text(order)), undo)
    if not kept and not os.path.lexists(home.folder / ".gitignore"):
        _place(home.folder / ".gitignore", _writer(_IGNORED), undo)
    return kept


def _policy_text(order: Order) -> str:
    if not order.reviewers:
        raise ConfigurationError("a home needs a reviewer: name one with --reviewer NAME=KEY.pub")
    return starter_policy(order.principals or (FIRST_PRINCIPAL,), order.reviewers, bare=order.bare)


def _samples(home: Home, undo: ExitStack) -> Samples | None:
    """Make the sample systems, or return those that are there; None when the wiring names none of them."""
    if f'"{SAMPLES}/' not in home.wiring.read_text(encoding="utf-8"):
        return None
    folder = home.folder / SAMPLES
    if not folder.exists():
        _place(folder, lambda path: make_samples(path, moment().wall), undo)
    return Samples(folder)


def _place(path: Path, make: Callable[[Path], object], undo: ExitStack) -> None:
    """Make a file or folder under another name and rename it: what stands at `path` is whole."""
    building = path.with_name(f".{path.name.removeprefix('.')}.new-{entropy(4).hex()}")
    undo.callback(_remove, building)
    make(building)
    building.rename(path)
    undo.callback(_remove, path)


def _writer(text: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())

    return write


def _copy_schemas(path: Path) -> None:
    shutil.copytree(starter_folder() / SCHEMAS, path, copy_function=shutil.copyfile)
    for copied in path.iterdir():
        _sync(copied)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _remove_empty(folder: Path) -> None:
    if not any(folder.iterdir()):
        folder.rmdir()


# --- who is in it ---------------------------------------------------------------------------------------------


def _check_names(order: Order) -> None:
    named = [("principal", item.name) for item in order.principals]
    named += [("owner", item.owner) for item in order.principals if item.owner is not None]
    named += [("reviewer", item.name) for item in order.reviewers]
    problems = tuple(
        f"the {kind} {name!r} is no name: use at most 64 letters, digits and . _ @ -, a letter or digit first"
        for kind, name in dict.fromkeys(named)
        if not is_name(name)
    )
    if problems:
        raise ConfigurationError(*problems)


def _check_fits(order: Order, policy: Policy) -> None:
    """Refuse when a policy that was there already does not hold the people that were ordered."""
    problems: list[str] = []
    for item in order.principals:
        known = policy.principals.get(item.name)
        if known is None:
            problems.append(
                f"{POLICY} is there already and has no principal {item.name}: add [principals.{item.name}]"
            )
        elif item.owner is not None and known.owner != item.owner:
            problems.append(f"{POLICY} is there already: set principals.{item.name}.owner to {item.owner} in it")
    for reviewer in order.reviewers:
        person = policy.reviewers.get(reviewer.name)
        if person is None or reviewer.key not in person.keys:
            problems.append(
                f"{POLICY} is there already and does not list this key of {reviewer.name}: put it under "
                f'[reviewers.{reviewer.name}] as keys = ["{reviewer.key.line}"]'
            )
    if problems:
        raise ConfigurationError(*problems)


def _principals(order: Order, policy: Policy) -> list[str]:
    """Return whose tokens are made: of those ordered, else of all the policy has."""
    return [item.name for item in order.principals] or sorted(policy.principals)


def _first_entries(candidate: Candidate, tokens: dict[str, str]) -> Callable[[Transaction[Any]], None]:
    def append(tx: Transaction[Any]) -> None:
        append_policy(tx, candidate, previous=None, act=None)
        for principal, token in tokens.items():
            append_token(tx, new_grant(tx, principal, token), None)

    return append


def _warnings(home: Home, policy: Policy) -> Iterator[str]:
    keys = {key.line for person in policy.reviewers.values() for key in person.keys}
    if keys <= example_keys():
        yield (
            f"{POLICY} lists only example keys, whose private halves nobody has: nobody can review here or change "
            f"the policy. Put your own key in its place, remove {home.place.folder.name}/, and found the home again"
        )
    if stat.S_IMODE(home.folder.stat().st_mode) & 0o022:
        yield "other accounts can write to the home's folder; run: chmod go-w on it"
    if shared(home.folder):
        yield SAME_ACCOUNT
