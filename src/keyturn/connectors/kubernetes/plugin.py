"""Runs a kubeconfig's `exec` plugin and keeps what it handed out until that expires.

https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins
https://kubernetes.io/docs/reference/config-api/client-authentication.v1/
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import anyio.to_thread

from keyturn.connectors.credentials import KEPT, Secret, printed
from keyturn.connectors.kubernetes.access import Certificate, text_of
from keyturn.connectors.kubernetes.kubeconfig import Chosen, Plugin
from keyturn.connectors.world import World
from keyturn.model.errors import ConnectorError

EARLY: Final = 30.0
"""Seconds before a credential's end at which it is fetched anew."""
_CONFIGURATION: Final = "client.authentication.k8s.io/exec"  # the extension of a cluster that is passed on


@dataclass(frozen=True, slots=True)
class Handed:
    """What a plugin handed out, and until when it is used (seconds since 1970)."""

    token: Secret | None
    certificate: Certificate | None
    until: float


@dataclass(slots=True)
class Credentials:
    """The credentials of one plugin; `folder` is the kubeconfig's, which relative commands are looked up from."""

    place: str
    folder: Path
    chosen: Chosen
    plugin: Plugin
    world: World
    _kept: Handed | None = field(default=None, repr=False)
    _turn: threading.Lock = field(default_factory=threading.Lock, repr=False)

    async def read(self) -> Handed:
        """Return what is valid now. Raises `ConnectorError` without repeating anything of it."""
        return await anyio.to_thread.run_sync(self._read, abandon_on_cancel=True)

    async def headers(self) -> Mapping[str, Secret]:
        """Return the token's field, none where the plugin hands out certificates alone."""
        token = (await self.read()).token
        return {} if token is None else {"Authorization": token.after("Bearer ")}

    def refused(self) -> bool:
        """Forget what was refused; the plugin may hand out another."""
        kept, self._kept = self._kept, None
        return kept is not None

    def _read(self) -> Handed:
        with self._turn:  # whoever waited finds what the one before was given
            if self._kept is not None and self.world.now() < self._kept.until:
                return self._kept
            found = self._read_out(printed(self.place, self._words(), self.world, self._told()))
            if isinstance(found, Handed):
                self._kept = found
                return found
        raise ConnectorError(found)

    def _read_out(self, output: bytes) -> Handed | str:
        """Return what was handed out, or what is wrong: the frames of the error inside hold what was printed."""
        try:
            return self._handed(output)
        except ConnectorError as error:
            return str(error)

    def _words(self) -> tuple[str, ...]:
        """Return argv. A command with a slash is relative to the kubeconfig, any other is found on PATH."""
        command = self.plugin.command
        program = str(self.folder / command) if "/" in command else command
        return program, *(self.plugin.args or ())

    def _told(self) -> dict[str, str]:
        spec: dict[str, Any] = {"interactive": False}
        if self.plugin.told:
            spec["cluster"] = self._cluster()
        asked = {"apiVersion": self.plugin.version, "kind": "ExecCredential", "spec": spec}
        variables = {variable.name: variable.value for variable in self.plugin.env or ()}
        return {**variables, "KUBERNETES_EXEC_INFO": json.dumps(asked)}

    def _cluster(self) -> dict[str, Any]:
        chosen = self.chosen
        cluster: dict[str, Any] = {"server": chosen.server, "config": _configuration(chosen.extensions)}
        if chosen.name:
            cluster["tls-server-name"] = chosen.name
        if chosen.proxy:
            cluster["proxy-url"] = chosen.proxy
        if chosen.trusted:
            cluster["certificate-authority-data"] = base64.b64encode(chosen.trusted.encode()).decode()
        return cluster

    def _handed(self, output: bytes) -> Handed:
        """Read an ExecCredential. What is wrong with it is said without any of it."""
        try:
            value = json.loads(output)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict) or value.get("kind") != "ExecCredential":
            raise self._wrong("printed no ExecCredential")
        if value.get("apiVersion") != self.plugin.version:
            raise self._wrong(f"printed another version than {self.plugin.version}")
        status = value.get("status")
        if not isinstance(status, dict):
            raise self._wrong("handed out nothing (it has no status)")
        token, chain, key = (text_of(status, name) for name in ("token", "clientCertificateData", "clientKeyData"))
        if (chain is None) != (key is None) or not (token or chain):
            raise self._wrong("handed out neither a token nor a certificate with its key")
        return Handed(
            Secret(token) if token else None,
            Certificate(chain, Secret(key)) if chain and key else None,
            self._until(status.get("expirationTimestamp")),
        )

    def _until(self, expires: object) -> float:
        """Return until when it is used: without an end, five minutes (kubectl keeps it as long as it runs)."""
        if expires is None:
            return self.world.now() + KEPT
        try:
            end = datetime.fromisoformat(str(expires))
        except ValueError:
            end = None
        if end is None or end.tzinfo is None:
            raise self._wrong("printed an expirationTimestamp that is no time (RFC 3339)")
        if end.timestamp() <= self.world.now():
            raise self._wrong("handed out what has expired already; look at the clocks, or log in again")
        return max(end.timestamp() - EARLY, self.world.now())

    def _wrong(self, problem: str) -> ConnectorError:
        advice = f" ({self.plugin.advice.strip()[:200]})" if self.plugin.advice else ""
        return ConnectorError(f"{self.place}: the exec plugin {self.plugin.command} {problem}{advice}")


def _configuration(extensions: object) -> Any:
    for entry in extensions if isinstance(extensions, list) else []:
        if isinstance(entry, dict) and entry.get("name") == _CONFIGURATION:
            return entry.get("extension")
    return None
