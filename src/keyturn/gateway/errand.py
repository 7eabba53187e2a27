"""An errand: one call decided and executed among the process's own tasks, while the call waits for it or has left.

From its decision on nothing that happens to the call reaches the action: a client that hangs up, a server that closes
its connections. What is permitted in this process begins in the commit that permits it.
"""

from __future__ import annotations

import asyncio

import anyio
from anyio.abc import TaskGroup

from keyturn.gateway.claim import Claimed
from keyturn.gateway.core import Gateway
from keyturn.gateway.envelope import Answer
from keyturn.gateway.execute import carry_out
from keyturn.gateway.executor import Executor
from keyturn.gateway.incoming import Call
from keyturn.gateway.submit import decided
from keyturn.model.plan import Plan


class Errand:
    """One call on its way from the decision to the outcome."""

    def __init__(self, gate: Gateway, executor: Executor, call: Call, plan: Plan) -> None:
        self._gate = gate
        self._executor = executor
        self._call = call
        self._plan = plan
        self._is_decided = anyio.Event()
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._decided: Answer | Claimed | Exception | None = None
        self._answer: Answer | None = None

    def begin(self, crew: TaskGroup) -> None:
        """Set out, in a task of `crew`."""
        crew.start_soon(self._run)

    async def decided(self) -> Answer | Claimed:
        """Return what was decided once it is durable. Raises what the decision raised."""
        await self._is_decided.wait()
        if isinstance(self._decided, Answer | Claimed):
            return self._decided
        raise self._decided or RuntimeError("an errand ended without a decision")

    async def answer(self, seconds: float) -> Answer | None:
        """Return the answer about the action once it is over, or None after `seconds`."""
        await asyncio.wait({self._over}, timeout=seconds)
        return self._answer

    async def _run(self) -> None:
        try:
            with anyio.CancelScope(shield=True):
                await self._decide_and_execute()
        finally:
            self._is_decided.set()
            self._over.set_result(None)

    async def _decide_and_execute(self) -> None:
        try:
            self._decided = await decided(self._gate, self._call, self._plan)
        except Exception as error:  # noqa: BLE001 - the call raises it, in its own task
            self._decided = error
            return
        self._is_decided.set()
        if not isinstance(claimed := self._decided, Claimed):
            return
        self._answer = await carry_out(self._gate, self._executor, claimed)
