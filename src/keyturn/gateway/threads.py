"""Threads for the ledger: what waits for it runs beside the event loop, and apart from what back ends keep busy."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple, Unpack

import anyio.to_thread
from anyio import CapacityLimiter
from anyio.lowlevel import RunVar

THREADS = 64

R = TypeVar("R")
Ts = TypeVarTuple("Ts")

_limiter: RunVar[CapacityLimiter] = RunVar("keyturn_ledger_threads")


async def on_ledger(job: Callable[[Unpack[Ts]], R], *arguments: *Ts) -> R:
    """Run a job that waits for the ledger in a thread and return what it returns.

    A ledger that another process holds keeps its callers for seconds, and back ends may take longer still. With
    threads of its own neither can use up those the other needs.
    """
    try:
        limiter = _limiter.get()
    except LookupError:
        limiter = CapacityLimiter(THREADS)
        _limiter.set(limiter)
    return await anyio.to_thread.run_sync(job, *arguments, limiter=limiter)
