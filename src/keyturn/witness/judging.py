"""What a witness answers to a submission: pure; the latest checkpoint it cosigned goes in, the answer comes out.

Source: C2SP tlog-witness, `add-checkpoint`. The order of the checks is the specification's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from keyturn.log.checkpoint import Checkpoint, parse_checkpoint
from keyturn.log.note import NoteError, NoteKey, verify_note
from keyturn.log.proof import Submission
from keyturn.log.tree import EMPTY_ROOT, ProofError, verify_consistency

Trusted: TypeAlias = Mapping[str, Sequence[NoteKey]]
"""Origin of a log → the keys whose signature on its checkpoints counts."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An HTTP status, and why in words; `size` is what the witness saw last, where the log has to know it."""

    status: int
    reason: str
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """A checkpoint to be recorded and cosigned."""

    checkpoint: Checkpoint


def recognise(submission: Submission, trusted: Trusted) -> Accepted | Refusal:
    """Judge what needs no memory: whose checkpoint it is, who signed it, and whether it can follow what it names.

    404 unknown origin · 403 no trusted signature · 400 not a checkpoint, a root that no tree of nothing has, or
    smaller than the old size.
    """
    try:
        checkpoint = parse_checkpoint(submission.note.text)
    except NoteError as error:
        return Refusal(400, str(error))
    keys = trusted.get(checkpoint.origin)
    if keys is None:
        return Refusal(404, "this witness does not know the log")
    try:
        verify_note(submission.note, keys)
    except NoteError as error:
        return Refusal(403, str(error))
    if checkpoint.size == 0 and checkpoint.root != EMPTY_ROOT:
        return Refusal(400, "a tree of nothing has another root")
    if submission.old > checkpoint.size:
        return Refusal(400, f"the old size {submission.old} is above the checkpoint's {checkpoint.size}")
    return Accepted(checkpoint)


def judge(submission: Submission, checkpoint: Checkpoint, last: Checkpoint | None) -> Accepted | Refusal:
    """Judge a recognised submission against the latest checkpoint cosigned for its log (None: there is none).

    409 another old size than that, or another root at the same size · 422 a proof of growth that proves nothing.
    """
    seen = 0 if last is None else last.size
    if submission.old != seen:
        return Refusal(409, f"the latest checkpoint here has {seen} entries", seen)
    if last is None or seen == 0:
        return (
            Accepted(checkpoint) if not submission.proof else Refusal(422, "from nothing there is nothing to prove")
        )
    if checkpoint.size == seen and checkpoint.root != last.root:
        return Refusal(409, f"another tree of {seen} entries was cosigned here", seen)
    try:
        verify_consistency(seen, checkpoint.size, submission.proof, last.root, checkpoint.root)
    except ProofError as error:
        return Refusal(422, str(error))
    return Accepted(checkpoint)
