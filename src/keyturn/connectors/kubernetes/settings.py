"""What `keyturn.toml` says about how a cluster's API server is reached."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, model_validator

from keyturn.connectors.credentials import CredentialSpec

SERVICE_ACCOUNT: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
"""Where a pod finds token, authorities and namespace of its own account.

https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
"""
OWN: Final = frozenset({"kubeconfig", "context", "in_cluster", "service_account", "url", "credential", "ca"}) | {
    "tls_server_name"
}
"""Settings that belong to one way of reaching a cluster: whoever names another way inherits none of them."""

Text = Annotated[str, Field(min_length=1, max_length=2000)]


class Reaching(BaseModel):
    """One of three ways to a cluster, and how patient to be with it.

    kubeconfig, context  a kubeconfig file (relative to the home), and the context in it if not its current one
    in_cluster           the account of the pod that Keyturn runs in; `service_account` is the folder it is mounted at
    url, credential, ca  an address, where the bearer token comes from, and the authorities to trust
    tls_server_name      the name in the server's certificate, where it is not that of the address
    proxy, private, timeout, deadline, pause   as for every system reached over HTTP
    """

    model_config = ConfigDict(frozen=True, extra="forbid", regex_engine="rust-regex")

    kubeconfig: Text | None = None
    context: Text | None = None
    in_cluster: bool = False
    service_account: Text = SERVICE_ACCOUNT
    url: Text | None = None
    credential: CredentialSpec | None = None
    ca: Text | None = None
    tls_server_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]{0,252}$")] | None = None
    proxy: Text | None = None
    private: bool = False
    timeout: int = Field(default=10, ge=1, le=300)
    deadline: int = Field(default=30, ge=1, le=3600)
    pause: float = Field(default=0, ge=0, le=60)

    @model_validator(mode="after")
    def _one_way(self) -> Reaching:
        ways = [self.kubeconfig is not None, self.in_cluster, self.url is not None]
        if sum(ways) != 1:
            raise ValueError('give one of: kubeconfig = "FILE", in_cluster = true, or url with credential')
        if self.url is not None and self.credential is None:
            raise ValueError('url needs credential = "file:…" (a bearer token)')
        for name, way in (
            ("context", "kubeconfig"),
            ("credential", "url"),
            ("ca", "url"),
            ("tls_server_name", "url"),
        ):
            if getattr(self, name) is not None and getattr(self, way) is None:
                raise ValueError(f"{name} goes with {way} alone")
        return self
