"""Checks of the ground a home stands on: who owns it, who else can reach it, the file system, the space."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

import keyturn
from keyturn.assembly.boundary import SAME_ACCOUNT, Running, name_of, people_log_in
from keyturn.assembly.doctor.finding import Finding, fail, ok, warn
from keyturn.assembly.home import POLICY, Home
from keyturn.assembly.log_key import where_log_key
from keyturn.assembly.survey import LITTLE
from keyturn.ledger.keys import LOG_KEY
from keyturn.ledger.place import check_place
from keyturn.model.errors import ConfigurationError, LedgerError

PAGE = "docs/how-to/install-under-its-own-account.md"
KEYS = "docs/how-to/change-keys.md"
NEEDED = "checkpoints, changes of keys and the end of the log need it"
_WRITE = 0o022
_TOO_LITTLE = 10 * 1024 * 1024


def check_ground(home: Home, transports: Sequence[str], present: Sequence[Running]) -> Iterator[Finding]:
    """Look at a home's folder.

    `transports` are those over which assistants came in lately; `present` is what serves the home now.
    """
    yield _owner(home)
    yield from _modes(home)
    yield _code(home)
    yield _account(home, transports, present)
    yield _file_system(home)
    yield _space(home)
    yield _log_key(home)


def _owner(home: Home) -> Finding:
    owner, here = home.folder.stat().st_uid, os.geteuid()
    if owner == here:
        return ok("owner", f"{home.folder} belongs to {name_of(owner)}, as which this runs")
    return fail(
        "owner",
        f"{home.folder} belongs to {name_of(owner)}, and this runs as {name_of(here)}",
        "the ledger is opened by its owner alone",
        f"runuser -u {name_of(owner)} -- keyturn doctor, as root, or sudo -u {name_of(owner)} keyturn doctor",
    )


def _modes(home: Home) -> Iterator[Finding]:
    """What is written by others changes the rules; what is read by others tells them."""
    paths = [home.folder, home.folder / POLICY, home.wiring, home.schemas]
    open_ = [path for path in paths if path.exists() and stat.S_IMODE(path.stat().st_mode) & _WRITE]
    if open_:
        names = " ".join(str(path) for path in open_)
        yield fail(
            "modes", f"others can write to {names}", "they can change what Keyturn does", f"chmod go-w {names}"
        )
    else:
        yield ok("modes", "nobody else can write to policy, wiring or contracts")


def _code(home: Home) -> Finding:
    """Whoever can write to the program decides what it does with the home."""
    folder = Path(keyturn.__file__).parent
    status = folder.stat()
    if status.st_uid not in {0, home.folder.stat().st_uid} or stat.S_IMODE(status.st_mode) & _WRITE:
        return fail(
            "program",
            f"the program in {folder} can be changed by {name_of(status.st_uid)} or others",
            "whoever changes it does what Keyturn can",
            f"install it for root: {PAGE}",
        )
    return ok("program", f"{folder} belongs to {name_of(status.st_uid)}")


def _account(home: Home, transports: Sequence[str], present: Sequence[Running]) -> Finding:
    owner = name_of(home.folder.stat().st_uid)
    clients = [server.parent for server in present if server.kind == "stdio" and server.account == owner]
    if clients:
        told = f"{', '.join(clients)} started a server of this home and runs as {owner} too"
    elif "stdio" in transports:
        told = f"assistants came in over stdio lately, and so run as {owner} too"
    elif people_log_in(home.folder.stat().st_uid):
        told = f"{owner} is an account people log in to, and so may assistants"
    else:
        return ok("account", f"{owner} is Keyturn's own account: nobody logs in to it, no assistant comes over stdio")
    return warn("account", told, SAME_ACCOUNT, PAGE)


def _file_system(home: Home) -> Finding:
    try:
        check_place(home.place)
    except LedgerError as error:
        return fail("state", str(error))
    return ok("state", f"{home.place.folder} is this account's alone, on a local file system")


def _space(home: Home) -> Finding:
    folder = home.place.folder if home.place.folder.is_dir() else home.folder
    status = os.statvfs(folder)
    free = status.f_bavail * status.f_frsize
    told = f"{free // 2**20:,} MiB free"
    if free < LITTLE:
        level = fail if free < _TOO_LITTLE else warn
        return level("space", told, "without room for the ledger nothing is done", f"free some: df {folder}")
    return ok("space", told)


def _log_key(home: Home) -> Finding:
    where = _named(home)
    named = home.folder / where.removeprefix("file:") if where.startswith("file:") else None
    for key in (home.place.keys / LOG_KEY, *([named] if named is not None else ())):
        if key.exists() and key.is_relative_to(home.folder):
            return warn(
                "log key",
                f"{key} still lies in the home",
                "its thief can found a second history under this log's name",
                f"copy it to a safe place and remove it, or keep it in an agent; {NEEDED} ({KEYS})",
            )
    if named is not None and not named.exists():
        return ok("log key", f"not at hand; {NEEDED}")
    return ok("log key", f"not in the home: {where}")


def _named(home: Home) -> str:
    try:
        return where_log_key(home)
    except ConfigurationError:
        return f"file:{home.place.keys / LOG_KEY}"  # what is wrong with the wiring is told elsewhere
