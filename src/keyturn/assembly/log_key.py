"""The log key wherever its private half is: in a file, in an ssh-agent, or behind a program.

    file:PATH          a private key file, 0600 in a folder of 0700, below the home unless the path is absolute
    agent:SHA256:…     an Ed25519 key that the ssh-agent at SSH_AUTH_SOCK holds
    command:WORDS      a program that gets the message on its standard input and prints the signature, 64 bytes in
                       base64, within ten seconds; WORDS are split as a shell would, without a shell

What signs is held against the log's verifier string by whoever uses the signature. One that does not sign raises
`LedgerUnavailable`: nothing is wrong with the ledger, and the next time it may.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import select
import shlex
import signal
import subprocess
import time
from functools import partial
from typing import IO

from keyturn.assembly.home import Home
from keyturn.assembly.outside import environment
from keyturn.assembly.wiring import read_log
from keyturn.ledger.checkpoints import LogSigner
from keyturn.ledger.errors import LedgerUnavailable
from keyturn.ledger.keys import load_key
from keyturn.log.keys import LogVerifier
from keyturn.model.errors import ConfigurationError
from keyturn.sshsig.agent import fingerprint, sign_by_agent
from keyturn.sshsig.signing import SigningError

RUNS = 10.0
"""Seconds that a program may take to sign."""

_SIGNATURE = 64
_LARGEST = 1024  # bytes that a program may print; a signature in base64 has 88
_PASSED_ON = re.compile(r"(PATH|HOME|USER|LOGNAME|LANG|LC_[A-Z]+|TZ|TMPDIR|XDG_[A-Z_]+|SSH_AUTH_SOCK)")


def find_log_key(home: Home, verifier: LogVerifier, *, asked: bool) -> LogSigner | None:
    """Return what signs for the log, None where its key is not at hand.

    `asked` allows to ask an agent or a program, which may ask a person: not for what a verb does by the way.
    Raises `ConfigurationError` for a setting that cannot be followed, `LedgerUnavailable` for a key file that others
    can read, or that is not the log's.
    """
    kind, _, rest = read_log(home.wiring).key.partition(":")
    if kind == "file":
        return _in_file(home, verifier, rest)
    if not asked:
        return None
    return _in_agent(verifier, rest) if kind == "agent" else _behind_program(home, verifier, rest)


def where_log_key(home: Home) -> str:
    """Return where the wiring says that the log key is. Raises `ConfigurationError`."""
    return read_log(home.wiring).key


def _in_file(home: Home, verifier: LogVerifier, name: str) -> LogSigner | None:
    path = home.folder / name
    if not os.path.lexists(path):
        return None
    key = load_key(path)
    if key.public != verifier.key:
        raise LedgerUnavailable(f"{path} is not the key of this log; put the right one back, or take it away")
    return LogSigner(verifier, key.sign)


def _in_agent(verifier: LogVerifier, named: str) -> LogSigner | None:
    own = fingerprint(verifier.key.raw)
    if named != own:
        raise ConfigurationError(f"keyturn.toml: log.key: the key of this log is {own} in an agent, not {named}")
    path = environment().get("SSH_AUTH_SOCK")
    return None if not path else LogSigner(verifier, partial(_ask_agent, path, verifier.key.raw))


def _ask_agent(path: str, raw: bytes, message: bytes) -> bytes:
    try:
        return sign_by_agent(path, raw, message)
    except SigningError as error:
        raise LedgerUnavailable(f"the log key: {error}") from error


def _behind_program(home: Home, verifier: LogVerifier, text: str) -> LogSigner:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ConfigurationError(f"keyturn.toml: log.key: the command cannot be split into words: {error}") from error
    if not words or not words[0]:
        raise ConfigurationError("keyturn.toml: log.key: the command names no program")
    return LogSigner(verifier, partial(_run, home, words))


def _run(home: Home, words: list[str], message: bytes) -> bytes:
    """Have a program sign. What it says on standard error goes where ours goes: it may tell a person what to do."""
    told = f"the log key: the program {words[0]}"
    passed_on = {name: text for name, text in environment().items() if _PASSED_ON.fullmatch(name)}
    try:
        process = subprocess.Popen(
            words,
            cwd=home.folder,
            env=passed_on,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise LedgerUnavailable(f"{told} cannot be run: {error.strerror}") from error
    assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - pipes were asked for
    with process.stdout, process.stdin:
        try:
            printed = _exchange(process.stdin, process.stdout.fileno(), message)
        finally:
            # Before wait() reaps it: until then the group's number cannot be another's.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if printed is None:
        raise LedgerUnavailable(f"{told} took longer than {RUNS:g} s and was ended")
    return _read_signature(printed, told)


def _exchange(pipe: IO[bytes], reads: int, message: bytes) -> bytes | None:
    """Give the message and read until the program hangs up; None when it does not in its time."""
    until, writes = time.monotonic() + RUNS, pipe.fileno()
    os.set_blocking(writes, False)
    left, output, waiting = message, b"", select.poll()
    waiting.register(writes, select.POLLOUT)
    waiting.register(reads, select.POLLIN)
    while len(output) <= _LARGEST:
        ready = dict(waiting.poll(max(0.0, until - time.monotonic()) * 1000))
        if not ready:
            return None
        if writes in ready:
            left = _give(writes, left)
            if not left:
                waiting.unregister(writes)
                pipe.close()
                writes = -1
        if reads in ready:
            part = os.read(reads, _LARGEST)
            if not part:
                break
            output += part
    return output


def _give(descriptor: int, data: bytes) -> bytes:
    """Write what fits; return what is left, nothing of it once the program does not read any more."""
    try:
        return data[os.write(descriptor, data) :]
    except BlockingIOError:
        return data
    except OSError:
        return b""


def _read_signature(printed: bytes, told: str) -> bytes:
    try:
        found = base64.b64decode(printed.strip(), validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if len(found) != _SIGNATURE:
        raise LedgerUnavailable(
            f"{told} printed no signature (64 bytes in base64); run it as Keyturn's account to see why"
        )
    return found
