"""What people's words need: the ledger to record them in, and entropy for the salts of what they sign."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from keyturn.fold.state import State
from keyturn.ledger.transaction import Transaction, View
from keyturn.ledger.writer import Ledger

Look: TypeAlias = View[State]
Job: TypeAlias = Transaction[State]


@dataclass(frozen=True, kw_only=True)
class Desk:
    """Where reviews, cancellations and resolutions are handed in; none of that needs a back end.

    entropy    random bytes for salts signed before they are stored
    """

    ledger: Ledger[State]
    entropy: Callable[[int], bytes]
