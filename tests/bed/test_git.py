"""Real git talks to the git servers: who may push, who may fetch, and what a lost answer leaves."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bed import ssh as ssh_module
from tests.bed.faults import DropAfter, Fault
from tests.bed.git_http import READER, TOKEN, WRITER, GitServer, git_http
from tests.bed.git_remote import ENVIRONMENT, FILES, GitRemote
from tests.bed.ssh import SshServer, ssh
from tests.bed.tls import Authority

ABSENT = ssh_module.missing()
with_ssh = pytest.mark.skipif(ABSENT is not None, reason=ABSENT or "")


def git(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    plain = {**ENVIRONMENT, "GIT_TERMINAL_PROMPT": "0", "HOME": str(folder), **environment}
    return subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, env=plain, timeout=60, check=False
    )


def work(folder: Path, url: str, *options: str, **environment: str) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Clone, commit and push a branch; returns the clone and how the push ended."""
    told = git(folder, *options, "clone", "--quiet", url, "clone", **environment)
    assert told.returncode == 0, told.stderr
    clone = folder / "clone"
    (clone / "idea.txt").write_text("one\n")
    for arguments in (("add", "idea.txt"), ("commit", "--quiet", "-m", "Idea")):
        assert git(clone, *arguments).returncode == 0
    return clone, git(clone, *options, "push", "--quiet", "origin", "HEAD:refs/heads/keyturn/a-1", **environment)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[GitServer]:
    with git_http(tmp_path) as running:
        yield running


def with_password(url: str, user: tuple[str, str]) -> str:
    return url.replace("://", f"://{user[0]}:{user[1]}@")


def test_other_people_work_in_the_repository(tmp_path: Path) -> None:
    remote = GitRemote.made(tmp_path / "r.git")
    assert remote.files() == dict(FILES)
    pushed = remote.push("idea", {"README.md": None, "bin/x": b"#!\n"}, modes={"bin/x": "100755"})
    assert (remote.head("idea"), remote.head() == pushed) == (pushed, False)
    assert set(remote.files("idea")) == {"src/app.py", "deploy/prod.toml", "bin/x"}
    remote.rewind("main", pushed)
    remote.delete("idea")
    assert remote.refs() == {"refs/heads/main": pushed}


def test_a_branch_is_pushed_with_a_password(tmp_path: Path, served: GitServer) -> None:
    _, pushed = work(tmp_path, with_password(served.url, WRITER))
    assert pushed.returncode == 0, pushed.stderr
    assert served.remote.files("keyturn/a-1")["idea.txt"] == b"one\n"
    assert served.seen.effects("POST", ".*/git-receive-pack") == 1
    assert WRITER[1] not in repr(served.seen)


def test_and_with_a_token(tmp_path: Path, served: GitServer) -> None:
    _, pushed = work(tmp_path, served.url, "-c", f"http.extraHeader=Authorization: Bearer {TOKEN}")
    assert pushed.returncode == 0, pushed.stderr


def test_a_reader_fetches_and_does_not_push(tmp_path: Path, served: GitServer) -> None:
    _, pushed = work(tmp_path, with_password(served.url, READER))
    assert "403" in pushed.stderr
    assert served.remote.head("keyturn/a-1") is None


@pytest.mark.parametrize("url", ["", "writer:wrong@", "nobody:at-all@"])
def test_who_is_not_known_is_refused(tmp_path: Path, served: GitServer, url: str) -> None:
    told = git(tmp_path, "ls-remote", served.url.replace("://", f"://{url}"))
    assert told.returncode != 0
    assert {exchange.status for exchange in served.seen.exchanges} == {401}


def test_a_protected_branch_refuses(tmp_path: Path, served: GitServer) -> None:
    served.remote.refuse("refs/heads/keyturn/*", "no keys here")
    _, pushed = work(tmp_path, with_password(served.url, WRITER))
    assert "no keys here" in pushed.stderr
    assert served.remote.head("keyturn/a-1") is None


def test_a_push_whose_answer_is_lost_was_done(tmp_path: Path, served: GitServer) -> None:
    served.faults.set(Fault("POST", ".*/git-receive-pack", DropAfter()))
    _, pushed = work(tmp_path, with_password(served.url, WRITER))
    assert pushed.returncode != 0
    assert served.remote.head("keyturn/a-1") is not None


def test_over_tls_the_certificate_counts(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with git_http(tmp_path / "good", certificate=authority.good()) as running:
        url = with_password(running.url, WRITER)
        told = git(tmp_path, "ls-remote", url, GIT_SSL_CAINFO=str(authority.bundle))
        assert "refs/heads/main" in told.stdout
        assert git(tmp_path, "ls-remote", url).returncode != 0
    with git_http(tmp_path / "bad", certificate=authority.expired()) as running:
        url = with_password(running.url, WRITER)
        assert git(tmp_path, "ls-remote", url, GIT_SSL_CAINFO=str(authority.bundle)).returncode != 0


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    with ssh(tmp_path_factory.mktemp("ssh")) as running:
        yield running


def command(key: Path, hosts: Path) -> str:
    options = ["BatchMode=yes", "IdentitiesOnly=yes", "StrictHostKeyChecking=yes", f"UserKnownHostsFile={hosts}"]
    options += ["GlobalKnownHostsFile=/dev/null", "IdentityAgent=none"]
    return " ".join(["ssh", "-F", os.devnull, "-i", str(key), *(f"-o {option}" for option in options)])


@with_ssh
def test_a_branch_is_pushed_over_ssh(tmp_path: Path, shell: SshServer) -> None:
    _, pushed = work(tmp_path, shell.url, GIT_SSH_COMMAND=command(shell.writer, shell.known_hosts))
    assert pushed.returncode == 0, pushed.stderr + shell.said()
    assert shell.remote.files("keyturn/a-1")["idea.txt"] == b"one\n"
    shell.remote.delete("keyturn/a-1")
    assert shell.program.took < 20


@with_ssh
def test_a_reading_key_does_not_push(tmp_path: Path, shell: SshServer) -> None:
    _, pushed = work(tmp_path, shell.url, GIT_SSH_COMMAND=command(shell.reader, shell.known_hosts))
    assert "you may only read" in pushed.stderr
    assert shell.remote.head("keyturn/a-1") is None


@with_ssh
def test_an_unknown_key_and_a_strange_host_are_refused(tmp_path: Path, shell: SshServer) -> None:
    told = git(tmp_path, "ls-remote", shell.url, GIT_SSH_COMMAND=command(shell.stranger, shell.known_hosts))
    assert "Permission denied" in told.stderr
    told = git(tmp_path, "ls-remote", shell.url, GIT_SSH_COMMAND=command(shell.writer, shell.strange_hosts))
    assert "HOST IDENTIFICATION HAS CHANGED" in told.stderr
