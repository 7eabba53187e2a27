"""Covering an intent: each anchor that must have it gets a checkpoint of it, on record, before the effect begins.

What comes at the same time is covered together: one signs and brings a checkpoint of all there is, the others wait.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from keyturn.anchors import Given, given_by
from keyturn.anchors.judging import Contradicted
from keyturn.anchors.patience import Patient
from keyturn.assembly.anchoring import Declared, broken
from keyturn.assembly.bringing import BUSY, offer_of, record, take_turn
from keyturn.assembly.notary import Notary
from keyturn.assembly.signing import Standing, standing
from keyturn.fold.state import State
from keyturn.gateway.core import Gateway
from keyturn.ledger.checkpoints import LogSigner, sign_checkpoint
from keyturn.ledger.lock import InstanceLock
from keyturn.ledger.place import Place
from keyturn.ledger.writer import Ledger
from keyturn.log.keys import LogVerifier
from keyturn.model.errors import ConfigurationError, ConnectorError, LedgerError

WAIT = 10.0
"""Seconds that an intent waits for its turn, beside what its anchors may take."""
LOOK_EVERY = 0.02
NO_KEY = "the log key is not at hand in this process, and signs no checkpoint"


@dataclass(slots=True, kw_only=True)
class Coverage:
    """What covers the intents of one process. `anchors` are those that must have each; methods may run in any thread.

    signer  signs checkpoints; None where the log key is not at hand, and then nothing is covered
    """

    ledger: Ledger[State]
    place: Place
    verifier: LogVerifier
    signer: LogSigner | None
    anchors: Sequence[Declared]
    clock: Callable[[], float] = time.monotonic
    wait: float = WAIT
    _round: threading.Lock = field(default_factory=threading.Lock)
    _under_way: dict[str, Patient[Given]] = field(default_factory=dict)

    def cover(self, intent: int) -> str | None:
        """Have the entry `intent` anchored; return None once that is recorded of each anchor, or why it failed.

        It takes no longer than the slowest anchor may, and `WAIT`. Raises `LedgerBroken` where an anchor contradicts
        the ledger, and `LedgerUnavailable`.
        """
        if not self.anchors:
            return "no anchor of this home has required = true"
        until = self.clock() + self.wait + max(one.anchor.seconds for one in self.anchors)
        while self._lacking(intent):
            left = until - self.clock()
            if left <= 0 or not self._round.acquire(timeout=left):
                return "its turn did not come in time: others wait for these anchors"
            try:
                problem = self._bring(intent, until)
            finally:
                self._round.release()
            if problem is not None:
                return problem
        return None

    def _standing(self) -> Standing:
        return self.ledger.look(lambda view: standing(view, self.verifier))

    def _lacking(self, intent: int) -> list[Declared]:
        """Return the anchors that are not recorded to have an entry."""
        last = self._standing().last
        return [one for one in self.anchors if one.anchor.name not in last or last[one.anchor.name].size <= intent]

    def _bring(self, intent: int, until: float) -> str | None:
        """Sign and bring a checkpoint of all there is, to all anchors at once; return why that failed."""
        if not (lacking := self._lacking(intent)):
            return None
        if self.signer is None:
            return NO_KEY
        try:
            sign_checkpoint(self.ledger, self.signer)
        except LedgerError:
            raise
        except (ConfigurationError, OSError, ValueError) as error:
            return f"no checkpoint can be signed: {error}"
        turns: list[InstanceLock] = []
        try:
            sent = [(one, self._sent(one, intent, turns, until)) for one in lacking]
            return self._first_failure([self._ended(one, call, until) for one, call in sent])
        except ConnectorError as error:
            return str(error)
        finally:
            for turn in turns:
                turn.release()

    def _sent(self, one: Declared, intent: int, turns: list[InstanceLock], until: float) -> Patient[Given] | None:
        """Send an anchor the newest checkpoint once it is free; None where another process has done so meanwhile."""
        before = self._under_way.get(one.anchor.name)
        if before is not None and not before.over:
            # No second one is sent after it: a dead mount would keep a thread each time.
            raise ConnectorError(f"{one.title} has not answered yet what it was sent before")
        while (turn := take_turn(self.place, one)) is None:
            if self.clock() >= until:
                raise ConnectorError(f"{one.title}: {BUSY}")
            time.sleep(LOOK_EVERY)
        turns.append(turn)
        now = self._standing()
        last = now.last.get(one.anchor.name)
        if now.kept is None or (last is not None and last.size > intent):
            return None
        offer = offer_of(self.ledger, self.verifier, now.kept, last)
        self._under_way[one.anchor.name] = Patient(one.anchor.name, partial(given_by, one.anchor, offer))
        return self._under_way[one.anchor.name]

    def _ended(self, one: Declared, call: Patient[Given] | None, until: float) -> str | None:
        """Wait for an anchor and record what it has; return why that failed."""
        if call is None:
            return None
        try:
            record(
                self.ledger, self.verifier, one, call.wait(max(0.0, min(one.anchor.seconds, until - self.clock())))
            )
        except Contradicted as error:
            raise broken(one, error) from error
        except ConnectorError as error:
            return f"{one.title}: {error}"
        return None

    @staticmethod
    def _first_failure(problems: Sequence[str | None]) -> str | None:
        return next((problem for problem in problems if problem is not None), None)


def coverage_of(notary: Notary) -> Coverage:
    """Return what covers intents with the anchors of a notary that must have them, beside it and in its process."""
    return Coverage(
        ledger=notary.ledger,
        place=notary.place,
        verifier=notary.verifier,
        signer=notary.signer,
        anchors=[one for one in notary.anchors if one.required],
    )


def check_log_key(gate: Gateway, notary: Notary) -> None:
    """Refuse to execute under such a policy without the log key. Raises `ConfigurationError`."""
    if notary.signer is None and gate.ledger.look(gate.policies.in_force).anchored:
        raise ConfigurationError(
            'the policy in force has grants with anchor = "before": whatever executes them needs the log key, to '
            "sign a checkpoint of each intent, and it is not at hand; see [log] in keyturn.toml"
        )
