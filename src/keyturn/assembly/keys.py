"""The keys of a home: which sign and where they are, and changing the entry key while servers and workers run."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from keyturn.assembly.home import Home
from keyturn.assembly.log_key import where_log_key
from keyturn.assembly.outside import entropy
from keyturn.assembly.standing import open_ledger, open_reader, require_founded
from keyturn.assembly.writing import log_signer
from keyturn.canon import Json
from keyturn.fold.key_changes import COMPROMISED, ROTATED
from keyturn.fold.state import State
from keyturn.gateway.acts import Sign, sign_act
from keyturn.gateway.desk import Look
from keyturn.gateway.key_changes import KeyChange, draft_key_change
from keyturn.ledger.checkpoints import LogSigner, sign_checkpoint
from keyturn.ledger.keychain import take_away, whereabouts, write_beside
from keyturn.ledger.keys import SigningKey, make_key
from keyturn.ledger.lock import take_instance
from keyturn.ledger.place import Place
from keyturn.ledger.writer import Ledger
from keyturn.log.chain import Head
from keyturn.log.keys import VerifyKey
from keyturn.model.errors import ConfigurationError, LedgerError, Refused

Signer: TypeAlias = Callable[[Mapping[str, Sequence[str]]], tuple[str, Sign]]
"""Told who may sign (name → public key lines), gives a name and what signs for it."""

TURN = "keys"
"""The lock of `state/run/` under which one process of the home changes keys."""

_MOST = 100_000  # changes of keys that are listed
_SHORTEST = 8  # digits of a kid by which somebody may name it


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """A change of the entry key: the entry that ended the old one, by whose word, and the checkpoint that covers it.

    problem  why no checkpoint was signed; "" when one was
    """

    entry: int
    by: str
    added: str
    revoked: str
    checkpoint: int | None
    problem: str


def rotate_key(home: Home, signer: Signer) -> Changed:
    """Put a new entry key in the place of the present one. Raises `Refused`, `ConfigurationError`, `LedgerError`."""
    return _change(home, "keyturn audit keys rotate", signer, ROTATED, "")


def revoke_key(home: Home, named: str, signer: Signer) -> Changed:
    """End an entry key that somebody else may have, whose kid begins with `named`; a new one takes its place.

    Raises as `rotate_key`.
    """
    return _change(home, "keyturn audit keys revoke", signer, COMPROMISED, named)


def list_keys(home: Home) -> list[dict[str, Json]]:
    """Return the log key and every entry key: kid, since which entry, state, and where the private half is."""
    require_founded(home)
    place = home.place
    here = whereabouts(place.keys)
    with closing(open_reader(home, "keyturn audit keys list")) as reader:
        rows: list[dict[str, Json]] = reader.look(lambda view: [_log_row(home, view.head), *_entry_rows(view, here)])
    known = {row["kid"] for row in rows}
    strangers = sorted(kid for kid in here if kid not in known)
    return rows + [_row(kid, "entry", None, "unknown to this log", here[kid]) for kid in strangers]


def _change(home: Home, program: str, signer: Signer, reason: str, named: str) -> Changed:
    require_founded(home)
    log_key = log_signer(home)
    if log_key is None:
        raise ConfigurationError(
            f"the log key is not at hand ({where_log_key(home)}), and it alone brings entry keys in: put it back, or "
            "say in keyturn.toml, [log] key, where it is"
        )
    with _turn(home.place), closing(open_ledger(home, program)) as ledger:
        head = ledger.look(lambda view: view.head)
        change = KeyChange(revoked=_ending(head, named), new=make_key(entropy(32)), reason=reason)
        force = ledger.look(lambda view: view.state.policy)
        by, sign = signer(force.reviewers if force else {})
        draft = draft_key_change(ledger, change, log_key, by)
        take_away(home.place.keys, head)
        with _written(home.place, change.new, ledger):
            entry = sign_act(ledger, draft, sign)
        size, problem = _signed(ledger, log_key)
    return Changed(
        entry=entry.seq,
        by=by,
        added=change.new.public.kid,
        revoked=change.revoked,
        checkpoint=size,
        problem=problem,
    )


@contextmanager
def _turn(place: Place) -> Iterator[None]:
    lock = take_instance(place.run, TURN)
    if lock is None:
        raise LedgerError("another process is changing the keys of this home; wait until it has ended")
    try:
        yield
    finally:
        lock.release(forget=True)


@contextmanager
def _written(place: Place, key: SigningKey, ledger: Ledger[State]) -> Iterator[None]:
    """Have the key on the disk before the log knows it, and not if the log refuses it."""
    path = write_beside(place.keys, key)
    try:
        yield
    except BaseException:
        # A commit that failed may have reached the disk all the same: only the log says whether the key is used.
        if not ledger.look(lambda view: key.public.kid in view.head.keys):
            path.unlink(missing_ok=True)
        raise


def _ending(head: Head, named: str) -> str:
    live = [kid for kid in head.keys if head.signs(kid)]
    found = [kid for kid in live if kid.startswith(named)]
    if named and len(named) < _SHORTEST:
        raise Refused("usage", f"give at least {_SHORTEST} digits of the key's id")
    if len(found) == 1:
        return found[0]
    if any(kid.startswith(named) for kid in head.revoked):
        raise Refused("already_decided", f"{named} was revoked before: it signs nothing")
    raise Refused("not_found", f"no entry key that signs now begins with {named}; there is {', '.join(live)}")


def _signed(ledger: Ledger[State], log_key: LogSigner) -> tuple[int | None, str]:
    """Sign a checkpoint of the change: from then on nobody undoes it unseen. The change stands without one, too."""
    try:
        kept = sign_checkpoint(ledger, log_key)
    except LedgerError as error:
        return None, str(error)
    return (None, "") if kept is None else (kept.checkpoint.size, "")


def _log_row(home: Home, head: Head) -> dict[str, Json]:
    if head.verifier is None:
        raise LedgerError("the log has not been opened")
    where = where_log_key(home)
    kind, _, name = where.partition(":")
    missing = kind == "file" and not (home.folder / name).exists()
    return _row(head.verifier.key.kid, "log", 0, "signs", "" if missing else where)


def _entry_rows(view: Look, here: Mapping[str, str]) -> list[dict[str, Json]]:
    rows = []
    ends: dict[str, Any] = {entry.text("revoked"): entry for entry in view.newest("key.revoked", _MOST)}
    for kid, since in _since(view).items():
        end = ends.get(kid)
        state = "signs" if end is None else f"{end.text('reason')} at entry {end.seq}"
        rows.append(_row(kid, "entry", since, state, here.get(kid, "")))
    return rows


def _since(view: Look) -> dict[str, int]:
    """Return kid → entry of every entry key, oldest first."""
    found = view.newest("key.added", _MOST)
    return {VerifyKey(base64.b64decode(entry.text("key"))).kid: entry.seq for entry in reversed(found)}


def _row(kid: str, duty: str, since: int | None, state: str, where: str) -> dict[str, Json]:
    return {"kid": kid, "duty": duty, "since": since, "state": state, "private": where}
