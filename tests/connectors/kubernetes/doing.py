"""What tests of a cluster do again and again."""

from __future__ import annotations

from typing import Any

import anyio

from keyturn.connectors.deployments import Preview, Snapshot
from keyturn.model.outcome import Outcome, Probe
from keyturn.model.tool import ActionRef
from tests.connectors.deployments.processes import action
from tests.connectors.kubernetes.world import ClusterWorld


def preview(world: ClusterWorld, to: str = "2") -> Preview:
    found: Preview = anyio.run(world.port.preview, "staging", to)
    return found


def apply(world: ClusterWorld, seen: Preview, ref: ActionRef | None = None, *more: Any) -> Outcome:
    outcome: Outcome = anyio.run(world.port.apply, seen.rollback, ref or action(1), *more)
    return outcome


def probe(world: ClusterWorld, seen: Preview, ref: ActionRef | None = None) -> Probe:
    found: Probe = anyio.run(world.port.probe, seen.rollback, ref or action(1))
    return found


def snapshot(world: ClusterWorld) -> Snapshot:
    found: Snapshot = anyio.run(world.port.snapshot, "staging")
    return found
