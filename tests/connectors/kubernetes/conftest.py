from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bed.fixtures import kubernetes_prism
from tests.connectors.kubernetes.world import ClusterWorld, cluster

__all__ = ["kubernetes_prism"]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[ClusterWorld]:
    with cluster(tmp_path) as world:
        yield world
