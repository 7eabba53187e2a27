"""Signs with a person's own SSH key by running `ssh-keygen`, and asks what keys they have.

OpenSSH does the signing so that agents, passphrases and FIDO tokens work as people already have them, and no
private key is read by this program. The message goes to ssh-keygen as a file, never on standard input:
without a free standard input ssh-keygen cannot ask for a passphrase, and could take the message for one.
"""

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from keyturn.model.sshkey import MAX_LINE, PublicKey
from keyturn.sshsig.envelope import SignatureError, unarmor
from keyturn.sshsig.verification import verify

_TERMINAL: Final = "/dev/tty"
_PRIVATE_START: Final = "-----BEGIN"

_LOCKED: Final = (
    "the passphrase for {key} was wrong, or there was no terminal to ask for it: "
    "try again on a terminal, or load the key with `ssh-add {quoted}` first"
)
_NOT_FOUND: Final = (
    "the private half of {key} is neither beside it nor in an ssh-agent (SSH_AUTH_SOCK): "
    "load it with `ssh-add`, or give the private key file"
)
_CAUSES: Final = (
    ("are too open", "{key} can be read by others, so ssh-keygen refuses it: run `chmod 600 {quoted}`"),
    ("incorrect passphrase", _LOCKED),
    ("agent refused operation", "the ssh-agent refused to sign with {key}: confirm when it asks"),
    ("No private key found", _NOT_FOUND),
    ("Couldn't find key in agent", _NOT_FOUND),
    ("device not found", "the hardware token of {key} was not found: plug it in and try again"),
)
"""What ssh-keygen's words mean, and the way to mend it; the first that fits is taken."""


class SigningError(Exception):
    """Nothing was signed, or no key could be read; the message says why and what to do, for a person."""


def sign(message: bytes, *, key: Path, namespace: str, environment: Mapping[str, str]) -> bytes:
    """Return the SSHSIG blob (not armoured) over `message` in `namespace`, already verified.

    `key` is a private key file, or a public key whose private half is in the agent, on a token or beside it.
    A passphrase, PIN or touch is asked for on the person's terminal. `environment` is what ssh-keygen gets:
    PATH, HOME, SSH_AUTH_SOCK and the like. Raises `SigningError`.
    """
    path = _key_file(key)
    public = _public_half(path)
    arguments = ["-Y", "sign", "-n", namespace, "-f", str(path)]
    try:
        with tempfile.TemporaryDirectory(prefix="keyturn-", dir=environment.get("TMPDIR")) as folder:
            # The folder is 0700, and a new one never holds an older message.sig.
            document = Path(folder, "message")
            document.write_bytes(message)
            speaks = public is not None and public.hardware
            _run("ssh-keygen", [*arguments, str(document)], path, environment, speaks=speaks)
            armored = Path(folder, "message.sig").read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise SigningError(
            f"ssh-keygen cannot be run on a temporary file: {error}; see to PATH, TMPDIR and the disk"
        ) from error
    return _own_signature(armored, message, namespace, path, public)


def public_key_of(key: Path, *, environment: Mapping[str, str]) -> PublicKey:
    """Return the public half of `key`: the file itself, else KEY.pub, else what `ssh-keygen -y` derives.

    Only the last may ask for a passphrase, on the person's terminal. Raises `SigningError`.
    """
    path = _key_file(key)
    beside = _public_half(path)
    if beside is not None:
        return beside
    return _parse(path, _run("ssh-keygen", ["-y", "-f", str(path)], path, environment))


def list_agent_keys(environment: Mapping[str, str]) -> tuple[PublicKey, ...]:
    """Return the keys the ssh-agent holds, leaving out refused kinds; empty if there is no agent.

    Raises `SigningError` only if OpenSSH is not installed.
    """
    listing = subprocess.run(
        [_program("ssh-add", environment), "-L"],
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if listing.returncode != 0:
        return ()
    lines = listing.stdout.decode("utf-8", errors="replace").split("\n")
    return tuple(key for line in lines if (key := _acceptable(line)) is not None)


def _acceptable(line: str) -> PublicKey | None:
    try:
        return PublicKey.parse(line)
    except ValueError:
        return None


def _key_file(key: Path) -> Path:
    """Return the absolute path, which no program can mistake for an option."""
    if "\0" in str(key):
        raise SigningError("the path of the key holds a NUL character")
    path = key.absolute()
    try:
        found = path.is_file()
    except OSError as error:
        raise SigningError(f"the key {path} cannot be looked at: {error.strerror}") from error
    if not found:
        raise SigningError(f"there is no key file {path}: give another, or make one with `ssh-keygen`")
    return path


def _public_half(path: Path) -> PublicKey | None:
    """Return the public key in the file or beside it, asking nobody; None if only a private file is there."""
    if _read(path, len(_PRIVATE_START)) != _PRIVATE_START:
        return _parse(path, _read(path, MAX_LINE + 2))
    beside = path.with_name(f"{path.name}.pub")
    return _parse(beside, _read(beside, MAX_LINE + 2)) if beside.is_file() else None


def _read(path: Path, limit: int) -> str:
    try:
        with path.open("rb") as file:
            return file.read(limit).decode("utf-8", errors="replace")
    except OSError as error:
        raise SigningError(f"the key {path} cannot be read: {error.strerror}") from error


def _parse(path: Path, line: str) -> PublicKey:
    try:
        return PublicKey.parse(line)
    except ValueError as error:
        raise SigningError(f"{path} holds no usable SSH key: {error}") from error


def _program(name: str, environment: Mapping[str, str]) -> str:
    found = shutil.which(name, path=environment.get("PATH", os.defpath))
    if found is None:
        raise SigningError(f"{name} is not installed: get OpenSSH's client (Debian: apt install openssh-client)")
    return found


@contextmanager
def _terminal() -> Iterator[int | None]:
    """Give the person's terminal as a descriptor, or None where there is none (a service, a pipe line)."""
    try:
        descriptor = os.open(_TERMINAL, os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError:
        descriptor = None
    try:
        yield descriptor
    finally:
        if descriptor is not None:
            os.close(descriptor)


_INTERRUPTED = "interrupted: nothing was signed"


def _run(
    name: str, arguments: Sequence[str], key: Path, environment: Mapping[str, str], *, speaks: bool = False
) -> str:
    """Run an OpenSSH program with the person's terminal as its input, and return what it printed.

    With `speaks` its messages go to that terminal ("Confirm user presence ..."); otherwise they are kept, to
    be turned into the error.
    """
    command = [_program(name, environment), *arguments]
    with _terminal() as terminal:
        try:
            process = subprocess.Popen(
                command,
                env=dict(environment),
                # With a terminal as input ssh-keygen asks there; without, by SSH_ASKPASS or not at all.
                stdin=subprocess.DEVNULL if terminal is None else terminal,
                stdout=subprocess.PIPE,
                stderr=terminal if speaks and terminal is not None else subprocess.PIPE,
            )
        except KeyboardInterrupt:
            raise SigningError(_INTERRUPTED) from None
        stdout, stderr = _finish(process)
    if process.returncode < 0:
        raise SigningError(_INTERRUPTED)
    if process.returncode != 0:
        raise SigningError(_why(_printable(stderr or b""), key))
    return stdout.decode("utf-8", errors="replace")


def _finish(process: subprocess.Popen[bytes]) -> tuple[bytes, bytes | None]:
    with process:
        try:
            return process.communicate()
        except KeyboardInterrupt:
            # Not SIGKILL: ssh-keygen switches the terminal's echo on again before it goes.
            process.terminate()
            raise SigningError(_INTERRUPTED) from None


def _printable(output: bytes) -> list[str]:
    """Return the lines of a program's output, safe to show on a terminal."""
    lines = output.decode("utf-8", errors="replace").splitlines()
    shown = ("".join(character if character.isprintable() else "?" for character in line) for line in lines)
    return [line.strip() for line in shown if line.strip()]


def _why(said: Sequence[str], key: Path) -> str:
    """Turn ssh-keygen's words into what went wrong and what to do about it."""
    text = "\n".join(said)
    for words, cause in _CAUSES:
        if words in text:
            return cause.format(key=key, quoted=shlex.quote(str(key)))
    return f"ssh-keygen could not use {key}: {said[-1] if said else 'see what it said above'}"


def _own_signature(armored: str, message: bytes, namespace: str, path: Path, public: PublicKey | None) -> bytes:
    """Return the blob once it is proved to say what was asked, by the key that was meant."""
    try:
        blob = unarmor(armored)
        signer = verify(message, blob, namespace)
    except SignatureError as error:
        raise SigningError(f"the signature made with {path} would not be accepted: {error.reason}") from error
    if public is not None and signer.key != public:
        raise SigningError(f"{path} signed as {signer.key.fingerprint}, but its public half is {public.fingerprint}")
    return blob
