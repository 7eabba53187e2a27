"""Intents that anchors must have before the effect: brought, recorded, and nothing done where that fails."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from keyturn.anchors import file
from keyturn.assembly.anchoring import Declared
from keyturn.assembly.bringing import take_turn
from keyturn.assembly.covering import Coverage, check_log_key, coverage_of
from keyturn.assembly.notary import notary_of
from keyturn.assembly.proposal import check_proposal, read_proposal
from keyturn.assembly.required import check_anchors
from keyturn.assembly.standing import kept_verifier
from keyturn.assembly.writing import log_signer
from keyturn.gateway.envelope import Answer
from keyturn.gateway.recover import recover
from keyturn.ledger.checkpoints import LogSigner
from keyturn.ledger.errors import LedgerBroken, LedgerUnavailable
from keyturn.log.entry import Entry
from keyturn.log.note import Note, parse_note, signature_of, to_sign
from keyturn.model.errors import ConfigurationError
from keyturn.model.outcome import CannotHappen, CannotTell, Happened, Probe
from keyturn.verifier import AnchoredBefore, verify_ledger
from tests.assembly import dying
from tests.assembly.outside import Outside
from tests.connectors.surroundings import world_at
from tests.gateway import conftest as gateway
from tests.gateway.world import Simulator, World
from tests.ledger.processes import running

founded = gateway.founded
world = gateway.world

COMMENTS = 'id = "assistants comment on tickets"'
STATUS = 'id = "ticket status needs a person"'
BEFORE = '\nanchor = "before"'
ANCHOR = '\n[anchors.mount]\nkind = "file"\npath = "mount"\nsame_filesystem = true\nrequired = true\n'


def asked_first(world: World, *rules: str) -> None:
    """Have rules ask for an anchor first, in a home that has one."""
    (world.home.folder / "mount").mkdir(exist_ok=True)
    with world.home.wiring.open("a") as wiring:
        wiring.write(ANCHOR)
    world.activate(*((rule, rule + BEFORE) for rule in rules or (COMMENTS,)))


def covering(world: World, *anchors: Outside) -> Coverage:
    """Let the gate of this process cover intents: with the home's own anchors, or with these."""
    coverage = coverage_of(notary_of(world.home, world.gate.ledger))
    if anchors:
        coverage.anchors = [Declared(anchor, 600.0, required=True) for anchor in anchors]
    world.gate = replace(world.gate, cover=coverage.cover)
    return coverage


def kinds(world: World, first: str) -> list[str]:
    every = world.kinds()
    return every[len(every) - 1 - every[::-1].index(first) :]


def outcome_of(world: World) -> tuple[object, object, str]:
    entry = world.entries("execution.finished")[-1]
    return entry.facts["outcome"], entry.facts["effect"], world.payload(entry, "outcome").decode()


def verified(world: World) -> AnchoredBefore:
    report = verify_ledger(world.home.place.database, pinned=kept_verifier(world.home))
    assert report.first_bad is None
    return report.anchored_before


def test_an_intent_is_anchored_and_recorded_before_its_effect(world: World) -> None:
    asked_first(world)
    covering(world)
    seen: list[list[str]] = []
    real = world.gate.governed["update_ticket"]

    async def executes(*given: Any) -> Any:
        seen.append(kinds(world, "action.requested"))
        return await real.execute(*given)

    world.with_tool(Simulator(real, executes=executes))
    answer = world.comment("Hello.")
    assert (answer.envelope["status"], world.ticket.count("Hello.")) == ("succeeded", 1)
    assert seen == [["action.requested", "execution.started", "anchor.recorded"]]
    (started,), (recorded,) = world.entries("execution.started"), world.entries("anchor.recorded")
    assert recorded.facts["size"] == started.seq + 1
    (kept,) = (world.home.folder / "mount").glob("*/checkpoint")
    assert f"\n{started.seq + 1}\n".encode() in kept.read_bytes()
    assert verified(world) == AnchoredBefore(actions=1, cosigned=0)
    assert "anchored outside" in str(answer.envelope["reasons"])


def test_an_action_that_was_held_is_anchored_as_it_begins(world: World) -> None:
    asked_first(world, STATUS)
    covering(world)
    action = str(world.call("update_ticket", ticket="OPS-1", status="resolved").envelope["action_id"])
    world.approve(action)
    world.drain()
    assert world.status(action) == "succeeded"
    assert kinds(world, "execution.started") == ["execution.started", "anchor.recorded", "execution.finished"]
    assert verified(world).actions == 1


def test_what_no_rule_asks_for_waits_for_no_anchor(world: World) -> None:
    asked_first(world, STATUS)
    own = Outside()
    covering(world, own)
    assert world.comment("Hello.").envelope["status"] == "succeeded"
    assert own.got == []


def failed(world: World, answer: Answer) -> str:
    """Prove that nothing was done, and that all say so; return why."""
    assert (answer.envelope["status"], world.ticket.count("Hello.")) == ("failed", 0)
    outcome, effect, said = outcome_of(world)
    assert (outcome, effect) == ("failed", False)
    assert "nothing was done: its intent has to be anchored first, and was not" in said
    assert said in str(world.payload(world.entries("execution.finished")[-1], "outcome").decode())
    assert verified(world).actions == 0
    return said


def test_nothing_is_done_where_one_of_the_anchors_cannot_be_had(world: World) -> None:
    asked_first(world)
    well, own = Outside("well"), Outside(fails="no route")
    covering(world, well, own)
    assert "anchor own (witness): no route" in failed(world, world.comment("Hello."))
    assert [entry.facts["anchor"] for entry in world.entries("anchor.recorded")] == ["well"]
    own.fails = ""
    assert world.comment("Hello.").envelope["status"] == "succeeded"


def test_an_anchor_that_hangs_is_waited_for_no_longer_than_it_may_take(world: World) -> None:
    asked_first(world)
    own = Outside(seconds=0.2)
    covering(world, own).wait = 1.0
    own.gate.clear()
    try:
        began = time.monotonic()
        assert "does not answer within 0.2 s" in failed(world, world.comment("Hello."))
        # Nothing more is sent after what hangs: each would keep a thread.
        assert "has not answered yet" in failed(world, world.comment("Hello."))
        assert time.monotonic() - began < 15
    finally:
        own.gate.set()


def test_without_a_process_that_covers_nothing_is_done(world: World) -> None:
    asked_first(world)
    assert "this process has no anchor" in failed(world, world.comment("Hello."))
    covering(world).anchors = []
    assert "no anchor of this home has required = true" in failed(world, world.comment("Hello."))
    covering(world).signer = None
    assert "the log key is not at hand" in failed(world, world.comment("Hello."))


@pytest.mark.parametrize("error", [LedgerUnavailable("no space"), OSError("gone"), RuntimeError("a fault")])
def test_a_key_that_does_not_sign_and_a_fault_stop_the_effect(world: World, error: Exception) -> None:
    def refuse(message: bytes) -> bytes:
        raise error

    asked_first(world)
    coverage = covering(world)
    assert coverage.signer is not None
    coverage.signer = LogSigner(coverage.verifier, refuse)
    said = failed(world, world.comment("Hello."))
    assert str(error) in said or "internal error" in said


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("true", "printed no signature"),
        ("/nowhere/sign", "cannot be run"),
        (f'{sys.executable} -Sc \'print("A" * 86 + "==")\'', "is not the key of this log"),
    ],
    ids=["junk", "gone", "another key"],
)
def test_a_program_that_does_not_sign_for_the_log_stops_the_effect_and_not_the_process(
    world: World, program: str, why: str
) -> None:
    asked_first(world)
    coverage = covering(world)
    good = coverage.signer
    with world.home.wiring.open("a") as wiring:
        wiring.write(f"\n[log]\nkey = {json.dumps('command:' + program)}\n")
    coverage.signer = log_signer(world.home)
    assert why in failed(world, world.comment("Hello."))
    coverage.signer = good
    assert world.comment("Hello.").envelope["status"] == "succeeded"


def test_an_anchor_that_contradicts_the_ledger_stops_all(world: World) -> None:
    asked_first(world)
    coverage = covering(world)
    assert world.comment("One.").envelope["status"] == "succeeded"
    (kept,) = (world.home.folder / "mount").glob("*/checkpoint")
    note, signer = parse_note(kept.read_bytes()), coverage.signer
    assert signer is not None
    lines = note.text.split("\n")
    text = "\n".join([lines[0], "4000", *lines[2:]])
    kept.write_bytes(bytes(Note(text, (signature_of(signer.key, signer.sign(to_sign(text))),))))
    with pytest.raises(LedgerBroken, match="it saw 4000 entries"):
        world.comment("Hello.")
    assert world.ticket.count("Hello.") == 0


def test_intents_that_come_together_are_covered_together(world: World) -> None:
    asked_first(world)
    own = Outside()
    coverage = covering(world, own)
    own.gate.clear()
    seqs = [entry.seq for entry in world.entries()]
    answers: list[str | None] = []
    threads = [threading.Thread(target=lambda seq=seq: answers.append(coverage.cover(seq))) for seq in seqs[-5:]]
    for thread in threads:
        thread.start()
    own.gate.set()
    for thread in threads:
        thread.join(20)
    assert (answers, len(own.got), len(world.entries("anchor.recorded"))) == ([None] * 5, 1, 1)


def test_another_process_that_brings_the_same_anchor_something_is_waited_for(world: World) -> None:
    asked_first(world)
    own = Outside(seconds=0.1)
    coverage = covering(world, own)
    coverage.wait = 0.3
    turn = take_turn(world.home.place, coverage.anchors[0])
    assert turn is not None
    said = failed(world, world.comment("Hello."))
    assert "has not answered yet what this process or another of this home brought it" in said
    turn.release()
    assert world.comment("Hello.").envelope["status"] == "succeeded"


def test_what_another_process_has_anchored_meanwhile_is_not_brought_again(world: World) -> None:
    asked_first(world)
    own, other = Outside(), Outside()
    first = covering(world, own)
    second = replace(first, anchors=[Declared(other, 600.0, required=True)])
    last = world.entries()[-1].seq
    assert (first.cover(last), second.cover(last)) == (None, None)
    assert (len(own.got), other.got) == (1, [])


@pytest.mark.parametrize("step", dying.STEPS)
def test_a_kill_around_the_anchor_leaves_a_truth(world: World, step: str) -> None:
    asked_first(world)
    world.executing = False
    action = str(world.comment("Hello.").envelope["action_id"])
    with running(dying.execute_and_die, world.home, step) as (process, _):
        process.join(30)
        assert process.exitcode == -signal.SIGKILL
    (started,) = world.entries("execution.started")
    recorded = any(entry.facts["size"] > started.seq for entry in _anchors(world))  # type: ignore[operator]
    assert recorded == (step in {"recorded", "done"})
    assert world.ticket.count("Hello.") == (step == "done")
    for _ in range(2):
        covering(world)
        world.drain()
        assert world.status(action) == ("succeeded" if step == "done" else "failed")
    assert world.ticket.count("Hello.") == (step == "done")
    assert len(world.entries("execution.started")) == 1
    assert outcome_of(world)[1] is (step == "done")
    assert verified(world).actions == (step == "done")


def _anchors(world: World) -> list[Entry]:
    return world.entries("anchor.recorded")


PROBES: dict[str, Callable[..., Probe]] = {
    "tells nothing": lambda *_: CannotTell("no answer"),
    "proves that it cannot": lambda *_: CannotHappen("it had not begun"),
    "finds it done": lambda *_: Happened({}),
}


@pytest.mark.parametrize(
    ("step", "probe", "outcome"),
    [
        ("intent", "tells nothing", "failed"),
        ("signed", "tells nothing", "failed"),
        ("kept", "tells nothing", "failed"),
        ("recorded", "tells nothing", "unknown"),
        ("intent", "proves that it cannot", "failed"),
        ("intent", "finds it done", "succeeded"),
    ],
)
def test_what_no_anchor_was_recorded_for_never_began_whatever_the_probe_cannot_tell(
    world: World, step: str, probe: str, outcome: str
) -> None:
    asked_first(world)
    world.executing = False
    world.comment("Hello.")
    with running(dying.execute_and_die, world.home, step) as (process, _):
        process.join(30)
    simulator = Simulator(world.gate.governed["update_ticket"], probes=PROBES[probe])
    world.with_tool(simulator)
    anyio.run(recover, world.gate, world.executor, world.home.place.run)
    assert len(simulator.probed) == 1
    found, _, said = outcome_of(world)
    assert found == outcome
    if (outcome, probe) == ("failed", "tells nothing"):
        assert "it never began: no anchor had its intent" in said
    report = verify_ledger(world.home.place.database, pinned=kept_verifier(world.home))
    # Somebody did it although no anchor had its intent: recorded as it is, and named by whoever verifies.
    assert (report.first_bad is not None and report.first_bad.proof == 17) == (probe == "finds it done")


def test_under_another_policy_than_the_one_it_began_under_only_the_probe_tells(world: World) -> None:
    asked_first(world)
    world.executing = False
    world.comment("Hello.")
    with running(dying.execute_and_die, world.home, "intent") as (process, _):
        process.join(30)
    world.activate((COMMENTS + BEFORE, COMMENTS))
    world.with_tool(Simulator(world.gate.governed["update_ticket"], probes=PROBES["tells nothing"]))
    anyio.run(recover, world.gate, world.executor, world.home.place.run)
    assert outcome_of(world)[0] == "unknown"


def test_a_home_without_a_fitting_anchor_refuses_such_a_policy(world: World) -> None:
    words = r'grants\[4\]\.anchor: "before" needs an anchor that must have each intent; keyturn\.toml declares none'
    draft = world.draft_policy((COMMENTS, COMMENTS + BEFORE))
    assert any("required = true" in problem for problem in check_proposal(world.home).errors)
    with pytest.raises(ConfigurationError, match=words):
        read_proposal(world.home)
    check_anchors(world.gate, world.home)  # what is only proposed stops nothing
    world.act(draft)
    with pytest.raises(ConfigurationError, match=f"the policy in force: {words}"):
        check_anchors(world.gate, world.home)
    with world.home.wiring.open("a") as wiring:
        wiring.write(ANCHOR.replace("required = true\n", ""))
    with pytest.raises(ConfigurationError, match=words):
        check_anchors(world.gate, world.home)
    with world.home.wiring.open("a") as wiring:
        wiring.write("required = true\n")
    check_anchors(world.gate, world.home)
    assert check_proposal(world.home).errors == ()
    world.home.wiring.write_text("version = 1\n[anchors.x]\n")
    with pytest.raises(ConfigurationError, match=r"anchors\.x\.kind"):
        check_anchors(world.gate, world.home)


def test_a_process_without_the_log_key_does_not_execute_under_such_a_policy(world: World) -> None:
    notary = notary_of(world.home, world.gate.ledger)
    notary.signer = None
    check_log_key(world.gate, notary)
    asked_first(world)
    with pytest.raises(ConfigurationError, match="needs the log key"):
        check_log_key(world.gate, notary)
    check_log_key(world.gate, notary_of(world.home, world.gate.ledger))


def test_a_git_anchor_on_this_machine_may_be_required(tmp_path: Path) -> None:
    from keyturn.anchors.git import Settings  # noqa: PLC0415 - its settings alone

    assert Settings(path="notes.git", required=True).required
    with pytest.raises(ValueError, match="nothing else to set but every and required"):
        Settings(path="notes.git", timeout=10)
    given = file.Settings(path=str(tmp_path), same_filesystem=True)
    assert file.build("x", given, world_at(tmp_path)).name == "x"
