"""Runs a deployment's health command: argv without a shell, a deadline, and nothing of it left behind."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from keyturn.connectors.deployments.secrets import hide_secrets
from keyturn.model.text import visible

MAX_OUTPUT = 2000  # characters of the command's last words that are kept
_KEPT = 8192  # bytes read back before cleaning; the rest is thrown away as it comes
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ")


@dataclass(frozen=True, slots=True)
class Check:
    """How a check ended: `verdict` is "passed" or "failed: …"; `output` its last words, cleaned."""

    verdict: str
    output: str


def run_check(argv: tuple[str, ...], folder: Path, environment: Mapping[str, str], timeout: float) -> Check:
    """Run `argv` in `folder` and wait at most `timeout` seconds.

    It runs in a session of its own; at the end, whichever it is, the whole process group is killed, so a check never
    outlives its action. Of the environment only PATH, HOME and the locale are passed on: no tokens.
    """
    passed_on = {name: environment[name] for name in _PASSED_ON if name in environment}
    try:
        process = subprocess.Popen(
            argv,
            cwd=folder,
            env=passed_on,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        return Check(f"failed: could not be started ({error.strerror or error})", "")
    with process:
        ended, tail = _watch(process, timeout)
        return Check(_verdict(process, ended, timeout), _clean(tail))


def _watch(process: subprocess.Popen[bytes], timeout: float) -> tuple[bool, bytes]:
    """Read until the process ends or its time is over, then kill its group; say whether it ended by itself."""
    assert process.stdout is not None  # noqa: S101 - stdout=PIPE above; told to the type checker
    pipe, tail = process.stdout.fileno(), b""
    os.set_blocking(pipe, False)
    deadline = time.monotonic() + timeout
    handle = os.pidfd_open(process.pid)
    ended = False
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(handle, selectors.EVENT_READ, "end")
            selector.register(pipe, selectors.EVENT_READ, "output")
            while not ended and (left := deadline - time.monotonic()) > 0:
                ready = {key.data for key, _ in selector.select(left)}
                if "output" in ready:
                    more = _read(pipe)
                    tail = (tail + more)[-_KEPT:]
                    if not more:
                        selector.unregister(pipe)
                ended = "end" in ready
    finally:
        os.close(handle)
        # Before wait() reaps it: until then the group's number cannot be another's.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return ended, (tail + _read(pipe))[-_KEPT:]


def _read(pipe: int) -> bytes:
    try:
        return os.read(pipe, 65_536)
    except BlockingIOError:
        return b""


def _verdict(process: subprocess.Popen[bytes], ended: bool, timeout: float) -> str:
    if not ended:
        return f"failed: no end within {timeout:g} s"
    if process.returncode == 0:
        return "passed"
    if process.returncode < 0:
        return f"failed: ended by signal {-process.returncode}"
    return f"failed: exit status {process.returncode}"


def _clean(tail: bytes) -> str:
    if len(tail) == _KEPT:
        tail = tail.partition(b"\n")[2]  # half a line may be the value of a name that was cut off
    text = hide_secrets(tail.decode("utf-8", "replace").replace("\r\n", "\n"))
    return visible(text, keep="\n\t")[-MAX_OUTPUT:].strip()
