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

from keyturn.verifier import verify_ledger
from tests.evidence.bundling import bundle_in, examined, first_bad
from tests.verifier import test_recovery, test_suspensions, test_thief, test_undone
from tests.verifier.world import Thief

Attack = Callable[..., object]
POLICY = {10, 11}
"""Proofs that take the policy: the program says that it leaves them out."""


def attacks() -> Iterator[Any]:
    for module in (test_thief, test_recovery, test_suspensions, test_undone):
        for name, attack in inspect.getmembers(module, inspect.isfunction):
            if name.startswith("test_") and set(inspect.signature(attack).parameters) == {"thief"}:
                yield pytest.param(attack, id=f"{module.__name__.rsplit('.', 1)[1]}-{name.removeprefix('test_')}")


@pytest.mark.parametrize("attack", list(attacks()))
def test_the_program_says_what_the_verifier_says(attack: Attack, thief: Thief, tmp_path: Path) -> None:
    attack(thief)
    bundle = bundle_in(tmp_path, thief.world)
    report = verify_ledger(bundle, pinned=thief.world.verifier)
    known, said = first_bad(report.to_json()), examined(bundle, thief.world.verifier)
    if known[2] in POLICY and said != known:
        assert said[1] is None or known[1] is None or said[1] >= known[1]
    else:
        assert said == known
