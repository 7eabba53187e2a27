"""Whatever the verifier's own tests do to a ledger, the one-file program says of its bundle what the verifier says.

Every attack of those tests is done once more; what it leaves is put into a bundle, with a checkpoint that the stolen
log key signed of it, and both are asked.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from keyturn.evidence import verify as program
from keyturn.verifier import verify_ledger
from tests.evidence.bundling import bundle_in, examined, first_bad
from tests.verifier import (
    test_attacks,
    test_before,
    test_by_hand,
    test_erased,
    test_freezes,
    test_guarded,
    test_pruned,
    test_recovery,
    test_suspensions,
    test_thief,
    test_undone,
)
from tests.verifier.test_erased import case
from tests.verifier.world import World

__all__ = ["case"]  # a fixture of those tests, used here

REAL = program.Ed25519Key.verifies
FOUND: dict[tuple[bytes, bytes, bytes], bool] = {}
"""What the program found of a key, a message and a signature: most entries are the same in each attack's ledger."""


@pytest.fixture(autouse=True)
def _once(monkeypatch: pytest.MonkeyPatch) -> None:
    def verifies(key: program.Ed25519Key, message: bytes, signature: bytes) -> bool:
        asked = key.raw, message, signature
        if asked not in FOUND:
            FOUND[asked] = REAL(key, message, signature)
        return FOUND[asked]

    monkeypatch.setattr(program.Ed25519Key, "verifies", verifies)


Attack = Callable[[Any], object]
MODULES = (
    test_thief,
    test_guarded,
    test_freezes,
    test_recovery,
    test_suspensions,
    test_undone,
    test_erased,
    test_by_hand,
    test_attacks,
    test_before,
    test_pruned,
)
POLICY = {10, 11, 17}
"""Proofs that take the policy: the program says that it leaves them out."""


def attacks() -> Iterator[Any]:
    """Yield each attack that asks for a thief, or for a home to erase from, and for nothing else."""
    for module in MODULES:
        for name, attack in inspect.getmembers(module, inspect.isfunction):
            wanted = tuple(inspect.signature(attack).parameters)
            if name.startswith("test_") and wanted in {("thief",), ("case",)}:
                about = f"{module.__name__.rsplit('.', 1)[1]}-{name.removeprefix('test_')}"
                yield pytest.param(attack, wanted[0], id=about.removeprefix("test_"))


@pytest.mark.parametrize(("attack", "victim"), list(attacks()))
def test_the_program_says_what_the_verifier_says(
    attack: Attack, victim: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    found = request.getfixturevalue(victim)
    attack(found)
    world: World = found.world
    bundle = bundle_in(tmp_path, world)
    known, said = first_bad(verify_ledger(bundle, pinned=world.verifier).to_json()), examined(bundle, world.verifier)
    if known[2] in POLICY and said != known:
        assert said[1] is None or known[1] is None or said[1] >= known[1]
    else:
        assert said == known
