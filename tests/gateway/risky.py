"""Pull requests in a home whose policy holds them by their score."""

from __future__ import annotations

from typing import Any

from keyturn.gateway.envelope import Answer
from keyturn.verifier import verify_ledger
from tests.gateway.world import PULL_REQUEST, World

ASKED = 'limits = ["20 calls per hour", "2000 lines_changed per day", "5 pending"]\napproval = '
APPROVAL = '{ quorum = 1, from = ["group:sre"], expires = "4h" }'
SCORED = (ASKED + APPROVAL, f"risk = {{ hold_at = 30, deny_at = 60, approval = {APPROVAL} }}")
WEIGHTS = "\n[risk]\nweights = { first_use = 30, size = 30, time = 0 }\n"
"""Whatever the hour is while the tests run."""


def verdict(world: World) -> tuple[str, str | None]:
    """What a verifier says of the ledger, and why."""
    report = verify_ledger(world.home.place.database)
    return report.verdict, None if report.first_bad is None else report.first_bad.reason


def score(world: World, *changes: tuple[str, str]) -> None:
    """Put a policy in force that holds pull requests by their score."""
    path = world.home.folder / "policy.toml"
    path.write_text(path.read_text() + WEIGHTS)
    world.activate(SCORED, *changes)


def ask(world: World, path: str, text: str = "x = 1\n", **more: Any) -> Answer:
    """Ask for a pull request that adds one file."""
    files = [{"path": path, "content": text}]
    return world.call("open_pull_request", **{**PULL_REQUEST, "files": files, **more})
