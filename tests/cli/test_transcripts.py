"""Every transcript of this folder is what the command line says today."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyturn.assembly.standing import take_worker_turn
from tests.cli import transcripts
from tests.gateway.world import Founded, World


@pytest.fixture
def stage(tmp_path: Path, populated: Founded, monkeypatch: pytest.MonkeyPatch) -> Iterator[transcripts.Stage]:
    world = World(tmp_path / "home", populated)
    here = tmp_path / "here"
    here.mkdir()
    (here / "keys").mkdir()
    for name, key in populated.keys.items():
        for end in ("", ".pub"):
            shutil.copy(f"{key}{end}", here / "keys" / f"{name}{end}")
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(here))
    monkeypatch.setenv("KEYTURN_HOME", str(world.home.folder))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    # The one worker's turn is taken, so that no verb starts a worker of its own: transcripts say when work is done.
    give_up = take_worker_turn(world.home)
    assert give_up is not None
    yield transcripts.Stage(world, here)
    give_up()
    world.close()


@pytest.mark.parametrize("path", sorted(transcripts.FOLDER.glob("*.txt")), ids=lambda path: path.stem)
def test_the_command_line_says_what_its_transcript_says(path: Path, stage: transcripts.Stage) -> None:
    transcripts.check(path, stage)
