"""A token goes to whoever listens on a socket file only if nobody but the server can have put that socket there."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from keyturn.server.bridge import answers
from keyturn.server.bridge.listener import account_behind, folders_to, why_distrusted
from tests.server.bridged import ask, bridge
from tests.server.elsewhere import TOKEN
from tests.server.home import SECONDS

SERVER = 54_321  # uids that no account has
CLIENT = 54_322
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as two accounts")
ANSWER = b'{"jsonrpc":"2.0","id":1,"result":{}}'
WELCOME = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(ANSWER) + ANSWER


@pytest.fixture
def closed() -> Iterator[Path]:
    """A folder of the server's, on a way that only root may change."""
    with tempfile.TemporaryDirectory(dir="/run") as name:
        os.chown(name, SERVER, -1)
        Path(name).chmod(0o755)
        yield Path(name)


# --- whom to trust --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("listening", [0, CLIENT])
def test_root_and_the_account_itself_are_trusted_wherever_they_listen(tmp_path: Path, listening: int) -> None:
    assert why_distrusted(tmp_path / "mcp.sock", listening, CLIENT) is None


def test_whoever_listens_in_a_folder_of_another_account_is_not_trusted(tmp_path: Path) -> None:
    why = why_distrusted(tmp_path / "mcp.sock", SERVER, CLIENT)
    assert why is not None
    assert f"uid {SERVER} listens there, and the folder {tmp_path} belongs to " in why


@AS_ROOT
def test_the_owner_of_the_folder_is_trusted_where_nobody_else_may_write(closed: Path) -> None:
    assert why_distrusted(closed / "mcp.sock", SERVER, CLIENT) is None


@AS_ROOT
@pytest.mark.parametrize("mode", [0o775, 0o757, 0o1777, 0o1775])
def test_a_folder_where_others_may_write_is_not_trusted_though_it_is_sticky(closed: Path, mode: int) -> None:
    closed.chmod(mode)
    why = why_distrusted(closed / "mcp.sock", SERVER, CLIENT)
    assert why == f"others than its owner can write to {closed}, and put another socket in the place of the server's"


@AS_ROOT
def test_a_folder_that_anybody_could_have_made_first_is_not_trusted(tmp_path: Path) -> None:
    os.chown(tmp_path, SERVER, -1)
    why = why_distrusted(tmp_path / "mcp.sock", SERVER, CLIENT)
    assert why is not None
    assert "others than its owner can write to /tmp" in why


@AS_ROOT
def test_a_folder_within_one_of_a_third_account_is_not_trusted(closed: Path) -> None:
    inner = closed / "inner"
    inner.mkdir()
    os.chown(inner, SERVER, -1)
    os.chown(closed, SERVER + 2, -1)
    why = why_distrusted(inner / "mcp.sock", SERVER, CLIENT)
    assert why is not None
    assert f"{closed} belongs to uid {SERVER + 2}" in why


@AS_ROOT
def test_a_link_that_others_can_turn_elsewhere_is_not_trusted(closed: Path, tmp_path: Path) -> None:
    (tmp_path / "way").symlink_to(closed)
    tmp_path.chmod(0o1777)
    assert why_distrusted(tmp_path / "way" / "mcp.sock", SERVER, CLIENT) is not None
    assert why_distrusted(closed / "mcp.sock", SERVER, CLIENT) is None


def test_the_way_leads_through_each_folder_that_a_link_leads_through(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    (tmp_path / "a" / "hop").symlink_to("../b/hop")
    (tmp_path / "b" / "hop").symlink_to(tmp_path / "c")
    (tmp_path / "c" / "mcp.sock").symlink_to("real.sock")
    found = folders_to(tmp_path / "a" / "hop" / "mcp.sock")
    assert {tmp_path / "a", tmp_path / "b", tmp_path / "c"} <= set(found)
    assert found[0] == Path("/")
    assert found[-1] == tmp_path / "c"


def test_a_way_that_leads_nowhere_is_not_trusted(tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    for path in (tmp_path / "one" / "mcp.sock", tmp_path / "absent" / "mcp.sock"):
        why = why_distrusted(path, SERVER, CLIENT)
        assert why is not None
        assert why.startswith("cannot tell whom")


def test_the_account_is_that_of_the_process_that_listens(tmp_path: Path) -> None:
    with heard(tmp_path / "mcp.sock", os.geteuid()), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "mcp.sock"))
        assert account_behind(client) == os.geteuid()


# --- the bridge itself ----------------------------------------------------------------------------------------


@contextmanager
def heard(path: Path, account: int) -> Iterator[list[bytes]]:
    """Listen as an account; tell what each connection brought first, which is welcomed if it brought anything."""
    found: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listener:
        before = os.geteuid()
        os.seteuid(account)
        try:
            listener.bind(str(path))
            listener.listen()
        finally:
            os.seteuid(before)

        def take() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(SECONDS)
                    found.append(connection.recv(65536))
                    if found[-1]:
                        connection.sendall(WELCOME)

        thread = threading.Thread(target=take)
        thread.start()
        try:
            yield found
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@AS_ROOT
def test_a_stranger_who_listens_in_a_sticky_folder_hears_nothing(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    for folder in tmp_path.parents:
        if folder.is_relative_to("/tmp") and folder != Path("/tmp"):
            folder.chmod(0o711)
    with heard(tmp_path / "mcp.sock", SERVER) as found, bridge(f"unix:{tmp_path}/mcp.sock") as client:
        error = client.ask(ask(1, "tools/list", modern=True))["error"]
        assert error["code"] == answers.AWAY
        assert f"uid {SERVER} listens there" in error["message"]
        assert "nothing was done" in error["message"]
        assert client.end() == 0
        assert f"uid {SERVER} listens there" in client.said()
    assert found == [b""]


@AS_ROOT
def test_a_server_under_another_account_gets_the_token_in_a_folder_of_its_own(closed: Path) -> None:
    with heard(closed / "mcp.sock", SERVER) as found, bridge(f"unix:{closed}/mcp.sock") as client:
        assert client.ask(ask(1, "tools/list", modern=True))["result"] == {}
    assert f"Bearer {TOKEN}".encode() in found[0]
