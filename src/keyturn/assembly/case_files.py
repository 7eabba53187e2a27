"""Reads the folder of cases beside a policy file: plain files in it, and nothing that leads out of it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from keyturn.model.errors import ConfigurationError
from keyturn.policy.cases.reading import SUFFIX, tests_of

LARGEST = 1024 * 1024
"""Bytes that all files of cases may have together."""
MOST_FILES = 256


def case_files(home: Path, policy: str) -> dict[str, str]:
    """Return the case files that a policy's text names, by path; none where it names no folder.

    Raises `ConfigurationError` when the folder or a file cannot be read, is a link, or is too large.
    """
    folder = tests_of(policy)
    if folder is None:
        return {}
    where = home / folder.rstrip("/")
    try:
        if where.is_symlink():
            raise ConfigurationError(f"{where}: a link; the folder of cases lies beside the policy itself")
        names = sorted(path.name for path in where.iterdir() if path.suffix == SUFFIX and path.name[0] != ".")
    except OSError as error:
        raise ConfigurationError(f"{where}: {error.strerror}; policy.toml names it as `tests`") from error
    if len(names) > MOST_FILES:
        raise ConfigurationError(f"{where}: {len(names)} files of cases; there may be {MOST_FILES}")
    texts: dict[str, str] = {}
    left = LARGEST
    for name in names:
        data = _read(where / name, left)
        left -= len(data)
        texts[f"{folder}{name}"] = _text(where / name, data)
    return texts


def _read(path: Path, left: int) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ConfigurationError(f"{path}: no plain file")
            data = file.read(left + 1)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}; cases are plain files, and no links") from error
    if len(data) > left:
        raise ConfigurationError(f"{path}: the files of cases have more than {LARGEST} bytes together")
    return data


def _text(path: Path, data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: not UTF-8 at byte {error.start}") from error
