"""The wheel alone is enough to make a home, away from the checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.assembly.people import public

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("uv is not installed")
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([uv, "build", "--quiet", "--wheel", "--out-dir", str(folder), str(ROOT)], check=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_carries_the_starter_files_as_they_are(unpacked: Path) -> None:
    starter = unpacked / "keyturn" / "starter"
    files = [
        "policy.toml",
        "keyturn.toml",
        *(f"tool_schemas/{path.name}" for path in (ROOT / "tool_schemas").iterdir()),
    ]
    assert sorted(str(path.relative_to(starter)) for path in starter.rglob("*") if path.is_file()) == sorted(files)
    own = ROOT / "src" / "keyturn" / "starter"
    places = {name: (own if name == "policy.toml" else ROOT) / name for name in files}
    assert all((starter / name).read_bytes() == place.read_bytes() for name, place in places.items())


def test_a_home_is_made_from_the_wheel_alone(unpacked: Path, tmp_path: Path, alice: Path) -> None:
    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "keyturn", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(unpacked)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    made = json.loads(run("init", "home", "--reviewer", f"alice={public(alice)}", "--json"))
    assert made["home"] == str(tmp_path / "home")
    checked = json.loads(run("--home", "home", "policy", "check", "--json"))
    assert (checked["ok"], checked["differs"]) == (True, False)
