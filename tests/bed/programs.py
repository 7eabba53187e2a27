"""Servers that run as programs of their own: started on a free port, waited for by asking, ended by their id."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

PAUSE = 0.02


@dataclass(frozen=True, slots=True)
class Program:
    """A server that answers: its process, its port on 127.0.0.1, the seconds its start took, where it writes."""

    process: subprocess.Popen[bytes]
    port: int
    took: float
    said: Path


class DidNotStart(AssertionError):
    """A server ended, or did not answer in time; the text holds the end of what it wrote."""


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on now; somebody may take it before it is used."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def wait_until(true: Callable[[], bool], *, within: float, what: str) -> None:
    """Ask again and again until it is so, at most `within` seconds; AssertionError naming `what` otherwise."""
    end = time.monotonic() + within
    while not true():
        if time.monotonic() > end:
            raise AssertionError(f"not within {within} s: {what}")
        threading.Event().wait(PAUSE)


@contextmanager
def program(
    command: Callable[[int], Sequence[str]],
    ready: Callable[[int], bool],
    *,
    said: Path,
    within: float = 30,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Program]:
    """Run a server as long as the block lasts.

    `command(port)` is its argv, `ready(port)` asks it once whether it answers *as ours*; a port that somebody else
    took meanwhile makes the start fail and is tried again on another one, three times in all.
    """
    for remaining in (2, 1, 0):
        try:
            running = _started(command, ready, said, within, environment)
            break
        except DidNotStart:
            if remaining == 0:
                raise
    try:
        yield running
    finally:
        end(running.process)


def end(process: subprocess.Popen[bytes], *, within: float = 20) -> None:
    """End a process that we started, with its children (it leads a group of its own); kill it if it stays."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(within)
    with suppress(ProcessLookupError):  # children may outlive the one that led them
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(within)


def _started(
    command: Callable[[int], Sequence[str]],
    ready: Callable[[int], bool],
    said: Path,
    within: float,
    environment: Mapping[str, str] | None,
) -> Program:
    port, begun = free_port(), time.monotonic()
    with said.open("wb") as output:
        process = subprocess.Popen(
            list(command(port)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment) if environment is not None else None,
            start_new_session=True,
        )
    try:
        wait_until(
            lambda: process.poll() is not None or ready(port), within=within, what=f"{command(port)[0]} answers"
        )
    except BaseException as stopped:
        end(process)
        if isinstance(stopped, AssertionError):
            raise DidNotStart(f"{stopped}\n{_tail(said)}") from stopped
        raise
    if process.poll() is not None:
        end(process)
        raise DidNotStart(f"{command(port)} ended with {process.returncode}\n{_tail(said)}")
    return Program(process, port, time.monotonic() - begun, said)


def _tail(said: Path) -> str:
    return said.read_text(encoding="utf-8", errors="replace")[-3000:]
