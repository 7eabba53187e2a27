"""Bells: a commit is heard by every listener, and whatever is wrong with a listener never reaches the commit."""

from __future__ import annotations

import select
import signal
import socket
import stat
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from keyturn.ledger.bell import Bell, Listener
from tests.ledger.processes import running, told


def heard(listener: Listener, seconds: float = 0) -> bool:
    return bool(select.select([listener.socket], [], [], seconds)[0])


def listen_for_ever(said: Connection, run: Path) -> None:
    listener = Listener(run, "other")
    said.send("listening")
    select.select([listener.socket], [], [], 20)
    said.send("heard")
    said.recv()


def test_every_listener_hears_a_ring_and_only_after_it_was_rung(tmp_path: Path) -> None:
    listeners = [Listener(tmp_path, name) for name in ("a", "b")]
    bell = Bell(tmp_path)
    assert [heard(one) for one in listeners] == [False, False]
    bell.ring()
    assert [heard(one) for one in listeners] == [True, True]
    for one in listeners:
        one.clear()
    assert [heard(one) for one in listeners] == [False, False]
    for one in listeners:
        one.close()
    bell.close()
    assert list(tmp_path.iterdir()) == []


def test_another_process_hears_it(tmp_path: Path) -> None:
    bell = Bell(tmp_path)
    with running(listen_for_ever, tmp_path) as (_, said):
        assert told(said) == "listening"
        bell.ring()
        assert told(said) == "heard"
    bell.close()


def test_a_listener_is_for_its_account_alone(tmp_path: Path) -> None:
    listener = Listener(tmp_path, "a")
    assert stat.S_IMODE((tmp_path / "a.bell").lstat().st_mode) == 0o600
    listener.close()


def test_the_ear_of_a_dead_process_is_taken_away(tmp_path: Path) -> None:
    bell = Bell(tmp_path)
    with running(listen_for_ever, tmp_path) as (process, said):
        assert told(said) == "listening"
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    assert (tmp_path / "other.bell").exists()
    living = Listener(tmp_path, "living")
    bell.ring()
    assert [path.name for path in tmp_path.iterdir()] == ["living.bell"]
    assert heard(living)
    living.close()
    bell.close()


def test_a_listener_that_does_not_listen_holds_up_nobody(tmp_path: Path) -> None:
    deaf, other, bell = Listener(tmp_path, "deaf"), Listener(tmp_path, "other"), Bell(tmp_path)
    for _ in range(2000):
        bell.ring()
        other.clear()
    bell.ring()
    assert heard(deaf)
    assert heard(other)
    deaf.clear()
    for one in (deaf, other):
        one.close()
    bell.close()


def test_a_home_deeper_than_an_address_can_say_is_rung_too(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120) / ("e" * 120)
    deep.mkdir(parents=True)
    listener, bell = Listener(deep, "0" * 32), Bell(deep)
    bell.ring()
    assert heard(listener)
    listener.close()
    bell.close()


def test_a_ring_never_fails_whatever_lies_in_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file.bell").touch()
    (tmp_path / "folder.bell").mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        stream.bind(str(tmp_path / "stream.bell"))
        bell = Bell(tmp_path)
        bell.ring()
        bell.close()
    gone = Bell(tmp_path / "nowhere")
    gone.ring()
    gone.close()


def test_where_nobody_can_listen_it_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        Listener(tmp_path / "nowhere", "a")
    (tmp_path / "taken").touch()
    with pytest.raises(OSError, match="in use"):
        Listener(tmp_path, "taken")
