"""The numbers of the proofs, what somebody can do when one fails, and the exception that names it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

from keyturn.log.chain import ChainError
from keyturn.log.fold import FoldError
from keyturn.model.errors import ConfigurationError, Refused

_EDITED = (
    "Somebody changed the file outside Keyturn, or the disk did. Stop the servers of this home, keep the file as it "
    "is for examination, and compare it with a backup or with receipts that clients kept."
)
_KEY_HOLDER = (
    "Whoever wrote this holds the entry key. Treat that key as stolen: stop the servers of this home, keep the file, "
    "and look at everything from this entry on."
)

ADVICE: Mapping[int, str] = MappingProxyType(
    {
        1: "If the kind is not known, use the version of Keyturn that wrote it. Otherwise: " + _EDITED,
        2: _EDITED,
        3: _EDITED,
        4: "The entry was signed with a key this log never admitted. " + _EDITED,
        5: _EDITED,
        6: "A payload was changed, removed or slipped in; the entries themselves stand. " + _EDITED,
        7: _EDITED,
        8: "Nothing in this file can be relied on. Check that it is the right file (state/ledger.db of a home, a "
        "backup of it, or a bundle), whole and of this version of Keyturn; then compare with a backup.",
        9: "The entry is properly signed but cannot have come from the gate. " + _KEY_HOLDER,
        10: "The entry rests on a policy or contract that the ledger does not bear out. " + _KEY_HOLDER,
        11: "The recorded policy would not have decided so: what was recorded ran, or could run, without authority. "
        + _KEY_HOLDER,
        12: "This is another log than the one you pinned. Check both; if the pinned verifier string is right, the "
        "whole ledger was replaced.",
        13: "Entries that were there are gone, or are others now: the end was cut off, or an older copy was put in "
        "place. " + _EDITED,
        14: "The entries are not those that the log key signed a checkpoint of, or the file was edited. Compare it "
        "with checkpoints and receipts kept elsewhere. " + _EDITED,
        15: "If what you brought was true when it was kept, and of this log, the ledger was changed since. If a "
        "recovery is listed, see what it says was lost. Otherwise whoever did this holds the keys: stop the servers "
        "of this home, keep the file, and go by what was kept elsewhere.",
        16: "Somebody could review whom your list does not know. Ask who that is before you rely on a review.",
        17: "It ran although no anchor was known to have its intent, which the policy asks for first. " + _KEY_HOLDER,
    }
)
"""Proof → what it means when it fails, and what to do."""


class NotProved(Exception):
    """A proof failed: `seq` is the entry (None for the file as a whole), `proof` its number, `reason` why."""

    def __init__(self, seq: int | None, proof: int, reason: str) -> None:
        super().__init__(f"entry {seq}: {reason}" if seq is not None else reason)
        self.seq = seq
        self.proof = proof
        self.reason = reason


@contextmanager
def proving(seq: int, proof: int) -> Iterator[None]:
    """Turn what the pure rooms raise about entry `seq` into `NotProved` with the number of the proof.

    A holder of the entry key can sign values that no gate ever writes: whatever they trip over is a failed proof,
    never a crash of the verifier.
    """
    try:
        yield
    except ChainError as error:
        raise NotProved(error.seq, error.proof, error.reason) from error
    except (FoldError, ConfigurationError, Refused, ValueError) as error:
        raise NotProved(seq, proof, str(error)) from error
    except (ArithmeticError, LookupError, TypeError) as error:
        raise NotProved(seq, proof, f"it holds what no gate writes ({type(error).__name__}: {error})") from error
