"""How a log ends and another goes on from it: what a person signs for, and what must be over before.

Nothing follows the end; the chain proves that. The log that goes on says so while it is being founded, by its own log
key: it names the verifier string, the size and the root of the one before, and keeps that one's last checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from keyturn import canon
from keyturn.approvals.action import Action
from keyturn.fold.signatures import Act
from keyturn.log.entry import Entry
from keyturn.log.keys import BadKey, LogVerifier, parse_verifier
from keyturn.model.errors import Refused

CLOSE = "log.close"
PREDECESSOR = "predecessor.note"
"""The payload that holds the last checkpoint of the log before, a signed note."""


def closing(log: str, facts: Mapping[str, Any]) -> Act:
    """Return what a person signs for a `log.closed` entry of the log with this origin."""
    return Act(verb=CLOSE, object=log, digest=canon.digest({"successor": facts["successor"]}))


def check_closing(log: str, facts: Mapping[str, Any], open_actions: Iterable[tuple[Action, str]]) -> None:
    """Refuse to end a log while an action is not over, or in favour of what is no other log."""
    for action, state in open_actions:
        raise Refused("not_over", f"action {action.id} is {state}: a log ends when all that it began is over")
    if facts["successor"] is not None:
        _other_log(facts["successor"], log)


def check_succession(entry: Entry, *, founding: bool, before: str | None) -> str:
    """Return the verifier string of the log that a `log.succeeds` entry goes on from. Raises `Refused`."""
    if not founding:
        raise Refused("not_founding", "a log says which one it goes on from while it is founded, or never")
    if before is not None:
        raise Refused("succeeds_twice", "a log goes on from one log")
    if PREDECESSOR not in entry.data:
        raise Refused("no_note", "it keeps no checkpoint of the log before")
    return str(_other_log(entry.text("verifier"), entry.log))


def _other_log(text: str, own: str) -> LogVerifier:
    try:
        verifier = parse_verifier(text)
    except BadKey as error:
        raise Refused("other_facts", f"it names no log: {error}") from error
    if verifier.origin == own:
        raise Refused("other_facts", "no log goes on from itself")
    return verifier
