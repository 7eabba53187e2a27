"""The ways to a cluster: kubeconfig files of every flavour, the account of a pod, an address with a token."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
import yaml

from keyturn.connectors.kubernetes import Cluster, Reaching, cluster_of
from keyturn.model.errors import ConnectorError
from tests.bed.kubernetes import NAMESPACE, TOKEN, Kubernetes, kubernetes
from tests.canaries.evidence import shown
from tests.connectors.surroundings import world_at

DEPLOYMENT = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/web"
V1 = "client.authentication.k8s.io/v1"


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubernetes]:
    with kubernetes(tmp_path_factory.mktemp("secure"), tls=True) as bed:
        bed.cluster.deploy()
        yield bed


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Kubernetes]:
    with kubernetes(tmp_path) as bed:
        bed.cluster.deploy()
        yield bed


def reach(
    home: Path, *, commands: bool = True, environment: dict[str, str] | None = None, **settings: Any
) -> Cluster:
    parsed = Reaching.model_validate({"private": True, "deadline": 5, "timeout": 5, **settings})
    surroundings = world_at(home, {"PATH": os.defpath, **(environment or {})}, commands=commands)
    return cluster_of("deployments.web", parsed, surroundings)


def name_of(cluster: Cluster) -> str:
    """Read the Deployment, which proves that the cluster was reached and knew us."""
    found = anyio.run(cluster.find, DEPLOYMENT)
    assert found is not None
    return str(found["metadata"]["name"])


def rewritten(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    document = yaml.safe_load(path.read_text())
    change(document)
    path.write_text(yaml.safe_dump(document))
    os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + 1_000_000))
    return path


def with_cluster(path: Path, members: dict[str, Any]) -> Path:
    return rewritten(path, lambda document: document["clusters"][0]["cluster"].update(members))


@pytest.mark.parametrize("embedded", [False, True])
@pytest.mark.parametrize("user", ["token", "token-file", "certificate", "exec"])
def test_a_kubeconfig_of_every_flavour_leads_there(
    secure: Kubernetes, tmp_path: Path, user: str, embedded: bool
) -> None:
    path = secure.kubeconfig(user=user, embedded=embedded, name=f"{user}-{embedded}")
    cluster = reach(tmp_path, kubeconfig=str(path))
    assert name_of(cluster) == "web"
    assert (cluster.way.server(), cluster.way.namespace()) == (secure.url, NAMESPACE)


def test_a_client_certificates_key_lies_in_no_file_of_ours(secure: Kubernetes, tmp_path: Path) -> None:
    cluster = reach(tmp_path, kubeconfig=str(secure.kubeconfig(user="certificate", embedded=True, name="held")))
    assert name_of(cluster) == "web"
    assert [path for path in (tmp_path / "state").rglob("*") if path.is_file() and b"KEY" in path.read_bytes()] == []
    assert not [name for name in Path("/proc/self/fd").iterdir() if "keyturn" in link(name)]


def link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""


def test_relative_paths_in_a_kubeconfig_are_relative_to_its_folder(secure: Kubernetes, tmp_path: Path) -> None:
    path = secure.kubeconfig(user="exec", name="relative")

    def nearer(document: dict[str, Any]) -> None:
        for part, key in (("cluster", "certificate-authority"),):
            document[f"{part}s"][0][part][key] = Path(document[f"{part}s"][0][part][key]).name
        plugin = document["users"][0]["user"]["exec"]
        plugin["command"] = f"./{Path(plugin['command']).name}"

    assert name_of(reach(tmp_path, kubeconfig=str(rewritten(path, nearer)))) == "web"


def test_the_context_is_the_one_that_is_named_or_the_files_own(plain: Kubernetes, tmp_path: Path) -> None:
    path = plain.kubeconfig()

    def another(document: dict[str, Any]) -> None:
        document["contexts"].append({"name": "other", "context": {"cluster": "bed", "user": "us", "namespace": "x"}})

    rewritten(path, another)
    assert reach(tmp_path, kubeconfig=str(path), context="other").way.namespace() == "x"
    assert reach(tmp_path, kubeconfig=str(path)).way.namespace() == NAMESPACE
    with pytest.raises(ConnectorError, match=r"contexts\.none is not there"):
        reach(tmp_path, kubeconfig=str(path), context="none").way.namespace()


def test_a_kubeconfig_that_was_rewritten_counts_from_then_on(plain: Kubernetes, tmp_path: Path) -> None:
    path = plain.kubeconfig()
    cluster = reach(tmp_path, kubeconfig=str(path))
    assert name_of(cluster) == "web"
    rewritten(path, lambda document: document["users"][0]["user"].update(token="another"))
    with pytest.raises(ConnectorError, match="answered 401"):
        name_of(cluster)
    rewritten(path, lambda document: document["users"][0]["user"].update(token=TOKEN))
    assert name_of(cluster) == "web"


def test_another_name_in_the_servers_certificate_is_asked_for_and_expected(tmp_path: Path) -> None:
    with kubernetes(tmp_path, tls=True, server="elsewhere") as bed:
        bed.cluster.deploy()
        with pytest.raises(ConnectorError, match="is for another"):
            name_of(reach(tmp_path, kubeconfig=str(bed.kubeconfig())))
        named = with_cluster(bed.kubeconfig(name="named"), {"tls-server-name": "elsewhere.test"})
        assert name_of(reach(tmp_path, kubeconfig=str(named))) == "web"
        assert bed.authority is not None
        (tmp_path / "bearer").write_text(TOKEN)
        (tmp_path / "bearer").chmod(0o600)
        by_address: dict[str, Any] = {"url": bed.url, "credential": "file:bearer", "ca": str(bed.authority.bundle)}
        assert name_of(reach(tmp_path, **by_address, tls_server_name="elsewhere.test")) == "web"
        wrong = with_cluster(bed.kubeconfig(name="wrong"), {"tls-server-name": "other.test"})
        with pytest.raises(ConnectorError, match="is for another name"):
            name_of(reach(tmp_path, kubeconfig=str(wrong)))


def test_an_authority_that_is_not_named_is_not_trusted(secure: Kubernetes, tmp_path: Path) -> None:
    path = secure.kubeconfig(name="bare")
    rewritten(path, lambda document: document["clusters"][0]["cluster"].pop("certificate-authority"))
    with pytest.raises(ConnectorError, match="not trusted here"):
        name_of(reach(tmp_path, kubeconfig=str(path)))


def test_a_proxy_named_in_the_kubeconfig_is_used(secure: Kubernetes, tmp_path: Path) -> None:
    path = with_cluster(secure.kubeconfig(name="proxied"), {"proxy-url": "http://127.0.0.1:9"})
    with pytest.raises(ConnectorError, match=r"127\.0\.0\.1.*(listens|reached|connection)"):
        name_of(reach(tmp_path, kubeconfig=str(path), deadline=1))


# What a kubeconfig may not hold

_CLUSTER: dict[str, Any] = {"server": "https://127.0.0.1:1"}
_USER: dict[str, Any] = {"token": "canary-kubeconfig-token"}


def written(home: Path, cluster: dict[str, Any], user: dict[str, Any], **more: Any) -> Path:
    path = home / "config"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
        **more,
    }
    path.write_text(yaml.safe_dump(document))
    path.chmod(0o600)
    return path


@pytest.mark.parametrize(
    ("cluster", "user", "more", "said"),
    [
        ({"insecure-skip-tls-verify": True}, {}, {}, "insecure-skip-tls-verify is set"),
        ({"certificate-authority-data": "%%"}, {}, {}, "certificate-authority-data is not base64 of PEM"),
        ({"certificate-authority-data": "AAAA"}, {}, {}, "are no certificates in PEM"),
        ({"certificate-authority": "none.pem"}, {}, {}, "certificate-authority cannot be read: No such file"),
        ({"server": ""}, {}, {}, "server: String should have at least 1 character"),
        ({"servr": "x"}, {}, {}, "servr: Extra inputs are not permitted"),
        ({"server": "ftp://x"}, {}, {}, "must be https"),
        ({"server": "https://a:b@x"}, {}, {}, "must not hold a name or password"),
        ({"server": "https://169.254.169.254"}, {}, {}, "is never connected to"),
        ({}, {"auth-provider": {"name": "gcp"}}, {}, "auth-provider is gone since Kubernetes 1.26"),
        ({}, {"username": "me", "password": "canary-word"}, {}, "gone since Kubernetes 1.19"),
        ({}, {"as": "admin"}, {}, "acts as somebody else"),
        ({}, {"token": ""}, {}, "proves nothing"),
        ({}, {"token": {"canary": "x"}}, {}, "token: Input should be a valid string"),
        ({}, {"client-certificate-data": "QUFB"}, {}, "without its key"),
        ({}, {"client-key-data": "QUFB"}, {}, "without its key"),
        (
            {},
            {"client-certificate-data": "QUFB", "client-key-data": "QUFB"},
            {},
            "the client certificate cannot be used",
        ),
        ({}, {"client-certificate": "w", "client-key": "w"}, {}, "cannot be read"),
        (
            {},
            {"exec": {"apiVersion": "client.authentication.k8s.io/v1alpha1", "command": "x"}},
            {},
            "exec.apiVersion: ",
        ),
        ({}, {"exec": {"apiVersion": V1, "command": "x", "interactiveMode": "Always"}}, {}, "nobody at a terminal"),
        ({}, {}, {"current-context": ""}, "current-context names none"),
        ({}, {}, {"contexts": []}, "contexts.c is not there"),
        ({}, {}, {"clusters": None}, "clusters.k is not there"),
        ({}, {}, {"users": [{"name": "u"}, {"name": "u"}]}, "users.u is there more than once"),
        ({}, {}, {"users": [{"name": "u"}]}, "proves nothing"),
        ({}, {}, {"kind": "Pod"}, "is no kubeconfig"),
    ],
)
def test_what_a_kubeconfig_may_not_hold_is_refused_by_its_place_and_without_its_value(
    tmp_path: Path, cluster: dict[str, Any], user: dict[str, Any], more: dict[str, Any], said: str
) -> None:
    proof = user if user.keys() - {"as"} else {**_USER, **user}
    path = written(tmp_path, {**_CLUSTER, **cluster}, proof, **more)
    with pytest.raises(ConnectorError) as refusal:
        anyio.run(reach(tmp_path, kubeconfig="config").find, DEPLOYMENT)
    assert said in str(refusal.value)
    assert "canary" not in shown(refusal.value)
    assert path.name in str(refusal.value) or "deployments.web" in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("users: [canary", "line 1 is no YAML"),
        ("a: 1\na: canary\n", "line 2 is no YAML as a kubeconfig has it (a key stands twice"),
        ("1: canary\n", "a key stands twice, or is no text"),
        ("!!python/object:os.system canary\n", "is no YAML"),
        ("a: !!timestamp canary\n", "is no YAML"),
        ("a: !!int ''\n", "is no YAML"),
        ("a: !!bool canary\n", "is no YAML"),
        ("- canary\n", "is no kubeconfig"),
        ("", "is no kubeconfig"),
    ],
)
def test_a_file_that_is_no_kubeconfig_is_refused_without_what_is_in_it(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "config").write_text(text)
    with pytest.raises(ConnectorError) as refusal:
        reach(tmp_path, kubeconfig="config").way.server()
    assert said in str(refusal.value)
    assert "canary" not in shown(refusal.value)
    assert refusal.value.__cause__ is None


def test_a_file_that_is_missing_large_or_no_file_is_refused(tmp_path: Path) -> None:
    cluster = reach(tmp_path, kubeconfig="config")
    with pytest.raises(ConnectorError, match="the file cannot be read: No such file"):
        cluster.way.server()
    (tmp_path / "config").write_text("#" * (1024 * 1024 + 1))
    with pytest.raises(ConnectorError, match="is no regular file of at most"):
        cluster.way.server()
    (tmp_path / "config").unlink()
    os.mkfifo(tmp_path / "config")
    with pytest.raises(ConnectorError, match="is no regular file of at most"):
        cluster.way.server()


def test_a_secret_that_others_may_read_is_refused(secure: Kubernetes, tmp_path: Path) -> None:
    path = written(tmp_path, _CLUSTER, _USER)
    path.chmod(0o644)
    with pytest.raises(ConnectorError, match=r"users\.u holds a secret.*chmod 600"):
        reach(tmp_path, kubeconfig="config").way.server()
    open_to_all = secure.kubeconfig(user="certificate", name="open")
    open_to_all.chmod(0o644)  # it holds no secret: the key is in a file of its own
    assert name_of(reach(tmp_path, kubeconfig=str(open_to_all))) == "web"
    key = tmp_path / "key"
    key.write_text("x")
    key.chmod(0o644)
    written(tmp_path, _CLUSTER, {"client-certificate": str(key), "client-key": str(key)})
    with pytest.raises(ConnectorError, match="client-key may be read by others: chmod 600"):
        reach(tmp_path, kubeconfig="config").way.server()


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_kubeconfig_that_others_may_write_to_runs_no_program_of_theirs(tmp_path: Path, mode: int) -> None:
    plugin(tmp_path, handing_out(token="x")).chmod(mode)
    with pytest.raises(ConnectorError, match=r"the file may be changed by others: chmod go-w .*config"):
        anyio.run(reach(tmp_path, kubeconfig="config").find, DEPLOYMENT)
    assert not (tmp_path / "runs").exists()


def test_files_of_another_account_are_no_place_for_a_secret_or_a_program(tmp_path: Path) -> None:
    path = written(tmp_path, _CLUSTER, _USER)
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    os.chown(path, 65534, -1)
    with pytest.raises(ConnectorError, match="the file belongs to another account"):
        reach(tmp_path, kubeconfig="config").way.server()


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_its_words(secure: Kubernetes, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415 - this test alone
        BestAvailableEncryption,
        Encoding,
        PrivateFormat,
        load_pem_private_key,
    )

    assert secure.client is not None
    key = load_pem_private_key(secure.client.key.read_bytes(), None)
    sealed = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"canary-passphrase"))
    path = secure.kubeconfig(user="certificate", embedded=True, name="sealed")
    data = base64.b64encode(sealed).decode()
    rewritten(path, lambda document: document["users"][0]["user"].update({"client-key-data": data}))
    with pytest.raises(ConnectorError, match="the key must not be encrypted"):
        name_of(reach(tmp_path, kubeconfig=str(path)))


def test_a_certificate_that_is_no_pem_is_refused(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "binary").chmod(0o600)
    written(tmp_path, _CLUSTER, {"client-certificate": "binary", "client-key": "binary"})
    with pytest.raises(ConnectorError, match="client-certificate is not PEM"):
        reach(tmp_path, kubeconfig="config").way.server()


def test_an_authority_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    cluster = reach(tmp_path, url="https://127.0.0.1:1", credential="env:X", ca="none.pem")
    assert cluster.way.namespace() is None
    with pytest.raises(ConnectorError, match=r"deployments\.web\.ca: .*none\.pem: cannot be read"):
        anyio.run(cluster.find, DEPLOYMENT)


# Plugins


def plugin(home: Path, said: str, **more: Any) -> Path:
    program = home / "plugin"
    program.write_text(f'#!/bin/sh\necho x >> {home}/runs\nprintf %s "$KUBERNETES_EXEC_INFO" > {home}/told\n{said}\n')
    program.chmod(0o700)
    return written(home, _CLUSTER, {"exec": {"apiVersion": V1, "command": str(program), **more}})


def handing_out(**status: Any) -> str:
    said = json.dumps({"apiVersion": V1, "kind": "ExecCredential", "status": status})
    return f"cat <<'END'\n{said}\nEND"


@contextmanager
def pointing(bed: Kubernetes, path: Path) -> Iterator[Path]:
    yield rewritten(path, lambda document: document["clusters"][0]["cluster"].update(server=bed.url))


def test_a_plugin_is_run_once_until_what_it_handed_out_expires(plain: Kubernetes, tmp_path: Path) -> None:
    path = plugin(tmp_path, handing_out(token=TOKEN, expirationTimestamp="2999-01-01T00:00:00Z"))
    with pointing(plain, path):
        cluster = reach(tmp_path, kubeconfig="config")
        assert (name_of(cluster), name_of(cluster)) == ("web", "web")
        assert len((tmp_path / "runs").read_text()) == 2
        assert json.loads((tmp_path / "told").read_text()) == {
            "apiVersion": V1,
            "kind": "ExecCredential",
            "spec": {"interactive": False},
        }


def test_a_plugin_is_asked_anew_after_a_refusal_and_before_the_end(plain: Kubernetes, tmp_path: Path) -> None:
    path = plugin(tmp_path, handing_out(token="stale"))
    with pointing(plain, path):
        cluster = reach(tmp_path, kubeconfig="config")
        with pytest.raises(ConnectorError, match="answered 401"):
            name_of(cluster)
        assert len((tmp_path / "runs").read_text().split()) >= 2


def test_a_plugin_gets_the_cluster_when_it_asks_for_it_and_its_own_variables(
    plain: Kubernetes, tmp_path: Path
) -> None:
    said = handing_out(token=TOKEN).replace("cat <<", 'echo "$FLAVOUR" > "${0%/*}/flavour"\ncat <<')
    path = plugin(tmp_path, said, provideClusterInfo=True, env=[{"name": "FLAVOUR", "value": "mint"}], args=["a b"])
    extension = [{"name": "client.authentication.k8s.io/exec", "extension": {"audience": "x"}}]
    rewritten(path, lambda document: document["clusters"][0]["cluster"].update(extensions=extension))
    with pointing(plain, path):
        assert name_of(reach(tmp_path, kubeconfig="config")) == "web"
    told = json.loads((tmp_path / "told").read_text())["spec"]["cluster"]
    assert told == {"server": plain.url, "config": {"audience": "x"}}
    assert (tmp_path / "flavour").read_text() == "mint\n"


def test_a_plugin_may_hand_out_a_certificate(secure: Kubernetes, tmp_path: Path) -> None:
    assert secure.client is not None
    chain, key = secure.client.certificate.read_text(), secure.client.key.read_text()
    path = plugin(tmp_path, handing_out(clientCertificateData=chain, clientKeyData=key))
    trusted = {
        "server": secure.url,
        "certificate-authority": str(secure.authority.bundle if secure.authority else ""),
    }
    rewritten(path, lambda document: document["clusters"][0]["cluster"].update(trusted))
    assert name_of(reach(tmp_path, kubeconfig="config")) == "web"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("echo canary", "printed no ExecCredential"),
        ("echo '[]'", "printed no ExecCredential"),
        (handing_out(token="canary").replace("/v1", "/v1beta1"), "printed another version than"),
        (f'echo \'{{"kind":"ExecCredential","apiVersion":"{V1}"}}\'', "handed out nothing"),
        (handing_out(), "neither a token nor a certificate with its key"),
        (handing_out(clientCertificateData="canary"), "neither a token nor a certificate with its key"),
        (handing_out(token="canary", expirationTimestamp="soon"), "no time (RFC 3339)"),
        (handing_out(token="canary", expirationTimestamp="2020-01-01T00:00:00"), "no time (RFC 3339)"),
        (handing_out(token="canary", expirationTimestamp="2020-01-01T00:00:00Z"), "has expired already"),
        ("echo canary >&2; exit 3", "failed (3)"),
        ("echo '{\"kind\"'; printf 'canary'", "printed no ExecCredential"),
    ],
)
def test_what_a_plugin_does_wrong_is_said_without_what_it_printed(tmp_path: Path, said: str, why: str) -> None:
    plugin(tmp_path, said, installHint="get it from the shop")
    with pytest.raises(ConnectorError) as refusal:
        anyio.run(reach(tmp_path, kubeconfig="config").find, DEPLOYMENT)
    assert why in str(refusal.value)
    assert "canary" not in shown(refusal.value)
    if "failed" not in why:
        assert "get it from the shop" in str(refusal.value)


def test_a_plugin_is_not_run_where_programs_may_not_be(tmp_path: Path) -> None:
    plugin(tmp_path, handing_out(token="x"))
    with pytest.raises(ConnectorError, match="fetched by running a program"):
        anyio.run(reach(tmp_path, kubeconfig="config", commands=False).find, DEPLOYMENT)
    assert not (tmp_path / "runs").exists()


def test_a_command_without_a_slash_is_found_on_the_path_and_one_that_is_not_there_named(tmp_path: Path) -> None:
    written(tmp_path, _CLUSTER, {"exec": {"apiVersion": V1, "command": "keyturn-no-such-plugin"}})
    with pytest.raises(ConnectorError, match="keyturn-no-such-plugin cannot be run: No such file"):
        anyio.run(reach(tmp_path, kubeconfig="config").find, DEPLOYMENT)


# A pod's own account


def host_of(bed: Kubernetes) -> dict[str, str]:
    return {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(bed.proxy.port)}


def test_a_pod_reaches_its_own_cluster_and_reads_a_rotated_token_again(secure: Kubernetes, tmp_path: Path) -> None:
    folder = secure.service_account()
    cluster = reach(
        tmp_path, environment=host_of(secure), in_cluster=True, service_account=str(folder), private=False
    )
    assert (name_of(cluster), cluster.way.namespace()) == ("web", NAMESPACE)
    (folder / "token").write_text("rotated-away")
    with pytest.raises(ConnectorError, match="answered 401"):
        name_of(cluster)
    (folder / "token").write_text(TOKEN)
    assert name_of(cluster) == "web"


def test_outside_of_a_pod_that_is_said(tmp_path: Path) -> None:
    cluster = reach(tmp_path, in_cluster=True)
    with pytest.raises(ConnectorError, match="KUBERNETES_SERVICE_PORT are not set: this is no pod"):
        cluster.way.server()
    environment = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    cluster = reach(tmp_path, environment=environment, in_cluster=True, service_account=str(tmp_path / "none"))
    assert cluster.way.server() == "https://[fd00::1]:443"
    with pytest.raises(ConnectorError, match=r"none/ca\.crt: cannot be read"):
        anyio.run(cluster.find, DEPLOYMENT)


# Answers


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/api/v9/nothing", "answered 404, and not as an API server does"),
        (f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/none", None),
    ],
)
def test_an_object_that_is_not_there_is_told_from_an_address_that_is_wrong(
    plain: Kubernetes, tmp_path: Path, path: str, said: str | None
) -> None:
    cluster = reach(tmp_path, kubeconfig=str(plain.kubeconfig()))
    if said is None:
        assert anyio.run(cluster.find, path) is None
    else:
        with pytest.raises(ConnectorError, match=said):
            anyio.run(cluster.find, path)


def test_a_long_list_is_read_page_by_page_and_none_without_end(
    plain: Kubernetes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        plain.cluster.release(f"shop:{number}")
    cluster = reach(tmp_path, kubeconfig=str(plain.kubeconfig()))
    path = f"/apis/apps/v1/namespaces/{NAMESPACE}/replicasets"
    monkeypatch.setattr("keyturn.connectors.kubernetes.cluster._PAGE", 2)
    assert len(anyio.run(cluster.listed, path, "app=web")) == 6
    monkeypatch.setattr("keyturn.connectors.kubernetes.cluster.MOST", 3)
    with pytest.raises(ConnectorError, match="lists more than 3 objects"):
        anyio.run(cluster.listed, path, "app=web")
    monkeypatch.setattr("keyturn.connectors.kubernetes.cluster.MOST", 100)
    monkeypatch.setattr("keyturn.connectors.kubernetes.cluster.PAGES", 2)
    with pytest.raises(ConnectorError, match="do not come to an end"):
        anyio.run(cluster.listed, path, "app=web")
    with pytest.raises(ConnectorError, match="no list of objects"):
        anyio.run(cluster.listed, DEPLOYMENT, "app=web")


def test_a_pause_between_two_changes_is_kept_as_on_every_system(plain: Kubernetes, tmp_path: Path) -> None:
    cluster = reach(tmp_path, kubeconfig=str(plain.kubeconfig(user="token", name="pausing")), pause=0.3)

    async def twice() -> float:
        await cluster.patch(DEPLOYMENT, [], dry=True)
        began = anyio.current_time()
        await cluster.patch(DEPLOYMENT, [], dry=True)
        return anyio.current_time() - began

    assert anyio.run(twice) > 0.25


def test_nothing_shows_a_credential(secure: Kubernetes, tmp_path: Path) -> None:
    cluster = reach(tmp_path, kubeconfig=str(secure.kubeconfig(user="certificate", embedded=True, name="shown")))
    access = anyio.run(cluster.way.access)
    assert secure.client is not None
    key = secure.client.key.read_text().splitlines()[1]
    for said in (repr(cluster), repr(access), str(access.certificate), repr(cluster.way)):
        assert key not in said


def test_nothing_shows_what_a_kubeconfig_hands_to_a_plugin_or_writes_into_an_address(tmp_path: Path) -> None:
    handed = {"command": "echo", "args": ["--token=canary"], "env": [{"name": "TOKEN", "value": "canary"}]}
    there = {"server": "https://me:canary@127.0.0.1:1", "proxy-url": "http://me:canary@127.0.0.1:1"}
    written(tmp_path, there, {"exec": {"apiVersion": V1, **handed}})
    cluster = reach(tmp_path, kubeconfig="config")
    with pytest.raises(ConnectorError) as refusal:
        anyio.run(cluster.find, DEPLOYMENT)
    assert "canary" not in shown(refusal.value)
    assert "canary" not in repr(cluster)
