"""Once: what an identical request is answered with, and when it is done again."""

from __future__ import annotations

import anyio
import pytest

from keyturn.gateway.incoming import Call, Incoming
from keyturn.gateway.recover import reprobe
from keyturn.gateway.repeats import _Asked
from keyturn.model.outcome import CannotTell, Failed, Unknown
from keyturn.model.plan import Plan
from keyturn.model.tool import ActionRef
from tests.gateway.hands import read_call, submit
from tests.gateway.world import PRODUCTION, PULL_REQUEST, Simulator, World


def test_an_identical_request_is_answered_with_the_action_that_waits(world: World) -> None:
    action = world.held()
    again = world.call("open_pull_request", **PULL_REQUEST)
    assert (again.envelope["action_id"], again.envelope["repeated"]) == (action, True)
    assert str(again.envelope["message"]).startswith("Nothing was done now: ")
    world.executing = False
    world.approve(action)
    approved = world.call("open_pull_request", **PULL_REQUEST)
    assert (approved.envelope["action_id"], approved.envelope["status"]) == (action, "approved")
    assert len(world.entries("action.requested")) == 1


def test_another_reason_does_not_make_another_request(world: World) -> None:
    action = world.held(reason="because")
    again = world.call("open_pull_request", **PULL_REQUEST, reason="no, because of this")
    assert (again.envelope["action_id"], again.envelope["repeated"]) == (action, True)


def test_an_identical_request_joins_what_is_running(world: World) -> None:
    inside: list[tuple[object, object]] = []

    async def ask_again(*_: object) -> Unknown:
        contract = world.gate.catalog.contracts["update_ticket"]
        incoming = Incoming("update_ticket", {"ticket": "OPS-1", "comment": "Hello."}, 40)
        asked = read_call(world.gate, world.caller(), contract, incoming)
        assert isinstance(asked, Call)
        answer = await submit(world.gate, asked)
        inside.append((answer.envelope["status"], answer.envelope["repeated"]))
        return Unknown("no answer came")

    world.with_tool(
        Simulator(world.gate.governed["update_ticket"], executes=ask_again, probes=lambda *_: CannotTell("no answer"))
    )
    first = world.comment("Hello.")
    # Asked in the middle of the effect: answered by the action that runs, which nobody starts a second time.
    assert inside == [("running", True)]
    assert first.envelope["status"] == "unknown"
    assert len(world.entries("execution.started")) == 1


def test_an_unknown_outcome_answers_even_a_wish_to_repeat(world: World) -> None:
    simulator = Simulator(
        world.gate.governed["update_ticket"],
        executes=lambda *_: Unknown("no answer came"),
        probes=lambda *_: CannotTell("no answer"),
    )
    world.with_tool(simulator)
    first = world.comment("Hello.")
    assert (first.is_error, first.envelope["status"], first.envelope["terminal"]) == (True, "unknown", False)
    assert "Do not retry" in str(first.envelope["message"])
    for more in ({}, {"repeat": True}):
        again = world.comment("Hello.", **more)
        assert again.envelope["action_id"] == first.envelope["action_id"]
        assert (again.envelope["status"], again.envelope["repeated"]) == ("unknown", True)
    assert len(simulator.effects) == 1


def test_after_success_the_same_request_is_answered_for_the_contracts_window(world: World) -> None:
    first = world.comment("Hello.")
    again = world.comment("Hello.")
    assert (again.envelope["action_id"], again.envelope["status"]) == (first.envelope["action_id"], "succeeded")
    assert again.envelope["repeated"] is True
    assert world.ticket.count("Hello.") == 1
    world.clock.run(seconds=world.gate.catalog.contracts["update_ticket"].duplicate_window + 1)
    assert world.comment("Hello.").envelope["action_id"] != first.envelope["action_id"]
    assert world.ticket.count("Hello.") == 2


def test_a_wish_to_repeat_makes_a_second_action(world: World) -> None:
    first = world.comment("Hello.")
    second = world.comment("Hello.", repeat=True)
    assert (second.envelope["status"], second.envelope["repeated"]) == ("succeeded", False)
    assert second.envelope["action_id"] != first.envelope["action_id"]
    assert world.ticket.count("Hello.") == 2
    held = world.held()
    assert world.held(repeat=True) != held


def test_a_failed_request_can_be_made_again_at_once(world: World) -> None:
    world.with_tool(Simulator(world.gate.governed["update_ticket"], executes=lambda *_: Failed("no room")))
    first, second = world.comment("Hello."), world.comment("Hello.")
    assert first.envelope["status"] == second.envelope["status"] == "failed"
    assert first.envelope["action_id"] != second.envelope["action_id"]
    assert "It failed: no room." in str(first.envelope["message"])


def test_another_principals_identical_request_is_its_own(world: World) -> None:
    assert world.held("claude") != world.held("codex")


def test_when_the_world_moved_the_old_request_is_stale_and_a_new_one_waits(world: World) -> None:
    old = str(world.call("rollback_deployment", **PRODUCTION).envelope["action_id"])
    release = world.home.folder / "samples/web/production/releases/2.3.1/app.py"
    release.write_text(release.read_text() + "PATCHED = True\n")
    new = world.call("rollback_deployment", **PRODUCTION)
    assert (new.envelope["status"], new.envelope["repeated"]) == ("pending", False)
    assert new.envelope["action_id"] != old
    stale = world.entries("action.stale")[-1]
    assert (stale.action, stale.facts["stage"], stale.facts["superseded_by"]) == (
        old,
        "superseded",
        new.envelope["action_id"],
    )
    assert world.entries("action.requested")[-1].facts["supersedes"] == old
    envelope = world.envelope(old)
    assert (envelope["status"], envelope["terminal"]) == ("stale", True)
    assert "the world had moved" in envelope["message"]


def test_a_superseded_request_gives_its_place_in_the_limits_to_its_successor(world: World) -> None:
    world.activate(('limits = ["5 calls per hour"]', 'limits = ["1 calls per hour", "1 pending"]'))
    old = world.call("rollback_deployment", **PRODUCTION)
    again = world.call("rollback_deployment", **PRODUCTION)
    assert (again.envelope["action_id"], again.envelope["repeated"]) == (old.envelope["action_id"], True)
    release = world.home.folder / "samples/web/production/releases/2.3.1/app.py"
    release.write_text("PATCHED = True\n")
    assert world.call("rollback_deployment", **PRODUCTION).envelope["status"] == "pending"
    other = world.call("rollback_deployment", **{**PRODUCTION, "to": "2.2.0"})
    assert other.envelope["status"] == "denied"


@pytest.mark.parametrize("settled", [True, False])
def test_once_a_probe_can_tell_an_unknown_outcome_is_settled(world: World, settled: bool) -> None:
    """The real probe finds the marker of the effect, or puts up a fence and says that it cannot happen any more."""
    real = world.gate.governed["update_ticket"]

    async def effect(plan: Plan, action: ActionRef) -> Unknown:
        if settled:
            await real.execute(plan, action)
        return Unknown("no answer came")

    blind = Simulator(real, executes=effect, probes=lambda *_: CannotTell("no answer"))
    world.with_tool(blind)
    action = str(world.comment("Hello.").envelope["action_id"])
    assert anyio.run(reprobe, world.gate) == 0
    blind.probes = None
    assert anyio.run(reprobe, world.gate) == 1
    assert world.status(action) == ("succeeded" if settled else "failed")
    assert world.ticket.count("Hello.") == int(settled)
    entry = world.entries("execution.resolved")[-1]
    assert (entry.facts["method"], entry.facts["act"], entry.facts["effect"]) == ("probe", None, settled)
    assert anyio.run(reprobe, world.gate) == 0
    assert len(blind.effects) == 1


def test_an_open_request_is_answered_although_its_limit_is_spent(world: World) -> None:
    world.activate(('limits = ["50 calls per hour"]', 'limits = ["1 calls per hour"]'))
    world.executing = False
    first = world.comment("One.")
    assert world.comment("Two.").envelope["status"] == "denied"
    again = world.comment("One.")
    assert (again.envelope["action_id"], again.envelope["repeated"]) == (first.envelope["action_id"], True)


def test_what_is_forgotten_is_let_go_of_and_what_is_not_is_recognized_again(world: World) -> None:
    first = world.comment("Hello.").envelope["action_id"]
    world.comment("Hello.")
    repeats = world.gate.repeats
    gone = [f"gone-{number}" for number in range(5_000)]
    repeats._seen.update(gone)
    repeats._given.update(dict.fromkeys(gone, "digest"))
    repeats._asked[("ghost", "update_ticket")] = _Asked(unread=gone[:2], by_digest={"digest": gone[2:4]})
    repeats._asked[("claude", "update_ticket")].unread.append(gone[4])
    repeats._asked[("claude", "update_ticket")].by_digest["digest"] = gone[5:7]
    again = world.comment("Hello.")
    assert (again.envelope["action_id"], again.envelope["repeated"]) == (first, True)
    assert not repeats._seen & set(gone)
    assert not repeats._given
    assert list(repeats._asked) == [("claude", "update_ticket")]


def test_an_action_that_was_never_written_answers_nothing(world: World) -> None:
    world.comment("Hello.")
    world.comment("Hello.")
    world.gate.repeats._asked[("claude", "update_ticket")].unread.append("never-written")
    other = world.comment("Another.")
    assert (other.envelope["status"], other.envelope["repeated"]) == ("succeeded", False)
