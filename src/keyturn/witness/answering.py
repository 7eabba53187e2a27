"""One witness at work: bytes of a request in, bytes of an answer out; recorded first, cosigned afterwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from keyturn.log.checkpoint import Checkpoint
from keyturn.log.note import NoteKey, signature_of, to_sign
from keyturn.log.proof import Submission, parse_submission
from keyturn.log.tree import ProofError
from keyturn.witness.judging import Accepted, Refusal, Trusted, judge, recognise
from keyturn.witness.store import Store

MAX_BODY = 128 * 1024
"""Bytes of a request that are read."""
TEXT = "text/plain; charset=utf-8"
SIZE = "text/x.tlog.size"


@dataclass(frozen=True, slots=True)
class Cosigner:
    """A witness's key, and how it signs; `sign` returns an Ed25519 signature of 64 bytes."""

    key: NoteKey
    sign: Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer over HTTP."""

    status: int
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Witness:
    """A witness of the logs it trusts; `now` returns seconds since 1970."""

    store: Store
    trusted: Trusted
    cosigners: Sequence[Cosigner]
    now: Callable[[], float]

    def add_checkpoint(self, body: bytes) -> Reply:
        """Answer an `add-checkpoint` request. Raises `LedgerError`, and signs nothing, when it cannot be recorded."""
        try:
            submission = parse_submission(body)
        except ProofError as error:
            return _refused(Refusal(400, str(error)))
        known = recognise(submission, self.trusted)
        if isinstance(known, Refusal):
            return _refused(known)
        judged = self._record(submission, known.checkpoint)
        if isinstance(judged, Refusal):
            return _refused(judged)
        return Reply(200, TEXT, self._cosigned(judged.checkpoint.text).encode("utf-8"))

    def _record(self, submission: Submission, checkpoint: Checkpoint) -> Accepted | Refusal:
        def decide(last: Checkpoint | None) -> tuple[Accepted | Refusal, Checkpoint | None]:
            judged = judge(submission, checkpoint, last)
            return judged, judged.checkpoint if isinstance(judged, Accepted) else None

        return self.store.update(checkpoint.origin, decide)

    def _cosigned(self, text: str) -> str:
        time = int(self.now())
        lines = (signature_of(one.key, one.sign(to_sign(text, time)), time) for one in self.cosigners)
        return "".join(f"{line}\n" for line in lines)


def _refused(refusal: Refusal) -> Reply:
    if refusal.size is not None:
        return Reply(refusal.status, SIZE, b"%d\n" % refusal.size)
    return Reply(refusal.status, TEXT, f"{refusal.reason}\n".encode())
