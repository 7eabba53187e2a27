"""The three ways to a cluster: a kubeconfig file, the account of Keyturn's own pod, an address with a token."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, TypeAlias

from keyturn.connectors.credentials import Secret, mounted, source_of
from keyturn.connectors.http.authority import Authority, FromSource, Nobody
from keyturn.connectors.kubernetes.access import Access, Way
from keyturn.connectors.kubernetes.kubeconfig import LARGEST, Chosen, read_kubeconfig
from keyturn.connectors.kubernetes.plugin import Credentials
from keyturn.connectors.kubernetes.settings import Reaching
from keyturn.connectors.world import World
from keyturn.model.errors import ConnectorError

_HOST: Final = "KUBERNETES_SERVICE_HOST"
_PORT: Final = "KUBERNETES_SERVICE_PORT"


def way_of(place: str, settings: Reaching, world: World) -> Way:
    """Return the way that settings name; nothing is read yet. Raises `ConfigurationError`."""
    if settings.kubeconfig is not None:
        return ByKubeconfig(f"{place}.kubeconfig", world.home / settings.kubeconfig, settings, world)
    if settings.in_cluster:
        folder = Path(settings.service_account)
        return InCluster(place, folder, world, FromSource(mounted(place, folder / "token")))
    source = source_of(f"{place}.credential", settings.credential or "", world)
    return ByAddress(place, settings, world, FromSource(source))


_Marks: TypeAlias = "tuple[tuple[int, ...], ...]"


@dataclass(frozen=True, slots=True)
class ByAddress:
    """An address and a bearer token."""

    place: str
    settings: Reaching
    world: World
    authority: Authority = field(repr=False)

    def server(self) -> str:
        """Return the address that the settings name."""
        return (self.settings.url or "").rstrip("/")

    def namespace(self) -> None:
        """An address names no namespace."""
        return

    async def access(self) -> Access:
        """Return the settings; the authorities are read again, for they may have been renewed."""
        ca = self.settings.ca
        return Access(
            server=self.server(),
            authority=self.authority,
            trusted=None if ca is None else _pem(f"{self.place}.ca", self.world.home / ca),
            name=self.settings.tls_server_name,
            proxy=self.settings.proxy,
        )


@dataclass(frozen=True, slots=True)
class InCluster:
    """The service account of the pod that Keyturn runs in; its token is read again whenever it was rotated.

    https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
    """

    place: str
    folder: Path
    world: World
    authority: Authority = field(repr=False)

    def server(self) -> str:
        """Return the address that Kubernetes tells every container."""
        host, port = (self.world.environment.get(name, "") for name in (_HOST, _PORT))
        if not host or not port:
            raise ConnectorError(
                f"{self.place}.in_cluster: {_HOST} and {_PORT} are not set: this is no pod; give kubeconfig or url"
            )
        return f"https://{f'[{host}]' if ':' in host else host}:{port}"

    def namespace(self) -> str:
        """Return the pod's own namespace."""
        return _pem(f"{self.place}.in_cluster", self.folder / "namespace").strip()

    async def access(self) -> Access:
        """Return what the pod's mount holds now."""
        trusted = _pem(f"{self.place}.in_cluster", self.folder / "ca.crt")
        return Access(server=self.server(), authority=self.authority, trusted=trusted, namespace=self.namespace())


@dataclass(slots=True)
class ByKubeconfig:
    """A context of a kubeconfig file, which is read again whenever it has changed."""

    place: str
    path: Path
    settings: Reaching
    world: World
    _kept: tuple[_Marks, Chosen, Authority] | None = field(default=None, repr=False)

    def server(self) -> str:
        """Return the address of the context's cluster."""
        return self._now()[0].server.rstrip("/")

    def namespace(self) -> str | None:
        """Return the context's namespace, None where it names none."""
        return self._now()[0].namespace

    async def access(self) -> Access:
        """Return what the file says now; a plugin may have to be asked for a certificate."""
        chosen, authority = self._now()
        access = Access(
            server=chosen.server.rstrip("/"),
            authority=authority,
            trusted=chosen.trusted,
            name=chosen.name,
            proxy=self.settings.proxy or chosen.proxy,
            namespace=chosen.namespace,
            certificate=chosen.certificate,
        )
        if isinstance(authority, Credentials):
            handed = await authority.read()
            return replace(access, certificate=handed.certificate or chosen.certificate)
        return access

    def _now(self) -> tuple[Chosen, Authority]:
        """Read the file and those that it names, unless they are the ones that were read."""
        if self._kept is None or self._kept[0] != _marks(self._kept[1].files):
            chosen = read_kubeconfig(self.place, self.path, self.settings.context)
            self._kept = _marks(chosen.files), chosen, self._authority(chosen)
        return self._kept[1:]

    def _authority(self, chosen: Chosen) -> Authority:
        if chosen.token_file is not None:
            return FromSource(source_of(self.place, f"file:{chosen.token_file}", self.world))
        if chosen.token is not None:
            return FromSource(_Held(chosen.token))
        if chosen.plugin is not None:
            return Credentials(self.place, self.path.parent, chosen, chosen.plugin, self.world)
        return Nobody()  # the client certificate proves it


@dataclass(frozen=True, slots=True)
class _Held:
    """A token that stands in the kubeconfig itself."""

    token: Secret

    async def read(self) -> Secret:
        return self.token

    def forget(self) -> bool:
        return False


def _marks(files: tuple[Path, ...]) -> _Marks:
    """Return what tells a file from the one it was: device, inode, time of change, size. () where it is gone."""
    found: list[tuple[int, ...]] = []
    for file in files:
        try:
            status = file.stat()
        except OSError:
            found.append(())
        else:
            found.append((status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size))
    return tuple(found)


def _pem(place: str, path: Path) -> str:
    """Return a small file of text."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            return file.read(LARGEST).decode("utf-8", "replace")
    except OSError as error:
        raise ConnectorError(f"{place}: {path}: cannot be read: {error.strerror}") from None
