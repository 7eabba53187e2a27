"""Ending a log on a person's signed word, and saying in a new one which log it goes on from."""

from __future__ import annotations

from keyturn import canon
from keyturn.canon import Json
from keyturn.fold.ending import PREDECESSOR, check_closing, check_succession, closing
from keyturn.fold.state import State
from keyturn.gateway.acts import ActDraft, origin_of, statement_of
from keyturn.gateway.desk import Job, Look
from keyturn.gateway.sweep import sweep
from keyturn.ledger.checkpoints import Kept, LogSigner
from keyturn.ledger.writer import Ledger
from keyturn.log.entry import Entry
from keyturn.log.keys import LogVerifier
from keyturn.model.errors import Refused


def draft_closing(ledger: Ledger[State], successor: str | None, log_key: LogSigner, by: str) -> ActDraft:
    """Draft the end of the log in favour of `successor`, a verifier string, or of none.

    Raises `Refused` while an action is not over, and for a successor that is no other log.
    """
    facts: dict[str, Json] = {"successor": successor}

    def check(view: Look) -> None:
        check_closing(origin_of(view), facts, view.state.open_actions(view.now))

    def record(tx: Job, signed: dict[str, Json]) -> Entry:
        sweep(tx)  # what has expired is written down while anything can be
        check(tx)
        return tx.append("log.closed", {**facts, "act": signed}, key=log_key)

    def look(view: Look) -> ActDraft:
        check(view)
        act = closing(origin_of(view), facts)
        return ActDraft(statement_of(view, act.verb, act.object, act.digest, by), record)

    return ledger.look(look)


def succeed(ledger: Ledger[State], before: LogVerifier, end: Kept, log_key: LogSigner) -> Entry | None:
    """Say in a log that is just founded that it goes on from `before`, whose last checkpoint is `end`.

    Returns None where it says exactly that already. Raises `Refused` where it says something else, or has begun.
    """
    facts: dict[str, Json] = {
        "verifier": str(before),
        "size": end.checkpoint.size,
        "root": end.checkpoint.root.hex(),
    }

    def job(tx: Job) -> Entry | None:
        said = next(iter(tx.newest("log.succeeds")), None)
        if said is not None and dict(said.facts) == facts:
            return None
        if not tx.state.founding:
            raise Refused(
                "not_founding",
                "this log has begun: it says which one it goes on from directly after it is founded, before anything "
                "is asked, read or changed in it. Found another home for it",
            )
        data = {PREDECESSOR: canon.encode(end.note.decode("utf-8"))}
        entry = tx.append("log.succeeds", facts, data=data, key=log_key)
        check_succession(entry, founding=True, before=tx.state.predecessor)
        return entry

    return ledger.transact(job)
