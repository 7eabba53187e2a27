"""Signing a checkpoint and bringing it to anchors because somebody asked for it now."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from keyturn.assembly.home import Home
from keyturn.assembly.log_key import where_log_key
from keyturn.assembly.notary import Notary, notary_of
from keyturn.assembly.signing import Standing, standing, unsigned
from keyturn.assembly.standing import open_ledger, open_reader
from keyturn.assembly.writing import log_signer, log_verifier
from keyturn.fold.state import State
from keyturn.ledger.checkpoints import Kept, newest_checkpoint, sign_checkpoint
from keyturn.ledger.writer import Ledger
from keyturn.model.errors import ConfigurationError, LedgerError, Refused
from keyturn.model.time import format_timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """An anchor and what it has: entries of its newest checkpoint (0: none), since when, and why it has no newer."""

    name: str
    type: str
    size: int
    at: str
    problem: str


def checkpoint_now(home: Home) -> Kept:
    """Sign a checkpoint of all there is, where the log key is at hand; else return the newest there is.

    Raises `LedgerError` when there is none at all.
    """
    signer, kept = log_signer(home), None
    if signer is not None:
        with closing(open_ledger(home, "keyturn audit checkpoint", closed=True)) as ledger:
            # The last one of a log that was closed is signed as it is closed.
            if ledger.look(lambda view: view.head.closed) is None:
                kept = sign_checkpoint(ledger, signer)
    if kept is None:
        with closing(open_reader(home, "keyturn audit checkpoint")) as reader:
            kept = reader.look(lambda view: newest_checkpoint(view, log_verifier(home)))
    if kept is None:
        raise LedgerError("the log key is not at hand, and no checkpoint was signed yet")
    return kept


def anchor_now(home: Home, names: Sequence[str]) -> list[Brought]:
    """Bring the newest checkpoint to the anchors of these names, or to all, and return what each has.

    Raises `Refused` for a name that is none, `ConfigurationError` where there is no anchor; `LedgerError`.
    """
    with closing(open_ledger(home, "keyturn audit anchor")) as ledger:
        notary = notary_of(home, ledger)
        known = {one.anchor.name: one for one in notary.anchors}
        if not known:
            raise ConfigurationError(f"{home.wiring.name} declares no anchor: add a table [anchors.NAME]")
        if strangers := sorted(set(names) - known.keys()):
            raise Refused("not_found", f"{', '.join(strangers)}: no such anchor; there are: {', '.join(known)}")
        notary.anchors = [one for name, one in known.items() if not names or name in names]
        notary.finish(max(one.anchor.seconds for one in notary.anchors), forced=True)
        now: Standing = ledger.look(lambda view: standing(view, notary.verifier))
        general = _unsigned(home, ledger, notary)
    found = []
    for one in notary.anchors:
        last = now.last.get(one.anchor.name)
        found.append(
            Brought(
                name=one.anchor.name,
                type=one.anchor.type,
                size=0 if last is None else last.size,
                at="" if last is None else format_timestamp(last.at),
                problem=notary.failing.get(one.title, "") or general,
            )
        )
    return found


def _unsigned(home: Home, ledger: Ledger[State], notary: Notary) -> str:
    """Say why what is news has no checkpoint that could be brought anywhere; "" where it has one."""
    if ledger.look(lambda view: unsigned(view, notary.verifier)) is None:
        return ""
    if notary.signer is None:
        return f"the newest entries have no checkpoint: the log key is not at hand ({where_log_key(home)})"
    return notary.failing.get("the log key", "")
