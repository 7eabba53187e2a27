"""Tells who listens on a socket file, and why a token must not go to them.

Whoever listens on a path need not be the server: while that is down, or before it first starts, another account may
put a socket of its own there. The kernel knows the account that listens (SO_PEERCRED, unix(7)). Root counts, and so
does this account itself, which has the token anyway. Any other must own the socket's folder, and on the whole way to
it nobody but root, that account and this one may change what a name leads to. A sticky folder such as /tmp is no such
way: everybody makes new names in it.
"""

from __future__ import annotations

import errno
import os
import pwd
import socket
import stat
import struct
from pathlib import Path

_CREDENTIALS = struct.Struct("iII")  # struct ucred: process, account, group
_MOST_LINKS = 40  # symbolic links that Linux follows in one path


def account_behind(connected: socket.socket) -> int:
    """Return the uid under which the other end of a connected unix socket began to listen."""
    credentials = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    uid: int = _CREDENTIALS.unpack(credentials)[1]
    return uid


def why_distrusted(path: Path, listening: int, own: int) -> str | None:
    """Return why what `listening` (a uid) hears on `path` must hold no secret of the account `own`; None to trust it.

    `path` is absolute. Links in it are followed as the kernel does.
    """
    if listening in {0, own}:
        return None
    try:
        folders = folders_to(path)
        owner = folders[-1].stat().st_uid
        if owner != listening:
            return (
                f"{_name(listening)} listens there, and the folder {folders[-1]} belongs to {_name(owner)}: let the "
                "server listen in a folder of its own account"
            )
        return next((why for folder in folders if (why := _why_open(folder, {0, own, listening}))), None)
    except OSError as error:
        return f"cannot tell whom {error.filename or path} belongs to: {error.strerror}"


def folders_to(path: Path) -> list[Path]:
    """Return every folder in which a name of `path` is looked up, those that links lead through too, in order.

    The last is the folder of the file itself. Raises `OSError`.
    """
    at, ahead, links, passed = Path("/"), list(reversed(path.parts)), 0, [Path("/")]
    while ahead:
        name = ahead.pop()
        if name == "/":
            at = Path(name)
            continue
        passed.append(at)
        at = at.parent if name == ".." else at / name
        if at.is_symlink():
            links += 1
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
            ahead += reversed(at.readlink().parts)
            at = at.parent
    return passed


def _why_open(folder: Path, trusted: set[int]) -> str | None:
    """Say why an account that is not among those trusted could put something else into a folder."""
    status = folder.stat()
    if status.st_uid not in trusted:
        return (
            f"{folder} belongs to {_name(status.st_uid)}, who could put another socket in the place of the server's"
        )
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"others than its owner can write to {folder}, and put another socket in the place of the server's"
    return None


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
