"""A ledger put back from a copy does not know what was done since: what it approves is not done a second time."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable

import pytest

from keyturn.assembly.build import become_executor
from tests.gateway.world import PULL_REQUEST, STAGING, World


def comments(world: World) -> object:
    return world.ticket


def releases(world: World) -> object:
    folder = world.home.folder / "samples/web/staging"
    return (folder / "current").readlink(), (folder / "history.jsonl").read_bytes()


def branches(world: World) -> object:
    repository = world.home.folder / "samples/shop.git"
    command = ["git", "-C", str(repository), "for-each-ref", "refs/heads"]
    return subprocess.run(command, capture_output=True, check=True).stdout


def ask_for_a_comment(world: World) -> str:
    return str(world.comment("Hello.").envelope["action_id"])


def ask_for_a_rollback(world: World) -> str:
    return str(world.call("rollback_deployment", **STAGING).envelope["action_id"])


def ask_for_a_pull_request(world: World) -> str:
    action = str(world.call("open_pull_request", **PULL_REQUEST).envelope["action_id"])
    world.approve(action)
    return action


ALL = [(ask_for_a_comment, comments), (ask_for_a_rollback, releases), (ask_for_a_pull_request, branches)]


@pytest.mark.parametrize(("ask", "look"), ALL, ids=lambda each: each.__name__)
def test_an_approved_action_of_a_restored_ledger_is_recognised_as_done(
    world: World, ask: Callable[[World], str], look: Callable[[World], object]
) -> None:
    world.executing = False
    action = ask(world)
    untouched = look(world)
    world.gate.close()
    copy = world.home.folder.with_name("copy")
    shutil.copytree(world.home.place.folder, copy)
    world.gate = world.open()
    world.drain()
    assert world.status(action) == "succeeded"
    done, told = look(world), world.envelope(action)["result"]
    assert done != untouched
    world.gate.close()
    world.executor.lock.release()
    shutil.rmtree(world.home.place.folder)
    copy.rename(world.home.place.folder)
    world.gate = world.open()
    world.executor = become_executor(world.home)
    assert world.status(action) == "approved"
    world.drain()
    assert (world.status(action), look(world)) == ("succeeded", done)
    assert world.envelope(action)["result"] == told
