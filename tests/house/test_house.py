"""The house itself: rooms, arrows, starter files, and what the README promises about them."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PACKAGE = ROOT / "src" / "keyturn"


def first_sentence(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.split("\n\n")[0].replace("\n", " ")


def rooms() -> dict[str, str]:
    found = {}
    for path in sorted(PACKAGE.iterdir()):
        if path.is_dir() and (path / "__init__.py").is_file():
            found[f"{path.name}/"] = first_sentence(path / "__init__.py")
        elif path.suffix == ".py" and not path.name.startswith("__"):
            found[path.name] = first_sentence(path)
    return found


def test_the_map_in_the_readme_says_what_the_rooms_say_of_themselves() -> None:
    rows = dict(re.findall(r"^\| `([^`]+)` \| (.+) \|$", README, re.MULTILINE))
    assert rows == rooms()


def test_the_arrows_between_the_rooms_hold() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_module_opens_with_a_sentence() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in PACKAGE.rglob("*.py")
        if not first_sentence(path).rstrip("`").endswith((".", ":"))
    ]
    assert silent == []


def test_the_checks_run_the_commands_that_the_readme_gives() -> None:
    commands = re.findall(r"^uv run (\S.*)$", README, re.MULTILINE)[:2]
    checks = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert commands == ["keyturn demo", "pytest -n auto"]
    assert all(f"uv run --locked {command}\n" in checks for command in commands)


@pytest.mark.parametrize("word", ["utils", "helpers", "common", "manager", "service"])
def test_no_module_is_named_after_nothing(word: str) -> None:
    assert list(PACKAGE.rglob(f"*{word}*.py")) == []
