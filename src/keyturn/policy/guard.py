"""Reads `[policy]`: how many people must sign before another policy takes this one's place."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from keyturn.canon import Json
from keyturn.policy.tables import Table
from keyturn.policy.world import World

if TYPE_CHECKING:
    from keyturn.policy.policy import Policy

_MOST_PEOPLE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyGuard:
    """What `[policy] approval` asks: `quorum` distinct people of `reviewers`, whom `sources` stand for."""

    quorum: int
    sources: tuple[str, ...]
    reviewers: tuple[str, ...]


def read_guard(document: Table, world: World) -> PolicyGuard | None:
    """Read `[policy]`; None where nothing is asked, or after recording a problem."""
    section = document.table("policy")
    if section is None:
        return None
    section.only("approval")
    table = section.table("approval")
    if table is None:
        section.wrong("approval", 'is missing: write approval = { quorum = 2, from = ["group:…"] }')
        return None
    return _read_approval(table, world)


def _read_approval(table: Table, world: World) -> PolicyGuard | None:
    before = len(table.problems)
    table.only("quorum", "from")
    quorum = table.integer("quorum", low=1, high=_MOST_PEOPLE)
    sources = table.texts("from", required=True)
    people = world.reviewers_in(table, "from", sources)
    able = tuple(sorted(name for name in people if world.reviewers[name].keys))
    if quorum is None or len(table.problems) != before:
        return None
    if len(able) < quorum:
        table.wrong(
            "quorum",
            f"{quorum} people must sign for the next policy, but only {len(able)} can: "
            "no policy could ever follow this one; lower it, or add reviewers or keys",
        )
        return None
    return PolicyGuard(quorum=quorum, sources=sources, reviewers=able)


def asks_for_endorsements(text: str) -> bool:
    """Say whether a `policy.toml` that was read before asks others to sign for the next one."""
    section = tomllib.loads(text).get("policy")
    return isinstance(section, dict) and "approval" in section


def guard_facts(policy: Policy, guard: PolicyGuard) -> dict[str, Json]:
    """Return the facts of the `policy.guarded` entry that stands beside the activation of a policy."""
    return {
        "policy": policy.digest,
        "quorum": guard.quorum,
        "from": list(guard.sources),
        "reviewers": list(guard.reviewers),
    }
