"""Raw signatures by an ssh-agent: a real one, and ones that answer as none should."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keyturn.sshsig.agent import fingerprint, sign_by_agent
from keyturn.sshsig.signing import SigningError
from tests.sshsig.keys import agent

KEY = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
RAW = KEY.public_key().public_bytes_raw()


def text(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def answer(signature: bytes, kind: bytes = b"ssh-ed25519", rest: bytes = b"") -> bytes:
    return text(b"\x0e" + text(text(kind) + text(signature)) + rest)


@contextmanager
def answering(data: bytes, *, ends: bool = True) -> Iterator[str]:
    """An agent that says `data` whatever it is asked."""
    with tempfile.TemporaryDirectory(prefix="agent-") as folder, socket.socket(socket.AF_UNIX) as server:
        path = str(Path(folder, "socket"))
        server.bind(path)
        server.listen(1)
        over = threading.Event()

        def serve() -> None:
            caller, _ = server.accept()
            with caller:
                caller.recv(65_536)
                caller.sendall(data)
                if not ends:
                    over.wait(20)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield path
        finally:
            over.set()
            thread.join()


def test_a_real_agent_signs_what_verifies_under_the_key_that_it_was_given(tmp_path: Path) -> None:
    form = serialization.PrivateFormat.OpenSSH
    file = tmp_path / "key"
    file.write_bytes(KEY.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    file.chmod(0o600)
    message = os.urandom(70_000)
    with agent(tmp_path) as environment:
        path = environment["SSH_AUTH_SOCK"]
        with pytest.raises(SigningError, match="does not hold the key SHA256:"):
            sign_by_agent(path, RAW, message)
        subprocess.run(["ssh-add", "-q", str(file)], env=environment, check=True)
        listed = subprocess.run(["ssh-add", "-l"], env=environment, check=True, capture_output=True, text=True)
        assert fingerprint(RAW) in listed.stdout
        KEY.public_key().verify(sign_by_agent(path, RAW, message), message)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"", "hung up"),
        (b"\x00\x00", "hung up"),
        (struct.pack(">I", 83) + b"\x0e", "hung up"),
        (struct.pack(">I", 2**31), "which is no signature"),
        (struct.pack(">I", 0), "which is no signature"),
        (text(b"\x05"), "does not hold"),
        (text(b"\x06"), "something else"),
        (answer(bytes(64), b"ssh-rsa"), "something else"),
        (answer(bytes(63)), "something else"),
        (answer(bytes(64), rest=b"\x00"), "something else"),
    ],
    ids=[
        "nothing",
        "half a length",
        "half an answer",
        "2 GiB",
        "empty",
        "failure",
        "success",
        "rsa",
        "short",
        "more",
    ],
)
def test_an_agent_that_answers_otherwise_has_signed_nothing(said: bytes, words: str) -> None:
    with answering(said) as path, pytest.raises(SigningError, match=words):
        sign_by_agent(path, RAW, b"message")


def test_an_agent_that_does_not_answer_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keyturn.sshsig.agent.WAIT", 0.2)
    with answering(b"\x00", ends=False) as path, pytest.raises(SigningError, match=r"within 0\.2 s"):
        sign_by_agent(path, RAW, b"message")


def test_where_no_agent_is_the_message_names_the_socket(tmp_path: Path) -> None:
    with pytest.raises(SigningError, match="nowhere"):
        sign_by_agent(str(tmp_path / "nowhere"), RAW, b"message")
