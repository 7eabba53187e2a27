"""Waiting for an anchor no longer than it may take, whatever holds it: a dead mount keeps a thread for ever.

A fault in a client of an anchor is one more way in which it cannot be had: it ends nothing else.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from keyturn.anchors.judging import Contradicted
from keyturn.model.errors import ConnectorError, LedgerError

T = TypeVar("T")

_log = logging.getLogger(__name__)


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
        """Return or raise what the call does.

        Raises `ConnectorError` when it takes longer (retry), and for a fault that the call does not know.
        """
        self._thread.join(seconds)
        if self._thread.is_alive():
            raise ConnectorError(f"does not answer within {seconds:g} s", kind="retry")
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]  # it ended without an error, so this is its result

    def _run(self) -> None:
        try:
            self._result = self._call()
        except (ConnectorError, Contradicted, LedgerError) as error:
            self._error = error
        except Exception as error:  # noqa: BLE001 - whatever it is, whoever waits is told
            _log.exception("%s", self._thread.name)
            self._error = ConnectorError("an internal error interrupted it")
            self._error.__cause__ = error
