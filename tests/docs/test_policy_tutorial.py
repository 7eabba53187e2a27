"""The tutorial on policies is followed word for word, and says what the program says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from keyturn.assembly.outside import moment
from tests.docs.pages import ROOT, Page
from tests.docs.playing import Player

PAGE = Page(ROOT / "docs" / "tutorial" / "policy-as-code.md")


@pytest.fixture
def player(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Player]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "118")
    monkeypatch.setenv("NO_COLOR", "1")
    for name in ("KEYTURN_HOME", "SSH_AUTH_SOCK"):
        monkeypatch.delenv(name, raising=False)
    year = _next_winter(moment().wall)
    player = Player(tmp_path, {"2026-12": f"{year}-12", "2027-01": f"{year + 1}-01"})
    yield player
    player.close()


def _next_winter(now: datetime) -> int:
    """Return the year of the next 21st of December: the page's freeze is always ahead."""
    return now.year if (now.month, now.day) < (12, 20) else now.year + 1


def test_the_tutorial_on_policies_can_be_followed(player: Player) -> None:
    player.play(PAGE, write=bool(os.environ.get("KEYTURN_WRITE")))
