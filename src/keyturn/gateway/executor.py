"""The executor of one process: the instance its intents are written under, what it runs, and where that runs.

Effects belong to the process, not to the call that asked for them: they run in the task group of the work loop, which
a client that hangs up does not reach.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import anyio
from anyio.abc import TaskGroup

from keyturn.ledger.lock import InstanceLock

AT_ONCE = 32
"""Actions, each on a target of its own, that one process runs side by side."""


@dataclass(slots=True)
class Executor:
    """One executing process.

    instance   the id its intents name
    lock       proves to other processes that it is alive
    running    ids of the actions it has begun and whose outcome is not recorded yet
    stopping   it begins nothing more; what runs is finished
    crew       where effects run; None while the work loop does not
    """

    instance: str
    lock: InstanceLock
    at_once: int = AT_ONCE
    running: set[str] = field(default_factory=set)
    stopping: bool = False
    crew: TaskGroup | None = None
    _guard: threading.Lock = field(default_factory=threading.Lock)
    _observers: list[set[str]] = field(default_factory=list)
    _passed_over: bool = False
    _call: anyio.Event = field(default_factory=anyio.Event)

    @property
    def accepting(self) -> bool:
        """Whether an action that is decided here now may begin here at once."""
        return self.crew is not None and not self.stopping

    @property
    def free(self) -> int:
        """How many more actions may begin."""
        return 0 if self.stopping else max(0, self.at_once - len(self.running))

    def take(self, action_id: str) -> bool:
        """Count an action as running here, unless there are enough or the process is stopping.

        To be done before its intent is durable: an own intent that is not counted was left behind.
        """
        with self._guard:
            if not self.free:
                self._passed_over = True
                return False
            self.running.add(action_id)
            for observer in self._observers:
                observer.add(action_id)
            return True

    def give_back(self, action_id: str) -> None:
        """Count an action as running no more. Wakes the loop when something was passed over meanwhile."""
        with self._guard:
            self.running.discard(action_id)
            due = self._passed_over
        if due:
            self.wake()

    def pass_over(self) -> None:
        """Remember that an action was left for later because its target was busy."""
        self._passed_over = True

    @contextmanager
    def observed(self) -> Iterator[set[str]]:
        """Yield the ids of all actions that run here at any moment of the block."""
        seen: set[str] = set()
        with self._guard:
            seen |= self.running
            self._observers.append(seen)
        try:
            yield seen
        finally:
            with self._guard:
                self._observers = [observer for observer in self._observers if observer is not seen]

    def wake(self) -> None:
        """Have the work loop look now. From the event loop's thread."""
        self._passed_over = False
        self._call.set()

    async def called(self, seconds: float) -> None:
        """Return once somebody has called `wake`, or after `seconds`."""
        with anyio.move_on_after(seconds):
            await self._call.wait()
        self._call = anyio.Event()
