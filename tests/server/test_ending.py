"""A log that ends while a server runs on it and a witness looks on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.cli.operator import Said, tell
from tests.server.home import Place, found
from tests.server.test_anchoring import declare, verifier_of, witnessing
from tests.server.web import site


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = found(tmp_path / "one")
    (tmp_path / "mount").mkdir()
    yield place
    place.end_workers()


def close(place: Place) -> Said:
    return tell("--home", place.folder, "audit", "close", "--key", place.key, "--json")


def verdict(place: Place, *more: str) -> dict[str, Any]:
    return dict(tell("--home", place.folder, "audit", "verify", "--json", *more).json)


def test_a_witness_cosigns_the_end_and_the_log_alone_proves_it(place: Place, tmp_path: Path) -> None:
    with witnessing(tmp_path / "w1", verifier_of(place)) as (url, key):
        declare(place, {"w1": (url, key)}, None)
        done = close(place)
    assert (done.code, done.json["problems"]) == (0, []), done.err
    report = verdict(place, "--witness", key)
    assert (report["verdict"], report["witnessed_size"]) == ("PASS", report["size"])
    exported = tell("--home", place.folder, "audit", "export", "--out", tmp_path / "b.zip")
    assert exported.code == 0, exported.err
    bundled = verdict(place, str(tmp_path / "b.zip"), "--witness", key)
    assert (bundled["verdict"], bundled["closed"]["seq"]) == ("PASS", done.json["entry"])


def test_a_server_that_runs_serves_nothing_more_once_the_log_ends(place: Place, tmp_path: Path) -> None:
    with site(place) as running:
        assert running.envelope(place.token, "get_ticket", ticket="OPS-1")["status"] == "succeeded"
        done = close(place)
        assert done.code == 0, done.err
        size = verdict(place)["size"]
        answer: dict[str, Any] = {}
        with suppress(Exception):  # whatever it answers: nothing is recorded, and so nothing is read
            answer = dict(running.envelope(place.token, "get_ticket", ticket="OPS-1"))
        assert answer.get("status") != "succeeded"
        running.stop()
    report = verdict(place)
    assert (report["first_bad"], report["size"], report["closed"]["seq"]) == (None, size, size - 1)
