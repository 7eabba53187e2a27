"""`keyturn connector list` and `check`: what is declared, and how each of it does, whatever the others do."""

from __future__ import annotations

import re
import time
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from keyturn.assembly import back_ends, connectors, wiring
from tests.cli.operator import Operator, tell
from tests.cli.test_terminal import bare, shown
from tests.gateway.world import World, found


@pytest.fixture
def odd(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> Operator:
    """A home whose installation knows one more kind of tracker."""
    known = {port: dict(kinds) for port, kinds in back_ends.BACK_ENDS.items()}
    known["tickets"]["odd"] = "tests.cli.odd_back_end"
    for module in (back_ends, connectors, wiring):
        monkeypatch.setattr(module, "BACK_ENDS", MappingProxyType(known))
    return operator


def declare(operator: Operator, name: str, does: str, more: str = "") -> None:
    with (operator.home / "keyturn.toml").open("a", encoding="utf-8") as file:
        file.write(f'\n[tickets.{name}]\nkind = "odd"\ndoes = "{does}"\n{more}\n')


def texts(rows: list[dict[str, Any]], name: str) -> list[tuple[str, str, str]]:
    return [(row["level"], row["text"], row["advice"]) for row in rows if row["name"] == name]


def test_what_is_declared_is_listed(operator: Operator) -> None:
    said = operator.tell("connector", "list", "--json=port,name,kind,problems")
    assert (said.code, said.err) == (0, "")
    assert said.json == [
        {"port": "forge", "name": "shop", "kind": "git", "problems": []},
        {"port": "deployments", "name": "web", "kind": "releases", "problems": []},
        {"port": "tickets", "name": "ops", "kind": "folder", "problems": []},
    ]
    rows = operator.tell("connector", "list").rows
    assert rows[0][:3] == ["forge", "shop", "git"]
    assert rows[0][3].endswith("/samples/shop.git")
    assert rows[1][3] == "staging, production"


def test_listing_runs_nothing_and_names_what_cannot_be_built(odd: Operator) -> None:
    declare(odd, "new", "fine")
    declare(odd, "none", "unbuilt")
    said = odd.tell("connector", "list")
    assert said.code == 0
    assert ["tickets", "new", "odd", "https://odd.example", ""] in said.rows
    assert said.err == "keyturn: tickets.none.url: cannot be meant\n"
    assert not (odd.home / "ran").exists()


def test_a_fresh_home_checks_well(operator: Operator) -> None:
    said = operator.tell("connector", "check")
    assert said.code == 0, said.out + said.err
    assert {tuple(row[1:3]) for row in said.rows} == {("forge", "shop"), ("deployments", "web"), ("tickets", "ops")}
    assert {row[0] for row in said.rows} <= {"ok", "note"}


def test_each_back_end_is_told_whatever_the_others_do(odd: Operator) -> None:
    for name, does in (
        ("a-good", "fine"),
        ("b-poor", "is wrong"),
        ("c-away", "raises"),
        ("d-broken", "breaks"),
        ("e-none", "unbuilt"),
        ("f-bad", "misconfigured"),
    ):
        declare(odd, name, does)
    said = odd.tell("connector", "check", "--json")
    assert said.code == 1
    assert texts(said.json, "b-poor") == [
        ("note", "runs an old version", ""),
        ("wrong", "may not write", "grant issues:write"),
    ]
    assert texts(said.json, "c-away") == [("wrong", "odd: cannot be reached", "")]
    assert texts(said.json, "d-broken") == [
        ("wrong", "the check itself failed (KeyError): that is a fault of Keyturn", "")
    ]
    assert texts(said.json, "e-none") == [("wrong", "it cannot be built: tickets.e-none.url: cannot be meant", "")]
    assert texts(said.json, "f-bad") == [("wrong", "odd: the key is none", "")]
    assert texts(said.json, "ops")
    assert "hush" not in said.out + said.err


def test_checking_runs_programs_for_credentials(odd: Operator) -> None:
    declare(odd, "new", "fine")
    said = odd.tell("connector", "check", "new", "--json")
    assert said.code == 0
    assert "the program touch printed is empty" in said.json[0]["text"]
    assert (odd.home / "ran").exists()


def test_one_that_hangs_is_given_up_and_the_others_are_told_meanwhile(odd: Operator) -> None:
    path = odd.home / "keyturn.toml"
    path.write_text(f"{path.read_text(encoding='utf-8')}\n[timeouts]\nplan = 1\n", encoding="utf-8")
    declare(odd, "slow", "hangs")
    declare(odd, "slower", "hangs")
    began = time.monotonic()
    said = odd.tell("connector", "check", "--json")
    assert time.monotonic() - began < 30
    assert said.code == 1
    for name in ("slow", "slower"):
        assert texts(said.json, name) == [
            ("wrong", "no answer within 1 s", "look whether it can be reached from here")
        ]
    assert texts(said.json, "shop")[0][0] == "ok"


@pytest.mark.parametrize("name", ["shop", "forge.shop"])
def test_only_what_is_named_is_checked(odd: Operator, name: str) -> None:
    declare(odd, "poor", "is wrong")
    said = odd.tell("connector", "check", name)
    assert said.code == 0
    assert {row[2] for row in said.rows} == {"shop"}


def test_a_name_that_is_not_declared_is_told(operator: Operator) -> None:
    said = operator.tell("connector", "check", "shop", "nobody")
    assert said.code == 5
    assert said.err == (
        "keyturn: keyturn.toml declares no nobody; it declares: forge.shop, deployments.web, tickets.ops\n"
    )


def test_a_wiring_without_systems_is_told(operator: Operator) -> None:
    (operator.home / "keyturn.toml").write_text("version = 1\n", encoding="utf-8")
    for verb in ("check", "list"):
        said = operator.tell("connector", verb)
        assert (said.code, said.out) == (0, "")
    assert operator.tell("connector", "check").err == "keyturn.toml declares no system\n"


def test_a_wiring_that_cannot_be_read_is_told_with_dotted_paths(operator: Operator) -> None:
    (operator.home / "keyturn.toml").write_text(
        'version = 1\n[forge.shop]\nkind = "git"\npath = 7\n[tickets.ops]\nkind = "folder"\n', encoding="utf-8"
    )
    said = operator.tell("connector", "check")
    assert said.code == 1
    assert "keyturn.toml: forge.shop.path: " in said.err
    assert "keyturn.toml: tickets.ops.path: is missing" in said.err


def test_what_is_wrong_deep_in_a_table_is_told_with_its_whole_path(odd: Operator) -> None:
    declare(odd, "deep", "fine", 'app = { id = "x", key = "hush-hush", extra = 1 }')
    declare(odd, "both", "raises", 'app = { id = 1, key = "env:KEY" }')
    said = odd.tell("connector", "check")
    assert said.code == 1
    assert "hush" not in said.err
    told = [line.removeprefix("keyturn: keyturn.toml: tickets.") for line in said.err.splitlines()]
    assert told[0].startswith("deep.app.id: Input should be a valid integer")
    assert told[1:] == [
        "deep.app.key: must be env:NAME, file:PATH or command:WORDS",
        "deep.app.extra: is not known",
        "both: give either this or that",
    ]


def test_a_folder_that_is_no_home_is_told(tmp_path: Path) -> None:
    said = tell("--home", tmp_path, "connector", "check")
    assert (said.code, "is no Keyturn home" in said.err) == (1, True)


def test_on_a_terminal_each_system_has_a_heading(tmp_path: Path) -> None:
    made = tmp_path / "founded"
    made.mkdir()
    world = World(tmp_path / "home", found(made))
    world.close()
    (world.home.folder / "samples" / "tickets").rename(tmp_path / "tickets")
    screen = bare(shown(world, "connector", "check", code=1))
    assert "forge.shop git /" in screen
    assert "✓ " in screen
    assert re.search(r"✗ .*\n +→ ", screen)
    assert re.search(r"[0-9]+ well, [0-9]+ to know, 1 to mend", screen)
    assert "NAME" in bare(shown(world, "connector", "list"))
