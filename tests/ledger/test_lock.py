"""Locks between processes: bounded waits, no leaks, and instances that are alive or dead."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from keyturn.ledger.errors import LedgerUnavailable
from keyturn.ledger.lock import _Queue, _try_lock, held, take_instance
from tests.ledger.processes import hold, live, running, told


def still_open(path: Path) -> int:
    return sum(link.readlink() == path for link in Path("/proc/self/fd").iterdir() if link.is_symlink())


def lock_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "ledger-lock" and thread.is_alive()]


def finish_lock_threads() -> None:
    for thread in lock_threads():
        thread.join(10)


def test_a_lock_waits_for_its_holder_and_then_is_held(tmp_path: Path) -> None:
    path = tmp_path / "ledger.lock"
    with running(hold, path, "first") as (_, said), ThreadPoolExecutor(1) as pool:
        assert told(said) == "held"

        def second() -> str:
            with held(path, "second"):
                return path.read_text(encoding="utf-8").strip()

        waiting = pool.submit(second)
        said.send("let go")
        assert waiting.result(60) == "second"


def test_a_wait_that_is_too_long_names_the_holder(tmp_path: Path) -> None:
    path = tmp_path / "ledger.lock"
    with held(path, "keyturn serve"):
        words = r"held by keyturn serve for more than 0\.1 s; try again"
        with pytest.raises(LedgerUnavailable, match=words), held(path, "impatient", wait=0.1):
            pytest.fail("it was not free")
        os.truncate(path, 0)
        with pytest.raises(LedgerUnavailable, match="held by another process"), held(path, "impatient", wait=0.01):
            pytest.fail("it was not free")


def test_a_wait_ends_when_it_was_told_to(tmp_path: Path) -> None:
    """A busy machine may make one wait late, not each of several."""
    path, waits = tmp_path / "ledger.lock", []
    with held(path, "long"):
        for _ in range(8):
            started = time.monotonic()
            with pytest.raises(LedgerUnavailable), held(path, "impatient", wait=0.1):
                pytest.fail("it was not free")
            waits.append(time.monotonic() - started)
            if waits[-1] < 1:
                break
    assert min(waits) < 1
    assert all(wait >= 0.1 for wait in waits)


def test_a_lock_that_the_kernel_refuses_says_why_at_once_and_leaks_no_file(tmp_path: Path) -> None:
    path = tmp_path / "ledger.lock"
    path.touch()
    # O_PATH opens no file that could be locked: flock fails with EBADF as it would where a file system has no locks.
    with pytest.raises(LedgerUnavailable, match="cannot be locked: Bad file descriptor"):
        _Queue(path, os.open(path, os.O_PATH)).wait(60)
    with pytest.raises(LedgerUnavailable, match="cannot be locked: Bad file descriptor"):
        _try_lock(path, os.open(path, os.O_PATH))
    finish_lock_threads()
    assert still_open(path) == 0


def test_a_waiter_that_gave_up_lets_the_lock_go_as_soon_as_it_comes_and_leaks_no_file(tmp_path: Path) -> None:
    path = tmp_path / "ledger.lock"
    for _ in range(3):
        with held(path, "long"):
            for _ in range(3):
                with pytest.raises(LedgerUnavailable), held(path, "impatient", wait=0.01):
                    pytest.fail("it was not free")
        with held(path, "next", wait=5):
            pass
    finish_lock_threads()
    assert still_open(path) == 0


@pytest.mark.usefixtures("interruptible")
def test_a_waiter_that_is_interrupted_leaks_neither_lock_nor_file(tmp_path: Path) -> None:
    path = tmp_path / "ledger.lock"

    def interrupt() -> None:
        while not lock_threads():
            os.sched_yield()
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    with ThreadPoolExecutor(1) as pool, held(path, "long"):
        done = pool.submit(interrupt)
        with pytest.raises(KeyboardInterrupt), held(path, "interrupted", wait=10):
            pytest.fail("it was not free")
        done.result(10)
    with held(path, "next", wait=5):
        pass
    finish_lock_threads()
    assert still_open(path) == 0


def test_a_lock_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for path, words in ((tmp_path / "no" / "lock", "No such file"), (tmp_path / "link", "symbolic link")):
        with pytest.raises(LedgerUnavailable, match=words), held(path, "test"):
            pytest.fail("it opened")


def test_a_holders_name_that_cannot_be_written_keeps_nobody_from_the_lock() -> None:
    # On /dev/full every write fails as on a full disk.
    with held(Path("/dev/full"), "test"):
        pass


def test_a_longer_name_is_cut_and_a_shorter_one_leaves_nothing_of_it(tmp_path: Path) -> None:
    path = tmp_path / "ledger.lock"
    for name in ("x" * 500, "short"):
        with held(path, name):
            assert path.read_text(encoding="utf-8").strip() == name[:200]


def test_the_lock_of_a_living_instance_cannot_be_taken_and_that_of_a_killed_one_can(tmp_path: Path) -> None:
    instance = "a" * 32
    with running(live, tmp_path, instance) as (process, said):
        assert told(said) is True
        assert take_instance(tmp_path, instance) is None
        process.kill()
        process.join()
        lock = take_instance(tmp_path, instance)
        assert lock is not None
    assert take_instance(tmp_path, instance) is None
    lock.release()
    again = take_instance(tmp_path, instance)
    assert again is not None
    again.release(forget=True)
    assert list(tmp_path.iterdir()) == []


def test_forgetting_an_instance_whose_file_is_gone_is_no_failure(tmp_path: Path) -> None:
    lock = take_instance(tmp_path, "b" * 32)
    assert lock is not None
    lock.path.unlink()
    lock.release(forget=True)


def test_no_two_hold_the_lock_of_one_instance_even_while_it_is_forgotten(tmp_path: Path) -> None:
    """One opens the file, its holder forgets it, another makes it anew: the first must not hold a nameless lock."""
    holders: list[int] = []
    wrong: list[str] = []

    def take_and_forget(number: int) -> None:
        for _ in range(300):
            lock = take_instance(tmp_path, "c" * 32)
            if lock is None:
                continue
            holders.append(number)
            if len(holders) > 1:
                wrong.append(f"held by {holders}")
            os.sched_yield()
            holders.remove(number)
            lock.release(forget=True)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(take_and_forget, range(4)))
    assert wrong == []


def test_a_look_at_whether_an_instance_lives_does_not_keep_it_from_beginning(tmp_path: Path) -> None:
    """A worker that takes its turn while somebody asks whether there is one must not take this for another worker."""
    looks = os.open(tmp_path / "worker", os.O_RDWR | os.O_CREAT)
    fcntl.flock(looks, fcntl.LOCK_SH)
    with ThreadPoolExecutor(1) as pool:
        taking = pool.submit(take_instance, tmp_path, "worker")
        with pytest.raises(TimeoutError):
            taking.result(0.05)
        os.close(looks)
        lock = taking.result(10)
    assert lock is not None
    assert take_instance(tmp_path, "worker") is None
    lock.release()


def test_a_look_that_never_ends_is_not_waited_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keyturn.ledger.lock._LOOKED_AT", 0.02)
    looks = os.open(tmp_path / "worker", os.O_RDWR | os.O_CREAT)
    fcntl.flock(looks, fcntl.LOCK_SH)
    assert take_instance(tmp_path, "worker") is None
    os.close(looks)
