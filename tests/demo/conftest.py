"""A forge for the demo."""

from __future__ import annotations

from tests.bed.fixtures import github, github_emulator

__all__ = ["github", "github_emulator"]
