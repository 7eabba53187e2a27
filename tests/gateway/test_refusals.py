"""Refusals: at each stage of the path, with reasons; recorded, bounded, and without what was asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import anyio
import pytest

from keyturn.gateway.admission import told_by
from keyturn.gateway.call import UnknownTool, call, visible_contracts
from keyturn.gateway.core import Job
from keyturn.gateway.envelope import describe_denied, refusal_in_words
from keyturn.gateway.incoming import Incoming
from keyturn.gateway.journal import sentence
from keyturn.gateway.refusals import Refusal, flush, flush_all, record
from keyturn.ledger.errors import LedgerUnavailable
from keyturn.log.entry import EntryError
from keyturn.model.decision import Reason
from keyturn.model.errors import ConnectorError
from keyturn.model.plan import Plan
from keyturn.model.tool import Earlier, ReadTool
from tests.gateway.world import PULL_REQUEST, STAGING, Simulator, World, files_under, raises

CANARY = "canary7f3a"


def codes(world: World) -> list[str]:
    found: Any = world.entries("action.denied")[-1].facts["codes"]
    return [item["code"] for item in found]


def test_arguments_that_break_the_contract_are_refused_with_what_is_wrong(world: World) -> None:
    answer = world.call("update_ticket", ticket="OPS-1", commment="typo")
    assert (answer.is_error, answer.envelope["status"]) == (True, "denied")
    assert 'did you mean "comment"' in str(answer.envelope["message"])
    entry = world.entries("action.denied")[-1]
    assert (entry.facts["stage"], codes(world)) == ("contract", ["argument_unknown"])
    assert answer.receipt == entry


def test_a_request_that_no_grant_could_allow_is_refused_before_anything_is_read(world: World) -> None:
    world.activate(('limits = ["50 calls per hour"]', 'limits = ["1 calls per hour"]'))
    world.comment("One.")
    world.with_tool(Simulator(world.gate.governed["update_ticket"], plans=raises(AssertionError("planned"))))
    answer = world.comment("Two.")
    entry = world.entries("action.denied")[-1]
    assert (entry.facts["stage"], codes(world)) == ("screen", ["limit"])
    assert "limit 1 calls per 1h per principal: 1 of 1 used, 1 more asked; resets at 20" in str(
        answer.envelope["message"]
    )


def test_what_the_system_says_against_a_plan_is_the_reason(world: World) -> None:
    answer = world.call("rollback_deployment", deployment="web", environment="staging", to="9.9.9")
    assert answer.envelope["status"] == "denied"
    assert "9.9.9" in str(answer.envelope["message"])
    assert (world.entries("action.denied")[-1].facts["stage"], codes(world)) == ("plan", ["plan_refused"])


def test_a_forbidden_plan_is_refused_naming_the_rule(world: World) -> None:
    files = [{"path": ".github/workflows/ci.yml", "content": "on: push\n"}]
    answer = world.call("open_pull_request", **{**PULL_REQUEST, "files": files})
    reasons: Any = answer.envelope["reasons"]
    assert reasons[0]["rule"] == "never touch what runs with secrets"
    entry = world.entries("action.denied")[-1]
    assert (entry.facts["stage"], entry.facts["target"], codes(world)) == ("policy", "forge:shop/main", ["forbidden"])


def test_the_operator_reads_tool_code_and_rule_of_a_refusal_and_nothing_the_arguments_held(world: World) -> None:
    files = [{"path": ".github/workflows/ci.yml", "content": "on: push\n"}]
    world.call("open_pull_request", **{**PULL_REQUEST, "files": files})
    world.call("rollback_deployment", deployment="web", environment="staging", to="9.9.9")
    world.call("update_ticket", ticket="OPS-1", commment="typo")
    denied, look = world.entries("action.denied"), world.gate.ledger.look
    told = look(lambda view: [refusal_in_words(view, entry) for entry in denied])
    assert told == [
        "open_pull_request: forbidden by “never touch what runs with secrets”",
        "rollback_deployment: plan_refused",
        "update_ticket: argument_unknown",
    ]
    assert look(lambda view: [sentence(view, entry) for entry in denied]) == [
        f"claude may not call {words}" for words in told
    ]
    messages = look(lambda view: [describe_denied(view, entry)["message"] for entry in denied])
    assert messages == [f"Refused: {words}. Nothing was done." for words in told]


def test_what_tells_no_argument_is_told_to_the_operator_as_it_was(world: World) -> None:
    world.activate(('limits = ["50 calls per hour"]', 'limits = ["1 calls per hour"]'))
    world.comment("One.")
    world.comment("Two.")
    denied = world.entries("action.denied")[-1]
    told = world.gate.ledger.look(lambda view: refusal_in_words(view, denied))
    assert told.startswith("update_ticket: limit 1 calls per 1h per principal")


@pytest.mark.parametrize("kind", ["refused", "conflict", "retry", "unknown"])
def test_every_failure_of_a_system_while_planning_or_reading_is_a_refusal(world: World, kind: str) -> None:
    broken = raises(ConnectorError("the tracker is down", kind=kind))
    world.with_tool(Simulator(world.gate.governed["update_ticket"], plans=broken))
    assert world.comment("Hello.").envelope["reasons"] == [
        {"code": f"plan_{kind}", "rule": None, "text": "the tracker is down"}
    ]


@pytest.mark.parametrize(
    ("odd", "place"),
    [
        ({"summary": "\ud800"}, "plan.summary: lone surrogate"),
        ({"diff": "\ud800"}, "plan.diff: lone surrogate"),
        ({"facts": {"issue": 10**30}}, "plan.facts.issue: integer outside"),
        ({"view": {"title": ["\ud800"]}}, "plan.view.title[0]: lone surrogate"),
        ({"guard": {"priority": 0.5}}, "plan.guard.priority: float is not part"),
    ],
)
def test_a_plan_of_what_no_entry_can_hold_is_refused(world: World, odd: dict[str, Any], place: str) -> None:
    real = world.gate.governed["update_ticket"]
    world.with_tool(Simulator(real, plans=lambda plan: replace(plan, **odd)))
    answer = world.comment("Hello.")
    assert (answer.envelope["status"], codes(world)) == ("denied", ["plan_unreadable"])
    assert place in str(answer.envelope["message"])


def test_a_ticket_that_is_not_there_cannot_be_read(world: World) -> None:
    answer = world.call("get_ticket", ticket="OPS-99")
    assert (answer.is_error, codes(world)) == (True, ["read_refused"])


@dataclass
class Reading:
    """A reading tool that finds its place as the real one does, and reads what a test says."""

    real: ReadTool
    reads: Callable[[], Any]
    name: str = "a simulator"

    async def locate(self, arguments: Any, earlier: Earlier) -> Plan:
        return await self.real.locate(arguments, earlier)

    async def read(self, *_: object) -> Any:
        found = self.reads()
        return await found if isinstance(found, Awaitable) else found


def test_what_cannot_be_recorded_is_not_told(world: World) -> None:
    world.gate = replace(
        world.gate, reading={"get_ticket": Reading(world.gate.reading["get_ticket"], lambda: {"priority": 0.5})}
    )
    answer = world.call("get_ticket", ticket="OPS-1")
    assert (answer.envelope["status"], codes(world)) == ("denied", ["read_unreadable"])
    assert answer.envelope["result"] is None


def test_a_tool_nobody_has_and_one_the_caller_may_not_use_are_refused_alike(world: World) -> None:
    world.activate(('scopes = ["pr:write", ', "scopes = ["))
    assert "open_pull_request" not in {c.tool for c in visible_contracts(world.gate, world.caller())}
    for tool, recorded in (("open_pull_request", "open_pull_request"), (f"{CANARY}_tool", None)):
        with pytest.raises(UnknownTool) as unknown:
            world.call(tool, **PULL_REQUEST)
        assert str(unknown.value) == ""
        entry = world.entries("action.denied")[-1]
        assert (entry.facts["tool"], codes(world)) == (recorded, ["unknown_tool"])
    assert CANARY.encode() not in files_under(world.home.place.folder)


def test_of_refused_arguments_only_the_size_is_kept(world: World) -> None:
    """At the contract, at the plan and at the policy, in values and in names: no file under state/ has them."""
    world.activate(('where = { "arguments.status" = { exists = false } }', 'where = { "arguments.comment" = "ok" }'))
    files = [{"path": f".github/{CANARY}.yml", "content": CANARY}]
    refused: list[tuple[str, dict[str, Any]]] = [
        ("update_ticket", {"ticket": f"{CANARY}!"}),
        ("update_ticket", {"ticket": "OPS-1", CANARY: 1}),
        ("update_ticket", {"ticket": "OPS-1", "comment": CANARY}),
        ("update_ticket", {"ticket": f"OPS-{CANARY}", "comment": "ok"}),
        ("get_ticket", {"ticket": CANARY}),
        ("rollback_deployment", {**STAGING, "to": CANARY}),
        ("open_pull_request", {**PULL_REQUEST, "files": files, "reason": CANARY}),
        ("open_pull_request", {**PULL_REQUEST, "base": CANARY}),
    ]
    for tool, arguments in refused:
        answer = world.call(tool, **arguments)
        assert answer.envelope["status"] == "denied", tool
        again = world.envelope(str(answer.envelope["action_id"]))
        assert (again["status"], CANARY in str(again)) == ("denied", False)
    assert CANARY.encode() not in files_under(world.home.place.folder)
    sizes = [entry.facts["arguments_bytes"] for entry in world.entries("action.denied")]
    assert len(sizes) == len(refused)
    assert all(isinstance(size, int) and size > len(CANARY) for size in sizes)


def test_a_request_that_does_not_fit_into_an_entry_is_refused(world: World) -> None:
    def large(plan: Plan) -> Plan:
        return replace(plan, backend=replace(plan.backend, account="x" * 70_000))

    world.with_tool(Simulator(world.gate.governed["update_ticket"], plans=large))
    world.comment("Hello.")
    assert codes(world) == ["entry_too_large"]
    assert world.entries("action.requested") == []


def test_ten_refusals_a_minute_are_entries_and_the_rest_one_count(world: World) -> None:
    before = len(world.entries())
    first = [world.call("update_ticket", wrong=n) for n in range(10)]
    more = [world.call("update_ticket", wrong=n) for n in range(5)]
    assert len({answer.envelope["action_id"] for answer in first}) == 10
    assert {answer.envelope["action_id"] for answer in more} == {None}
    assert all(answer.receipt == world.entries()[-1] for answer in more)
    assert len(world.entries()) == before + 10
    flush_all(world.gate)
    flush_all(world.gate)
    counted = world.entries("requests.throttled")
    assert [(entry.facts["count"], entry.facts["code"]) for entry in counted] == [(5, "argument_missing")]
    world.clock.run(minutes=2)
    world.call("update_ticket", wrong=1)
    assert world.kinds()[-2:] == ["requests.throttled", "action.denied"]


def test_each_principal_has_its_own_ten(world: World) -> None:
    for principal in ("claude", "codex"):
        for n in range(12):
            world.call("update_ticket", principal, wrong=n)
    assert len(world.entries("action.denied")) == 20


def test_a_count_whose_commit_failed_is_written_later(world: World) -> None:
    for n in range(13):
        world.call("update_ticket", wrong=n)
    with world.ledger_away(), pytest.raises(LedgerUnavailable):
        flush_all(world.gate)
    flush_all(world.gate)
    assert [entry.facts["count"] for entry in world.entries("requests.throttled")] == [3]
    world.call("update_ticket", wrong=1)
    assert world.gate.suppressed["claude"].count == 1


def test_a_count_that_was_rolled_back_with_its_batch_is_counted_again(world: World) -> None:
    for n in range(12):
        world.call("update_ticket", wrong=n)

    def flush_and_fail(tx: Job) -> None:
        flush(world.gate, tx, "claude")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        world.gate.ledger.transact(flush_and_fail)
    flush_all(world.gate)
    assert [entry.facts["count"] for entry in world.entries("requests.throttled")] == [2]


def test_a_thousand_refused_calls_leave_few_entries(world: World) -> None:
    before = len(world.entries())

    async def storm() -> None:
        caller = world.caller()

        async def one() -> None:
            for _ in range(100):
                answer = await call(world.gate, caller, Incoming("update_ticket", {"wrong": 1}, 11))
                assert answer.is_error

        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(one)

    anyio.run(storm)
    flush_all(world.gate)
    assert len(world.entries()) - before < 30
    assert len(world.gate.suppressed) == 1
    told = sum(int(str(entry.facts["count"])) for entry in world.entries("requests.throttled"))
    assert told + len(world.entries("action.denied")) == 1000


def test_with_a_clock_that_cannot_be_right_nothing_governed_is_done(world: World) -> None:
    world.comment("Hello.")
    world.clock.step(minutes=-10)
    answer = world.comment("Again.")
    assert (answer.envelope["status"], codes(world)) == ("denied", ["clock"])
    assert "set the clock" in str(answer.envelope["message"])


def test_a_client_label_with_anything_in_it_does_no_harm(world: World) -> None:
    label = "evil\x1b[2J\udcff\u202e client " + "x" * 500
    caller = world.caller(client=label)
    assert caller.client.startswith("evil[2J client xxx")
    assert len(caller.client) == 200


def test_a_read_beyond_its_limit_is_refused_before_anything_is_read(world: World) -> None:
    world.activate(('limits = ["600 calls per hour"]', 'limits = ["1 calls per hour"]'))
    assert world.call("get_ticket", ticket="OPS-1").envelope["status"] == "succeeded"
    assert world.call("get_ticket", ticket="OPS-1").envelope["status"] == "denied"
    assert (world.entries("action.denied")[-1].facts["stage"], codes(world)) == ("screen", ["limit"])


@pytest.mark.parametrize("change", ['where = { environment = "staging" }', 'mode = "shadow"'])
def test_a_read_that_the_policy_does_not_simply_permit_does_not_happen(world: World, change: str) -> None:
    world.activate(('id = "assistants look at deployments"', f'id = "assistants look at deployments"\n{change}'))
    simulator = Reading(world.gate.reading["get_deployment"], raises(AssertionError("read")))
    world.gate = replace(world.gate, reading={"get_deployment": simulator})
    answer = world.call("get_deployment", deployment="web", environment="production")
    assert (answer.envelope["status"], answer.envelope["result"]) == ("denied", None)
    assert codes(world) == (["not_readable"] if "shadow" in change else ["no_grant"])


def test_of_two_reads_for_one_seat_only_one_leaves(world: World) -> None:
    """The limit is counted again when the result is recorded: the second has been read, and is not told."""
    world.activate(('limits = ["600 calls per hour"]', 'limits = ["1 calls per hour"]'))
    real = world.gate.reading["get_ticket"]

    async def overtaken() -> dict[str, str]:
        world.gate = replace(world.gate, reading={"get_ticket": real})
        await world.calling("get_ticket", {"ticket": "OPS-2"})
        return {"text": "from OPS-1"}

    world.gate = replace(world.gate, reading={"get_ticket": Reading(real, overtaken)})
    answer = world.call("get_ticket", ticket="OPS-1")
    assert (answer.envelope["status"], answer.envelope["result"], codes(world)) == ("denied", None, ["limit"])
    assert len(world.entries("read.served")) == 1


def test_a_refusal_decided_inside_a_transaction_is_counted_too_once_there_are_many(world: World) -> None:
    for number in range(12):
        world.call("update_ticket", ticket="OPS-1", **{f"wrong{number}": 1})
    recorded = len(world.entries("action.denied"))
    caller = world.caller()
    refusal = Refusal(
        caller=caller, tool=None, stage="policy", reasons=(Reason("limit", "too many"),), arguments_bytes=1
    )
    answer = world.gate.ledger.transact(lambda tx: record(world.gate, tx, refusal))
    assert (answer.envelope["status"], answer.envelope["action_id"]) == ("denied", None)
    assert len(world.entries("action.denied")) == recorded
    flush_all(world.gate)
    assert world.entries("requests.throttled")[-1].facts["count"] == 3


def test_no_action_is_told_by_no_entries() -> None:
    with pytest.raises(EntryError, match="without its entry"):
        told_by([])
