"""Git over SSH: an sshd of our own on loopback, with keys of its own, for the user who runs the tests.

It lets in two keys: the writer's, for any git command, and the reader's, for fetching. Debian: openssh-server.
"""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.bed.git_remote import GitRemote
from tests.bed.programs import Program, program


@dataclass(frozen=True, slots=True, kw_only=True)
class SshServer:
    """A running sshd; keys are files of 0600, `known_hosts` names its host key, `strange_hosts` another one."""

    program: Program
    remote: GitRemote
    writer: Path
    reader: Path
    stranger: Path
    known_hosts: Path
    strange_hosts: Path

    @property
    def url(self) -> str:
        """The repository's address."""
        return self.at(self.remote.path)

    def at(self, repository: Path) -> str:
        """Return the address of another repository of this machine."""
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.program.port}{repository}"

    def said(self) -> str:
        """Return what sshd wrote so far: who came, with which key, and why not."""
        return self.program.said.read_text(encoding="utf-8", errors="replace")


def missing() -> str | None:
    """Say why no sshd can be run here; None if one can."""
    if _sshd() is None or shutil.which("ssh-keygen") is None:
        return "no sshd: apt-get install openssh-server (it need not run)"
    return None


@contextmanager
def ssh(folder: Path) -> Iterator[SshServer]:
    """Serve a fresh repository `shop.git` in `folder` as long as the block lasts; skip where there is no sshd."""
    daemon = _sshd()
    if daemon is None:
        pytest.skip(missing() or "no sshd")
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where it puts itself away, compiled into it
    remote = GitRemote.made(folder / "shop.git")
    keys = {name: _key(folder / name) for name in ("host", "writer", "reader", "stranger")}
    configuration = _configure(folder, keys)
    with program(
        lambda port: [daemon, "-D", "-e", "-f", str(configuration), "-p", str(port)],
        _greets,
        said=folder / "sshd.log",
    ) as running:
        known, strange = folder / "known_hosts", folder / "strange_hosts"
        for path, key in ((known, keys["host"]), (strange, keys["stranger"])):
            kind, data, *_ = key.with_suffix(".pub").read_text(encoding="ascii").split()
            path.write_text(f"[127.0.0.1]:{running.port} {kind} {data}\n", encoding="ascii")
        yield SshServer(
            program=running,
            remote=remote,
            writer=keys["writer"],
            reader=keys["reader"],
            stranger=keys["stranger"],
            known_hosts=known,
            strange_hosts=strange,
        )


def _sshd() -> str | None:
    """Return its whole path: it must be called by it."""
    return shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")


def _key(path: Path) -> Path:
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", str(path)]
    subprocess.run(command, check=True, timeout=30, stdin=subprocess.DEVNULL)
    return path


def _configure(folder: Path, keys: dict[str, Path]) -> Path:
    public = {name: key.with_suffix(".pub").read_text(encoding="ascii").strip() for name, key in keys.items()}
    reading = folder / "only-fetch"
    reading.write_text(
        '#!/bin/sh\ncase "$SSH_ORIGINAL_COMMAND" in\n'
        '"git-upload-pack "*|"git upload-pack "*) exec sh -c "$SSH_ORIGINAL_COMMAND" ;;\nesac\n'
        'echo "you may only read" >&2\nexit 1\n',
        encoding="ascii",
    )
    reading.chmod(0o700)
    allowed = folder / "authorized_keys"
    allowed.write_text(
        f'restrict {public["writer"]}\nrestrict,command="{reading}" {public["reader"]}\n', encoding="ascii"
    )
    lines = [
        "ListenAddress 127.0.0.1",
        f"HostKey {keys['host']}",
        f"AuthorizedKeysFile {allowed}",
        "AuthenticationMethods publickey",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "PermitRootLogin prohibit-password",
        "StrictModes no",
        "UsePAM no",
        "PidFile none",
        "AcceptEnv GIT_PROTOCOL",
        "LogLevel VERBOSE",
    ]
    configuration = folder / "sshd_config"
    configuration.write_text("\n".join(lines) + "\n", encoding="ascii")
    return configuration


def _greets(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as line:
            return line.recv(8).startswith(b"SSH-2.0")
    except OSError:
        return False
