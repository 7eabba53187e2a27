"""Eight processes racing for actions, people's words, cancellations and suspensions: each once, or not at all."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import anyio
import pytest

from keyturn.assembly.build import become_executor
from keyturn.fold.suspensions import READ_ONLY, SUSPENDED
from keyturn.gateway.call import call
from keyturn.gateway.incoming import Incoming
from keyturn.gateway.recover import recover
from keyturn.log.entry import Entry
from tests.faults.racers import approve, claim, finish, halt, race, withdraw
from tests.faults.world import PEOPLE, TICKETS, Place, doubled, found, lines, recording
from tests.gateway.hands import drain
from tests.ledger.processes import told


def asked(place: Place, count: int, **more: str) -> list[str]:
    """Ask for changes on all tickets in turn; return the actions, which nobody has begun."""
    gate = place.gateway()

    async def ask() -> list[str]:
        actions = []
        for number in range(count):
            arguments = {"ticket": TICKETS[number % len(TICKETS)], "comment": f"Change {number}.", **more}
            answer = await call(gate, place.caller(gate), Incoming("update_ticket", arguments, 60))
            actions.append(str(answer.envelope["action_id"]))
        return actions

    actions = anyio.run(ask)
    gate.close()
    return actions


def drained(place: Place) -> list[Entry]:
    """Settle what dead executors left, execute the rest, and return all entries."""
    gate, executor = recording(place.gateway(), place.effects, settles=True), become_executor(place.home)
    anyio.run(recover, gate, executor, place.home.place.run)
    anyio.run(drain, gate, executor, place.home.place.run)
    gate.close()
    executor.lock.release(forget=True)
    assert place.verified().verdict == "PASS-UNANCHORED"
    return place.entries()


def actions_of(entries: list[Entry], *kinds: str) -> list[str]:
    return [str(entry.action) for entry in entries if entry.kind in kinds]


def begun(place: Place) -> list[str]:
    """Return the actions whose effects began, by the back end's own record."""
    return [action for word, action in lines(place.effects) if word == "begun"]


def one_at_a_time(entries: list[Entry]) -> None:
    """Prove that no two actions were under way on one target."""
    target = {entry.action: entry.text("target") for entry in entries if entry.kind == "action.requested"}
    busy: dict[str, str | None] = defaultdict(lambda: None)
    for entry in entries:
        if entry.kind == "execution.started":
            assert busy[target[entry.action]] is None
            busy[target[entry.action]] = entry.action
        if entry.kind == "execution.finished":
            busy[target[entry.action]] = None


def test_eight_executors_racing_for_actions_perform_each_once_though_one_is_killed(tmp_path: Path) -> None:
    place = found(tmp_path)
    actions = asked(place, 48)
    with race(*[(claim, (place,))] * 8) as racers:
        victim, said = racers[0]
        told(said)
        victim.kill()
        said_ = finish(racers[1:])
    entries = drained(place)
    assert sorted(actions_of(entries, "execution.started")) == sorted(actions)
    assert sorted(actions_of(entries, "execution.finished")) == sorted(actions)
    assert doubled(place.effects) == []
    assert set(begun(place)) >= {action for actions_ in said_ for action in actions_}
    assert sum(map(bool, said_)) > 1  # it was a race
    one_at_a_time(entries)


def test_people_racing_to_approve_meet_the_quorum_once_and_each_action_runs_once(tmp_path: Path) -> None:
    place = found(
        tmp_path,
        (),
        (
            'approval = { quorum = 1, from = ["group:sre"], expires = "1d" }',
            'approval = { quorum = 2, from = ["group:sre"], expires = "1d" }',
        ),
    )
    actions = asked(place, 12, status="closed")
    people = [(approve, (place, PEOPLE[number % 3], actions)) for number in range(6)]
    with race(*people, (claim, (place,)), (claim, (place,))) as racers:
        victim, said = racers[0]
        told(said)
        victim.kill()
        words = [word for words in finish(racers[1:6]) for word in words]
    entries = drained(place)
    assert sorted(actions_of(entries, "execution.started")) == sorted(actions)
    assert doubled(place.effects) == []
    for action in actions:
        own = [entry for entry in entries if entry.action == action]
        kinds = [entry.kind for entry in own]
        start = kinds.index("execution.started")
        before, after = own[:start], kinds[start:]
        assert len({entry.text("reviewer") for entry in before if entry.kind == "action.reviewed"}) >= 2
        assert after == ["execution.started", "execution.finished"]  # nobody's word came in later
    # "approved" is told to those whose word met the quorum, or came after it; never before two people had spoken.
    assert {status for _, status in words} <= {"pending", "approved"}


def test_a_cancellation_racing_a_claim_either_stops_the_action_or_comes_too_late(tmp_path: Path) -> None:
    place = found(tmp_path)
    actions = asked(place, 48)
    cancelling = [(withdraw, (place, actions[number::4][::-1])) for number in range(4)]
    with race(*[(claim, (place,))] * 4, *cancelling) as racers:
        victim, said = racers[7]
        said.poll(20)
        victim.kill()
        finish(racers[:4])
        cancelled = {action for actions_ in finish(racers[4:7]) for action in actions_}
    entries = drained(place)
    stopped, started = (set(actions_of(entries, kind)) for kind in ("action.cancelled", "execution.started"))
    assert stopped.isdisjoint(started)
    assert stopped | started == set(actions)
    assert cancelled <= stopped
    assert set(begun(place)) <= started
    assert doubled(place.effects) == []
    assert stopped
    assert started


@pytest.mark.parametrize("mode", [SUSPENDED, READ_ONLY])
def test_nothing_begins_after_a_suspension_and_what_runs_is_finished(tmp_path: Path, mode: str) -> None:
    place = found(tmp_path)
    actions = asked(place, 48)
    with race(*[(claim, (place,))] * 7, (halt, (place, mode))) as racers:
        victim, said = racers[0]
        said.poll(20)
        victim.kill()
        *_, [(cancelled, running)] = finish(racers[1:])
    entries = drained(place)
    [at] = [entry.seq for entry in entries if entry.kind == "suspension.set"]
    started = {str(entry.action): entry.seq for entry in entries if entry.kind == "execution.started"}
    assert all(seq < at for seq in started.values())
    assert set(running) <= set(started)
    assert set(actions_of(entries, "execution.finished")) == set(started)
    assert set(begun(place)) <= set(started)
    assert set(cancelled) == (set(actions) - set(started) if mode == SUSPENDED else set())
    assert doubled(place.effects) == []
