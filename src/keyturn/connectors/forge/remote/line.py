"""How git is let out to one remote, and nowhere else: fixed settings, and a credential that nobody else gets to see.

HTTPS
- The credential goes through a pipe. Git asks its credential helper for it, once the server has asked git; the helper
  is `cat` on the pipe's end that git inherited. So it stands in no argument, no variable, no file, no URL. What
  remains is what always remains: the same account, or root, may read the memory and the open pipes of a process.
  (`http.extraHeader` would stand in an argument or, by GIT_CONFIG_COUNT, in a variable, and /proc shows both for as
  long as git runs.)
- The name is looked up here, every address is looked at, and git connects to those very addresses
  (`http.curloptResolve`). Redirects are not followed, certificates are always verified, TLS is 1.2 or later. With
  `ca` the authorities in that file alone are trusted. There is no netrc, no cookie, no proxy but the one in the
  settings.

SSH
- One command with every option that matters spelled out, no configuration file, no agent or forwarding but the agent
  in the settings, no other known hosts than those in the settings, and no new ones.
- `HostName` is the address that was looked at; `HostKeyAlias` keeps the host's key under the name that known_hosts
  has.

Both: GIT_ALLOW_PROTOCOL names the one scheme, so `ext::` and `file://` are shut, whatever a server or a repository
says.
"""

from __future__ import annotations

import base64
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from keyturn.connectors.credentials import Secret
from keyturn.connectors.forge.process import Link
from keyturn.connectors.forge.remote.target import Target, addresses
from keyturn.connectors.http.addresses import literal
from keyturn.connectors.http.connection import Origin
from keyturn.model.errors import ConnectorError

LARGEST = 8192
"""Bytes of a credential; more would not fit into what servers read of a header, and has to fit into a pipe."""
SLOWEST = 30
"""Seconds that a transfer may crawl (below 100 bytes a second) before curl gives up."""
NOBODY = "git"
"""The user name sent with a credential where url names none; servers that know tokens ignore it."""
POST = 16 * 2**20
"""Bytes of a push that are sent as one body with its length: some servers take no chunks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ssh:
    """How ssh runs: its program, the key file or the agent's socket, and the file of known hosts."""

    program: str
    key: Path | None
    agent: Path | None
    known_hosts: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The way to one remote. `nothing` is an empty folder; `timeout` is in seconds."""

    target: Target
    private: bool
    timeout: int
    nothing: Path
    ca: Path | None = None
    proxy: Origin | None = None
    ssh: Ssh | None = None

    @contextmanager
    def open(self, secret: Secret | None) -> Iterator[Link]:
        """Yield the link for one call of git. Raises `ConnectorError` for a host that may not be connected to."""
        if self.ssh is not None:
            yield Link(protocol="ssh", environment=self._ssh_environment(self.ssh))
            return
        settings = (*self._http_settings(), *self._address())
        if secret is None:
            yield Link(protocol=self.target.scheme, settings=settings)
            return
        with _handed(self.target.user or NOBODY, secret) as descriptor:
            helper = f'!f() {{ test "$1" = get && cat /dev/fd/{descriptor}; }}; f'
            yield Link(
                protocol=self.target.scheme,
                settings=(*settings, ("credential.helper", helper)),
                descriptors=(descriptor,),
            )

    def hidden(self, secret: Secret | None) -> tuple[Secret, ...]:
        """Return what a server must not be quoted with: the credential, and the form it is sent in (RFC 7617)."""
        if secret is None:
            return ()
        pair = f"{self.target.user or NOBODY}:{secret.reveal()}".encode("ascii", "replace")
        return secret, Secret(base64.b64encode(pair).decode("ascii"))

    def _http_settings(self) -> tuple[tuple[str, str], ...]:
        trust = (("http.sslCAInfo", str(self.ca)), ("http.sslCAPath", str(self.nothing))) if self.ca else ()
        return (
            ("http.followRedirects", "false"),
            ("http.sslVerify", "true"),
            ("http.sslVersion", "tlsv1.2"),
            *trust,
            ("http.proxy", self._proxy()),
            ("http.emptyAuth", "false"),
            # curl sends a request again when a kept connection turns out to be dead: a push is to be sent once
            ("http.version", "HTTP/1.1"),
            ("http.extraHeader", "Connection: close"),
            ("http.postBuffer", str(POST)),
            ("http.lowSpeedLimit", "100"),
            ("http.lowSpeedTime", str(min(self.timeout, SLOWEST))),
            ("core.askPass", ""),
            ("credential.helper", ""),
        )

    def _proxy(self) -> str:
        if self.proxy is None:
            return ""  # which also keeps curl from looking for one itself
        host = f"[{self.proxy.host}]" if ":" in self.proxy.host else self.proxy.host
        return f"{self.proxy.scheme}://{host}:{self.proxy.port}"

    def _address(self) -> tuple[tuple[str, str], ...]:
        """Pin the name that is connected to: the proxy's where there is one, which looks up the other itself."""
        host, port = self.target.host, self.target.port
        if self.proxy is not None:
            host, port = self.proxy.host, self.proxy.port
        private = self.private or self.proxy is not None  # a proxy is named by the operator, and mostly nearby
        found = addresses(host, port, private=private, plain=self.target.scheme == "http")
        if literal(host) is not None:
            return ()
        listed = ",".join(f"[{address}]" if ":" in address else address for address in found)
        return (("http.curloptResolve", f"{host}:{port}:{listed}"),)

    def _ssh_environment(self, ssh: Ssh) -> dict[str, str]:
        target = self.target
        address = addresses(target.host, target.port, private=self.private, plain=False)[0]
        alias = target.host if target.port == 22 else f"[{target.host}]:{target.port}"
        options = {
            "BatchMode": "yes",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": _quoted(ssh.known_hosts),
            "GlobalKnownHostsFile": "/dev/null",
            "UpdateHostKeys": "no",
            "VerifyHostKeyDNS": "no",
            "CheckHostIP": "no",
            "HostName": address,
            "HostKeyAlias": alias,
            "CanonicalizeHostname": "no",
            "ProxyCommand": "none",
            "ControlMaster": "no",
            "ControlPath": "none",
            "ForwardAgent": "no",
            "ForwardX11": "no",
            "ClearAllForwardings": "yes",
            "PermitLocalCommand": "no",
            "PreferredAuthentications": "publickey",
            "IdentitiesOnly": "yes" if ssh.key else "no",
            "IdentityFile": _quoted(ssh.key) if ssh.key else "none",
            "IdentityAgent": _quoted(ssh.agent) if ssh.agent else "none",
            "ConnectTimeout": str(min(self.timeout, SLOWEST)),
            "ServerAliveInterval": "10",
            "ServerAliveCountMax": "3",
            "LogLevel": "ERROR",
        }
        words = [ssh.program, "-F", "/dev/null"]
        for name, value in options.items():
            words += ["-o", f"{name}={value}"]
        return {"GIT_SSH_COMMAND": shlex.join(words), "GIT_SSH_VARIANT": "ssh"}


@contextmanager
def _handed(user: str, secret: Secret) -> Iterator[int]:
    """Yield the reading end of a pipe that holds name and credential as a helper answers (git-credential(1))."""
    _refuse_unfit(secret)
    reading, writing = os.pipe()
    try:
        try:
            # both ends are closed on exec, except for the one call that is given the reading end
            os.write(writing, f"username={user}\npassword={secret.reveal()}\n".encode("ascii"))
        finally:
            os.close(writing)
        yield reading
    finally:
        os.close(reading)


def _refuse_unfit(secret: Secret) -> None:
    if len(secret.reveal()) > LARGEST:
        raise ConnectorError(f"the credential has more than {LARGEST} characters")
    if not secret.reveal().isprintable() or not secret.reveal().isascii():
        raise ConnectorError("the credential holds more than one line, or other characters than ASCII")


def _quoted(path: Path) -> str:
    """Quote a path as ssh_config(5) wants it; `settings` refuse those that cannot be."""
    return f'"{path}"'
