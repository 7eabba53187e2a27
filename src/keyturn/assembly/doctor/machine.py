"""Checks of the machine: the programs and libraries that Keyturn stands on."""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping

from keyturn.assembly.doctor.finding import Finding, ok, warn
from keyturn.ledger.engine import WAL_RESET_MENDED, engine_version

PATIENCE = 5.0  # seconds a program has to say its version


def check_machine(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Look at Python, SQLite, git and OpenSSH as this environment finds them."""
    yield ok("python", f"Python {platform.python_version()}")
    yield _sqlite(engine_version())
    yield _git(_say(environment, "git", "--version"))
    yield _openssh(environment)


def _sqlite(version: tuple[int, ...]) -> Finding:
    told = f"SQLite {'.'.join(map(str, version))}"
    if version < WAL_RESET_MENDED:
        told += ": its WAL-reset bug (before 3.51.3) cannot strike, as all writers take turns at Keyturn's own lock"
    return ok("sqlite", told)


def _git(said: str | None) -> Finding:
    if said is None:
        return warn(
            "git", "there is no git on PATH", "no git repository can be a back end", "install git (2.36 or later)"
        )
    return ok("git", said)


def _openssh(environment: Mapping[str, str]) -> Finding:
    version = _say(environment, "ssh", "-V")
    if shutil.which("ssh-keygen", path=environment.get("PATH")) is None:
        return warn(
            "openssh", "there is no ssh-keygen on PATH", "nobody can sign a review or an act here", "install OpenSSH"
        )
    told = version.partition(",")[0] if version else "ssh-keygen is there, its version is not known"
    if "sk-ssh-ed25519@openssh.com" not in (_say(environment, "ssh", "-Q", "key") or ""):
        return warn(
            "openssh",
            f"{told}, without hardware keys (sk-)",
            "whoever reviews with a hardware key has to sign on another machine: keyturn action export",
        )
    return ok("openssh", f"{told}, with hardware keys (sk-)")


def _say(environment: Mapping[str, str], name: str, *arguments: str) -> str | None:
    """Return what a program prints, or None when it is not there or does not answer."""
    program = shutil.which(name, path=environment.get("PATH"))
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, *arguments],
            capture_output=True,
            check=False,
            timeout=PATIENCE,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return (done.stdout or done.stderr).strip()[:2000]
