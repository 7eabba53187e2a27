"""Hears the signals that ask a program to end."""

from __future__ import annotations

import signal

import anyio


async def cancel_on_signal(scope: anyio.CancelScope) -> None:
    """Cancel `scope` on SIGTERM or SIGINT. Until this is cancelled itself neither ends the process on its own."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            scope.cancel()
