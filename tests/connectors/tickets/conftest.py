"""The fixtures of the test bed that this room takes."""

from __future__ import annotations

from tests.bed.fixtures import github, github_emulator, github_prism

__all__ = ["github", "github_emulator", "github_prism"]
