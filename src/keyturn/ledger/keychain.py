"""The entry key of a home as it changes: which file holds the one that the log believes, and how it gets its place.

A change of key takes these steps; `keyturn.gateway.key_changes` and the writers of the home take them together:

1. The new key is written beside `entry.key` as `entry-<kid>.key`, 0600, and brought to the disk with its name.
2. One transaction appends `key.added` with the new key and `key.revoked` with the old one: both or neither.
3. `entry-<kid>.key` is renamed to `entry.key`, over the old key.

Whoever writes asks before each job which key the log believes now, and so finds its file at every point of these.
Killed before 2 is durable, the log believes the old key, which is in `entry.key`; what lies beside it is a key that
no log knows, and the next change takes it away. Killed after it, the log believes the new key, whose file was durable
before the entry that names it: every process finds it under its own name, and the next one that commits renames it.
Killed in 3, a rename is there or not. A writer that ran all the time holds the old key in its memory, where it is of
no use: it follows the log before it appends, and the chain takes nothing signed by a revoked key. Nobody renames over
`entry.key` unless the committed log says that the key in it is revoked: a key that the log does not know is left
alone, for it belongs to another end of this log (a copy from before the change is being restored).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from keyturn.ledger.copy import sync
from keyturn.ledger.errors import LedgerUnavailable
from keyturn.ledger.keys import ENTRY_KEY, SigningKey, load_key, store_key
from keyturn.log.chain import Head

_NAMED = "entry-*.key"


class Keychain:
    """The files of entry keys in the key folder of a home, and the key that its processes sign with."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._current = load_key(folder / ENTRY_KEY)
        self._beside = False  # whether the key in use is under its own name

    def signing(self, head: Head) -> SigningKey:
        """Return the entry key that may sign the entry after `head`. Raises `LedgerUnavailable` when none is here."""
        if head.size and not head.signs(self._current.public.kid):
            self._current, self._beside = self._find(head)
        return self._current

    def settle(self, head: Head) -> None:
        """Bring the key that signs after `head` to its place, if it is beside it and the one there is revoked.

        Under the ledger lock, with a `head` that is committed. A rename that fails is left to whoever comes next.
        """
        key = self.signing(head)
        if not self._beside:
            return
        place, named = self._folder / ENTRY_KEY, path_of(self._folder, key.public.kid)
        with suppress(LedgerUnavailable, OSError):
            if load_key(place).public.kid in head.revoked:
                named.rename(place)
                sync(self._folder)
        # Also where it was not renamed: another process did it, or what is there must stay.
        self._beside = False

    def _find(self, head: Head) -> tuple[SigningKey, bool]:
        named = [path_of(self._folder, kid) for kid in head.keys if head.signs(kid)]
        for path in (self._folder / ENTRY_KEY, *named):
            if not os.path.lexists(path):
                continue
            key = load_key(path)
            if head.signs(key.public.kid):
                return key, path.name != ENTRY_KEY
        names = " or ".join(path.name for path in named)
        raise LedgerUnavailable(
            f"no key in {self._folder} may sign this log: it believes the one that {names or 'nothing'} would hold. "
            "Put it back under that name (for a copy from before a change of keys: the entry.key kept with that copy)"
        )


def path_of(folder: Path, kid: str) -> Path:
    """Return where an entry key stands that is not in its place yet, or any more."""
    return folder / f"entry-{kid}.key"


def write_beside(folder: Path, key: SigningKey) -> Path:
    """Write a new entry key under its own name, on the disk when this returns. Raises `LedgerUnavailable`."""
    path = path_of(folder, key.public.kid)
    try:
        store_key(path, key)
    except OSError as error:
        raise LedgerUnavailable(f"{path}: {error.strerror}") from error
    sync(folder)
    return path


def take_away(folder: Path, head: Head) -> None:
    """Remove the keys under names of their own that this log has never known: what interrupted changes left.

    Only while nobody else is changing keys: one that is about to be added is not known yet.
    """
    for path in _beside(folder):
        with suppress(LedgerUnavailable, OSError):
            if load_key(path).public.kid not in head.keys:
                path.unlink()


def whereabouts(folder: Path) -> dict[str, str]:
    """Return kid → file name of the entry keys that are here and can be read."""
    found: dict[str, str] = {}
    for path in (folder / ENTRY_KEY, *_beside(folder)):
        with suppress(LedgerUnavailable):
            found.setdefault(load_key(path).public.kid, path.name)
    return found


def _beside(folder: Path) -> Iterator[Path]:
    return iter(sorted(folder.glob(_NAMED)))
