"""Opening homes, and refusing those whose parts do not fit together."""

from __future__ import annotations

import json

import pytest

from keyturn.assembly.build import (
    become_executor,
    check_consent,
    open_gateway,
    open_standing,
    read_own_catalog,
)
from keyturn.assembly.home import Home
from keyturn.assembly.standing import WORKER_LOCK, lock_held, open_desk, open_ledger, open_reader, watch
from keyturn.gateway.in_force import texts_of
from keyturn.ledger.lock import take_instance
from keyturn.model.errors import ConfigurationError
from tests.gateway import conftest as gateway
from tests.gateway.world import World

founded = gateway.founded
world = gateway.world


def test_a_founded_home_opens_in_every_way(world: World) -> None:
    gate = open_gateway(world.home, "tests")
    check_consent(gate)
    standing = open_standing(world.home, "tests")
    reader, ledger, desk, watcher = (
        open_reader(world.home, "tests"),
        open_ledger(world.home, "tests"),
        open_desk(world.home, "tests"),
        watch(world.home),
    )
    sizes = {one.look(lambda view: view.head.size) for one in (gate.ledger, standing.reader, reader, desk.ledger)}
    assert sizes == {len(world.entries())}
    assert watcher.changed()
    assert not watcher.changed()
    world.comment("Hello.")
    assert watcher.changed()
    assert standing.reader.look(standing.policies.in_force).digest
    for each in (gate.ledger, standing.reader, reader, ledger, desk.ledger, watcher):
        each.close()


def test_a_folder_without_a_ledger_is_opened_in_no_way(world: World) -> None:
    empty = Home(world.home.folder / "samples")
    for opening in (open_gateway, open_standing, open_reader, open_ledger, open_desk):
        with pytest.raises(ConfigurationError, match="keyturn init"):
            opening(empty, "tests")
    with pytest.raises(ConfigurationError, match="keyturn init"):
        watch(empty)


def test_a_contract_this_program_does_not_enforce_is_refused_with_each_difference(world: World) -> None:
    path = world.home.schemas / "get_ticket.v1.json"
    contract = json.loads(path.read_text())
    contract["input"]["properties"]["ticket"]["maxLength"] = 7
    path.write_text(json.dumps(contract, indent=2))
    unknown = json.loads((world.home.schemas / "get_action.v1.json").read_text())
    unknown["tool"] = "get_weather"
    (world.home.schemas / "get_weather.v1.json").write_text(json.dumps(unknown, indent=2))
    with pytest.raises(ConfigurationError) as caught:
        read_own_catalog(world.home)
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "tool_schemas/get_ticket",
        "tool_schemas/get_weather",
    ]
    assert "this program has no such tool" in caught.value.problems[1]


def test_a_contract_that_was_taken_away_is_noticed_before_serving(world: World) -> None:
    for name in ("get_ticket", "cancel_action"):
        (world.home.schemas / f"{name}.v1.json").unlink()
    gate = open_gateway(world.home, "tests")
    with pytest.raises(ConfigurationError) as caught:
        check_consent(gate)
    assert caught.value.problems == (
        "tool_schemas/cancel_action.v1.json: is missing; it was published",
        "tool_schemas/get_ticket.v1.json: is missing; it was published",
        "to consent to them: keyturn policy pin, then keyturn policy activate -m REASON",
    )
    gate.ledger.close()


def test_published_contracts_are_read_back_as_they_were(world: World) -> None:
    entry = world.entries("catalog.published")[0]
    texts = world.gate.ledger.look(lambda view: texts_of(view, entry.seq, "catalog.files"))
    assert texts["get_ticket.v1.json"] == (world.home.schemas / "get_ticket.v1.json").read_text()


def test_an_executor_holds_its_lock_while_it_lives(world: World) -> None:
    executor = become_executor(world.home)
    run = world.home.place.run
    assert take_instance(run, executor.instance) is None
    assert lock_held(world.home, executor.instance)
    executor.lock.release(forget=True)
    assert not lock_held(world.home, executor.instance)
    assert not lock_held(world.home, WORKER_LOCK)
