"""The small API server keeps Kubernetes' rules, kubectl agrees with it, and Prism judges requests by the
description."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from tests.bed import documents
from tests.bed.asking import ask
from tests.bed.cluster import HASH, REVISION
from tests.bed.faults import DropAfter, Fault
from tests.bed.kubectl import RECORDINGS, UNDO, kubectl, recorded, run, stage
from tests.bed.kubernetes import READING, TOKEN, Kubernetes, kubernetes
from tests.bed.prism import Prism, all_valid
from tests.bed.recorder import Exchange, Proxy

ROOT = "/apis/apps/v1/namespaces/prod"
WEB = f"{ROOT}/deployments/web"

no_kubectl = pytest.mark.skipif(kubectl() is None, reason="no kubectl: apt-get install kubernetes-client")


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Kubernetes]:
    with kubernetes(tmp_path) as running:
        running.cluster.deploy()
        running.cluster.release("shop:42")
        yield running


def send(
    kubernetes: Kubernetes, method: str, path: str, body: Any = None, *, kind: str = "json", token: str = TOKEN
) -> httpx2.Response:
    headers = {"authorization": f"Bearer {token}", "content-type": f"application/{kind}"}
    sent = None if body is None else json.dumps(body).encode()
    return httpx2.request(method, kubernetes.url + path, headers=headers, content=sent, trust_env=False)


def image(to: str, version: str | None = None) -> list[dict[str, Any]]:
    test = [{"op": "test", "path": "/metadata/resourceVersion", "value": version}] if version else []
    return [*test, {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": to}]


def patch(kubernetes: Kubernetes, steps: list[dict[str, Any]], query: str = "", path: str = WEB) -> httpx2.Response:
    return send(kubernetes, "PATCH", path + query, steps, kind="json-patch+json")


def test_revisions_are_replicasets_of_the_deployment(web: Kubernetes) -> None:
    told = send(web, "GET", f"{ROOT}/replicasets?labelSelector=app%3Dweb").json()
    uid = send(web, "GET", WEB).json()["metadata"]["uid"]
    found = {item["metadata"]["annotations"][REVISION]: item for item in told["items"]}
    assert sorted(found) == ["1", "2"]
    assert {item["metadata"]["ownerReferences"][0]["uid"] for item in told["items"]} == {uid}
    assert all(item["spec"]["template"]["metadata"]["labels"][HASH] for item in told["items"])
    assert (found["1"]["spec"]["replicas"], found["2"]["spec"]["replicas"]) == (0, 2)


def test_a_patch_whose_test_fails_changes_nothing(web: Kubernetes) -> None:
    version = web.cluster.deployment()["metadata"]["resourceVersion"]
    web.cluster.edit(lambda deployment: deployment["metadata"]["labels"].update(touched="yes"))
    told = patch(web, image("shop:41", version))
    assert (told.status_code, told.json()["reason"], web.cluster.image()) == (422, "Invalid", "shop:42")
    assert web.writes == []
    version = web.cluster.deployment()["metadata"]["resourceVersion"]
    assert patch(web, image("shop:41", version)).status_code == 200
    assert (web.cluster.image(), [write.verb for write in web.writes]) == ("shop:41", ["patch"])


def test_a_put_of_an_older_version_conflicts(web: Kubernetes) -> None:
    older = send(web, "GET", WEB).json()
    web.cluster.edit(lambda deployment: deployment["spec"].update(replicas=5))
    told = send(web, "PUT", WEB, older)
    assert (told.status_code, told.json()["reason"]) == (409, "Conflict")
    newer = send(web, "GET", WEB).json()
    newer["spec"]["replicas"] = 4
    assert send(web, "PUT", WEB, newer).status_code == 200
    assert web.cluster.deployment()["spec"]["replicas"] == 4


def test_versions_and_generations_count_what_changed(web: Kubernetes) -> None:
    before = web.cluster.deployment()["metadata"]
    same = patch(web, image("shop:42")).json()["metadata"]
    assert (same["resourceVersion"], same["generation"]) == (before["resourceVersion"], before["generation"])
    labelled = patch(web, [{"op": "add", "path": "/metadata/labels/a", "value": "b"}]).json()["metadata"]
    assert (labelled["generation"], int(labelled["resourceVersion"])) > (0, int(before["resourceVersion"]))
    assert labelled["generation"] == before["generation"]
    assert patch(web, image("shop:43")).json()["metadata"]["generation"] == before["generation"] + 1


def test_a_dry_run_tells_and_keeps_nothing(web: Kubernetes) -> None:
    before = web.cluster.deployment()
    told = patch(web, image("shop:41"), "?dryRun=All")
    assert told.json()["spec"]["template"]["spec"]["containers"][0]["image"] == "shop:41"
    assert (web.cluster.deployment(), web.writes) == (before, [])
    assert patch(web, image("shop:41", "1"), "?dryRun=All").status_code == 422
    assert patch(web, image("shop:41"), "?dryRun=Some").status_code == 400


def test_a_return_to_an_older_template_takes_its_replicaset_again(web: Kubernetes) -> None:
    assert patch(web, image("shop:41")).status_code == 200
    sets = web.cluster.replicasets()
    assert [one["metadata"]["annotations"][REVISION] for one in sets] == ["2", "3"]
    assert sets[1]["metadata"]["annotations"][REVISION + "-history"] == "1"
    assert web.cluster.deployment()["metadata"]["annotations"][REVISION] == "3"


def test_the_controller_acts_when_it_is_told(web: Kubernetes) -> None:
    web.api.controller = "idle"
    assert patch(web, image("shop:43")).status_code == 200
    status = send(web, "GET", WEB).json()
    assert status["status"]["observedGeneration"] == status["metadata"]["generation"] - 1
    web.api.steps.extend([web.cluster.observe, lambda: web.cluster.progress(1), web.cluster.settle])
    seen = [send(web, "GET", WEB).json() for _ in range(4)]
    assert [one["status"]["observedGeneration"] for one in seen] == [seen[0]["metadata"]["generation"]] * 4
    assert [one["status"]["availableReplicas"] for one in seen] == [2, 1, 2, 2]
    assert [one["status"]["updatedReplicas"] for one in seen][1:] == [1, 2, 2]
    web.cluster.stick()
    conditions = {c["type"]: c for c in send(web, "GET", WEB).json()["status"]["conditions"]}
    assert (conditions["Progressing"]["status"], conditions["Progressing"]["reason"]) == (
        "False",
        "ProgressDeadlineExceeded",
    )


def test_selectors_select_and_lists_come_in_pages(web: Kubernetes) -> None:
    web.cluster.deploy("api", "api:1", labels={"tier": "back"})
    web.cluster.deploy("jobs", "jobs:1", namespace="staging")

    def names(query: str, root: str = ROOT) -> list[str]:
        items = send(web, "GET", f"{root}/deployments?{query}").json()["items"]
        return [item["metadata"]["name"] for item in items]

    assert names("") == ["api", "web"]
    assert names("labelSelector=tier%3Dback") == names("labelSelector=tier+in+(back,front)") == ["api"]
    assert names("labelSelector=!tier") == names("labelSelector=app!%3Dapi") == ["web"]
    assert names("labelSelector=tier") == names("fieldSelector=metadata.name%3Dapi") == ["api"]
    assert names("", "/apis/apps/v1") == ["api", "web", "jobs"]
    first = send(web, "GET", f"{ROOT}/deployments?limit=1").json()
    assert (len(first["items"]), first["metadata"]["remainingItemCount"]) == (1, 1)
    assert names(f"limit=1&continue={first['metadata']['continue']}") == ["web"]


def test_who_is_not_known_or_may_not_is_told_so(web: Kubernetes) -> None:
    assert send(web, "GET", WEB, token="nobody").status_code == 401
    assert ask("GET", web.url + WEB).status_code == 401
    assert send(web, "GET", WEB, token=READING).status_code == 200
    told = send(web, "PATCH", WEB, image("shop:41"), kind="json-patch+json", token=READING)
    assert (told.status_code, told.json()["reason"]) == (403, "Forbidden")
    assert 'User "reader" cannot patch resource "deployments"' in told.json()["message"]
    assert web.writes == []
    asked = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"verb": "patch", "resource": "deployments", "group": "apps"}},
    }
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    allowed = [send(web, "POST", path, asked, token=t).json()["status"]["allowed"] for t in (TOKEN, READING)]
    assert allowed == [True, False]


def test_errors_are_those_of_an_api_server(web: Kubernetes) -> None:
    assert send(web, "GET", f"{ROOT}/deployments/none").json()["reason"] == "NotFound"
    assert send(web, "GET", "/apis/apps/v2").status_code == 404
    assert send(web, "PATCH", WEB, {}, kind="json").status_code == 415
    assert patch(web, [{"op": "replace", "path": "/nothing/there", "value": 1}]).status_code == 422
    assert patch(web, [{"op": "replace", "path": "/metadata/name", "value": "x"}]).status_code == 422


def test_admission_may_change_what_is_kept(web: Kubernetes) -> None:
    def sidecar(deployment: dict[str, Any]) -> dict[str, Any]:
        deployment["spec"]["template"]["metadata"].setdefault("annotations", {})["injected"] = "yes"
        return deployment

    web.api.admission = sidecar
    told = patch(web, image("shop:41"), "?dryRun=All").json()
    assert told["spec"]["template"]["metadata"]["annotations"] == {"injected": "yes"}


def test_the_fixture_begins_empty(kube: Kubernetes) -> None:
    assert send(kube, "GET", f"{ROOT}/deployments").json()["items"] == []
    kube.cluster.deploy()
    assert send(kube, "GET", WEB).status_code == 200


def test_faults_stand_before_the_api_server(web: Kubernetes) -> None:
    web.faults.set(Fault("PATCH", ".*/deployments/web", DropAfter()))
    with pytest.raises(httpx2.TransportError):
        patch(web, image("shop:41"))
    assert (web.cluster.image(), len(web.writes), web.seen.changes()[0].status) == ("shop:41", 1, None)


@pytest.mark.parametrize("user", ["token", "token-file", "reader", "certificate", "exec"])
@pytest.mark.parametrize("embedded", [False, True])
@no_kubectl
def test_kubectl_is_let_in_by_every_kubeconfig(tmp_path: Path, user: str, embedded: bool) -> None:
    with kubernetes(tmp_path, tls=True) as running:
        running.cluster.deploy()
        config = running.kubeconfig(user=user, embedded=embedded)
        assert config.stat().st_mode & 0o077 == 0
        told = run(config, "get", "deployment/web", "-o", "name", home=tmp_path)
    assert (told.stdout, told.returncode) == ("deployment.apps/web\n", 0), told.stderr


@no_kubectl
def test_kubectl_is_not_let_in_without_credentials_or_with_a_bad_certificate(tmp_path: Path) -> None:
    with kubernetes(tmp_path, tls=True) as running:
        running.cluster.deploy()
        running.api.tokens.clear()
        told = run(running.kubeconfig(), "get", "deployment/web", home=tmp_path)
        assert "must be logged in" in told.stderr
    with kubernetes(tmp_path, tls=True, server="expired") as running:
        told = run(running.kubeconfig(), "get", "deployment/web", home=tmp_path)
        assert "expired" in told.stderr


def test_a_pod_finds_its_account(tmp_path: Path) -> None:
    with kubernetes(tmp_path, tls=True) as running:
        running.cluster.deploy()
        folder = running.service_account()
        trusting = ssl.create_default_context(cafile=str(folder / "ca.crt"))
        token = (folder / "token").read_text()
        told = httpx2.get(
            f"{running.url}{WEB}", headers={"authorization": f"Bearer {token}"}, verify=trusting, trust_env=False
        )
        assert (told.status_code, (folder / "namespace").read_text()) == (200, "prod")


def test_a_kubeconfig_may_hold_its_files(tmp_path: Path) -> None:
    with kubernetes(tmp_path, tls=True) as running:
        document = yaml.safe_load(running.kubeconfig(user="certificate", embedded=True).read_text())
        shown = base64.b64decode(document["users"][0]["user"]["client-certificate-data"])
        assert running.client is not None
        assert shown == running.client.certificate.read_bytes()


@no_kubectl
def test_kubectl_rolls_back_here(tmp_path: Path) -> None:
    with kubernetes(tmp_path, tls=True) as running:
        running.cluster.deploy()
        running.cluster.release("shop:42", cause="because")
        config = running.kubeconfig()
        history = run(config, "rollout", "history", "deployment/web", home=tmp_path).stdout
        assert "because" in history
        assert "rolled back" in run(config, "rollout", "undo", "deployment/web", home=tmp_path).stdout
        assert running.cluster.image() == "shop:41"
        assert len(running.cluster.replicasets()) == 2
        status = run(config, "rollout", "status", "deployment/web", "--timeout=20s", home=tmp_path)
        assert "successfully rolled out" in status.stdout


def recording(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RECORDINGS / f"kubectl-rollout-undo-{name}.json").read_text())
    return found


@pytest.mark.parametrize("name", UNDO)
@no_kubectl
def test_kubectl_sends_what_was_recorded(tmp_path: Path, name: str) -> None:
    kept = recording(name)
    with stage(recorded()) as where, Proxy(where) as proxy, kubernetes(tmp_path) as running:
        config = running.kubeconfig(server=proxy.url)
        told = run(config, *UNDO[name], home=tmp_path)
        assert told.returncode == 0, told.stderr
        [sent] = proxy.seen.changes()
    assert (sent.method, sent.path, sent.header("content-type")) == (
        kept["method"],
        kept["path"],
        kept["content-type"],
    )
    assert sent.json() == kept["body"]


def test_the_recorded_patches_do_what_they_say(tmp_path: Path) -> None:
    for name, expected in (("previous", "shop:42"), ("first", "shop:41")):
        with kubernetes(tmp_path) as running:
            running.api.cluster = recorded()
            kept = recording(name)
            assert patch(running, kept["body"], path=kept["path"]).status_code == 200
            assert running.api.cluster.image() == expected
            assert len(running.api.cluster.replicasets()) == 3


def test_kmock_keeps_what_it_is_sent_without_looking() -> None:
    """Why the state is not left to it."""
    with stage(recorded()) as (host, port):
        root = f"http://{host}:{port}"
        items = ask("GET", f"{root}{ROOT}/replicasets?labelSelector=app%3Dnobody").json()["items"]
        merge = {"content_type": "application/merge-patch+json"}
        stale = {"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 9}}
        dry = ask("PATCH", f"{root}{WEB}?dryRun=All", body=stale, **merge)
        kept = ask("GET", f"{root}{WEB}").json()
    assert (len(items), dry.status_code, kept["spec"]["replicas"]) == (3, 200, 9)
    assert kept["metadata"]["generation"] == recorded().deployment()["metadata"]["generation"]


def exchange(method: str, target: str, body: Any = None, kind: str = "json") -> Exchange:
    path, _, query = target.partition("?")
    sent = b"" if body is None else json.dumps(body).encode()
    return Exchange(method, path, query, (("content-type", f"application/{kind}"),), sent, "", "")


def test_kubernetes_own_description_accepts_kubectls_patch(kubernetes_prism: Prism) -> None:
    kept = recording("previous")
    steps = [{"op": "test", "path": "/metadata/resourceVersion", "value": "7"}, *kept["body"]]
    all_valid(
        kubernetes_prism,
        [
            exchange("PATCH", f"{WEB}?dryRun=All&fieldManager=keyturn", steps, "json-patch+json"),
            exchange("GET", WEB),
            exchange("GET", f"{ROOT}/replicasets?labelSelector=app%3Dweb&limit=100"),
        ],
    )


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (exchange("PATCH", WEB, {"spec": {}}, "json-patch+json"), "must be array"),
        (exchange("PATCH", WEB, [{"op": "swap", "path": "/a"}], "json-patch+json"), "allowed values"),
        (exchange("PATCH", WEB, [{"op": "test", "path": "/a", "valu": 1}], "json-patch+json"), "valu"),
        (
            exchange("PATCH", WEB, [{"op": "add", "path": "/spec/template", "value": {"sp": 1}}], "json-patch+json"),
            "oneOf",
        ),
        (exchange("PATCH", WEB, [], "merge-patch+json"), "takes no body of the type"),
        (exchange("PATCH", f"{WEB}?dryrun=All", [], "json-patch+json"), "no query parameter dryrun"),
        (exchange("PUT", WEB, {"garbage": 1}), "garbage"),
        (exchange("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {"spec": {"x": 1}}), "x"),
    ],
)
def test_its_description_refuses_garbage(kubernetes_prism: Prism, wrong: Exchange, said: str) -> None:
    assert any(said in objection for objection in kubernetes_prism.objections(wrong)), kubernetes_prism.objections(
        wrong
    )


def test_every_operation_with_a_body_refuses_garbage(kubernetes_prism: Prism) -> None:
    operations = documents.bodies(kubernetes_prism.document)
    patches = {"PATCH": "application/json-patch+json"}
    accepted = [
        (method, path, body)
        for method, path in operations
        for body in (b'{"garbage": [{"x": 1}]}', b'"garbage"', b'[{"garbage": 1}]', b"17", b"")
        if not kubernetes_prism.refusals(
            method,
            path.replace("{namespace}", "n").replace("{name}", "x"),
            body,
            {"content-type": patches.get(method, "application/json")},
        )
    ]
    assert (len(operations), accepted) == (5, [])
