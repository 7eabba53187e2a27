"""Reads what a policy file brings in: the folders it includes and the calendars its freezes name.

All of it lies beside `policy.toml` or in a folder there: a policy is what one folder holds, and no link leads out.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from keyturn.assembly.plain_files import read_plain, text_of
from keyturn.model.errors import ConfigurationError
from keyturn.policy.documents import LARGEST_POLICY, MOST_FILES, calendars_of, folders_of, is_part


def included_files(home: Path, policy: str) -> dict[str, str]:
    """Return the files that the text of `policy.toml` includes, and every calendar they name, by path.

    A calendar that is not there is left out: reading the policy says so under the freeze that names it. Raises
    `ConfigurationError` when a folder or file cannot be read, is a link, or all are too large together.
    """
    left = LARGEST_POLICY - len(policy.encode("utf-8"))
    texts: dict[str, str] = {}
    for path in _parts(home, policy):
        data = read_plain(home / path, left, "policy.toml includes its folder")
        texts[path], left = text_of(home / path, data), left - len(data)
    for path in sorted({name for text in (policy, *texts.values()) for name in calendars_of(text)}):
        held = _calendar(home, path, left)
        if held is not None:
            texts[path], left = text_of(home / path, held), left - len(held)
    return texts


def _parts(home: Path, policy: str) -> Iterator[str]:
    found = 0
    for folder in folders_of(policy):
        where = home / folder.rstrip("/")
        _check_folder(where)
        try:
            names = sorted(
                path.name for path in where.iterdir() if path.suffix.lower() == ".toml" and path.name[0] != "."
            )
        except OSError as error:
            raise ConfigurationError(f"{where}: {error.strerror}; policy.toml includes it") from error
        found += len(names)
        if found > MOST_FILES:
            raise ConfigurationError(f"{where}: {found} files are included; there may be {MOST_FILES}")
        for name in names:
            if not is_part(name):
                raise ConfigurationError(
                    f"{where / ascii(name)}: name included files with letters, digits and . _ -, then .toml"
                )
            yield f"{folder}{name}"


def _calendar(home: Path, path: str, left: int) -> bytes | None:
    where = home / path
    if where.parent != home:
        _check_folder(where.parent)
    if not where.is_symlink() and not where.exists():
        return None
    return read_plain(where, left, "a freeze names it")


def _check_folder(where: Path) -> None:
    if where.is_symlink():
        raise ConfigurationError(f"{where}: a link; what a policy brings in lies beside policy.toml itself")
