"""An anchor that cosigns: the client of a C2SP witness over HTTP (`add-checkpoint` of tlog-witness).

What a witness says is believed where its key signed it, and over exactly the checkpoint it was sent. Its refusals are
signed by nobody: they are told, and stop nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

import anyio

from keyturn.anchors import EVERY, NOTE_LIMIT, AnchorType, Every, Offer
from keyturn.connectors.http import Answer, Connection, Door, Nobody
from keyturn.connectors.world import World
from keyturn.log.keys import BadKey
from keyturn.log.lines import read_decimal
from keyturn.log.note import (
    COSIGNATURE,
    Note,
    NoteError,
    NoteKey,
    NoteSignature,
    parse_note,
    parse_note_key,
    verify_note,
)
from keyturn.log.proof import Submission
from keyturn.model.errors import ConfigurationError, ConnectorError

SIZE: Final = "text/x.tlog.size"
SKEW: Final = 300.0
"""Seconds that a witness's clock may differ from this machine's."""
_REFUSALS: Final = {
    403: "does not know the key of this log; its owner has to add the log's verifier string",
    404: "does not know this log; its owner has to add its verifier string",
    422: "takes the proof of growth for none: it has seen another ledger of this log",
}
_EXPECTED: Final = frozenset({409, *_REFUSALS})


class Settings(Connection):
    """`[anchors.<name>]` of kind "witness", beside what every system over HTTP has.

    url       what stands before `/add-checkpoint`
    verifier  its verifier key, as it gave it to you: cosignatures of any other count for nothing
    required  whether it must have an intent before the effect, where a grant asks for that
    """

    kind: Literal["witness"] = "witness"
    verifier: str
    every: Every = EVERY
    required: bool = False


def build(name: str, settings: Settings, world: World) -> WitnessAnchor:
    """Return the anchor called `name`. Raises `ConfigurationError` naming the setting that is wrong."""
    place = f"anchors.{name}"
    try:
        key = parse_note_key(settings.verifier.strip())
    except BadKey as error:
        raise ConfigurationError(f"{place}.verifier: {error}") from error
    if key.algorithm != COSIGNATURE:
        raise ConfigurationError(f"{place}.verifier: is the key of a log, not of a witness")
    door = Door(place=place, connection=settings, world=world, authority=Nobody(), limit=NOTE_LIMIT)
    return WitnessAnchor(name, key, door, float(settings.deadline), world.now)


class WitnessAnchor:
    """One witness; see `Anchor`."""

    type: AnchorType = "witness"

    def __init__(self, name: str, key: NoteKey, door: Door, seconds: float, now: Callable[[], float]) -> None:
        self.name = name
        self.seconds = seconds * 2 + 1  # it is asked twice at most
        self._key = key
        self._door = door
        self._now = now

    def put(self, offer: Offer) -> bytes:
        """Have a checkpoint cosigned; return its note with the witness's signature behind the log's."""
        return anyio.run(self._cosigned, offer)

    async def _cosigned(self, offer: Offer) -> bytes:
        answer = await self._sent(offer, min(offer.last, offer.checkpoint.size))
        if answer.status == 409:
            told = _told(answer, offer)
            answer = await self._sent(offer, told)
            if answer.status == 409:
                raise ConnectorError(_disputed(told, _size_in(answer), offer.checkpoint.size))
        if answer.status in _REFUSALS:
            raise ConnectorError(f"the witness {_REFUSALS[answer.status]}")
        return bytes(self._believed(offer, answer.body))

    async def _sent(self, offer: Offer, old: int) -> Answer:
        proof = tuple(offer.grown(old)) if 0 < old < offer.checkpoint.size else ()
        body = bytes(Submission(old, proof, parse_note(offer.note)))
        return await self._door.post_bytes("/add-checkpoint", data=body, content="text/plain", expected=_EXPECTED)

    def _believed(self, offer: Offer, lines: bytes) -> Note:
        """Return the note with the witness's cosignature and no other. Raises `ConnectorError`."""
        try:
            whole = parse_note(offer.note + lines)
            (signed,) = verify_note(whole, [self._key])
        except NoteError as error:
            raise ConnectorError(f"the witness did not cosign the checkpoint: {error}") from error
        if whole.text != offer.checkpoint.text:  # an empty line in its answer makes a longer text of the note
            raise ConnectorError("the witness cosigned another text than it was sent")
        time = 0 if signed.time is None else signed.time
        if not offer.began - SKEW <= time <= self._now() + SKEW:
            raise ConnectorError(
                f"the witness's cosignature names a time that cannot be ({time} s since 1970); look at both clocks"
            )
        return Note(whole.text, (*parse_note(offer.note).signatures, self._line(whole)))

    def _line(self, note: Note) -> NoteSignature:
        return next(line for line in note.signatures if (line.name, line.key_id) == (self._key.name, self._key.id))


def _told(answer: Answer, offer: Offer) -> int:
    """Return the size that the witness says it saw last. Raises `ConnectorError` where this ledger has it not."""
    size = _size_in(answer)
    if size > offer.checkpoint.size or (size == offer.checkpoint.size and offer.last == size):
        raise ConnectorError(_disputed(size, size, offer.checkpoint.size))
    return size


def _size_in(answer: Answer) -> int:
    kind = answer.headers.get("content-type", "").partition(";")[0].strip()
    try:
        text = answer.body.decode("ascii").removesuffix("\n")
        if kind == SIZE:
            return read_decimal(text)
    except ValueError:
        pass  # raised below
    raise ConnectorError("the witness answered 409 without the size it saw last; is the url that of a witness?")


def _disputed(asked: int, seen: int, size: int) -> str:
    """Say what a 409 means to whoever offers `size` entries and has proved growth from `asked`, as it was told to."""
    if seen > size:
        return (
            f"the witness saw {seen} entries of this log and is offered {size}: the ledger went backwards, or a copy "
            "of it goes on elsewhere"
        )
    if seen != asked:
        return (
            f"the witness said first that it saw {asked} entries of this log, and then {seen}; another process may "
            "have brought it a checkpoint meanwhile"
        )
    if seen < size:
        return f"the witness says that it saw {seen} entries of this log, and takes no proof from there; is it one?"
    return f"the witness cosigned another tree of {seen} entries of this log: the ledger was rewritten, or forked"
