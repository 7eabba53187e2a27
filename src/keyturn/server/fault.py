"""Remembers that the ledger failed for good, so that the call that met it is answered before the server ends."""

from __future__ import annotations

import anyio
import mcp_types as types

from keyturn.model.errors import LedgerError

PATIENCE = 1.0  # seconds the last answer may take to leave


class Fault:
    """The one fault that ends a server; `error` is None while there is none."""

    def __init__(self) -> None:
        self.error: LedgerError | None = None
        self._answers: types.RequestId | None = None
        self._met = anyio.Event()
        self._told = anyio.Event()

    def meet(self, error: LedgerError, request: types.RequestId | None = None) -> None:
        """Note the first fault, and the first request that met it: its answer should still leave."""
        self.error = self.error or error
        if self._answers is None:
            self._answers = request
        self._met.set()

    async def met(self) -> None:
        """Return once there is a fault."""
        await self._met.wait()

    def sent(self, message: types.JSONRPCMessage) -> None:
        """Take note of a message that has left."""
        answered = message.id if isinstance(message, types.JSONRPCResponse | types.JSONRPCError) else None
        if self.error is not None and answered is not None and answered == self._answers:
            self._told.set()

    async def ends(self) -> None:
        """Return once there is a fault and a call that met it has been answered, or there was time enough for one."""
        await self._met.wait()
        with anyio.move_on_after(PATIENCE):
            await self._told.wait()
