"""Erasing payloads on a person's signed word: what is meant, what is signed, and the transaction that does it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from keyturn.approvals.statement import ACT_NAMESPACE, ActStatement
from keyturn.canon import Json
from keyturn.fold.erasure import check_erasable, erasure
from keyturn.fold.signatures import Act
from keyturn.fold.state import State
from keyturn.gateway.acts import Sign, origin_of, signed_fact, statement_of
from keyturn.gateway.desk import Job, Look
from keyturn.gateway.finding import find_entries
from keyturn.ledger.writer import Ledger
from keyturn.log.entry import Entry
from keyturn.model.errors import Refused


@dataclass(frozen=True, slots=True)
class Target:
    """A payload that is to be erased: its entry, its field, and its salt, by which traces of it are found."""

    seq: int
    field: str
    salt: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What is to be erased on which ground, and a statement to sign for each payload."""

    basis: str
    targets: tuple[Target, ...]
    statements: tuple[ActStatement, ...]


def draft_erasure(ledger: Ledger[State], named: str, fields: Sequence[str], *, basis: str, by: str) -> Draft:
    """Draft the erasure of `fields` from an action's entries, or from the one entry whose number is `named`.

    What is erased already is left out. Raises `Refused` for what is not there, not over, or never erased.
    """

    def look(view: Look) -> Draft:
        entries = entries_named(view, named)
        targets = tuple(target for field in fields for target in _targets(view, entries, field))
        acts = [erasure(_facts(target, basis)) for target in targets]
        for target in targets:
            _check(view, target, basis)
        statements = tuple(statement_of(view, act.verb, act.object, act.digest, by) for act in acts)
        return Draft(basis=basis, targets=targets, statements=statements)

    return ledger.look(look)


def erase(ledger: Ledger[State], draft: Draft, sign: Sign) -> list[int]:
    """Have each payload signed for, delete all in one transaction that says so; return the entries that say it.

    What is deleted is still in the files until they are swept. Raises `Refused`; nothing is written then.
    """
    acts = [signed_fact(statement, sign(statement.signed_bytes, ACT_NAMESPACE)) for statement in draft.statements]

    def job(tx: Job) -> list[int]:
        done = zip(draft.targets, draft.statements, acts, strict=True)
        return [_erase(tx, target, draft.basis, statement, act) for target, statement, act in done]

    return ledger.transact(job)


def entries_named(view: Look, named: str) -> list[Entry]:
    """Return the entries of an action by its id, or the one entry whose number it is. Raises `Refused`."""
    if named.isascii() and named.isdigit() and int(named) < view.head.size:
        return [view.entry(int(named))]
    entries = find_entries(view, named)
    if not entries:
        raise Refused("not_found", f"there is no action and no entry {named}")
    return entries


def _targets(view: Look, entries: Iterable[Entry], field: str) -> list[Target]:
    carrying = [entry for entry in entries if field in entry.data]
    if not carrying:
        raise Refused("not_found", f"no payload {field!r} is there; there are: {', '.join(_names(entries))}")
    openings = ((entry.seq, view.opening(entry, field)) for entry in carrying)
    return [Target(seq, field, opening[0]) for seq, opening in openings if opening is not None]


def _names(entries: Iterable[Entry]) -> list[str]:
    return sorted({name for entry in entries for name in entry.data})


def _facts(target: Target, basis: str) -> dict[str, Json]:
    return {"entry": target.seq, "field": target.field, "basis": basis}


def _check(view: Look, target: Target, basis: str) -> None:
    known = [action for action, _ in view.state.open_actions(view.now)]
    check_erasable(_facts(target, basis), view.head.size, known)
    # The fold remembers where an action was requested, reviewed and begun; the entry itself says whose it is.
    action = view.entry(target.seq).action
    if action in {one.id for one in known}:
        raise Refused("not_over", f"action {action} is not over: what it needs is not erased")


def _erase(tx: Job, target: Target, basis: str, statement: ActStatement, act: dict[str, Json]) -> int:
    expected = Act(verb=statement.verb, object=statement.object, digest=statement.digest)
    tx.state.check_act(act, expected, origin_of(tx), tx.now)
    _check(tx, target, basis)
    entry = tx.entry(target.seq)
    if tx.erased(entry, target.field):
        raise Refused("already_decided", f"{target.field} of entry {target.seq} was erased meanwhile")
    tx.erase(entry, target.field)
    return tx.append("payload.erased", {**_facts(target, basis), "act": act}).seq
