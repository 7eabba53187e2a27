"""What `check` tells an operator: who we are in the cluster, what we may do, and what to do about what is wrong."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from keyturn.connectors.checking import Finding
from keyturn.connectors.deployments import Deployments
from keyturn.connectors.deployments.kubernetes import Settings, build
from tests.bed.faults import Fault, Instead
from tests.bed.kubernetes import Kubernetes, kubernetes
from tests.bed.recorder import Answer
from tests.connectors.deployments.processes import action
from tests.connectors.kubernetes.world import ClusterWorld, open_cluster
from tests.connectors.surroundings import world_at


def looked(port: Deployments) -> list[Finding]:
    return list(anyio.run(port.check))


def wrong(port: Deployments) -> tuple[str, str]:
    """Return the one thing that is wrong, and the advice."""
    [found] = [finding for finding in looked(port) if finding.level == "wrong"]
    return found.text, found.advice


def test_all_is_well_and_said_in_three_lines(world: ClusterWorld) -> None:
    assert looked(world.port) == [
        Finding("ok", f"web/staging: {world.proxy.url} (Kubernetes v1.33.2), where we are {world.server.user}"),
        Finding("ok", "web/staging: may get and patch the Deployment and list ReplicaSets in shop"),
        Finding("ok", "web/staging: revision 3 is live; 3 revisions kept"),
    ]


def test_looking_changes_nothing(world: ClusterWorld) -> None:
    before = world.server.version
    looked(world.port)
    assert (world.server.version, world.proxy.seen.of("PATCH")) == (before, [])


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("patch deployments", "may not patch deployments in namespace shop: it is read-only here"),
        ("list replicasets", "may not list replicasets in namespace shop: no revision can be told"),
    ],
)
def test_a_missing_permission_is_named_with_what_it_prevents(world: ClusterWorld, missing: str, said: str) -> None:
    world.server.may.discard(missing)
    found = [finding for finding in looked(world.port) if finding.level == "wrong"]
    assert said in found[0].text
    assert "the whole role" in found[0].advice


def test_an_account_that_may_do_everything_is_noted(world: ClusterWorld) -> None:
    world.server.may = {"*"}
    [note] = [finding for finding in looked(world.port) if finding.level == "note"]
    assert "may do everything in namespace shop" in note.text
    assert "and no more" in note.advice


@pytest.mark.parametrize(
    ("change", "level", "said"),
    [
        (lambda world: world.server.edit(paused=True), "wrong", "its rollout is paused"),
        (lambda world: world.server.edit(revisionHistoryLimit=0), "wrong", "keeps no old revisions"),
        (
            lambda world: world.server.labelled(argocd_argoproj_io__instance="shop"),
            "wrong",
            "Argo CD application shop",
        ),
        (lambda world: world.server.labelled(app_kubernetes_io__managed_by="Helm"), "ok", "revision 3 is live"),
        (lambda world: world.server.labelled(app_kubernetes_io__instance="x"), "note", "which Argo CD before 3.0"),
        (
            lambda world: setattr(world.server, "deployment", {}),
            "wrong",
            "there is no Deployment web in namespace shop",
        ),
        (lambda world: setattr(world.server, "user", None), "note", "it does not tell who we are"),
        (lambda world: setattr(world.server, "user", "system:anonymous"), "wrong", "it takes us for nobody"),
    ],
)
def test_what_keeps_a_rollback_from_working_is_found(
    world: ClusterWorld, change: Callable[[ClusterWorld], object], level: str, said: str
) -> None:
    change(world)
    assert any(finding.level == level and said in finding.text for finding in looked(world.port))


def test_a_strict_cluster_that_tells_an_account_nothing_of_itself_leaves_that_open(world: ClusterWorld) -> None:
    world.server.strict = True
    assert [finding.level for finding in looked(world.port)] == ["note", "note", "ok"]
    seen = anyio.run(world.port.preview, "staging", "2")
    assert "is not known to have dry runs" in seen.source


def test_helm_is_a_note(world: ClusterWorld) -> None:
    world.server.annotate({"meta.helm.sh/release-name": "shop"})
    assert Finding("note", "web/staging: Helm release shop manages it: it is not told of rollbacks") in looked(
        world.port
    )


def test_a_wrong_token_is_said_to_be_one_and_not_shown(world: ClusterWorld) -> None:
    (world.home / "token").write_text("canary-wrong-token")
    text, advice = wrong(open_cluster(world.home, world.proxy.url))
    assert "answered 401: Unauthorized" in text
    assert "kubectl create token" in advice
    assert "canary" not in text + advice


@pytest.mark.parametrize(
    ("url", "said", "advised"),
    [
        ("http://127.0.0.1:1", "cannot be reached", "whether this machine may connect"),
        ("https://10.0.0.1:1", "private", "private = true"),
    ],
)
def test_a_wrong_address_is_said_to_be_one(world: ClusterWorld, url: str, said: str, advised: str) -> None:
    private = not url.startswith("https")
    text, advice = wrong(open_cluster(world.home, url, private=private, deadline=1, timeout=1))
    assert said in text
    assert advised in advice


def test_a_page_of_another_server_is_not_taken_for_a_cluster(world: ClusterWorld) -> None:
    page = Answer(200, (("content-type", "text/html"),), b"<html>welcome</html>")
    world.proxy.faults.set(Fault("*", ".*", Instead(page), nth=0))
    text, advice = wrong(world.port)
    assert "no JSON" in text
    assert "not a web page" in advice


def test_no_credential_and_no_value_that_runs_is_in_any_file_or_log(
    world: ClusterWorld, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    looked(world.port)
    seen = anyio.run(world.port.preview, "staging", "2")
    anyio.run(world.port.apply, seen.rollback, action(1))
    anyio.run(world.port.probe, seen.rollback, action(2))
    world.server.tokens.clear()
    looked(world.port)
    held = [path.read_bytes() for path in (world.home / "state").rglob("*") if path.is_file()]
    shown = caplog.text + repr(world.port) + repr(seen)
    assert held
    assert not any(b"canary" in data for data in held)
    assert "canary" not in shown


def test_a_credential_that_is_missing_is_named(world: ClusterWorld) -> None:
    (world.home / "token").unlink()
    text, _ = wrong(open_cluster(world.home, world.proxy.url))
    assert text.startswith("web/staging: deployments.web.environments.staging.credential: the file ")


def by_kubeconfig(bed: Kubernetes, home: Path, path: Path, **where: Any) -> Deployments:
    settings = Settings.model_validate(
        {
            "kind": "kubernetes",
            "kubeconfig": str(path),
            "private": True,
            "environments": {"production": {"deployment": "web", **where}},
        }
    )
    return build("web", settings, world_at(home, {"PATH": os.defpath}))


def test_a_reader_over_tls_is_told_what_it_may_not(tmp_path: Path) -> None:
    with kubernetes(tmp_path, tls=True) as bed:
        bed.cluster.deploy()
        text, _ = wrong(by_kubeconfig(bed, tmp_path, bed.kubeconfig(user="reader")))
        assert "may not patch deployments in namespace prod: it is read-only here" in text


def test_an_expired_certificate_of_the_server_is_said_to_be_one(tmp_path: Path) -> None:
    with kubernetes(tmp_path, tls=True, server="expired") as bed:
        text, advice = wrong(by_kubeconfig(bed, tmp_path, bed.kubeconfig()))
        assert "its certificate has expired" in text
        assert "has to renew" in advice


def test_of_an_expired_certificate_of_ours_it_is_said_where_to_look(tmp_path: Path) -> None:
    with kubernetes(tmp_path, tls=True) as bed:
        assert bed.authority is not None
        late = bed.authority.client("late", expired=True)
        path = bed.kubeconfig(user="certificate")
        text = path.read_text().replace("client-deployer", "client-late")
        path.write_text(text)
        assert late.key.is_file()
        _, advice = wrong(by_kubeconfig(bed, tmp_path, path, deadline=1))
        assert "client certificate" in advice


def test_a_kubeconfig_that_is_broken_keeps_nobody_from_starting_and_is_told(tmp_path: Path) -> None:
    with kubernetes(tmp_path) as bed:
        port = by_kubeconfig(bed, tmp_path, tmp_path / "none")
        text, advice = wrong(port)
        assert "the file cannot be read: No such file" in text
        assert advice


def test_a_namespace_comes_from_the_context_or_has_to_be_named(tmp_path: Path) -> None:
    with kubernetes(tmp_path) as bed:
        bed.cluster.deploy()
        path = bed.kubeconfig()
        assert (
            by_kubeconfig(bed, tmp_path, path)
            .backend("production")
            .location.endswith("/namespaces/prod/deployments/web")
        )
        path.write_text(path.read_text().replace("    namespace: prod\n", ""))
        text, _ = wrong(by_kubeconfig(bed, tmp_path, path))
        assert "no namespace: name one here or in the kubeconfig's context" in text
        assert looked(by_kubeconfig(bed, tmp_path, path, namespace="prod"))[0].level == "ok"
