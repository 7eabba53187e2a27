"""Fixtures of the test bed.

A room takes them in its `conftest.py`: `from tests.bed.fixtures import github, github_emulator`, named in `__all__`.

Servers that take long to start live as long as the process (one for each worker of pytest-xdist), even if several
rooms take the same fixture: `_shared` starts each once. Proxies are made for each test.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.bed import documents
from tests.bed.emulator import Emulator, emulator
from tests.bed.forge import Forge, forge
from tests.bed.kubernetes import Kubernetes, kubernetes
from tests.bed.prism import Prism, github_document, kubernetes_document, prism

_running: dict[str, tuple[Any, ExitStack]] = {}
_users: Counter[str] = Counter()


@contextmanager
def _shared(name: str, start: Callable[[], AbstractContextManager[Any]]) -> Iterator[Any]:
    if name not in _running:
        stack = ExitStack()
        _running[name] = stack.enter_context(start()), stack
    _users[name] += 1
    try:
        yield _running[name][0]
    finally:
        _users[name] -= 1
        if not _users[name]:
            _running.pop(name)[1].close()


@pytest.fixture(scope="session")
def github_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """GitHub as `emulate` plays it, alone; for other people's doings and for what it says by itself."""
    with _shared("emulator", lambda: emulator(tmp_path_factory.mktemp("emulate"))) as started:
        yield started


@pytest.fixture
def github(github_emulator: Emulator) -> Iterator[Forge]:
    """A GitHub for one test: the emulator behind faults and manners, everything written down."""
    with forge(github_emulator) as made:
        yield made


@pytest.fixture(scope="session")
def github_prism(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prism]:
    """Prism with GitHub's description, prepared: the operations that are used."""
    with _shared("github prism", lambda: prism(github_document(), tmp_path_factory.mktemp("prism"))) as started:
        yield started


@pytest.fixture(scope="session")
def kubernetes_prism(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prism]:
    """Prism with Kubernetes' description, prepared; skipped where `KEYTURN_SPECS` does not name it."""
    folder = documents.specs()
    if folder is None:
        pytest.skip("KEYTURN_SPECS does not name a folder with k8s-swagger.json")
    made = kubernetes_document(folder)
    with _shared("kubernetes prism", lambda: prism(made, tmp_path_factory.mktemp("prism"))) as started:
        yield started


@pytest.fixture
def kube(tmp_path: Path) -> Iterator[Kubernetes]:
    """A Kubernetes for one test, over plain HTTP and empty: `kube.cluster.deploy()` begins."""
    folder = tmp_path / "kubernetes"
    folder.mkdir()
    with kubernetes(folder) as made:
        yield made
