"""A repository on GitHub keeps what every forge promises."""

from __future__ import annotations

from typing import Any

from keyturn.connectors.forge import Landed
from tests.connectors.forge.contract import ForgeContract
from tests.connectors.forge.github.world import World


class TestGitHub(ForgeContract):
    """The contract, on the emulator."""

    def merge(self, world: Any, landed: Landed) -> None:
        assert isinstance(world, World)
        assert landed.number is not None
        world.merge(landed.number)
