"""Keys made once for all tests of signatures."""

from pathlib import Path

import pytest

from tests.sshsig.keys import KINDS, make_key


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One private key file of each kind."""
    folder = tmp_path_factory.mktemp("keys")
    return {kind: make_key(folder, kind, f"{kind}@test") for kind in KINDS}
