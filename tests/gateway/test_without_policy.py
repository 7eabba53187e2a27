"""A ledger that holds no policy: nothing is decided on it, whoever asks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from keyturn.assembly.home import Home
from keyturn.assembly.outside import surroundings
from keyturn.assembly.starter import starter_folder
from keyturn.contracts import read_catalog
from keyturn.fold.state import State
from keyturn.gateway.acts import draft_activation, read_candidate
from keyturn.gateway.core import PolicyShelf
from keyturn.gateway.in_force import read_in_force, texts_of
from keyturn.ledger.founding import found
from keyturn.ledger.writer import Ledger
from keyturn.model.errors import LedgerError, Refused


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger[State]]:
    """A ledger with both keys in it and nothing else."""
    outside = surroundings("tests")
    founded = found(tmp_path / "state", "tests", State, outside, lambda tx: None)
    ledger = Ledger(founded.place, State, outside)
    yield ledger
    ledger.close()


def test_no_policy_is_in_force(ledger: Ledger[State]) -> None:
    shelf = PolicyShelf(read_catalog(starter_folder() / "tool_schemas"))
    with pytest.raises(LedgerError, match="holds no policy"):
        ledger.look(shelf.in_force)
    with pytest.raises(LedgerError, match="holds no policy"):
        ledger.look(read_in_force)


def test_none_can_be_activated_by_an_act_for_nobody_could_sign_it(ledger: Ledger[State]) -> None:
    home = Home(starter_folder())
    candidate = read_candidate(home.policy_files(), read_catalog(home.schemas))
    with pytest.raises(Refused, match="holds no policy"):
        draft_activation(ledger, candidate, "alice")


def test_an_entry_without_texts_is_not_read_as_an_empty_set_of_them(ledger: Ledger[State]) -> None:
    with pytest.raises(LedgerError, match=r"entry 1 carries no policy\.files"):
        ledger.look(lambda view: texts_of(view, 1, "policy.files"))
