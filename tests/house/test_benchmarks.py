"""The homes that benchmarks measure in can be founded, and permit and do what is measured."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from benchmarks.calls import WHAT, Round, calling, working
from benchmarks.homes import found, opened


@pytest.mark.parametrize("tool", WHAT, ids=WHAT.values())
def test_what_is_measured_is_done(tmp_path: Path, tool: str) -> None:
    async def measured() -> Round:
        async with working(world):
            return await calling(world, tool, callers=2, count=4)  # raises where one does not succeed

    with opened(found(tmp_path / "home")) as world:
        assert len(anyio.run(measured).seconds) == 4
