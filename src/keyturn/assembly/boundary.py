"""The line between assistants and Keyturn: whose account a home belongs to, and who else is on it."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SAME_ACCOUNT = (
    "an assistant that can run commands under this account can do everything Keyturn can: for a real boundary run "
    "Keyturn under an account of its own"
)

PROCESSES = Path("/proc")
_NO_LOGIN = {"nologin", "false", "sync"}
_MODULE = "keyturn.server"


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A process that serves a home or works for it.

    kind     "stdio" (an assistant's client started it), "http" or "worker"
    account  whose it is
    parent   what started it, as its name and process id: for "stdio" the client
    """

    pid: int
    kind: str
    account: str
    parent: str


def name_of(uid: int) -> str:
    """Return the name of an account."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid-{uid}"


def people_log_in(uid: int) -> bool:
    """Say whether an account has a shell to log in with: then it is hardly Keyturn's alone."""
    try:
        shell = pwd.getpwuid(uid).pw_shell
    except KeyError:
        return False
    return Path(shell).name not in _NO_LOGIN


def shared(folder: Path) -> bool:
    """Say whether the account that owns a home looks like one that assistants may run under."""
    return people_log_in(folder.stat().st_uid)


def running(home: Path, processes: Path = PROCESSES) -> Iterator[Running]:
    """Yield what serves a home or works for it now, as far as this account may see.

    `processes` is a file system as proc(5) describes.
    """
    for folder in processes.iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                found = _read(folder, home, processes)
            except OSError:
                continue  # it ended meanwhile, or hides
            if found is not None:
                yield found


def _read(folder: Path, home: Path, processes: Path) -> Running | None:
    words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
    kind = _kind(words)
    if kind is None or str(home) not in words:
        return None
    parent = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[1]
    return Running(
        pid=int(folder.name),
        kind=kind,
        account=name_of(folder.stat().st_uid),
        parent=f"{_comm(processes / parent)} (pid {parent})",
    )


def _kind(words: list[str]) -> str | None:
    if _MODULE in words:
        return "http" if "--http" in words or "--socket" in words else "stdio"
    return "worker" if "keyturn" in words and "worker" in words else None


def _comm(folder: Path) -> str:
    try:
        return (folder / "comm").read_text(errors="replace").strip()
    except OSError:
        return "a program"
