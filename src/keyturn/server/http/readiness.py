"""Whether the server could take a call now, as one word; looked up at most every other second, however many ask."""

from __future__ import annotations

import math
import os
from pathlib import Path

import anyio

from keyturn.assembly.build import check_consent
from keyturn.gateway.core import ContractsMoved, Gateway, Job
from keyturn.gateway.threads import on_ledger
from keyturn.ledger.errors import LedgerUnavailable
from keyturn.model.errors import ConfigurationError, LedgerError
from keyturn.server.fault import Fault
from keyturn.server.leaving import Leaving

HOLDS_FOR = 2.0  # seconds
LEAST_SPACE = 1024 * 1024  # bytes free where the ledger lies


class Readiness:
    """Answers whether calls can be taken: None, or the word that says why not.

    stopping             the server is about to leave
    ledger_unavailable   the ledger cannot be read or written at present
    ledger_lost          the ledger cannot be trusted; the server ends
    not_consented        contracts or policy are not those that the ledger published
    """

    def __init__(self, gate: Gateway, fault: Fault, leaving: Leaving, folder: Path | None) -> None:
        self._gate = gate
        self._folder = folder
        self._fault = fault
        self._leaving = leaving
        self._turn = anyio.Lock()
        self._until = -math.inf
        self._word: str | None = None

    async def why_not(self) -> str | None:
        """Return the word, or None when all is well."""
        if self._leaving.begun or self._fault.error is not None:
            return "stopping"
        async with self._turn:
            if anyio.current_time() >= self._until:
                try:
                    self._word = await on_ledger(self._look)
                except LedgerError as error:
                    self._fault.meet(error)
                    return "ledger_lost"
                self._until = anyio.current_time() + HOLDS_FOR
            return self._word

    def _look(self) -> str | None:
        try:
            self._gate.ledger.transact(_could_write)
            check_consent(self._gate)
        except LedgerUnavailable:
            return "ledger_unavailable"
        except (ConfigurationError, ContractsMoved):
            return "not_consented"
        return None if self._has_space() else "ledger_unavailable"

    def _has_space(self) -> bool:
        if self._folder is None:
            return True
        there = os.statvfs(self._folder)
        return there.f_bavail * there.f_frsize >= LEAST_SPACE


def _could_write(tx: Job) -> None:
    """Take part in a transaction and write nothing: the lock can be had, and the file opened for writing."""
