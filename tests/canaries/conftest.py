"""The campaign, once for all that is asked of it."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator

import pytest

from tests.bed.emulator import Emulator
from tests.bed.fixtures import github_emulator
from tests.canaries.campaign import Campaign, campaign, faults, given_tokens
from tests.gateway.conftest import founded
from tests.gateway.world import Founded

__all__ = ["founded", "github_emulator"]


@pytest.fixture(scope="module")
def led(tmp_path_factory: pytest.TempPathFactory, founded: Founded, github_emulator: Emulator) -> Iterator[Campaign]:
    """A campaign that is over."""
    with warnings.catch_warnings(), campaign(tmp_path_factory.mktemp("campaign"), founded, github_emulator) as made:
        # Each look at the systems has an event loop of its own, and ends it while connections over TLS say goodbye.
        warnings.simplefilter("ignore", ResourceWarning)
        made.succeed()
        for name, fault in faults().items():
            made.fail(name, fault)
        made.serve()
        made.look()
        made.gather()
        for number, token in enumerate(given_tokens()):
            made.canaries.add(f"token {number} of an installation", token)
        gc.collect()
        yield made
