"""What is reserved, withheld and released in a ledger: what a holder of the entry key would get away with."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from keyturn import canon
from keyturn.canon import Json
from keyturn.gateway.acts import read_candidate
from keyturn.log.entry import Entry
from keyturn.model.time import format_timestamp
from tests.verifier.test_recovery import recover
from tests.verifier.test_suspensions import act, passes
from tests.verifier.test_thief import named
from tests.verifier.world import Thief, policy_text

PRICE = '[tools.update_ticket]\ncost = 5\nruntime = "60s"\n[[limits]]\nid = "purse"\nlimits = ["12 cost per day"]\n'
BY_HAND = """[[grants]]
id = "by hand"
principals = ["claude"]
tool = "update_ticket"
where = { "arguments.status" = { exists = false } }
execute = "manual"
"""
RULES = ["by hand", "comments"]


def activate(thief: Thief, extra: str = "", *changes: tuple[str, str]) -> None:
    """Have alice put a policy with more in it in force."""
    text = policy_text(thief.world.people, thief.world.catalog, extra)
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    candidate = read_candidate({"policy.toml": text}, thief.world.catalog)
    before = next(entry for entry in reversed(thief.all) if entry.kind == "policy.activated")
    facts: dict[str, Any] = {
        "policy": candidate.policy.digest,
        "previous": before.text("policy"),
        "reviewers": before.facts["reviewers"],
        "act": act(thief, "policy.activate", before.text("policy"), candidate.policy.digest),
    }
    thief.append("policy.activated", facts, data={"policy.files": canon.encode(dict(candidate.files))})


def ask(thief: Thief, **changes: Any) -> Entry:
    """Append a request that the policy permits once a person has signed."""
    until = thief.all[-1].at + timedelta(seconds=1, hours=4)
    return thief.request("permitted", **{"rules": RULES, "expires_at": format_timestamp(until), **changes})


def reserve(thief: Thief, cost: int = 5, runtime: int = 60, name: str = "forged") -> Entry:
    return thief.append("action.reserved", {"amounts": {"cost": cost, "runtime": runtime}}, action=thief.id(name))


def withhold(thief: Thief, *rules: str) -> Entry:
    return thief.append("action.withheld", {"rules": list(rules or ("by hand",))}, action=thief.id("forged"))


def release(thief: Thief, digest: str, signer: str = "alice", **changes: Json) -> Entry:
    verb = str(changes.pop("verb", "action.execute"))
    subject = str(changes.pop("object", thief.id("forged")))
    return thief.append(
        "action.released", {"act": act(thief, verb, subject, digest, signer, **changes)}, action=thief.id("forged")
    )


def waiting(thief: Thief) -> Entry:
    """Append a request that is withheld, under a policy that asks for it."""
    activate(thief, BY_HAND)
    request = ask(thief)
    withhold(thief)
    return request


def test_an_honest_life_by_hand_passes(thief: Thief) -> None:
    activate(thief, PRICE + BY_HAND)
    request = ask(thief)
    reserve(thief)
    withhold(thief)
    release(thief, request.digest)
    thief.start("forged")
    thief.finish("forged")
    assert passes(thief)


def test_a_reservation_that_was_left_out_is_named_at_what_comes_instead(thief: Thief) -> None:
    activate(thief, PRICE)
    thief.request("permitted")
    named(thief, thief.start("forged").seq, 11)


@pytest.mark.parametrize(("cost", "runtime"), [(4, 60), (5, 59), (6, 60), (0, 60)])
def test_a_reservation_of_other_amounts_is_named(thief: Thief, cost: int, runtime: int) -> None:
    activate(thief, PRICE)
    thief.request("permitted")
    named(thief, reserve(thief, cost, runtime).seq, 11)


def test_a_reservation_that_the_policy_does_not_ask_for_is_named(thief: Thief) -> None:
    thief.request("permitted")
    named(thief, reserve(thief).seq, 11)


def test_a_reservation_that_comes_late_is_named(thief: Thief) -> None:
    named(thief, reserve(thief, name="permitted").seq, 11)


def test_a_second_reservation_is_named(thief: Thief) -> None:
    activate(thief, PRICE)
    thief.request("permitted")
    reserve(thief)
    named(thief, reserve(thief).seq, 11)


def test_a_request_beyond_a_budget_is_named(thief: Thief) -> None:
    activate(thief, PRICE)
    for _ in range(2):
        thief.request("permitted")
        reserve(thief)
    named(thief, thief.request("permitted").seq, 11)


@pytest.mark.parametrize("cost", [None, 1])
def test_an_intent_whose_request_reserved_less_than_the_policy_in_force_asks_is_named(
    thief: Thief, cost: int | None
) -> None:
    if cost is not None:
        activate(thief, PRICE.replace("cost = 5", f"cost = {cost}"))
    thief.request("permitted")
    if cost is not None:
        reserve(thief, cost)
    activate(thief, PRICE)
    named(thief, thief.start("forged", policy=thief.force).seq, 11)


def test_an_intent_whose_request_reserved_more_passes(thief: Thief) -> None:
    activate(thief, PRICE)
    thief.request("permitted")
    reserve(thief)
    activate(thief, PRICE.replace("cost = 5", "cost = 4"))
    thief.start("forged")
    assert passes(thief)


def test_an_intent_whose_target_is_in_another_environment_by_the_policy_in_force_is_named(thief: Thief) -> None:
    """People reviewed it, and limits counted it, as one of the environment that its request names."""
    thief.request("permitted")
    activate(thief, "", ("[environments.tracker]", "[environments.elsewhere]"))
    named(thief, thief.start("forged", policy=thief.force).seq, 11)


def test_a_cost_is_given_back_by_what_did_nothing_and_held_by_what_nobody_knows(thief: Thief) -> None:
    activate(thief, PRICE)
    for outcome, effect in (("failed", False), ("unknown", None), ("unknown", None)):
        thief.request("permitted", target="tickets:ops/OPS-2")
        reserve(thief)
        thief.start("forged")
        thief.finish("forged", outcome=outcome, effect=effect)
    assert passes(thief)
    named(thief, thief.request("permitted").seq, 11)


def test_an_intent_without_anybodys_signature_is_named(thief: Thief) -> None:
    waiting(thief)
    named(thief, thief.start("forged").seq)


def test_a_request_that_is_not_withheld_though_it_must_be_is_named_at_what_comes_instead(thief: Thief) -> None:
    activate(thief, BY_HAND)
    ask(thief)
    named(thief, thief.start("forged").seq, 11)


@pytest.mark.parametrize("rules", [("comments",), ("by hand", "comments")])
def test_a_request_that_is_withheld_by_other_rules_is_named(thief: Thief, rules: tuple[str, ...]) -> None:
    activate(thief, BY_HAND)
    ask(thief)
    named(thief, withhold(thief, *rules).seq, 11)


def test_a_request_that_is_withheld_for_no_reason_is_named(thief: Thief) -> None:
    thief.request("permitted")
    named(thief, withhold(thief).seq, 11)


def test_a_signature_by_nobody_listed_is_named(thief: Thief) -> None:
    named(thief, release(thief, waiting(thief).digest, "mallory").seq)


def test_a_signature_by_another_key_than_the_persons_is_named(thief: Thief) -> None:
    named(thief, release(thief, waiting(thief).digest, "carol", by="alice").seq)


@pytest.mark.parametrize(
    "said",
    [
        {"verb": "action.resolve"},
        {"digest": "sha256:" + "0" * 64},
        {"object": "019aa5b2-7d80-7000-8000-000000000001"},
        {"after": 2},
        {"log": "keyturn/" + "1" * 32},
    ],
)
def test_a_signature_for_something_else_is_named(thief: Thief, said: dict[str, Json]) -> None:
    request = waiting(thief)
    digest, others = str(said.get("digest", request.digest)), {**said}
    others.pop("digest", None)
    named(thief, release(thief, digest, "alice", **others).seq)


def test_a_second_signature_is_named(thief: Thief) -> None:
    request = waiting(thief)
    release(thief, request.digest)
    named(thief, release(thief, request.digest).seq)


def test_a_signature_for_what_waits_for_nobody_is_named(thief: Thief) -> None:
    request = thief.request("permitted")
    named(thief, release(thief, request.digest).seq)


def test_a_signature_for_what_people_have_not_approved_is_named(thief: Thief) -> None:
    activate(thief, BY_HAND.replace("exists = false", "exists = true"))
    request = thief.request("waiting", rules=["by hand", "status"])
    withhold(thief)
    named(thief, release(thief, request.digest).seq)


def test_a_signature_after_the_expiry_is_named(thief: Thief) -> None:
    request = waiting(thief)
    late = format_timestamp(request.at + timedelta(hours=5))
    signed = act(thief, "action.execute", thief.id("forged"), request.digest)
    found = thief.append("action.released", {"act": signed}, action=thief.id("forged"), ts=late)
    named(thief, found.seq)


def test_what_was_approved_before_a_policy_asked_for_a_hand_may_not_run_under_it(thief: Thief) -> None:
    activate(thief, BY_HAND)
    named(thief, thief.start("permitted").seq, 11)


def test_a_signature_from_before_a_restore_is_named(thief: Thief) -> None:
    activate(thief, BY_HAND.replace("exists = false", "exists = true"))
    request = thief.request("waiting", rules=["by hand", "status"])
    withhold(thief)
    thief.review("forged", "alice")
    release(thief, request.digest)
    since = recover(thief).at
    thief.review("forged", "alice", at=format_timestamp(since + timedelta(seconds=1)))
    named(thief, thief.start("forged").seq)
