"""Golden bundles of logs with a rule that asks for an anchor before the effect, where one was and where none was."""

from __future__ import annotations

import base64
from collections.abc import Iterator

from keyturn import canon
from keyturn.canon import Json
from keyturn.log.note import Note
from tests.vectors.bundle_story import begun_log, finish
from tests.vectors.end_cases import EndCase
from tests.vectors.story import Log
from tests.vectors.tree_cases import by_log, by_witness, head_text

RULE = 'anchor = "before"\n'


def before_cases() -> Iterator[EndCase]:
    """Yield every case; the outcome is what fails."""
    reason = "no anchor was recorded to have its intent"
    yield EndCase(name="anchored-before", what="the intent was anchored before the effect", log=anchored())
    for name, what, log in (
        ("anchored-never", "the rule asks for an anchor before the effect, and there is none", begun()),
        ("anchored-too-little", "the anchor has all entries before the intent alone", anchored(less=1)),
    ):
        done = log if name == "anchored-too-little" else ended(log)
        yield EndCase(name=name, what=what, log=done, seq=len(done.rows) - 1, proof=17, reason=reason)
    late = ended(begun())
    seq = len(late.rows) - 1
    anchor(late, seq)
    yield EndCase(
        name="anchored-late",
        what="the anchor has the intent after the effect",
        log=late,
        seq=seq,
        proof=17,
        reason=reason,
    )
    other = anchored(root="0" * 64)
    yield EndCase(
        name="anchored-another-tree",
        what="the anchor has the intent in another tree",
        log=other,
        seq=len(other.rows) - 2,
        proof=14,
        reason="are not those",
    )
    refused = begun()
    finish(refused, outcome="failed", effect=False)
    yield EndCase(name="anchored-nothing-done", what="no anchor could be had, and nothing was done", log=refused)


def begun() -> Log:
    """Return the log up to the intent."""
    return begun_log(RULE)


def ended(log: Log) -> Log:
    """Append the outcome."""
    finish(log)
    return log


def anchored(less: int = 0, **facts: Json) -> Log:
    """Return the log with an anchor between intent and outcome, of so many entries less than there are."""
    log = begun()
    anchor(log, len(log.rows) - less, **facts)
    return ended(log)


def anchor(log: Log, size: int, **facts: Json) -> None:
    """Append that a witness cosigned the first entries."""
    text = head_text(log, size)
    note = Note(text, (by_log(text), by_witness(text)))
    root = base64.b64decode(text.split("\n")[2]).hex()
    said: dict[str, Json] = {"anchor": "one", "type": "witness", "size": size, "root": root}
    log.add("anchor.recorded", said | facts, {"anchor.note": canon.encode(bytes(note).decode())})
