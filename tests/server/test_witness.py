"""A witness as a program: made by the command line, served over HTTP, and as strict there as its core."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from keyturn.log.note import parse_note, parse_note_key, verify_note
from keyturn.witness.answering import MAX_BODY
from tests.witness.test_witness import FORKED, LOG, OTHER, TREE

KEYTURN = [sys.executable, "-m", "keyturn"]


@dataclass(frozen=True, slots=True)
class Served:
    """A running witness: its folder, its verifier key, its address."""

    folder: Path
    verifier: str
    process: subprocess.Popen[str]
    url: str

    def submit(self, body: bytes) -> httpx2.Response:
        return httpx2.post(f"{self.url}/add-checkpoint", content=body, timeout=20)


def keyturn(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*KEYTURN, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = keyturn("witness", "init", tmp_path / "w", "--name", "witness.example/w", "--log", str(LOG.key))
    assert made.returncode == 0, made.stderr
    return tmp_path / "w"


@pytest.fixture
def served(folder: Path) -> Iterator[Served]:
    command = [*KEYTURN, "witness", "serve", str(folder), "--http", "127.0.0.1:0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert found is not None, line
        shown = keyturn("witness", "show", folder, "--json")
        assert shown.returncode == 0, shown.stderr
        text = (folder / "witness.toml").read_text()
        assert str(LOG.key) in text
        yield Served(folder, _verifier(folder), process, found[0])
        if process.poll() is None:
            process.terminate()
        process.wait(30)


def _verifier(folder: Path) -> str:
    from keyturn.assembly.witness import verifier_of  # noqa: PLC0415 - as an operator would ask later

    return verifier_of(folder)


def test_a_log_is_cosigned_over_http(served: Served) -> None:
    first = served.submit(TREE.submission(0, 10))
    assert (first.status_code, first.headers["content-type"]) == (200, "text/plain; charset=utf-8")
    note = parse_note(bytes(TREE.note(10)) + first.content)
    (signed,) = verify_note(note, [parse_note_key(served.verifier)])
    assert signed.time is not None
    assert served.submit(TREE.submission(10, 20)).status_code == 200
    shown = keyturn("witness", "show", served.folder, "--json").stdout
    assert f'"origin": "{LOG.key.name}"' in shown
    assert '"size": 20' in shown


def test_a_conflict_tells_the_size_and_nothing_else(served: Served) -> None:
    served.submit(TREE.submission(0, 10))
    refused = served.submit(FORKED.submission(0, 20))
    assert (refused.status_code, refused.headers["content-type"], refused.text) == (409, "text/x.tlog.size", "10\n")
    assert served.submit(FORKED.submission(10, 20)).status_code == 422
    assert served.submit(TREE.submission(0, 20, OTHER)).status_code == 404


def test_other_paths_methods_and_large_bodies_are_refused(served: Served) -> None:
    assert httpx2.get(f"{served.url}/add-checkpoint", timeout=20).status_code == 405
    assert httpx2.post(f"{served.url}/", content=b"", timeout=20).status_code == 404
    assert served.submit(b"x" * (MAX_BODY + 1)).status_code == 413
    assert served.submit(b"old 0\n\n").status_code == 400


def test_what_it_saw_survives_a_kill(served: Served) -> None:
    served.submit(TREE.submission(0, 10))
    os.kill(served.process.pid, signal.SIGKILL)
    served.process.wait(30)
    assert '"size": 10' in keyturn("witness", "show", served.folder, "--json").stdout


def test_it_ends_on_sigterm(served: Served) -> None:
    served.process.terminate()
    assert served.process.wait(30) == 0


def test_a_witness_is_made_once_and_not_served_without_its_memory(folder: Path) -> None:
    again = keyturn("witness", "init", folder, "--name", "w", "--log", str(LOG.key))
    assert again.returncode == 1
    assert "made once" in again.stderr
    (folder / "witness.db").unlink()
    refused = keyturn("witness", "serve", folder, "--http", "127.0.0.1:0")
    assert refused.returncode == 1
    assert "retired with its key" in refused.stderr


@pytest.mark.parametrize(
    ("logs", "words"),
    [(["nonsense"], "form"), ([str(LOG.key)[:-4]], "Ed25519"), (["w+00000000+BA=="], "32 bytes")],
)
def test_a_log_that_is_no_verifier_string_makes_no_witness(tmp_path: Path, logs: list[str], words: str) -> None:
    made = keyturn(
        "witness", "init", tmp_path / "w", "--name", "w", *(part for log in logs for part in ("--log", log))
    )
    assert made.returncode == 1
    assert words in made.stderr
    assert not (tmp_path / "w").exists()


def test_settings_that_are_wrong_are_named(folder: Path) -> None:
    path = folder / "witness.toml"
    path.write_text(path.read_text().replace("version = 1", "version = 2\nlog = 1"))
    refused = keyturn("witness", "show", folder)
    assert refused.returncode == 1
    assert "version" in refused.stderr
    assert "log: Extra inputs" in refused.stderr
