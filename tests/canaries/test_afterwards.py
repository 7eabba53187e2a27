"""The look after a whole run finds what it is there for: in files of homes, in output, with workers and without."""

from __future__ import annotations

import base64
import gzip
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.canaries.afterwards import Afterwards, gives_away, states
from tests.canaries.marks import MARK, Canaries, forms

ROOT = Path(__file__).parents[2]
INNOCENT = "def test_nothing(tmp_path):\n    (tmp_path / 'config').write_text(MARK)\n"
IN_A_FILE = """
def test_a_file(tmp_path):
    (tmp_path / 'home/state/cache').mkdir(parents=True)
    (tmp_path / 'home/state/cache/config').write_bytes(b'url = https://' + MARK.encode() + b'@h')
"""
IN_THE_OUTPUT = "def test_output():\n    print(f'token={MARK}')\n"
IN_THE_LOG = "import logging\ndef test_log():\n    logging.getLogger('x').warning('token=%s', MARK)\n"


def run(folder: Path, tests: str, *options: str) -> subprocess.CompletedProcess[str]:
    folder.mkdir()
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    (folder / "test_it.py").write_text(f"from tests.canaries.marks import MARK\n{tests}", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "tests.canaries.afterwards", "-p", "no:cacheprovider"]
    return subprocess.run(
        [*command, "-p", "no:kmock", f"--basetemp={folder}/base", *options, str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder whose leaks are gone when the run that this test belongs to is looked at."""
    folder = tmp_path / "run"
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["alone", "with workers"])
def test_a_credential_that_leaked_makes_a_run_fail(folder: Path, options: tuple[str, ...]) -> None:
    done = run(folder, INNOCENT + IN_A_FILE + IN_THE_OUTPUT + IN_THE_LOG, *options)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "3 credentials of the test bed" in done.stdout
    for said in ("home/state/cache/config", "test_output: Captured stdout call", "test_log: Captured log call"):
        assert said in done.stdout
    assert "4 passed" in done.stdout


def test_a_run_without_a_leak_says_so(folder: Path) -> None:
    done = run(folder, INNOCENT)
    assert (done.returncode, "0 credentials of the test bed in 0 files" in done.stdout) == (0, True), done.stdout


@pytest.mark.parametrize("before", range(4))
@pytest.mark.parametrize("after", range(4))
def test_a_credential_is_found_in_whatever_form(before: int, after: int) -> None:
    whole = b"x" * before + f"ghp_{MARK}1234".encode() + b"y" * after
    for data in (whole, base64.b64encode(whole), base64.urlsafe_b64encode(whole), whole.hex().encode()):
        assert gives_away(b"{" + data + b"}")
    canaries = Canaries({"token": f"a/b+{MARK}?"})
    data = base64.b64encode(b"z" * before + f"a/b+{MARK}?".encode() + b"z" * after)
    assert canaries.sightings(data) == ["token"]
    assert canaries.sightings(gzip.compress(whole)) == []


def test_a_key_is_found_by_any_of_its_lines() -> None:
    pem = "-----BEGIN KEY-----\n" + "A" * 64 + "\n" + "B" * 64 + "\nCCCC=\n-----END KEY-----\n"
    assert forms(pem) == {b"A" * 64, b"B" * 64}


def test_only_what_homes_keep_is_looked_at(folder: Path) -> None:
    for name in ("home/state/ledger.db", "home/state/run/worker.log", "home/keyturn.toml", "keys/token"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(MARK, encoding="ascii")
    (folder / "home/state/link").symlink_to(folder / "keys/token")
    assert {path.name for path in states(folder)} == {"ledger.db", "worker.log"}
    afterwards = Afterwards()
    afterwards.folder(folder)
    assert len(afterwards.found) == 2
