"""Reading `keyturn.toml`: every problem at once, each with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from keyturn.assembly.starter import starter_folder
from keyturn.assembly.wiring import MAX_BYTES, read_wiring
from keyturn.model.errors import ConfigurationError


def problems(tmp_path: Path, text: str | bytes) -> tuple[str, ...]:
    path = tmp_path / "keyturn.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigurationError) as caught:
        read_wiring(path)
    return caught.value.problems


def test_the_starters_wiring_loads() -> None:
    wiring = read_wiring(starter_folder() / "keyturn.toml")
    assert (set(wiring.forge), set(wiring.deployments), set(wiring.tickets)) == ({"shop"}, {"web"}, {"ops"})


def test_all_problems_come_at_once_each_with_its_dotted_path(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        'version = 2\nname = "Not A Name"\ncolour = "red"\n[forge.shop]\nkind = "git"\n[forge."../x"]\nkind = "git"\n'
        'path = "x"\n[deployments.web]\nkind = "releases"\nenvironments = { staging = 7 }\n'
        '[tickets.ops]\nkind = "jira"\npath = "t"\n',
    )
    places = [problem.split(": ")[1] for problem in found]
    for place in ("version", "name", "colour", "forge.shop.path", "tickets.ops.kind"):
        assert place in places, found
    assert any(place.startswith("deployments.web.environments") for place in places)
    assert any(place.startswith("forge.../x") for place in places)
    assert all(problem.startswith("keyturn.toml: ") for problem in found)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("version = 2", "version: this Keyturn knows version 1"),
        ("", "version: is missing"),
        (
            'version = 1\n[forge.shop]\nkind = "git"\npath = "x"\npth = "y"',
            "forge.shop.pth: is not known (did you mean path?)",
        ),
        ("version = 1\nzzz = 1", "zzz: is not known"),
    ],
)
def test_a_problem_is_told_in_words_that_say_what_to_write(tmp_path: Path, text: str, problem: str) -> None:
    assert problems(tmp_path, text) == (f"keyturn.toml: {problem}",)


def test_bytes_that_are_no_text_are_named_by_their_place(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, b"version = 1\n# \xff")
    assert problem.endswith("keyturn.toml: is not UTF-8 at byte 14")


@pytest.mark.parametrize(
    "text",
    [b"\xff\xfe", b"version = ", b"version = 1\nversion = 1\n", b"#" * (MAX_BYTES + 1), b"a=" + b"[" * 5000, b"\0"],
)
def test_a_file_that_is_no_wiring_is_refused_with_its_path(tmp_path: Path, text: bytes) -> None:
    (problem,) = problems(tmp_path, text)
    assert problem.startswith(str(tmp_path / "keyturn.toml"))


def test_a_file_that_is_not_there_is_refused_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        read_wiring(tmp_path / "keyturn.toml")


def test_timeouts_are_by_tool_with_a_default(tmp_path: Path) -> None:
    path = tmp_path / "keyturn.toml"
    path.write_text("version = 1\n[timeouts]\ndefault = 60\nplan = 5\nrollback_deployment = 900\n")
    timeouts = read_wiring(path).timeouts
    assert (timeouts.of("rollback_deployment"), timeouts.of("update_ticket"), timeouts.plan) == (900, 60, 5)
    path.write_text("version = 1\n")
    assert (read_wiring(path).timeouts.of("update_ticket"), read_wiring(path).timeouts.plan) == (600, 60)


@pytest.mark.parametrize("seconds", ["0", "-1", "86401", "1.5", "true", '"60"'])
def test_a_timeout_is_a_whole_number_of_seconds(tmp_path: Path, seconds: str) -> None:
    path = tmp_path / "keyturn.toml"
    for name in ("default", "plan", "update_ticket"):
        path.write_text(f"version = 1\n[timeouts]\n{name} = {seconds}\n")
        with pytest.raises(ConfigurationError, match=f"timeouts.{name}: "):
            read_wiring(path)
