"""Waiting for an anchor no longer than it may take, whatever holds it: a dead mount keeps a thread for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from keyturn.model.errors import ConnectorError

T = TypeVar("T")


class Patient(Generic[T]):
    """A call in a thread of its own, which nobody waits for when this process ends."""

    def __init__(self, name: str, call: Callable[[], T]) -> None:
        self._call = call
        self._result: T | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"anchor {name}", daemon=True)
        self._thread.start()

    @property
    def over(self) -> bool:
        """Whether the call has ended."""
        return not self._thread.is_alive()

    def wait(self, seconds: float) -> T:
        """Return or raise what the call does. Raises `ConnectorError` (retry) when it takes longer."""
        self._thread.join(seconds)
        if self._thread.is_alive():
            raise ConnectorError(f"does not answer within {seconds:g} s", kind="retry")
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]  # it ended without an error, so this is its result

    def _run(self) -> None:
        try:
            self._result = self._call()
        except BaseException as error:  # noqa: BLE001 - whoever waits raises it
            self._error = error
