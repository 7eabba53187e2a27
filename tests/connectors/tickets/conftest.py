"""The fixtures of the test bed that this room takes."""

from __future__ import annotations

from tests.bed.fixtures import github as github
from tests.bed.fixtures import github_emulator as github_emulator
