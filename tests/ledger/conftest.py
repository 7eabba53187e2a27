"""A founded ledger for each test."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyturn.ledger.place import Place
from keyturn.ledger.writer import Ledger
from tests.ledger.world import Uses, found_ledger, opened


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """The state folder of a new ledger: log.opened, key.added, catalog.published."""
    return found_ledger(tmp_path / "state").place


@pytest.fixture
def ledger(place: Place) -> Iterator[Ledger[Uses]]:
    """That ledger, opened for writing."""
    with opened(place) as ledger:
        yield ledger


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, also where the tests were started in the background with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
