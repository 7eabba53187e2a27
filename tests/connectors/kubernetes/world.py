"""A deployment in a cluster, as an operator would have wired it; the cluster is looked at and moved from behind."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio

from keyturn.connectors.deployments import Deployments, Rollback
from keyturn.connectors.deployments.kubernetes import Settings, build
from keyturn.model.outcome import Failed, Succeeded
from keyturn.model.tool import ActionRef
from tests.bed.faults import FaultProxy
from tests.connectors.deployments.processes import together
from tests.connectors.kubernetes.apiserver import TOKEN, ApiServer, number, serving
from tests.connectors.surroundings import world_at

Handle = tuple[Path, str]


def open_cluster(home: Path, url: str, **settings: Any) -> Deployments:
    parsed = Settings.model_validate(
        {
            "kind": "kubernetes",
            "url": url,
            "credential": "file:token",
            "private": True,
            "deadline": 10,
            "health_timeout": "5s",
            "environments": {"staging": {"namespace": "shop", "deployment": "web"}},
            **settings,
        }
    )
    return build("web", parsed, world_at(home, {"PATH": os.defpath}), poll=0.01)


class ClusterWorld:
    """One Deployment whose revisions 1, 2 and 3 are the images 2.2.0, 2.3.1 and 2.4.0."""

    superseded: type[Succeeded] | type[Failed] = Failed
    shows: tuple[str, ...] = (
        "-        image: registry.example/shop/web:2.4.0\n",
        "+        image: registry.example/shop/web:2.3.1\n",
    )

    def __init__(self, home: Path, server: ApiServer, proxy: FaultProxy) -> None:
        self.home = home
        self.server = server
        self.proxy = proxy
        self.port = open_cluster(home, proxy.url)

    @property
    def racer(self) -> Any:
        return apply_and_say

    @property
    def handle(self) -> Handle:
        return self.home, self.proxy.url

    def named(self, tag: str) -> str:
        """Return the number that a revision has now; what there is none of keeps its name."""
        fitting = [
            one for one in self.server.sets if one["spec"]["template"]["spec"]["containers"][0]["image"].endswith(tag)
        ]
        return str(number(fitting[0])) if fitting else tag.replace(".", "")

    def live(self) -> str:
        containers = self.server.deployment["spec"]["template"]["spec"]["containers"]
        return str(containers[0]["image"].rpartition(":")[2])

    def history(self) -> list[Mapping[str, Any]]:
        return [{"to": tag} for tag in ("2.2.0", "2.3.1", "2.4.0", *self.server.rollouts)]

    def switches_of(self, action: ActionRef) -> int:
        return sum(mark["id"] == action.action for mark in self.server.marks("keyturn/actions"))

    def move(self, tag: str) -> None:
        self.server.deploy(tag)

    def alter(self, tag: str) -> None:
        with self.server.lock:
            self.server.set_of(tag)["spec"]["template"]["spec"]["containers"][0]["args"] = ["--other"]

    def replaced(self) -> None:
        """Delete the Deployment and make it anew, as `kubectl replace --force` does."""
        with self.server.lock:
            made = copy.deepcopy(self.server.deployment)
            made["metadata"]["uid"] = "5d7c1b60-0000-4000-8000-000000000002"
            made["metadata"]["annotations"] = {}
            self.server.sets.clear()
            self.server.deployment = made
            self.server.control()


@contextmanager
def cluster(home: Path, *tags: str) -> Iterator[ClusterWorld]:
    home.mkdir(exist_ok=True)
    (home / "token").write_text(f"{TOKEN}\n")
    (home / "token").chmod(0o600)
    server = serving(*(tags or ("2.2.0", "2.3.1", "2.4.0")))
    with FaultProxy(("127.0.0.1", 9), inner=(server,)) as proxy:
        yield ClusterWorld(home, server, proxy)


def apply_and_say(handle: Handle, rollback: Rollback, action: ActionRef, **settings: Any) -> str:
    port = open_cluster(*handle, **settings)
    together()
    return type(anyio.run(port.apply, rollback, action)).__name__
