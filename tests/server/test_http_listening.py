"""Where a server may listen, and what it leaves in the file system."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from keyturn.model.errors import ConfigurationError
from keyturn.server.http.listening import listening, open_address, open_file
from tests.server.home import Place, found
from tests.server.web import call, site, web_assistant


def left(path: str) -> bool:
    """Whether a file is there."""
    return Path(path).exists()


def refused(place: Place, *options: str) -> str:
    """What a server says that does not start."""
    command = [sys.executable, *place.serve(*options)]
    done = subprocess.run(command, env={"PATH": os.environ["PATH"]}, capture_output=True, timeout=60, check=False)
    assert done.returncode in {1, 2}
    assert b"Traceback" not in done.stderr
    return done.stderr.decode()


@pytest.mark.parametrize(
    "address", ["8765", "localhost", ":1", "127.0.0.1:70000", "http://x:1", "::1:80", "a b:1", ""]
)
def test_an_address_that_is_none_is_refused_with_an_example(address: str) -> None:
    with pytest.raises(ConfigurationError, match="must be HOST:PORT, such as"):
        open_address(address, ())


def test_a_server_told_to_listen_on_no_address_ends_as_for_wrong_usage(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "keyturn.server", "--home", str(tmp_path), "--http", "8765"]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert done.returncode == 2
    assert b"--http 8765: must be HOST:PORT" in done.stderr


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0"])
def test_an_address_others_can_reach_is_refused_without_names(address: str) -> None:
    with pytest.raises(ConfigurationError, match=r"\[http\] hosts"):
        open_address(address, ())
    [listener] = open_address(address, ["keyturn.example.com"])
    assert not listener.local
    listener.close()


def test_a_name_is_listened_on_at_all_its_addresses_with_one_port() -> None:
    opened = open_address("localhost:0", ())
    ports = {listener.socket.getsockname()[1] for listener in opened}
    assert len(ports) == 1
    assert all(listener.local for listener in opened)
    with pytest.raises(ConfigurationError, match="in use; take another port, or end what"):
        open_address(f"127.0.0.1:{ports.pop()}", ())
    for listener in opened:
        listener.close()


def test_an_address_that_is_not_of_this_machine_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no address of this machine"):
        open_address("no-such-host.invalid:1", ())
    with pytest.raises(ConfigurationError, match="cannot be listened on"):
        open_address("192.0.2.1:0", ["x"])


def test_a_socket_file_is_for_its_group_alone_and_gone_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "keyturn.sock"
    with listening(None, str(path), ()) as [listener]:
        status = path.lstat()
        assert stat.S_ISSOCK(status.st_mode)
        assert stat.S_IMODE(status.st_mode) == 0o660
        assert listener.name == f"unix:{path}"
        assert list(tmp_path.iterdir()) == [path]
    assert list(tmp_path.iterdir()) == []


def test_a_file_a_dead_server_left_is_replaced_and_one_in_use_is_not(tmp_path: Path) -> None:
    path = tmp_path / "s"
    first = open_file(path)
    with pytest.raises(ConfigurationError, match="another program listens there"):
        open_file(path)
    first.socket.close()  # as when the process is killed: the file stays
    second = open_file(path)
    first.close()
    assert path.exists(), "the first took the second's file away"
    second.close()
    assert not path.exists()


def test_what_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("precious")
    with pytest.raises(ConfigurationError, match="is no socket"):
        open_file(path)
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(ConfigurationError, match="is no socket"):
        open_file(tmp_path / "link")
    assert path.read_text() == "precious"


def test_a_folder_in_which_others_could_replace_the_socket_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(ConfigurationError, match="chmod o-w"):
        open_file(folder / "s")
    folder.chmod(0o770)
    with pytest.raises(ConfigurationError, match="chmod g-w"):
        open_file(folder / "s")
    folder.chmod(0o1777)
    open_file(folder / "s").close()
    with pytest.raises(ConfigurationError, match="No such file"):
        open_file(tmp_path / "nowhere" / "s")
    with pytest.raises(ConfigurationError, match="at most"):
        open_file(tmp_path / ("x" * 200))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another account")
def test_a_folder_of_another_account_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    with pytest.raises(ConfigurationError, match="belongs to another account"):
        open_file(folder / "s")


@pytest.mark.anyio
async def test_a_server_on_a_socket_file_serves_the_whole_way(place: Place, tmp_path: Path) -> None:
    path = str(tmp_path / "keyturn.sock")
    with site(place, path=path) as running:
        assert running.names == [f"unix:{path}"]
        async with web_assistant(running, "auto", place.token) as claude:
            done = await claude.call("update_ticket", ticket="OPS-1", comment="through a file")
            assert done["status"] == "succeeded"
        assert running.post(place.token, call("get_permissions"), Host="evil.example").status_code == 421
        assert running.post(place.token, call("get_permissions"), Origin="http://evil.example").status_code == 403
        assert running.call(None, "get_permissions").status_code == 401
        assert "another program listens there" in refused(place, "--socket", path)
        running.process.send_signal(signal.SIGKILL)
        running.process.wait()
    assert left(path)
    with site(place, path=path) as running:
        assert running.call(place.token, "get_permissions").status_code == 200
        assert running.stop() == 0
    assert not left(path)


def test_an_address_and_a_socket_file_are_served_by_one_process(place: Place, tmp_path: Path) -> None:
    path = str(tmp_path / "keyturn.sock")
    with site(place, "--http", "127.0.0.1:0", "--socket", path, wants=2) as running:
        assert running.call(place.token, "get_permissions").status_code == 200
        running.path = path
        assert running.call(place.token, "get_permissions").status_code == 200
        assert running.stop(signal.SIGINT) == 0
        assert running.said() == []


def test_a_server_that_others_can_reach_knows_only_the_names_it_was_given(tmp_path: Path) -> None:
    tables = (
        '\n[http]\nhosts = ["keyturn.example.com", "exact.example.com:8443"]\norigins = ["https://ui.example.com"]\n'
    )
    place = found(tmp_path, tables=tables)
    with site(place, "--http", "0.0.0.0:0") as running:
        [warning] = running.said()
        assert "TLS" in warning
        running.names = [running.names[0].replace("0.0.0.0", "127.0.0.1")]  # noqa: S104 - the name to be replaced
        ask = call("get_permissions")
        for host, status in {
            "keyturn.example.com": 200,
            "KEYTURN.example.com:1234": 200,
            "exact.example.com:8443": 200,
            "exact.example.com": 421,
            "exact.example.com:443": 421,
            "other.example.com": 421,
            "localhost": 200,
        }.items():
            assert running.post(place.token, ask, Host=host).status_code == status, host
        for origin, status in {"https://ui.example.com": 200, "http://localhost:6274": 403}.items():
            assert running.post(place.token, ask, Origin=origin).status_code == status, origin
        assert running.stop() == 0
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))


@pytest.mark.parametrize(
    ("tables", "says"),
    [
        ('\n[http]\nhosts = ["http://x"]\n', "keyturn.toml: http.hosts.0"),
        ('\n[http]\norigins = ["x"]\n', "keyturn.toml: http.origins.0"),
        ("\n[http]\nhost = []\n", "keyturn.toml: http.host: is not known"),
    ],
)
def test_names_that_are_none_are_refused_with_their_place(tmp_path: Path, tables: str, says: str) -> None:
    place = found(tmp_path)
    with (place.folder / "keyturn.toml").open("a") as wiring:
        wiring.write(tables)
    assert says in refused(place, "--http", "127.0.0.1:0")


def test_a_server_that_others_could_reach_does_not_start_without_names(place: Place) -> None:
    assert "[http] hosts" in refused(place, "--http", "0.0.0.0:0")


def test_a_token_file_is_for_stdio_alone(place: Place) -> None:
    assert "--token-file is for stdio" in refused(place, "--http", "127.0.0.1:0", "--token-file", "x")
