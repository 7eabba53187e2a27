"""`keyturn status` of a home in which nothing can start."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.operator import Operator


def _edit_a_contract(home: Path) -> None:
    path = home / "tool_schemas" / "get_ticket.v1.json"
    path.write_text(path.read_text().replace('"description": "', '"description": "Not ', 1))


def _open_the_key(home: Path) -> None:
    (home / "state" / "keys" / "entry.key").chmod(0o644)


def _lose_the_repository(home: Path) -> None:
    shutil.rmtree(home / "samples" / "shop.git")


def _misspell_the_wiring(home: Path) -> None:
    path = home / "keyturn.toml"
    path.write_text(path.read_text().replace("path", "pth"))


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (_edit_a_contract, "tool_schemas/get_ticket"),
        (_open_the_key, "entry.key"),
        (_lose_the_repository, "shop.git"),
        (_misspell_the_wiring, "keyturn.toml"),
    ],
)
def test_what_keeps_a_server_from_starting_is_told(
    operator: Operator, harm: Callable[[Path], None], told: str
) -> None:
    well = operator.tell("status", "--json=obstacles")
    assert (well.code, well.json) == (0, {"obstacles": []})
    harm(operator.home)
    said = operator.tell("status", "--json=obstacles")
    assert said.code == 1
    assert told in said.json["obstacles"][0]


def test_looking_records_nothing(operator: Operator) -> None:
    sizes = [operator.tell("status", "--json=size").json for _ in range(2)]
    assert sizes[0] == sizes[1]


def test_a_proposal_that_does_not_load_is_not_just_different(operator: Operator) -> None:
    operator.edit("50 calls per hour", "50 calls per houres")
    assert operator.tell("status", "--json=proposal").json == {"proposal": "does not load: 2 errors"}
