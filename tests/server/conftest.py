"""Homes shared by the tests of one module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.server.home import Place, found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A home of its own for each module; its workers are gone afterwards."""
    place = found(tmp_path_factory.mktemp("server"))
    yield place
    place.end_workers()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The event loop of async tests: the one the server runs on."""
    return "asyncio"
