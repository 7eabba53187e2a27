"""The patch that is sent is the one that real kubectl sends, but for the `test` before it and our own marks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from keyturn.connectors.deployments.kubernetes.objects import plain
from tests.bed import kubectl
from tests.connectors.kubernetes.apiserver import Object
from tests.connectors.kubernetes.doing import apply, preview
from tests.connectors.kubernetes.test_rollback import patches
from tests.connectors.kubernetes.world import ClusterWorld, cluster

OURS = {"keyturn/actions", "keyturn/fences"}

pytestmark = pytest.mark.skipif(kubectl.kubectl() is None, reason="kubectl is not installed (kubernetes-client)")


def prepared(world: ClusterWorld) -> None:
    """Make a history as clusters have it: causes, tools' annotations on the old sets, a revision that came back."""
    world.server.annotate({"kubernetes.io/change-cause": "deploy 2.4.0", "team": "blue"})
    world.move("2.3.1")
    world.server.annotate({"kubernetes.io/change-cause": "back to 2.3.1"})
    world.move("2.5.0")
    world.server.annotate({"kubernetes.io/change-cause": "deploy 2.5.0", "note": "new"})


def undo(world: ClusterWorld, home: Path, *arguments: str) -> list[Object]:
    """Let kubectl undo, and return what it sent."""
    world.server.tokens.add("")  # kubectl sends no token without TLS
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": world.proxy.url}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "shop"}}],
    }
    path = home / "config"
    path.write_text(json.dumps(config))
    ended = kubectl.run(path, "rollout", "undo", "deployment/web", *arguments, home=home)
    assert ended.returncode == 0, ended.stderr
    [sent] = patches(world)
    return list(sent)


def without_ours(operations: list[Any]) -> list[Any]:
    """Leave out what is ours by design: the first operation, and our annotations."""
    test, template, notes = operations
    assert (test["op"], test["path"]) == ("test", "/metadata/resourceVersion")
    assert notes["value"].keys() & OURS == {"keyturn/actions"}
    kept = {name: text for name, text in notes["value"].items() if name not in OURS}
    return [template, {**notes, "value": kept}]


@pytest.mark.parametrize(
    ("to", "arguments"), [("1", ("--to-revision=1",)), ("3", ("--to-revision=3",)), ("previous", ())]
)
def test_the_same_patch_as_kubectl_rollout_undo(tmp_path: Path, to: str, arguments: tuple[str, ...]) -> None:
    with cluster(tmp_path / "theirs") as theirs:
        prepared(theirs)
        sent_by_kubectl = undo(theirs, tmp_path, *arguments)
    with cluster(tmp_path / "ours") as ours:
        prepared(ours)
        apply(ours, preview(ours, to))
        [sent_by_us] = patches(ours)
    assert without_ours(sent_by_us) == plain(sent_by_kubectl)
    assert (ours.live(), list(ours.server.rollouts)) == (theirs.live(), theirs.server.rollouts)


def test_both_refuse_a_paused_deployment_and_a_revision_that_is_not_there(tmp_path: Path) -> None:
    with cluster(tmp_path / "theirs") as theirs:
        theirs.server.tokens.add("")
        theirs.server.edit(paused=True)
        with pytest.raises(AssertionError, match="cannot rollback a paused deployment"):
            undo(theirs, tmp_path)
        theirs.server.edit(paused=False)
        with pytest.raises(AssertionError, match="unable to find specified revision 9"):
            undo(theirs, tmp_path, "--to-revision=9")


def test_kubectl_says_of_the_same_status_what_we_say(tmp_path: Path) -> None:
    """`kubectl rollout history` and `status` read the revisions and the rollout as we do."""
    with cluster(tmp_path / "theirs") as theirs:
        apply(theirs, preview(theirs, "1"))
        theirs.server.tokens.add("")
        (tmp_path / "home").mkdir()
        config = tmp_path / "config"
        config.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": theirs.proxy.url}}], "users": [],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "", "namespace": "shop"}}],
        }))  # fmt: skip
        ended = kubectl.run(config, "rollout", "history", "deployment/web", home=tmp_path / "home")
        numbers = [line.split()[0] for line in ended.stdout.splitlines()[2:] if line.strip()]
        assert numbers == ["2", "3", "4"]
        assert theirs.named("2.2.0") == "4"
