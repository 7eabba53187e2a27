"""Real kubectl, and kmock as the stage on which it is watched: which request does `kubectl rollout undo` send?"""

from __future__ import annotations

import asyncio
import copy
import functools
import os
import shutil
import subprocess
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import kmock

from tests.bed.cluster import Cluster

RECORDINGS = Path(__file__).with_name("recordings")


@functools.cache
def kubectl() -> str | None:
    """Return kubectl's path, or None where it is not installed (Debian: kubernetes-client)."""
    return shutil.which("kubectl")


def run(config: Path, *arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Run kubectl with a kubeconfig; `home` gets its cache. Its output is in English, its proxy settings are none."""
    program = kubectl()
    assert program is not None
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "KUBECONFIG": str(config), "LC_ALL": "C"}
    return subprocess.run(
        [program, *arguments], capture_output=True, text=True, timeout=60, check=False, env=environment, cwd=home
    )


@contextmanager
def stage(cluster: Cluster) -> Iterator[tuple[str, int]]:
    """Serve a copy of the cluster's objects by kmock on loopback; yields host and port.

    kmock keeps what it is sent, but looks at no selector, version, precondition or dry run.
    """
    loop, ready, stop = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    found: list[tuple[str, int]] = []

    async def serving() -> None:
        async with kmock.KubernetesEmulator() as handler, kmock.Server(handler, host="127.0.0.1") as server:
            with warnings.catch_warnings():  # it reads its resources by a function that Python means to drop
                warnings.simplefilter("ignore", DeprecationWarning)
                handler.resources.load_bundled()
            for (kind, namespace, name), item in cluster.objects.items():
                handler.objects[f"apps/v1/{kind.lower()}s", namespace, name] = copy.deepcopy(item)
            found.append(("127.0.0.1", int(str(server.url.port))))
            ready.set()
            await stop.wait()

    def running() -> None:
        try:
            loop.run_until_complete(serving())
        finally:
            ready.set()
            loop.close()

    thread = threading.Thread(target=running, name="kmock", daemon=True)
    thread.start()
    assert ready.wait(30), "kmock does not start"
    assert found, "kmock did not start"
    try:
        yield found[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(30)


def recorded() -> Cluster:
    """Return the cluster that recordings are made of: three revisions, and annotations of several owners."""
    cluster = Cluster()
    applied = {"kubectl.kubernetes.io/last-applied-configuration": '{"kind": "Deployment"}'}
    variables = {"env": [{"name": "MODE", "value": "fast"}], "ports": [{"containerPort": 8080}]}
    cluster.deploy(annotations={"team": "shop", **applied}, container=variables, replicas=3)
    cluster.release("shop:42", cause="kubectl set image deploy/web app=shop:42")
    cluster.release("shop:43", cause="second try")

    def renamed(deployment: dict[str, object]) -> None:
        metadata = deployment["metadata"]
        assert isinstance(metadata, dict)
        metadata["annotations"]["team"] = "checkout"

    cluster.edit(renamed)
    return cluster


UNDO = {
    "previous": ("rollout", "undo", "deployment/web"),
    "first": ("rollout", "undo", "deployment/web", "--to-revision=1"),
}
"""What is recorded: kubectl's arguments by the name of the recording."""
