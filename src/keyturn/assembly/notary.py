"""The notary of a home: signs a checkpoint when one is due, and sees that anchors get it. It holds up no action.

Due is a checkpoint after 256 entries, or a minute after the first of fewer; entries that only say that an anchor got
one are no news. What fails is told once, tried again, and told again when it fails otherwise.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

import anyio

from keyturn.anchors import Given, Keeper, given_by
from keyturn.anchors.judging import Contradicted
from keyturn.anchors.patience import Patient
from keyturn.assembly.anchoring import Declared, broken, build_anchors, hold_against
from keyturn.assembly.bringing import BUSY, offer_of, record, take_turn
from keyturn.assembly.home import Home
from keyturn.assembly.log_key import where_log_key
from keyturn.assembly.ports import world_of
from keyturn.assembly.signing import COUNT, Standing, is_news, sign_news, standing
from keyturn.assembly.wiring import read_anchors
from keyturn.assembly.writing import log_signer, log_verifier
from keyturn.fold.standing import Anchored
from keyturn.fold.state import State
from keyturn.gateway.threads import on_ledger
from keyturn.ledger.checkpoints import Kept, LogSigner
from keyturn.ledger.errors import LedgerBroken
from keyturn.ledger.lock import InstanceLock
from keyturn.ledger.place import Place
from keyturn.ledger.writer import Ledger
from keyturn.log.keys import LogVerifier
from keyturn.model.errors import ConfigurationError, ConnectorError, LedgerError

SECONDS = 60.0
"""Seconds after the first entry of news in which a checkpoint is due."""
AGAIN = 30.0
"""Seconds after a failure in which it is tried again, or the anchor's own pace where that is quicker."""
LOOK_EVERY = 1.0
"""Seconds between two turns."""
LEAVE = 10.0
"""Seconds that a process which ends waits for its anchors."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Errand:
    """A checkpoint on its way to an anchor, and the turn that it has there."""

    one: Declared
    turn: InstanceLock
    call: Patient[Given]
    began: float


@dataclass(slots=True, kw_only=True)
class Notary:
    """The notary of one process; its methods take turns in one thread and block for the ledger alone.

    signer  signs checkpoints; None where the log key is not at hand, and then others sign
    """

    ledger: Ledger[State]
    place: Place
    verifier: LogVerifier
    signer: LogSigner | None
    anchors: Sequence[Declared]
    clock: Callable[[], float] = time.monotonic
    _errands: list[_Errand] = field(default_factory=list)
    _not_before: dict[str, float] = field(default_factory=dict)
    _told: dict[str, str] = field(default_factory=dict)
    _standing: Standing | None = None
    _news: float | None = None

    def turn(self) -> None:
        """Do what is due; waits for no anchor. Raises `LedgerBroken` where one contradicts the ledger."""
        if self._is_over():
            return
        try:
            self._look()
            if self._signing_is_due():
                self.sign()
            self._collect()
            self._send(forced=False)
        except LedgerBroken:
            raise
        except LedgerError as error:
            self._tell("the ledger", f"no checkpoint is signed or brought anywhere at present: {error}")

    def finish(self, seconds: float, *, forced: bool) -> None:
        """Sign what is news, and bring it to the anchors for which it is time, or with `forced` to all of them.

        Waits for them `seconds` at most, for what is on its way goes on there all the same.
        """
        until = self.clock() + seconds
        if self._is_over():
            return
        try:
            self.sign()
            self._look()
            self._collect()
            self._send(forced=forced)
            for errand in list(self._errands):
                self._end(errand, max(0.0, until - self.clock()))
        finally:
            for errand in self._errands:
                errand.turn.release()
            self._errands.clear()

    @property
    def failing(self) -> Mapping[str, str]:
        """What fails at present: the log key, or the title of an anchor → why."""
        return dict(self._told)

    def sign(self) -> Kept | None:
        """Sign a checkpoint where there is news; a failure is told. Raises `LedgerBroken`."""
        if self.signer is None:
            return None
        try:
            kept = sign_news(self.ledger, self.signer)
        except LedgerBroken:
            raise
        except (ConfigurationError, LedgerError, OSError, ValueError) as error:
            self._news = self.clock()  # as if it had come now: tried again when that is due
            self._tell("the log key", f"no checkpoint can be signed: {error}")
            return None
        self._tell("the log key", "")
        self._news, self._standing = None, None
        return kept

    def _is_over(self) -> bool:
        """Tell whether the log was closed: its last checkpoint is for whoever closes it to sign and bring away."""
        try:
            return self.ledger.look(lambda view: view.head.closed) is not None
        except LedgerBroken:
            raise
        except LedgerError:
            return False  # what is tried next tells it

    # --- signing ----------------------------------------------------------------------------------------------

    def _look(self) -> None:
        size = self.ledger.look(lambda view: view.head.size)
        if self._standing is None or self._standing.size != size:
            self._standing = self.ledger.look(lambda view: standing(view, self.verifier))
            begin = self._signed
            if self._news is None and self.ledger.look(lambda view: is_news(view, begin)):
                self._news = self.clock()

    @property
    def _signed(self) -> int:
        kept = None if self._standing is None else self._standing.kept
        return 0 if kept is None else kept.checkpoint.size

    def _signing_is_due(self) -> bool:
        if self.signer is None or self._news is None or self._standing is None:
            return False
        waited = self.clock() - self._news
        many = self._standing.size - self._signed >= COUNT and "the log key" not in self._told
        return many or waited >= SECONDS

    # --- anchors ----------------------------------------------------------------------------------------------

    def _send(self, *, forced: bool) -> None:
        now = self._standing
        if now is None or now.kept is None:
            return
        at = self.ledger.look(lambda view: view.now)
        due = [one for one in self.anchors if forced or self._is_paced(one, now.last.get(one.anchor.name), at)]
        due = [one for one in due if self._is_new(one, now.last.get(one.anchor.name), now.kept)]
        for one in due:
            turn = take_turn(self.place, one)
            if turn is not None:
                self._set_out(one, turn, now.kept, now.last.get(one.anchor.name))
            elif forced:
                self._tell(one.title, BUSY)

    def _set_out(self, one: Declared, turn: InstanceLock, kept: Kept, last: Anchored | None) -> None:
        try:
            offer = offer_of(self.ledger, self.verifier, kept, last)
        except BaseException:
            turn.release()
            raise
        call = Patient(one.anchor.name, partial(given_by, one.anchor, offer))
        self._errands.append(_Errand(one, turn, call, self.clock()))

    def _is_new(self, one: Declared, last: Anchored | None, kept: Kept) -> bool:
        on_its_way = any(errand.one is one for errand in self._errands)
        return not on_its_way and (last is None or last.size < kept.checkpoint.size)

    def _is_paced(self, one: Declared, last: Anchored | None, now: datetime) -> bool:
        if self.clock() < self._not_before.get(one.anchor.name, 0.0):
            return False
        return last is None or (now - last.at).total_seconds() >= one.every

    def _collect(self) -> None:
        for errand in list(self._errands):
            if errand.call.over:
                self._end(errand, 0.0)
            elif self.clock() - errand.began > errand.one.anchor.seconds:
                # No second one is sent after it: a dead mount would keep a thread each time.
                self._tell(errand.one.title, f"does not answer within {errand.one.anchor.seconds:g} s")

    def _end(self, errand: _Errand, seconds: float) -> None:
        """Take what came of an errand, waiting for it so long."""
        one = errand.one
        self._errands.remove(errand)
        try:
            record(self.ledger, self.verifier, one, errand.call.wait(seconds))
            self._standing = None
        except Contradicted as error:
            raise broken(one, error) from error
        except (ConnectorError, LedgerError) as error:
            if isinstance(error, LedgerBroken):
                raise
            self._not_before[one.anchor.name] = self.clock() + min(AGAIN, one.every)
            self._tell(one.title, str(error))
        else:
            self._tell(one.title, "")
        finally:
            errand.turn.release()

    def _tell(self, subject: str, words: str) -> None:
        """Tell a failure that is not told yet, and forget those that are over."""
        before = self._told.pop(subject, "")
        if words:
            self._told[subject] = words
        if words and words != before:
            _log.warning("%s: %s", subject, words)
        elif before and not words:
            _log.warning("%s: well again", subject)


def notary_of(home: Home, ledger: Ledger[State]) -> Notary:
    """Build the notary of a process that serves or works; `ledger` is open and held against the anchors nearby.

    The others that give something back are asked here. Raises `ConfigurationError`, and `LedgerBroken` where one of
    them contradicts the ledger. A log key that cannot be used is told: the ledger goes on without checkpoints.
    """
    verifier = log_verifier(home)
    anchors = build_anchors(read_anchors(home.wiring), world_of(home, commands=True))
    hold_against(ledger, verifier, [one for one in anchors if isinstance(one.anchor, Keeper) and not one.anchor.near])
    signer = None
    try:
        signer = log_signer(home)
        if signer is None and anchors:
            _log.warning(
                "no checkpoint is signed for the anchors: the log key is not at hand (%s)", where_log_key(home)
            )
    except LedgerError as error:
        _log.warning("no checkpoint can be signed: %s", error)
    return Notary(ledger=ledger, place=home.place, verifier=verifier, signer=signer, anchors=anchors)


async def notarise(notary: Notary, meet: Callable[[LedgerError], None]) -> None:
    """Give the notary its turns until cancelled; tell `meet` of a ledger that is contradicted, and end."""
    while True:
        try:
            await on_ledger(notary.turn)
        except LedgerBroken as error:
            return meet(error)
        await anyio.sleep(LOOK_EVERY)


async def leave(notary: Notary, *, forced: bool) -> None:
    """Give the notary its last turn; with `forced` every anchor gets the newest checkpoint. Raises `LedgerError`."""
    with anyio.CancelScope(shield=True):
        await on_ledger(partial(notary.finish, LEAVE, forced=forced))
