"""Finds the token that says who this server's client is."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from keyturn.assembly.outside import TOKEN
from keyturn.model.errors import Refused

MAX_TOKEN = 4096  # bytes of a token file


def find_token(file: str | None, presented: str | None) -> str:
    """Return the token from `file`, or else what $KEYTURN_TOKEN presented.

    Raises `Refused` ("not_authenticated") saying what to do when there is none, or when others could have read it.
    """
    if file is not None:
        return _read_private(Path(file))
    token = (presented or "").strip()
    if not token:
        raise _refused(
            f"no token: set {TOKEN} in the client's configuration of this server, or give --token-file PATH; "
            "make one with: keyturn token issue PRINCIPAL"
        )
    return token


def _read_private(path: Path) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise _refused(f"the token file {path} cannot be read: {error.strerror}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _refused(f"{path} is no file")
        if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
            raise _refused(f"{path} can be read by others: make it this account's own and run: chmod 600 {path}")
        token = os.read(descriptor, MAX_TOKEN + 1)
    finally:
        os.close(descriptor)
    try:
        if token.strip() and len(token) <= MAX_TOKEN:
            return token.decode("ascii").strip()
    except UnicodeDecodeError:
        pass
    raise _refused(f"{path} does not hold a token")


def _refused(message: str) -> Refused:
    return Refused("not_authenticated", message)
