"""Real processes for the tests of folder back ends: racing ones, and ones that die at a chosen step."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.synchronize import Barrier
from typing import Any

from keyturn.connectors.files import Disk
from keyturn.model.tool import ActionRef

RACERS = 8
DIED = 9

_context = multiprocessing.get_context("forkserver")
# pytest too: every child imports the main module of its parent again
_context.set_forkserver_preload(["pytest", "tests.connectors.deployments.world", "tests.connectors.tickets.world"])
_start: list[Barrier] = []


def action(number: int, principal: str = "claude") -> ActionRef:
    return ActionRef(action=f"019aa1b2-c3d4-7000-8000-{number:012x}", principal=principal, reason="because")


class DyingDisk(Disk):
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

    def rename(self, folder: int, name: str, to_folder: int, to_name: str) -> None:
        self.placed[to_name] = -1 - self.left
        super().rename(folder, name, to_folder, to_name)


def survives(target: Callable[..., None], *arguments: Any) -> bool:
    """Run `target` in a process of its own; False if it died at its step, an error if it failed otherwise."""
    process = _context.Process(target=target, args=arguments)
    process.start()
    process.join(30)
    assert process.exitcode in {0, DIED}, process.exitcode
    return process.exitcode == 0


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
