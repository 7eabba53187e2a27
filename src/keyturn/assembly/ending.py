"""Ending the log of a home, and saying in a new home which log it goes on from.

A log ends in steps that can be run again: the entry that ends it, signed; its last checkpoint, which the anchors see
before it is kept, for nothing can be recorded of them any more. The new log says its part afterwards, in its own
transaction, once the old one verifies.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from keyturn.anchors.judging import Contradicted
from keyturn.anchors.patience import Patient
from keyturn.assembly.anchoring import Declared, broken, build_anchors
from keyturn.assembly.bringing import BUSY, offer_of, take_turn
from keyturn.assembly.erasing import Signer
from keyturn.assembly.home import Home
from keyturn.assembly.log_key import where_log_key
from keyturn.assembly.ports import world_of
from keyturn.assembly.signing import standing
from keyturn.assembly.standing import open_ledger, require_founded
from keyturn.assembly.wiring import read_anchors
from keyturn.assembly.writing import log_signer, log_verifier
from keyturn.evidence.bundle import cosigned
from keyturn.fold.state import State
from keyturn.gateway.acts import sign_act
from keyturn.gateway.ending import draft_closing, succeed
from keyturn.ledger.checkpoints import Kept, LogSigner, newest_checkpoint, sign_unkept
from keyturn.ledger.writer import Ledger
from keyturn.log.checkpoint import parse_checkpoint
from keyturn.log.keys import BadKey, parse_verifier
from keyturn.log.note import Note, parse_note
from keyturn.model.errors import ConfigurationError, ConnectorError, LedgerError, Refused
from keyturn.verifier import Report, last_note, verify_ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A log that ended: its verifier string, in which entry, in favour of which, and the note of its last checkpoint.

    problems  which anchors did not get that checkpoint, and why
    """

    log: str
    entry: int
    successor: str | None
    note: bytes
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A log that goes on from another: the entry that says so (None: it did before), and both verifier strings."""

    entry: int | None
    log: str
    before: str
    size: int


class NotProvedWhole(Exception):
    """The log before does not verify; the report says why."""

    def __init__(self, report: Report) -> None:
        super().__init__(report.verdict)
        self.report = report


def close_log(home: Home, successor: str | None, signer: Signer) -> Ended:
    """End the log of a home in favour of another (a verifier string, or the folder of its home), or of none.

    Run again, it brings the last checkpoint to the anchors again. Raises `Refused`, `ConfigurationError` and
    `LedgerError`.
    """
    require_founded(home)
    named = None if successor is None else _successor(successor)
    log_key = _log_key(home)
    with closing(open_ledger(home, "keyturn audit close", closed=True)) as ledger:
        if ledger.look(lambda view: view.head.closed) is None:
            force = ledger.look(lambda view: view.state.policy)
            by, sign = signer(force.reviewers if force else {})
            sign_act(ledger, draft_closing(ledger, named, log_key, by), sign)
        end = ledger.look(lambda view: view.entry(view.head.size - 1))
        said = end.facts["successor"]
        if successor is not None and said != named:
            raise Refused("already_decided", f"the log was closed at entry {end.seq}, and {said or 'no log'} goes on")
        note, problems = _last_word(home, ledger, log_key)
    return Ended(
        log=str(log_key.verifier),
        entry=end.seq,
        successor=None if said is None else str(said),
        note=note,
        problems=problems,
    )


def go_on(home: Home, before: Path) -> Begun:
    """Say in the log of a home, which was only founded, that it goes on from the closed log at `before`.

    `before` is a home, a ledger file or a bundle; it is verified first. Raises `NotProvedWhole`, `Refused`,
    `ConfigurationError` and `LedgerError`.
    """
    require_founded(home)
    log_key = _log_key(home)
    file = Home(before).place.database if before.is_dir() else before
    report = verify_ledger(file)
    if report.verdict == "FAIL" or report.log is None:
        raise NotProvedWhole(report)
    if report.closed is None:
        raise Refused("not_closed", f"{before} is not closed: keyturn audit close --successor {log_key.verifier}")
    if report.closed.successor != str(log_key.verifier):
        raise Refused("other_log", f"{before} was closed in favour of {report.closed.successor or 'no log'}")
    note = last_note(file)
    if note is None or parse_checkpoint(parse_note(note).text).size != report.size:
        raise Refused("no_note", f"{before} has no checkpoint of its end: run keyturn audit close there again")
    end = Kept(parse_checkpoint(parse_note(note).text), note)
    with closing(open_ledger(home, "keyturn audit succeed")) as ledger:
        entry = succeed(ledger, parse_verifier(report.log), end, log_key)
    return Begun(
        entry=None if entry is None else entry.seq, log=str(log_key.verifier), before=report.log, size=report.size
    )


def _successor(named: str) -> str:
    """Return the verifier string that somebody gives, or that of the home in the folder that somebody names."""
    if Path(named).is_dir():
        home = Home(Path(named))
        require_founded(home)
        return str(log_verifier(home))
    try:
        return str(parse_verifier(named.strip()))
    except BadKey as error:
        raise ConfigurationError(f"--successor: neither a home nor the verifier string of a log: {error}") from error


def _log_key(home: Home) -> LogSigner:
    log_key = log_signer(home)
    if log_key is None:
        raise ConfigurationError(
            f"the log key is not at hand ({where_log_key(home)}), and it signs how a log ends or goes on: put it "
            "back, or say in keyturn.toml, [log] key, where it is"
        )
    return log_key


# --- the last checkpoint ---------------------------------------------------------------------------------------


def _last_word(home: Home, ledger: Ledger[State], log_key: LogSigner) -> tuple[bytes, tuple[str, ...]]:
    """Sign the checkpoint of the end, bring it to the anchors, and keep it with what they cosigned."""
    kept = sign_unkept(ledger, log_key) or ledger.look(lambda view: newest_checkpoint(view, log_key.verifier))
    if kept is None:
        raise LedgerError("no checkpoint of the end could be signed")
    anchors = build_anchors(read_anchors(home.wiring), world_of(home, commands=True)) if home.wiring.exists() else ()
    notes, problems = [parse_note(kept.note)], []
    for one, note, problem in _brought(home, ledger, kept, anchors):
        if note is not None:
            notes.append(note)
        else:
            problems.append(f"{one.title}: {problem}")
    whole = bytes(cosigned(notes[0], notes))
    # The first one of a size stays: where one is kept already, the anchors have this all the same.
    ledger.transact(lambda tx: tx.keep_checkpoint(kept.checkpoint.size, whole))
    return whole, tuple(problems)


def _brought(
    home: Home, ledger: Ledger[State], kept: Kept, anchors: tuple[Declared, ...]
) -> Iterator[tuple[Declared, Note | None, str]]:
    """Bring a checkpoint to each anchor; yield the note it gave back, or why there is none. Raises `LedgerBroken`."""
    verifier = log_verifier(home)
    last = ledger.look(lambda view: standing(view, verifier).last)
    for one in anchors:
        turn = take_turn(home.place, one)
        if turn is None:
            yield one, None, BUSY
            continue
        try:
            offer = offer_of(ledger, verifier, kept, last.get(one.anchor.name))
            call = Patient(one.anchor.name, lambda one=one, offer=offer: one.anchor.put(offer))  # type: ignore[misc]  # bound now
            yield one, parse_note(call.wait(one.anchor.seconds)), ""
        except Contradicted as error:
            raise broken(one, error) from error
        except ConnectorError as error:
            yield one, None, str(error)
        finally:
            turn.release()
