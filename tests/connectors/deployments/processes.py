"""Real processes for the tests of folder back ends: racing ones, and ones that die at a chosen step."""

from __future__ import annotations

import multiprocessing
import os
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from typing import Any

from keyturn.connectors.files import Disk
from keyturn.model.tool import ActionRef

RACERS = 8
DIED = 9

_context = multiprocessing.get_context("forkserver")
# pytest too: every child imports the main module of its parent again; and what anyio would import in each child
_context.set_forkserver_preload(
    [
        "pytest",
        "anyio._backends._asyncio",
        "tests.connectors.deployments.world",
        "tests.connectors.kubernetes.world",
        "tests.connectors.tickets.world",
    ]
)
_start: list[Barrier] = []


def action(number: int, principal: str = "claude") -> ActionRef:
    return ActionRef(action=f"019aa1b2-c3d4-7000-8000-{number:012x}", principal=principal, reason="because")


class SwiftDisk(Disk):
    """Leaves out the waiting for the disk: these tests end processes, not machines."""

    def sync(self, fd: int) -> None:
        pass


class DyingDisk(SwiftDisk):
    """Ends the process at a step, counted from zero; with `half`, a write there leaves half of its bytes behind."""

    def __init__(self, step: int, *, half: bool) -> None:
        self.left = step
        self.half = half

    def _step(self) -> None:
        if self.left == 0:
            os._exit(DIED)
        self.left -= 1

    def write(self, fd: int, data: bytes) -> None:
        if self.left == 0 and self.half:
            super().write(fd, data[: len(data) // 2])
        self._step()
        super().write(fd, data)

    def sync(self, fd: int) -> None:
        self._step()
        super().sync(fd)

    def truncate(self, fd: int, size: int) -> None:
        self._step()
        super().truncate(fd, size)

    def rename(self, folder: int, name: str, to_folder: int, to_name: str) -> None:
        self._step()
        super().rename(folder, name, to_folder, to_name)

    def link(self, folder: int, name: str, new: str) -> None:
        self._step()
        super().link(folder, name, new)

    def symlink(self, text: str, folder: int, name: str) -> None:
        self._step()
        super().symlink(text, folder, name)

    def unlink(self, folder: int, name: str) -> None:
        self._step()
        super().unlink(folder, name)

    def mkdir(self, folder: int, name: str) -> None:
        self._step()
        super().mkdir(folder, name)


class CountingDisk(DyingDisk):
    """Never ends the process; tells the step at which a name was last put in place."""

    def __init__(self) -> None:
        super().__init__(-1, half=False)
        self.placed: dict[str, int] = {}

    @property
    def steps(self) -> int:
        return -1 - self.left

    def rename(self, folder: int, name: str, to_folder: int, to_name: str) -> None:
        self.placed[to_name] = self.steps
        super().rename(folder, name, to_folder, to_name)


def survive(target: Callable[..., None], arguments: list[tuple[Any, ...]]) -> list[bool]:
    """Call `target` in a process of its own for each of `arguments`; False where it died at its step."""
    ours, theirs = _context.Pipe(duplex=False)
    process = _context.Process(target=_fork_each, args=(target, arguments, theirs))
    process.start()
    process.join(100)
    codes: list[int] = ours.recv()
    assert set(codes) <= {0, DIED}, codes
    return [code == 0 for code in codes]


def _fork_each(target: Callable[..., None], arguments: list[tuple[Any, ...]], answer: Connection) -> None:
    """Fork for each call: this process has one thread, so that is safe, and cheaper than starting each anew."""
    codes = []
    for each in arguments:
        child = os.fork()
        if child == 0:
            try:
                target(*each)
            except BaseException:  # noqa: BLE001 - a forked child must end here, whatever it met
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    answer.send(codes)


def _wait_at(barrier: Barrier) -> None:
    _start.append(barrier)


@contextmanager
def racers() -> Iterator[ProcessPoolExecutor]:
    """Yield a pool whose tasks can wait for each other with `together`."""
    barrier = _context.Barrier(RACERS)
    with ProcessPoolExecutor(RACERS, _context, _wait_at, (barrier,)) as pool:
        yield pool


def together() -> None:
    _start[0].wait(30)


def race(target: Callable[..., str], arguments: list[tuple[Any, ...]]) -> list[str]:
    """Call `target` in as many processes as there are arguments, and return what they say."""
    with racers() as pool:
        return [future.result(60) for future in [pool.submit(target, *each) for each in arguments]]
