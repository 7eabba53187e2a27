"""Readiness says in one word why calls cannot be taken."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from keyturn.contracts import catalog_of
from keyturn.server.fault import Fault
from keyturn.server.http.readiness import Readiness
from keyturn.server.leaving import Leaving
from tests.server.home import ROOT, Place, found

pytestmark = pytest.mark.anyio


async def test_all_is_well_and_nothing_is_written_however_many_ask(place: Place) -> None:
    with place.gateway() as gate:
        size = gate.ledger.look(lambda view: view.head.size)
        ready = Readiness(gate, Fault(), Leaving(), place.home.place.folder)
        for _ in range(100):
            assert await ready.why_not() is None
        assert gate.ledger.look(lambda view: view.head.size) == size


async def test_a_server_that_leaves_is_not_ready(place: Place) -> None:
    with place.gateway() as gate:
        leaving = Leaving()
        leaving.begin()
        assert await Readiness(gate, Fault(), leaving, None).why_not() == "stopping"


async def test_a_full_disk_is_told_before_a_call_meets_it(place: Place) -> None:
    with place.gateway() as gate:
        full = Path("/proc")  # a file system without a byte to spare
        assert await Readiness(gate, Fault(), Leaving(), full).why_not() == "ledger_unavailable"


async def test_other_contracts_than_the_published_ones_are_told(place: Place) -> None:
    files = {path.name: path.read_text() for path in (ROOT / "tool_schemas").glob("*.v1.json")}
    del files["get_ticket.v1.json"]
    with place.gateway() as gate:
        moved = replace(gate, catalog=catalog_of(files))
        assert await Readiness(moved, Fault(), Leaving(), None).why_not() == "not_consented"


async def test_a_ledger_that_cannot_be_trusted_ends_the_server(tmp_path: Path) -> None:
    place = found(tmp_path)
    with place.gateway() as gate:
        fault = Fault()
        ready = Readiness(gate, fault, Leaving(), None)
        database = place.home.place.database
        database.with_name(database.name + "-wal").unlink(missing_ok=True)
        database.write_bytes(b"no database at all" * 1000)
        assert await ready.why_not() == "ledger_lost"
        assert fault.error is not None
        assert await ready.why_not() == "stopping"
