"""`keyturn schema`: what editors need, without a home."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.operator import tell
from tests.cli.test_programs import program

PUBLISHED = Path(__file__).parents[2] / "docs/reference"
FILES = {
    "policy": "policy.schema.json",
    "part": "policy-part.schema.json",
    "cases": "policy-cases.schema.json",
    "wiring": "keyturn.schema.json",
}


def test_the_program_prints_what_is_published_and_needs_no_home(tmp_path: Path) -> None:
    said = program("schema", KEYTURN_HOME=str(tmp_path / "nowhere"))
    assert (said.code, said.err) == (0, "")
    assert said.out == (PUBLISHED / "policy.schema.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("about", FILES)
def test_each_schema_is_printed_under_its_name(about: str) -> None:
    held = (PUBLISHED / FILES[about]).read_text(encoding="utf-8")
    assert tell("schema", about).out == held
    assert tell("schema", about, "--json").json == json.loads(held)
    assert tell("schema", about, "--json=title").json == {"title": json.loads(held)["title"]}


def test_all_of_them_are_written_into_a_folder_and_again(tmp_path: Path) -> None:
    folder = tmp_path / "home" / "schemas"
    for _ in range(2):
        said = tell("schema", "--into", folder)
        assert said.code == 0
        assert said.out.splitlines() == [str(folder / name) for name in FILES.values()]
        assert "#:schema ./policy.schema.json" in said.err
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        name: (PUBLISHED / name).read_text() for name in FILES.values()
    }
    assert tell("schema", "--into", folder, "--json").json == {
        "written": [str(folder / name) for name in FILES.values()]
    }


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = tell("schema", "--into", tmp_path / "file" / "schemas")
    assert said.code == 1
    assert f"{tmp_path / 'file' / 'schemas'}: " in said.err


def test_what_there_is_no_schema_of_is_refused() -> None:
    assert tell("schema", "ledger").code == 2
