"""A Kubernetes for one test: cluster, API server, faults and a record before it, kubeconfig files of every
flavour."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.bed.apiserver import READER, ApiServer, User, Write
from tests.bed.cluster import Cluster
from tests.bed.faults import FaultProxy, Proxied
from tests.bed.tls import Authority, Certificate
from tests.canaries.marks import MARK

TOKEN = f"{MARK}-token-of-deployer"
READING = f"{MARK}-token-of-reader"
NAMESPACE = "prod"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kubernetes(Proxied):
    """A running API server; `api.writes` are the changes that were kept, `seen` all requests with their answers."""

    cluster: Cluster
    api: ApiServer
    authority: Authority | None
    client: Certificate | None
    folder: Path

    @property
    def writes(self) -> list[Write]:
        """Changes that were kept (not dry runs)."""
        return self.api.writes

    def kubeconfig(
        self, *, user: str = "token", embedded: bool = False, name: str = "config", **changes: Any
    ) -> Path:
        """Write a kubeconfig: `user` is `token`, `token-file`, `reader`, `certificate`, `exec` or `none`.

        `embedded` puts the PEM files into it (`…-data`); `changes` go into the cluster's part.
        """
        cluster: dict[str, Any] = {"server": self.url}
        if self.authority is not None:
            cluster |= _file("certificate-authority", self.authority.bundle, embedded=embedded)
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "bed",
            "contexts": [{"name": "bed", "context": {"cluster": "bed", "user": "us", "namespace": NAMESPACE}}],
            "clusters": [{"name": "bed", "cluster": cluster | changes}],
            "users": [{"name": "us", "user": self._user(user, embedded=embedded)}],
        }
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(document), encoding="utf-8")
        return path

    def service_account(self) -> Path:
        """Write what a pod finds in `/var/run/secrets/kubernetes.io/serviceaccount`; returns the folder."""
        folder = self.folder / "serviceaccount"
        folder.mkdir(exist_ok=True)
        (folder / "token").write_text(TOKEN, encoding="ascii")
        (folder / "namespace").write_text(NAMESPACE, encoding="ascii")
        if self.authority is not None:
            (folder / "ca.crt").write_bytes(self.authority.bundle.read_bytes())
        return folder

    def _user(self, user: str, *, embedded: bool) -> dict[str, Any]:
        match user:
            case "token":
                return {"token": TOKEN}
            case "reader":
                return {"token": READING}
            case "token-file":
                path = self.folder / "token"
                path.touch(mode=0o600)
                path.write_text(TOKEN + "\n", encoding="ascii")
                return {"tokenFile": str(path)}
            case "certificate":
                assert self.client is not None, "only with tls=True"
                key = _file("client-key", self.client.key, embedded=embedded)
                return _file("client-certificate", self.client.certificate, embedded=embedded) | key
            case "exec":
                return {"exec": self._plugin()}
            case _:
                return {}

    def _plugin(self) -> dict[str, Any]:
        program = self.folder / "credential-plugin"
        version = "client.authentication.k8s.io/v1"
        said = f'{{"apiVersion": "{version}", "kind": "ExecCredential", "status": {{"token": "{TOKEN}"}}}}'
        program.write_text(f"#!/bin/sh\ncat <<'END'\n{said}\nEND\n", encoding="ascii")
        program.chmod(0o700)
        return {"apiVersion": version, "command": str(program), "interactiveMode": "Never"}


@contextmanager
def kubernetes(folder: Path, *, tls: bool = False, server: str = "good") -> Iterator[Kubernetes]:
    """Serve a cluster as long as the block lasts, over plain HTTP or TLS.

    `server` names the server's certificate (`good`, `expired`, `elsewhere`). There are a deployer, who may do
    everything (by token or certificate), and a reader.
    """
    deployer, reader = User("deployer"), User("reader", READER)
    api = ApiServer(tokens={TOKEN: deployer, READING: reader}, certificates={"deployer": deployer})
    authority = Authority(folder, "cluster") if tls else None
    client = authority.client("deployer", "deployers") if authority else None
    context = None
    if authority is not None:
        issued: Certificate = getattr(authority, server)()
        context = issued.server(authority.bundle)
    with FaultProxy(("127.0.0.1", 9), inner=(api,), server_tls=context) as proxy:
        yield Kubernetes(cluster=api.cluster, api=api, proxy=proxy, authority=authority, client=client, folder=folder)


def _file(key: str, path: Path, *, embedded: bool) -> dict[str, str]:
    if embedded:
        return {f"{key}-data": base64.b64encode(path.read_bytes()).decode("ascii")}
    return {key: str(path)}
