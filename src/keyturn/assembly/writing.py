"""Opening a ledger to write: held against the anchors nearby before, signed at the end with the log key at hand."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from keyturn.assembly.home import Home
from keyturn.assembly.outside import surroundings
from keyturn.fold.state import State
from keyturn.ledger.checkpoints import LogSigner
from keyturn.ledger.errors import LedgerUnavailable
from keyturn.ledger.transaction import View
from keyturn.ledger.writer import Ledger, Surroundings, read_verifier
from keyturn.log.keys import BadKey, LogVerifier, parse_verifier
from keyturn.model.errors import ConfigurationError, LedgerError

_log = logging.getLogger(__name__)


class SigningLedger(Ledger[State]):
    """A ledger that gets a checkpoint when it is closed, if this process wrote to it and the log key is at hand."""

    def __init__(self, home: Home, outside: Surroundings, signer: Callable[[], LogSigner | None]) -> None:
        super().__init__(home.place, State, outside)
        self._signer = signer

    def close(self) -> None:
        """Sign what is news, and close. What keeps it from being signed is told; the next process signs it then."""
        try:
            if self.wrote:
                self._sign()
        except (ConfigurationError, LedgerError, OSError, ValueError) as error:
            _log.warning("no checkpoint was signed at the end: %s", error)
        finally:
            super().close()

    def _sign(self) -> None:
        from keyturn.assembly.signing import sign_news  # noqa: PLC0415 - only what has written needs it

        signer = self._signer()
        if signer is not None:
            sign_news(self, signer)


def log_verifier(home: Home) -> LogVerifier:
    """Return the verifier that the home keeps of its log. Raises `LedgerUnavailable`."""
    try:
        return parse_verifier(read_verifier(home.place))
    except BadKey as error:
        raise LedgerUnavailable(f"{home.place.keys}: what it keeps is no verifier string: {error}") from error


def log_signer(home: Home, *, asked: bool = True) -> LogSigner | None:
    """Return what signs for the log, None where its key is not at hand; as `find_log_key`."""
    from keyturn.assembly.log_key import find_log_key  # noqa: PLC0415 - it reads the wiring, which most verbs do not

    return find_log_key(home, log_verifier(home), asked=asked)


def open_writing(
    home: Home, program: str, anchors: Mapping[str, Any] | None = None, *, closed: bool = False
) -> SigningLedger:
    """Open the ledger of a home to write; `anchors` are the settings of its anchors, read here if they are not given.

    Raises `ConfigurationError` and `LedgerError`: `LedgerBroken` where an anchor nearby contradicts the ledger, and
    for a log that was closed, unless that is `closed` in the caller's eyes too.
    """
    ledger = SigningLedger(home, surroundings(program), lambda: log_signer(home, asked=False))
    try:
        _hold(home, ledger, _anchors(home) if anchors is None else anchors)
        if not closed:
            ledger.look(_require_open)
    except BaseException:
        ledger.close()
        raise
    return ledger


def _require_open(view: View[State]) -> None:
    if view.head.closed is not None:
        end = view.entry(view.head.closed)
        after = end.facts["successor"]
        raise LedgerError(
            f"the log was closed at entry {end.seq}, and nothing is written to it any more; "
            + (f"{after} goes on in its place" if after else "no log goes on in its place")
        )


def _anchors(home: Home) -> Mapping[str, Any]:
    from keyturn.assembly.wiring import read_anchors  # noqa: PLC0415 - most of what writes has read it already

    # A home may be written to without its wiring: reviews need none. Then nothing names its anchors either.
    return read_anchors(home.wiring) if home.wiring.exists() else {}


def _hold(home: Home, ledger: Ledger[State], anchors: Mapping[str, Any]) -> None:
    if not anchors:
        return
    # Imported here: a home without anchors needs none of it.
    from keyturn.assembly.anchoring import build_anchors, hold_against, nearby  # noqa: PLC0415
    from keyturn.assembly.ports import world_of  # noqa: PLC0415

    hold_against(ledger, log_verifier(home), build_anchors(nearby(anchors), world_of(home, commands=False)))
