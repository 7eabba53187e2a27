"""Anchors: places outside that keep the log's checkpoints or cosign them, and so contradict a changed ledger."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol, TypeAlias, runtime_checkable

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from keyturn.log.checkpoint import Checkpoint
from keyturn.model.time import parse_duration

AnchorType: TypeAlias = Literal["file", "git", "witness", "rfc3161"]
NOTE_LIMIT = 64 * 1024
"""Bytes of one note that are read from an anchor."""
SOONEST, LATEST = 1.0, 86_400.0  # seconds between two checkpoints of one anchor


@dataclass(frozen=True, slots=True)
class Seen:
    """What an anchor keeps of a log: the newest note, and the recoveries in its tree.

    `recoveries` are leaf hashes (hex) of entries that say the ledger was restored. They came before the note: none of
    them explains why the ledger contradicts it.
    """

    note: bytes
    recoveries: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of `Seen`: `step` is the recovery (leaf hash) that explains a step back, None without one."""

    step: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A checkpoint on its way to an anchor.

    note        its note, signed by the log key alone
    recoveries  leaf hashes of the recoveries in it, as `Seen` has them
    began       seconds since 1970 of the newest entry in it: nobody can have seen it before
    last        the size this anchor had last, as far as the ledger knows; 0 for none
    judge       holds what the anchor keeps against the ledger; raises `judging.Contradicted`
    grown       returns the proof (RFC 6962) that the tree of the first so many entries begins the checkpoint's
    """

    checkpoint: Checkpoint
    note: bytes
    recoveries: frozenset[str]
    began: float
    last: int
    judge: Callable[[Seen], Judged]
    grown: Callable[[int], Sequence[bytes]]


@dataclass(frozen=True, slots=True)
class Given:
    """What an anchor gave for a checkpoint: the note it keeps or cosigned, and its token if it stamps."""

    note: bytes
    token: bytes | None = None


class Anchor(Protocol):
    """One anchor. Its calls block and raise `ConnectorError` where it cannot be had; call them in a thread."""

    @property
    def name(self) -> str:
        """Its name in the wiring."""
        ...

    @property
    def type(self) -> AnchorType:
        """What it is."""
        ...

    @property
    def seconds(self) -> float:
        """Seconds after which it counts as not answering."""
        ...

    def put(self, offer: Offer) -> bytes:
        """Bring a checkpoint there; return the note it keeps now, or cosigned.

        Where it keeps a newer one of the same ledger already, that one is returned. Raises `judging.Contradicted`.
        """
        ...


@runtime_checkable
class Stamper(Anchor, Protocol):
    """An anchor that gives a token beside the note."""

    def give(self, offer: Offer) -> Given:
        """Bring a checkpoint there, as `put`; return the note and the token."""
        ...


def given_by(anchor: Anchor, offer: Offer) -> Given:
    """Bring a checkpoint to an anchor and return what it gave; raises as `Anchor.put`."""
    return anchor.give(offer) if isinstance(anchor, Stamper) else Given(anchor.put(offer))


@runtime_checkable
class Keeper(Anchor, Protocol):
    """An anchor that gives back what it keeps."""

    @property
    def near(self) -> bool:
        """Whether it is on this machine or mounted here: quick enough to be asked by every command that writes."""
        ...

    def newest(self, origin: str) -> Seen | None:
        """Return what it keeps of a log, None when there is nothing."""
        ...


def _duration(text: str) -> str:
    try:
        seconds = parse_duration(text).total_seconds()
    except ValueError as error:
        raise PydanticCustomError("duration", "{why}", {"why": str(error)}) from error
    if not SOONEST <= seconds <= LATEST:
        raise PydanticCustomError("duration", "must be from 1 s to 24 h")
    return text


Every: TypeAlias = Annotated[str, AfterValidator(_duration)]
"""A setting: how often an anchor gets a checkpoint, such as `10m`."""
EVERY = "10m"


def folder_name(origin: str) -> str:
    """Return the name under which an anchor keeps a log's notes: its origin with a dash for the slash."""
    return origin.replace("/", "-")
