"""Reads and replaces plain files: no devices, no links where a text names them, no more bytes than there may be."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from keyturn.assembly.outside import entropy
from keyturn.model.errors import ConfigurationError


def read_plain(path: Path, most: int, named_by: str) -> bytes:
    """Return what a file holds. Raises `ConfigurationError`; `named_by` says there who names the file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ConfigurationError(f"{path}: no plain file; {named_by}")
            data = file.read(most + 1)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}; {named_by}, and takes plain files, no links") from error
    if len(data) > most:
        raise ConfigurationError(f"{path}: the files have more bytes together than there may be; {named_by}")
    return data


def text_of(path: Path, data: bytes) -> str:
    """Return the text of a file. Raises `ConfigurationError` when it is not UTF-8."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: not UTF-8 at byte {error.start}") from error


def replace_plain(path: Path, text: str) -> None:
    """Write beside the file and rename: a reader sees the old text or the new one. Raises `ConfigurationError`."""
    path = path.resolve()  # a link stays a link
    building = path.with_name(f".{path.name}.new-{entropy(4).hex()}")
    try:
        try:
            with building.open("x", encoding="utf-8", newline="") as file:
                file.write(text)
                file.flush()
                if path.exists():
                    os.fchmod(file.fileno(), path.stat().st_mode & 0o777)
                os.fsync(file.fileno())
            building.rename(path)
        except BaseException:
            with contextlib.suppress(OSError):
                building.unlink()
            raise
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}; nothing was changed") from error
