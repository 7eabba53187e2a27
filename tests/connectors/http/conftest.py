"""A scripted server, and doors to it, for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from keyturn.connectors.http import Authority, Connection, Door, FromSource
from tests.connectors.http.server import Script, Server
from tests.connectors.http.sources import CANARY, Fixed
from tests.connectors.surroundings import world_at

Serve = Callable[[Script], Server]
_SECONDS = {"timeout", "deadline", "pause"}
Open = Callable[..., Door]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as stack:
        yield lambda script: stack.enter_context(Server(script))


@pytest.fixture
def door_to(tmp_path: Path) -> Open:
    """Return what opens a door to a server: settings as in `keyturn.toml`, seconds below one allowed."""

    def opened(server: Server, authority: Authority | None = None, **settings: Any) -> Door:
        seconds = {name: settings.pop(name) for name in _SECONDS & settings.keys()}
        connection = Connection.model_validate({"url": server.url, "private": True, **settings})
        return Door(
            place="forge.shop",
            connection=connection.model_copy(update=seconds),
            world=world_at(tmp_path),
            authority=authority or FromSource(Fixed(CANARY)),
        )

    return opened
