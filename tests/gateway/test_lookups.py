"""Looking for what is not there: an id that nobody made, and entries that are no requests."""

from __future__ import annotations

import pytest

from keyturn.gateway.finding import find_beginning
from keyturn.gateway.payloads import read_plan
from keyturn.gateway.progress import Progress
from keyturn.gateway.show import read_asked, show
from keyturn.model.errors import LedgerError, Refused
from tests.gateway.world import World


def test_an_id_that_nobody_made_has_no_beginning(world: World) -> None:
    world.held()
    made = world.gate.new_id(world.clock().wall)
    assert world.gate.ledger.look(lambda view: find_beginning(view, made)) is None
    assert world.gate.ledger.look(lambda view: find_beginning(view, "no id of ours")) is None


def test_an_action_that_nobody_asked_for_cannot_be_shown(world: World) -> None:
    made = world.gate.new_id(world.clock().wall)
    with pytest.raises(Refused, match=f"there is no action {made}"):
        world.gate.ledger.look(lambda view: show(view, made))


def test_what_ends_takes_nothing_from_what_goes_on_beside_it() -> None:
    progress = Progress()
    for action in ("first", "second"):
        progress.reporter("here", action)(f"{action} is half done")
    progress.end("here", "first")
    progress.end("here", "first")
    assert progress.read("here", "first") is None
    assert progress.read("here", "second") == "second is half done"


def test_an_entry_that_is_no_request_has_no_plan(world: World) -> None:
    opened = world.entries("log.opened")[0]
    with pytest.raises(LedgerError, match="entry 0 has no plan"):
        read_asked(opened, lambda field: None)
    with pytest.raises(LedgerError, match="entry 0 has no plan, or it was erased"):
        world.gate.ledger.look(lambda view: read_plan(view, opened))


def test_a_plan_that_is_no_object_is_none(world: World) -> None:
    world.held()
    request = world.entries("action.requested")[0]
    with pytest.raises(LedgerError, match="has no plan"):
        read_asked(request, lambda field: b"[]")
