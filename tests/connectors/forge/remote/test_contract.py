"""The forge over a git remote keeps the port's contract, on real servers over HTTP and SSH."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from keyturn.connectors.forge import Landed
from tests.bed.ssh import SshServer, missing, ssh
from tests.connectors.forge.contract import ForgeContract, World
from tests.connectors.forge.remote.served import TOKEN, Manners, Remote, over_ssh, remote, served
from tests.connectors.forge.repository import Repository, create

ABSENT = missing()


class RemoteContract(ForgeContract):
    def merge(self, world: World, landed: Landed) -> None:
        assert isinstance(world, Repository)
        world.git("update-ref", "refs/heads/main", landed.commit)


class TestOverHttp(RemoteContract):
    @pytest.fixture
    def world(self, tmp_path: Path) -> Iterator[Remote]:
        (tmp_path / "root").mkdir()
        with served(tmp_path / "root", Manners(users={TOKEN: True})) as server:
            yield remote(server, credential="env:TOKEN")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    with ssh(tmp_path_factory.mktemp("ssh")) as running:
        yield running


@pytest.mark.skipif(ABSENT is not None, reason=ABSENT or "")
class TestOverSsh:
    """A connection over SSH takes its time: what differs by protocol is reading and pushing, so a few will do."""

    test_snapshot = ForgeContract.test_a_snapshot_holds_commit_and_content_and_none_for_missing_files
    test_opening = ForgeContract.test_opening_makes_a_branch_and_leaves_the_base
    test_closing = ForgeContract.test_closing_deletes_the_branch_and_leaves_the_base
    test_probing = ForgeContract.test_a_probe_that_finds_nothing_keeps_a_late_executor_out
    test_looking = ForgeContract.test_a_repository_in_order_has_nothing_wrong

    @pytest.fixture
    def world(self, tmp_path: Path, daemon: SshServer) -> Remote:
        made = create(tmp_path / "root" / "shop.git")
        return Remote(made.path, over_ssh(daemon, made.path))


class TestSha256:
    """The other object format: what differs is making the copy anew, ids, and the fence."""

    test_opening = ForgeContract.test_opening_makes_a_branch_and_leaves_the_base
    test_probing = ForgeContract.test_a_probe_that_finds_nothing_keeps_a_late_executor_out

    @pytest.fixture
    def world(self, tmp_path: Path) -> Iterator[Remote]:
        (tmp_path / "root").mkdir()
        with served(tmp_path / "root") as server:
            yield remote(server, algorithm="sha256")
