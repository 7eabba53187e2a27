"""Deployments of Kubernetes keep what every back end of the port promises."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.connectors.deployments.contract import DeploymentsContract
from tests.connectors.kubernetes.world import ClusterWorld, cluster


@pytest.fixture
def world(tmp_path: Path) -> Iterator[ClusterWorld]:
    with cluster(tmp_path) as world:
        yield world


class TestKubernetes(DeploymentsContract):
    pass
