"""Files that verbs read and write for people: bounded, and never written over another."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from keyturn.model.errors import ConfigurationError

STANDARD = "-"


def read_bytes(path: Path, limit: int) -> bytes:
    """Return the content of a file, or of standard input for `-`. Raises `ConfigurationError`."""
    try:
        if str(path) == STANDARD:
            data = sys.stdin.buffer.read(limit + 1)
        else:
            with path.open("rb") as file:
                data = file.read(limit + 1)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from error
    if len(data) > limit:
        raise ConfigurationError(f"{path}: larger than {limit} bytes")
    return data


def write_new(path: Path, data: bytes) -> None:
    """Write a new file only its owner can read, or standard output for `-`. Raises `ConfigurationError`."""
    if str(path) == STANDARD:
        click.echo(data.decode("utf-8"), nl=False)
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}; name another with --output FILE") from error
