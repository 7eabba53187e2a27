"""Reads the folder of cases beside a policy file: plain files in it, and nothing that leads out of it."""

from __future__ import annotations

from pathlib import Path

from keyturn.assembly.plain_files import read_plain, text_of
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
        data = read_plain(where / name, left, "policy.toml names its folder as `tests`")
        left -= len(data)
        texts[f"{folder}{name}"] = text_of(where / name, data)
    return texts
