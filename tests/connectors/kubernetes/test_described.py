"""Every request that is sent is valid by Kubernetes' own description of its interface."""

from __future__ import annotations

from dataclasses import replace

import anyio

from keyturn.model.outcome import Succeeded
from tests.bed.prism import Prism
from tests.bed.recorder import Exchange
from tests.connectors.deployments.processes import action
from tests.connectors.kubernetes.doing import apply, preview, probe, snapshot
from tests.connectors.kubernetes.world import ClusterWorld


def described(exchange: Exchange) -> Exchange:
    """Write the path of the version as the description does: with a slash, which kubectl does not send either."""
    return replace(exchange, path="/version/") if exchange.path == "/version" else exchange


def test_every_request_is_valid_by_the_description(world: ClusterWorld, kubernetes_prism: Prism) -> None:
    anyio.run(world.port.check)
    snapshot(world)
    seen = preview(world)
    probe(world, seen, action(2))
    world.server.touch()
    assert isinstance(apply(world, seen), Succeeded)
    probe(world, seen)
    sent = world.proxy.seen.exchanges
    assert {(one.method, one.path.rpartition("/")[2]) for one in sent} == {
        ("GET", "version"),
        ("GET", "web"),
        ("GET", "replicasets"),
        ("PATCH", "web"),
        ("POST", "selfsubjectreviews"),
        ("POST", "selfsubjectaccessreviews"),
    }
    assert [wrong for one in sent for wrong in kubernetes_prism.objections(described(one))] == []


def test_the_description_does_not_let_everything_pass(world: ClusterWorld, kubernetes_prism: Prism) -> None:
    apply(world, preview(world))
    patch = world.proxy.seen.of("PATCH")[-1]
    assert kubernetes_prism.objections(replace(patch, body=b"{}"))
    assert kubernetes_prism.objections(replace(patch, body=patch.body.replace(b'"containers"', b'"containerz"')))
    assert kubernetes_prism.objections(replace(patch, query="dryRuns=All"))
