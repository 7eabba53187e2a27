"""Hands that claim and execute step by step, where a test wants no loop of its own timing."""

from __future__ import annotations

from pathlib import Path

from keyturn.gateway.claim import Claimed, claim_ready
from keyturn.gateway.core import Gateway
from keyturn.gateway.envelope import Answer
from keyturn.gateway.execute import execute
from keyturn.gateway.executor import Executor
from keyturn.gateway.incoming import Call, Incoming
from keyturn.gateway.recover import recover
from keyturn.gateway.refusals import Refusal, refuse
from keyturn.gateway.submit import decide, make_plan, parse_call, screened_out
from keyturn.gateway.threads import on_ledger
from keyturn.ledger.lock import InstanceLock
from keyturn.model.contract import Contract
from keyturn.model.principal import Caller


def claim_next(gate: Gateway, instance: str) -> Claimed | None:
    """Claim the oldest action that may run now in the name of an instance, or return None."""
    executor = Executor(instance, InstanceLock(Path("nowhere"), -1))
    return next(iter(claim_ready(gate, executor, 1)), None)


async def drain(gate: Gateway, executor: Executor, run: Path) -> None:
    """Settle, claim and execute what is ready now, one after another, and return."""
    await recover(gate, executor, run)
    while claimed := await on_ledger(claim_ready, gate, executor, 1):
        await execute(gate, executor, claimed[0])


def read_call(gate: Gateway, caller: Caller, contract: Contract, incoming: Incoming) -> Call | Answer:
    """Parse the arguments of a call, or refuse it (recorded; what they held is not stored)."""
    parsed = parse_call(gate, caller, contract, incoming)
    return refuse(gate, parsed) if isinstance(parsed, Refusal) else parsed


async def submit(gate: Gateway, call: Call) -> Answer:
    """Take a governed call to its decision."""
    screened = await on_ledger(screened_out, gate, call)
    planned = await make_plan(gate, call) if screened is None else screened
    decided = planned if isinstance(planned, Answer) else await on_ledger(decide, gate, call, planned)
    assert isinstance(decided, Answer)
    return decided
