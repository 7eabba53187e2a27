"""Asks an ssh-agent for the raw Ed25519 signature of a key that it holds.

Source: draft-ietf-sshm-ssh-agent, sections 3, 3.6 and 3.6.1 (framing and signing), RFC 8709 (what it returns). One
request and one answer on a socket; nothing longer than such an answer is read, and nobody is waited for without end.
"""

from __future__ import annotations

import base64
import hashlib
import socket
import struct
import time
from typing import Final

from keyturn.sshsig.signing import SigningError

WAIT: Final = 10.0
"""Seconds until the agent must have answered, a person's confirmation included."""

_SIGN_REQUEST, _SIGN_RESPONSE, _FAILURE = 13, 14, 5
_LARGEST: Final = 4096  # bytes of an answer; one with a signature has 88
_TYPE: Final = b"ssh-ed25519"


def fingerprint(raw: bytes) -> str:
    """Return `SHA256:…` of an Ed25519 key of 32 bytes, as `ssh-add -l` prints it."""
    digest = base64.b64encode(hashlib.sha256(_blob(raw)).digest()).decode("ascii")
    return f"SHA256:{digest.rstrip('=')}"


def sign_by_agent(path: str, raw: bytes, message: bytes) -> bytes:
    """Return the 64-byte signature over `message` by the key `raw` that the agent at the socket `path` holds.

    Raises `SigningError`: no agent, no such key in it, a refusal, or no answer in time.
    """
    until = time.monotonic() + WAIT
    request = bytes([_SIGN_REQUEST]) + _string(_blob(raw)) + _string(message) + struct.pack(">I", 0)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as agent:
            agent.settimeout(WAIT)
            agent.connect(path)
            agent.sendall(_string(request))
            answer = _answer(agent, until)
    except TimeoutError as error:
        raise SigningError(f"the ssh-agent did not answer within {WAIT:g} s") from error
    except OSError as error:
        raise SigningError(f"the ssh-agent at {path} cannot be asked: {error.strerror or error}") from error
    return _signature(answer, raw)


def _answer(agent: socket.socket, until: float) -> bytes:
    length: int = struct.unpack(">I", _exactly(agent, 4, until))[0]
    if not 1 <= length <= _LARGEST:
        raise SigningError(f"the ssh-agent answered with {length} bytes, which is no signature")
    return _exactly(agent, length, until)


def _exactly(agent: socket.socket, count: int, until: float) -> bytes:
    found = b""
    while len(found) < count:
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        agent.settimeout(left)
        part = agent.recv(count - len(found))
        if not part:
            raise SigningError("the ssh-agent hung up before it had answered")
        found += part
    return found


def _signature(answer: bytes, raw: bytes) -> bytes:
    if answer == bytes([_FAILURE]):
        raise SigningError(f"the ssh-agent does not hold the key {fingerprint(raw)}, or was told not to sign")
    expected = bytes([_SIGN_RESPONSE]) + _string(_string(_TYPE) + struct.pack(">I", 64) + bytes(64))
    if len(answer) != len(expected) or answer[:-64] != expected[:-64]:
        raise SigningError("the ssh-agent answered with something else than an Ed25519 signature")
    return answer[-64:]


def _blob(raw: bytes) -> bytes:
    return _string(_TYPE) + _string(raw)


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data
