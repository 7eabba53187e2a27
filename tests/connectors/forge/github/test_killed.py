"""An executor that is killed in the middle of a step: the next probe settles truly what it left."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from keyturn.connectors.forge import Landed
from keyturn.model.outcome import CannotHappen
from tests.bed.faults import Fault, Gate, Hold
from tests.connectors.forge.contract import CHANGE, opening
from tests.connectors.forge.github.world import World
from tests.connectors.forge.repository import action

PROGRAM = """
import pickle, sys
import anyio
from pathlib import Path
from keyturn.connectors.forge.github import Settings, build
from tests.connectors.surroundings import world_at

settings, home, token, change, action = pickle.loads(Path(sys.argv[1]).read_bytes())
forge = build("shop", Settings(**settings), world_at(home, {"TOKEN": token}))
anyio.run(forge.apply, change, action)
"""
HELD = {
    "the tree, before": (Fault("POST", r".*/git/trees", Hold(Gate())), False),
    "the marker, before": (Fault("POST", r".*/git/refs", Hold(Gate())), False),
    "the marker, after": (Fault("POST", r".*/git/refs", Hold(Gate(), after=True)), True),
    "the branch, before": (Fault("POST", r".*/git/refs", Hold(Gate()), nth=2), True),
    "the branch, after": (Fault("POST", r".*/git/refs", Hold(Gate(), after=True), nth=2), True),
    "the pull request, before": (Fault("POST", r".*/pulls", Hold(Gate())), True),
    "the pull request, after": (Fault("POST", r".*/pulls", Hold(Gate(), after=True)), True),
}


@pytest.mark.parametrize("moment", HELD)
def test_what_a_killed_executor_left_is_settled(world: World, tmp_path: Path, moment: str) -> None:
    change = opening(world.forge(), CHANGE)
    fault, begun = HELD[moment]
    gate = Gate()
    assert isinstance(fault.deed, Hold)
    held = Fault(fault.method, fault.path, Hold(gate, after=fault.deed.after), nth=fault.nth)
    world.proxy.faults.set(held)
    errand = tmp_path / "errand"
    told = world.settings().model_dump(exclude={"app"}, exclude_none=True)
    errand.write_bytes(pickle.dumps((told, world.home, world.emulator.tokens["ada"], change, action(1))))
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[4])}
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(errand)], env=environment)
    try:
        gate.wait()
    finally:
        process.kill()
        process.wait(10)
    late = moment.endswith("before")
    if not late:
        gate.open()
    world.proxy.faults.set()
    answer = anyio.run(world.forge().probe, change, action(1))
    gate.open()  # what was still on its way arrives after all
    again = anyio.run(world.forge().probe, change, action(1))
    assert isinstance(answer, Landed if begun else CannotHappen), answer
    assert again == answer
    assert len(world.repository.pulls()) == begun
    assert (world.head(action(1).marker) is not None) is begun
