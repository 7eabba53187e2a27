"""One home before each system, for as long as no cell failed on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.bed.emulator import Emulator
from tests.bed.fixtures import github_emulator
from tests.faults.matrix.bench import Kept
from tests.faults.matrix.github import github_of
from tests.faults.matrix.kubernetes import kubernetes_of
from tests.faults.matrix.remote import remote_of

__all__ = ["github_emulator"]


@pytest.fixture(scope="session")
def on_github(github_emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    with Kept(lambda: github_of(github_emulator), tmp_path_factory) as kept:
        yield kept


@pytest.fixture(scope="session")
def on_kubernetes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    with Kept(kubernetes_of, tmp_path_factory) as kept:
        yield kept


@pytest.fixture(scope="session")
def on_remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    with Kept(lambda: remote_of(tmp_path_factory.mktemp("remote")), tmp_path_factory) as kept:
        yield kept
