"""People of the tests: real SSH keys, made once per run."""

from __future__ import annotations

import subprocess
from pathlib import Path


def make_key(folder: Path, name: str) -> Path:
    """Return the path of a new private key; its public half lies beside it."""
    path = folder / name
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"{name}@laptop", "-f", str(path)], check=True
    )
    return path


def public(key: Path) -> Path:
    """Return the public half of a key."""
    return key.with_name(f"{key.name}.pub")
