"""A ledger restored from a copy: nothing that was done since is done twice, and nobody's yes outlives the loss."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import anyio
import pytest

from keyturn.approvals.statement import ACT_NAMESPACE
from keyturn.assembly.build import become_executor
from keyturn.assembly.home import Home
from keyturn.assembly.outside import entropy
from keyturn.assembly.restoring import Restored, back_up, restore
from keyturn.assembly.standing import open_reader
from keyturn.fold.suspensions import SUSPENDED, Scope
from keyturn.gateway.acts import submit_act
from keyturn.gateway.claim import claim_ready
from keyturn.gateway.desk import Desk
from keyturn.gateway.execute import execute
from keyturn.gateway.executor import Executor
from keyturn.gateway.review import Actor, draft_review, submit_review
from keyturn.gateway.suspensions import draft_lift, set_suspension
from keyturn.ledger.copy import end_of
from keyturn.ledger.head import HeadRecord
from keyturn.ledger.lock import InstanceLock
from keyturn.model.errors import LedgerError, Refused
from keyturn.sshsig.signing import sign
from keyturn.verifier import verify_ledger
from tests.gateway.world import World
from tests.ledger.processes import running

STATUS: dict[str, Any] = {"ticket": "OPS-1", "status": "resolved", "comment": "Fixed it, once."}


def signer_of(key: Path) -> Callable[[Mapping[str, Sequence[str]]], tuple[str, Callable[[bytes, str], bytes]]]:
    def signs(message: bytes, namespace: str) -> bytes:
        return sign(message, key=key, namespace=namespace, environment=dict(os.environ))

    return lambda people: ("alice", signs)


@contextmanager
def closed(world: World) -> Iterator[None]:
    """Nobody has the home open for the block; afterwards the world has it again."""
    world.close()
    try:
        yield
    finally:
        world.gate = world.open()
        world.executor = become_executor(world.home)


def restored(world: World, copy: Path) -> Restored:
    with closed(world):
        return restore(world.home, copy, expected=None, reason="a test", signer=signer_of(world.keys["alice"]))


def backup(world: World, to: Path) -> Path:
    back_up(world.home, to)
    return to


def held(world: World, **changes: Any) -> str:
    answer = world.call("update_ticket", **{**STATUS, **changes})
    assert answer.envelope["status"] == "pending"
    return str(answer.envelope["action_id"])


def verdict(world: World) -> str:
    return verify_ledger(world.home.place.database).verdict


def test_an_action_done_since_the_copy_is_found_done_and_not_done_again(world: World, tmp_path: Path) -> None:
    action = held(world)
    copy = backup(world, tmp_path / "copy.db")
    world.approve(action)
    world.drain()
    done = world.ticket
    assert done.count("Fixed it, once.") == 1
    restored(world, copy)
    assert world.status(action) == "pending"
    world.approve(action)
    world.drain()
    assert world.status(action) == "succeeded"
    assert world.ticket == done
    assert verdict(world) == "PASS-UNANCHORED"


def test_an_action_approved_before_the_copy_needs_a_new_review(world: World, tmp_path: Path) -> None:
    action = held(world)
    world.approve(action)
    copy = backup(world, tmp_path / "copy.db")
    before = world.ticket
    restored(world, copy)
    assert world.status(action) == "pending"
    world.drain()
    assert world.ticket == before
    world.approve(action, "carol")
    world.drain()
    assert world.status(action) == "succeeded"
    assert world.ticket.count("Fixed it, once.") == 1
    assert verdict(world) == "PASS-UNANCHORED"


def test_a_review_kept_from_before_is_refused(world: World, tmp_path: Path) -> None:
    action = held(world)
    early = draft_review(world.gate, action, reviewer="alice", verdict="approve", reason="fine")
    signature = world.sign(early.to_sign, "alice")
    restored(world, backup(world, tmp_path / "copy.db"))
    with pytest.raises(Refused, match="older than the restored ledger"):
        submit_review(world.gate, early, signature)


def test_a_lift_that_was_signed_in_what_is_lost_lifts_nothing_again(world: World, tmp_path: Path) -> None:
    scope, by = Scope("principal", "claude"), Actor("account", "root")
    set_suspension(world.gate.ledger, scope, mode=SUSPENDED, by=by, reason="stop")
    copy = backup(world, tmp_path / "copy.db")
    desk = Desk(ledger=world.gate.ledger, entropy=entropy)
    lift = draft_lift(desk, scope, reason="it was nothing", by="alice")
    signature = world.sign(lift.to_sign, "alice", ACT_NAMESPACE)
    submit_act(world.gate.ledger, lift, signature)
    restored(world, copy)
    with pytest.raises(Refused, match="signed before the ledger was restored"):
        submit_act(world.gate.ledger, lift, signature)
    assert world.comment("Let me.").envelope["status"] == "denied"


def test_nothing_is_restored_by_a_clock_in_doubt(world: World, tmp_path: Path) -> None:
    """With a clock behind the copy, words that were signed in what is lost would seem younger than the restore."""
    world.clock.run(hours=1)
    held(world)
    copy = backup(world, tmp_path / "copy.db")
    old = end_of(world.home.place.database)
    with pytest.raises(Refused, match="set it, or, where it is right, restart the machine"):
        restored(world, copy)
    assert end_of(world.home.place.database) == old
    assert verdict(world) == "PASS-UNANCHORED"


def test_what_was_permitted_and_had_not_begun_is_stale(world: World, tmp_path: Path) -> None:
    world.executing = False
    answer = world.comment("Soon.")
    action = str(answer.envelope["action_id"])
    assert world.status(action) == "approved"
    copy = backup(world, tmp_path / "copy.db")
    world.drain()
    assert world.ticket.count("Soon.") == 1
    restored(world, copy)
    assert world.status(action) == "stale"
    world.drain()
    assert world.ticket.count("Soon.") == 1
    assert verdict(world) == "PASS-UNANCHORED"


@pytest.mark.parametrize("happened", [True, False])
def test_what_had_begun_is_settled_by_asking_the_system(world: World, tmp_path: Path, happened: bool) -> None:
    action = held(world)
    world.approve(action)
    dead = Executor("ab" * 16, InstanceLock(Path("nowhere"), -1))
    [claimed] = claim_ready(world.gate, dead, 1)
    copy = backup(world, tmp_path / "copy.db")  # of the moment between intent and outcome
    if happened:
        anyio.run(execute, world.gate, dead, claimed)
    before = world.ticket
    restored(world, copy)
    assert world.status(action) == "running"
    world.drain()
    assert world.status(action) == ("succeeded" if happened else "failed")
    assert world.ticket.count("Fixed it, once.") == happened
    assert (world.ticket == before) or not happened
    assert verdict(world) == "PASS-UNANCHORED"


# --- killed at every step -----------------------------------------------------------------------------------------


STRIDE = 1 if os.environ.get("KEYTURN_SOAK") == "1" else 4
STEPS = frozenset({"os.mkdir", "os.rename", "os.link", "os.remove", "os.rmdir", "shutil.copyfile"})


def restore_and_die(said: Connection, home: Home, copy: Path, key: Path, step: int) -> None:
    """Restore, and be killed just before the given change to the names of files."""
    count = 0

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count
        if event in STEPS and str(home.folder) in str(arguments):
            count += 1
            if count == step:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    restore(home, copy, expected=None, reason="a test", signer=signer_of(key))
    said.send(count)


def test_a_restore_killed_at_any_step_leaves_the_old_ledger_or_the_new_one(world: World, tmp_path: Path) -> None:
    action = held(world)
    copy = backup(world, tmp_path / "copy.db")
    world.approve(action)
    world.close()
    old = end_of(world.home.place.database)
    assert old is not None
    shutil.copytree(world.home.place.folder, tmp_path / "pristine")
    outcomes: set[str] = set()
    steps = 1 - STRIDE
    while True:
        steps += STRIDE
        with running(restore_and_die, world.home, copy, world.keys["alice"], steps) as (process, _):
            process.join()
            finished = process.exitcode == 0
        outcomes.add(what_is_there(world, old))
        if finished:
            break
        assert process.exitcode == -signal.SIGKILL
        if what_is_there(world, old) == "new":
            put_back(world, tmp_path / "pristine")
    assert steps > 10
    assert outcomes == {"old", "new"}
    assert what_is_there(world, old) == "new"
    assert verdict(world) == "PASS-UNANCHORED"
    world.gate = world.open()
    world.executor = become_executor(world.home)


def what_is_there(world: World, old: HeadRecord) -> str:
    """Say which ledger is in place; it opens, whichever it is."""
    reader = open_reader(world.home, "tests")
    try:
        head = reader.look(lambda view: (view.head.size, view.head.leaf))
        last = reader.look(lambda view: view.entry(view.head.size - 1).kind)
    finally:
        reader.close()
    if head == (old.size, old.leaf):
        return "old"
    assert last == "recovery"
    return "new"


def put_back(world: World, pristine: Path) -> None:
    """Put the old ledger in place again, with its record."""
    for path in (pristine / "ledger.db", pristine / "head"):
        (world.home.place.folder / path.name).unlink()
        shutil.copy(path, world.home.place.folder / path.name)


def test_a_ledger_put_back_by_hand_without_its_record_is_refused(world: World, tmp_path: Path) -> None:
    copy = backup(world, tmp_path / "copy.db")
    world.comment("One more.")
    newest = backup(world, tmp_path / "newest.db")
    with closed(world):
        copy.rename(world.home.place.database)
        reader = open_reader(world.home, "tests")
        with pytest.raises(LedgerError, match="keyturn audit restore FILE"):
            reader.look(lambda view: None)
        reader.close()
        newest.rename(world.home.place.database)
