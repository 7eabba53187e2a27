"""The port's promises once more, on the test bed's own API server, which was written without looking at ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from keyturn.connectors.deployments import Deployments, Rollback
from keyturn.model.outcome import Failed, Succeeded
from keyturn.model.tool import ActionRef
from tests.bed.kubernetes import NAMESPACE, TOKEN, Kubernetes, kubernetes
from tests.connectors.deployments.contract import DeploymentsContract
from tests.connectors.kubernetes.world import Handle, apply_and_say, open_cluster

HERE: dict[str, Any] = {"environments": {"staging": {"namespace": NAMESPACE, "deployment": "web"}}}


class BedWorld:
    """A Deployment of the test bed whose revisions 1, 2 and 3 are the images 2.2.0, 2.3.1 and 2.4.0."""

    superseded: type[Succeeded] | type[Failed] = Failed
    shows: tuple[str, ...] = ("-      - image: shop:2.4.0\n", "+      - image: shop:2.3.1\n")

    def __init__(self, home: Path, bed: Kubernetes) -> None:
        self.home = home
        self.bed = bed
        self.port: Deployments = open_cluster(home, bed.url, **HERE)

    @property
    def racer(self) -> Callable[..., str]:
        return apply_in_bed

    @property
    def handle(self) -> Handle:
        return self.home, self.bed.url

    def named(self, version: str) -> str:
        fitting = [one for one in self.bed.cluster.replicasets() if image(one).endswith(version)]
        return str(revision(fitting[0])) if fitting else version.replace(".", "")

    def live(self) -> str:
        return self.bed.cluster.image().removeprefix("shop:")

    def history(self) -> list[Mapping[str, Any]]:
        return [{"revision": number} for number in range(1, max(map(revision, self.bed.cluster.replicasets())) + 1)]

    def switches_of(self, action: ActionRef) -> int:
        notes = self.bed.cluster.deployment()["metadata"]["annotations"]
        return int(action.action in notes.get("keyturn/actions", ""))

    def move(self, version: str) -> None:
        self.bed.cluster.release(f"shop:{version}")

    def alter(self, version: str) -> None:
        name = next(one["metadata"]["name"] for one in self.bed.cluster.replicasets() if image(one).endswith(version))

        def other(found: dict[str, Any]) -> None:
            found["spec"]["template"]["spec"]["containers"][0]["args"] = ["--other"]

        self.bed.cluster.edit(other, name=name, kind="ReplicaSet")


def image(replica_set: Mapping[str, Any]) -> str:
    return str(replica_set["spec"]["template"]["spec"]["containers"][0]["image"])


def revision(replica_set: Mapping[str, Any]) -> int:
    return int(replica_set["metadata"]["annotations"]["deployment.kubernetes.io/revision"])


def apply_in_bed(handle: Handle, rollback: Rollback, action: ActionRef) -> str:
    return apply_and_say(handle, rollback, action, **HERE)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[BedWorld]:
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "token").chmod(0o600)
    with kubernetes(tmp_path) as bed:
        bed.cluster.deploy(image="shop:2.2.0")
        bed.cluster.release("shop:2.3.1")
        bed.cluster.release("shop:2.4.0")
        yield BedWorld(tmp_path, bed)


class TestKubernetesOfTheTestBed(DeploymentsContract):
    """In the world above."""
