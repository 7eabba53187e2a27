"""What is said of an action that was just allowed: that it runs, or what keeps it from that."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from keyturn.model.errors import ConfigurationError, LedgerError

if TYPE_CHECKING:
    from keyturn.assembly.home import Home


def runs_or_waits(home: Home, action_id: str, short: str) -> str:
    """Return "it runs now …" with how to follow it, or what it waits for."""
    from keyturn.assembly.administration import hindrance_of

    found = None
    # What cannot be read here keeps workers from starting too: they and `keyturn status` say so.
    with suppress(ConfigurationError, LedgerError):
        found = hindrance_of(home, action_id)
    match found:
        case None | ("target_busy", _):
            return f"it runs now. Follow it: keyturn action wait {short}"
        case ("by_hand", _):
            return f"somebody has to sign: keyturn action execute {short}"
        case ("stale", why):
            return f"it will not run: {why}. What it was asked for has to be asked again"
        case ("over", why):
            return f"{why}. See why: keyturn action show {short}"
        case (_, why):
            return f"it waits ({why}). Follow it: keyturn action wait {short}"
