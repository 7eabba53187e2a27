"""Attacks by somebody who holds the entry key: every entry is properly linked and signed, and still named."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from keyturn import canon
from keyturn.canon import Json
from keyturn.fold.state import token_digest
from keyturn.ledger.keys import make_key
from keyturn.log.entry import leaf_hash, write_body
from keyturn.log.envelope import ENTRY_TYPE, pae
from keyturn.model.time import format_timestamp
from keyturn.verifier import Report, in_words
from tests.sshsig.keys import HardwareKey
from tests.verifier.test_file import bad
from tests.verifier.world import (
    ACT,
    REVIEW,
    Thief,
    World,
    b64,
    build,
    entries,
    new_id,
    policy_text,
    tamper,
    token_facts,
)

ZEROS = "sha256:" + "0" * 64


def named(thief: Thief, seq: int, proof: int = 9) -> Report:
    """Verify, and expect exactly this entry and proof."""
    report = thief.world.verify(pinned=thief.world.verifier)
    assert bad(report) == (seq, proof), report.first_bad
    return report


# --- honest appends pass, so that each attack fails for its own reason ---------------------------------------------


def test_a_proper_review_intent_and_outcome_pass(thief: Thief) -> None:
    thief.review("waiting", "alice")
    thief.finish_begun()
    assert thief.world.verify().verdict == "PASS-UNANCHORED"
    thief.start("approved")
    thief.finish("approved")
    assert thief.world.verify().verdict == "PASS-UNANCHORED"


def test_two_people_meet_a_quorum_of_two(thief: Thief) -> None:
    thief.review("quorum", "alice")
    thief.review("quorum", "carol")
    thief.start("quorum")
    assert thief.world.verify().verdict == "PASS-UNANCHORED"


def test_a_touched_hardware_key_meets_a_hardware_rule(thief: Thief) -> None:
    hardware_review(thief, flags=1)
    thief.start("hardware")
    assert thief.world.verify().verdict == "PASS-UNANCHORED"


# --- reviews ------------------------------------------------------------------------------------------------------


def test_a_review_by_an_unlisted_key_is_named(thief: Thief) -> None:
    forged = thief.review("waiting", "alice", signer="mallory")
    report = named(thief, forged.seq)
    assert [item.seq for item in report.refused_reviews] == [forged.seq]
    assert any("refused review" in line for line in in_words(report))


def test_an_intent_that_rests_on_a_refused_review_does_not_count_either(thief: Thief) -> None:
    forged = thief.review("waiting", "alice", signer="mallory")
    thief.start("waiting")
    report = named(thief, forged.seq)
    assert report.last_seq == forged.seq + 1


def test_a_review_by_an_unlisted_person_is_named(thief: Thief) -> None:
    named(thief, thief.review("waiting", "mallory").seq)


def test_a_review_for_another_digest_is_named(thief: Thief) -> None:
    named(thief, thief.review("waiting", "alice", digest=ZEROS).seq)


def test_a_review_of_another_action_is_named(thief: Thief) -> None:
    statement = thief.statement("quorum", "alice")
    signature = thief.world.people.sign("alice", statement, REVIEW)
    named(thief, thief.reviewed("waiting", statement, signature).seq)


def test_a_review_in_the_namespace_of_acts_is_named(thief: Thief) -> None:
    named(thief, thief.review("waiting", "alice", namespace=ACT).seq)


def test_a_review_replayed_from_another_log_is_named(thief: Thief) -> None:
    named(thief, thief.review("waiting", "alice", log="keyturn/" + "1" * 32).seq)


def test_a_review_whose_facts_are_not_those_signed_is_named(thief: Thief) -> None:
    honest = thief.find("action.reviewed", "rejected")
    facts = {**honest.facts, "verdict": "approve"}
    action = thief.world.actions["rejected"]
    forged = thief.append("action.reviewed", facts, action=action, data={"review.reason": b'"yes"'})
    named(thief, forged.seq)


def hardware_review(thief: Thief, flags: int, token: HardwareKey | None = None) -> int:
    statement = thief.statement("hardware", "dave")
    signature = (token or thief.world.people.token).sign(canon.encode(statement), REVIEW, flags=flags)
    return thief.reviewed("hardware", statement, signature).seq


def test_a_review_without_presence_where_hardware_is_asked_is_named(thief: Thief) -> None:
    named(thief, hardware_review(thief, flags=0))


def test_a_review_by_another_hardware_key_is_named(thief: Thief) -> None:
    named(thief, hardware_review(thief, flags=1, token=HardwareKey()))


def test_a_review_by_the_owner_is_named(thief: Thief) -> None:
    named(thief, thief.review("waiting", "bob").seq)


def test_a_review_of_somebody_not_asked_is_named(thief: Thief) -> None:
    named(thief, thief.review("hardware", "alice").seq)


def test_a_review_after_the_expiry_is_named(thief: Thief) -> None:
    named(thief, thief.review("waiting", "alice", after=timedelta(days=2)).seq)


def test_a_review_no_newer_than_the_last_one_is_named(thief: Thief) -> None:
    at = format_timestamp(thief.all[-1].at)
    thief.review("quorum", "alice", at=at)
    named(thief, thief.review("quorum", "alice", at=at).seq)


def test_a_review_from_the_future_is_named(thief: Thief) -> None:
    at = format_timestamp(thief.all[-1].at + timedelta(hours=1))
    named(thief, thief.review("waiting", "alice", at=at).seq)


def test_a_review_with_a_broken_signature_is_named(thief: Thief) -> None:
    honest = thief.find("action.reviewed", "approved")
    broken = {**honest.facts, "signature": b64(b"nothing")}
    forged = thief.append("action.reviewed", broken, action=honest.action, data={"review.reason": b'"yes"'})
    named(thief, forged.seq)


def test_a_review_of_an_action_that_is_over_is_named(thief: Thief) -> None:
    named(thief, thief.review("reviewed", "alice").seq)


# --- intents and outcomes -----------------------------------------------------------------------------------------


def test_an_intent_without_approval_is_named(thief: Thief) -> None:
    named(thief, thief.start("waiting").seq)


def test_the_same_person_twice_is_no_quorum_of_two(thief: Thief) -> None:
    thief.review("quorum", "alice")
    thief.review("quorum", "alice")
    named(thief, thief.start("quorum").seq)


def test_an_intent_that_counts_too_few_of_the_reviews_is_named(thief: Thief) -> None:
    named(thief, thief.start("approved", reviews=[]).seq)


def test_an_intent_after_a_rejection_is_named(thief: Thief) -> None:
    thief.review("quorum", "alice")
    thief.review("quorum", "carol")
    thief.review("quorum", "carol", verdict="reject")
    named(thief, thief.start("quorum").seq)


def test_an_intent_after_the_expiry_is_named(thief: Thief) -> None:
    thief.review("quorum", "alice")
    thief.review("quorum", "carol")
    late = format_timestamp(thief.all[-1].at + timedelta(days=1))
    named(thief, thief.start("quorum", ts=late).seq)


def test_an_intent_of_a_shadowed_action_is_named(thief: Thief) -> None:
    named(thief, thief.start("shadow").seq)


def test_an_intent_of_a_shadow_that_was_not_finished_is_named(thief: Thief) -> None:
    at = thief.all[-1].at + timedelta(seconds=1)
    thief.request("shadow", expires_at=format_timestamp(at))
    named(thief, thief.start("forged").seq)


def test_a_second_intent_is_named(thief: Thief) -> None:
    thief.start("approved")
    named(thief, thief.start("approved").seq)


def test_an_intent_under_another_policy_is_named(thief: Thief) -> None:
    named(thief, thief.start("approved", policy=ZEROS).seq, 10)


def test_an_intent_on_a_busy_target_is_named(thief: Thief) -> None:
    thief.request("staging")
    named(thief, thief.start("forged").seq)


def test_an_outcome_without_an_intent_is_named(thief: Thief) -> None:
    named(thief, thief.finish("approved").seq)


def test_a_second_outcome_is_named(thief: Thief) -> None:
    thief.start("approved")
    thief.finish("approved")
    named(thief, thief.finish("approved", outcome="failed", effect=False).seq)


def test_an_outcome_of_another_executor_is_named(thief: Thief) -> None:
    thief.start("approved")
    named(thief, thief.finish("approved", instance="2" * 32).seq)


def test_an_outcome_that_cannot_have_its_effect_is_named(thief: Thief) -> None:
    thief.start("approved")
    named(thief, thief.finish("approved", effect=None).seq)


def test_a_shadow_finished_later_is_named(thief: Thief) -> None:
    shadow = {"outcome": "shadowed", "effect": False, "instance": "0" * 32}
    named(thief, thief.finish("waiting", **shadow).seq)


def test_a_known_outcome_settled_again_is_named(thief: Thief) -> None:
    named(thief, thief.resolve("resolved").seq)


def test_an_unknown_outcome_settled_by_a_probe_passes(thief: Thief) -> None:
    thief.resolve("unknown")
    report = thief.world.verify()
    assert report.verdict == "PASS-UNANCHORED"
    assert not report.unknown_outcomes


def test_an_outcome_settled_with_an_effect_it_cannot_have_is_named(thief: Thief) -> None:
    named(thief, thief.resolve("unknown", effect=False).seq)


def test_an_operators_word_without_a_signature_is_named(thief: Thief) -> None:
    named(thief, thief.resolve("unknown", method="operator").seq)


def test_an_operators_word_on_another_action_is_named(thief: Thief) -> None:
    act = thief.find("execution.resolved", "resolved").facts["act"]
    forged = thief.resolve("unknown", method="operator", act=act)
    named(thief, forged.seq)


def test_a_cancellation_by_another_principal_is_named(thief: Thief) -> None:
    forged = thief.append(
        "action.cancelled", {"by": {"type": "principal", "name": "tester"}}, action=thief.id("waiting")
    )
    named(thief, forged.seq)


def test_a_cancellation_of_a_begun_action_is_named(thief: Thief) -> None:
    forged = thief.append("action.cancelled", {"by": {"type": "account", "name": "root"}}, action=thief.id("begun"))
    named(thief, forged.seq)


def test_an_expiry_before_its_time_is_named(thief: Thief) -> None:
    named(thief, thief.append("action.expired", {}, action=thief.id("waiting")).seq)


def test_a_second_expiry_is_named(thief: Thief) -> None:
    named(thief, thief.append("action.expired", {}, action=thief.id("expired")).seq)


def test_an_expiry_written_down_days_later_passes(thief: Thief) -> None:
    late = thief.all[-1].at + timedelta(days=3)
    thief.request("permitted", at=late)
    thief.append("action.expired", {}, action=thief.id("waiting"))
    report = thief.world.verify()
    assert report.verdict == "PASS-UNANCHORED", report.first_bad


# --- requests -----------------------------------------------------------------------------------------------------


def test_a_permit_where_the_policy_holds_is_named(thief: Thief) -> None:
    facts: dict[str, Any] = {"decision": "permit", "obligations": [], "reviewers": {}, "excluded": []}
    report = named(thief, thief.request("waiting", **facts).seq, 11)
    assert report.first_bad is not None
    assert "the policy gives" in report.first_bad.reason


def test_a_permit_where_the_policy_denies_is_named(thief: Thief) -> None:
    view = thief.plan_of("hardware")
    view["view"]["files"] = [{"path": ".github/workflows/x.yml", "status": "added"}]
    forged = thief.request("hardware", data={"plan": canon.encode(view)})
    report = named(thief, forged.seq, 11)
    assert report.first_bad is not None
    assert "the policy denies it" in report.first_bad.reason


@pytest.mark.parametrize(
    "changes",
    [
        {"rules": ["another"]},
        {"environment": "staging"},
        {"owner": None},
        {"expires_at": "2099-01-01T00:00:00.000000Z"},
    ],
)
def test_a_request_with_other_facts_than_derived_is_named(thief: Thief, changes: dict[str, Any]) -> None:
    named(thief, thief.request("permitted", **changes).seq, 11)


def test_a_hold_with_a_lower_quorum_is_named(thief: Thief) -> None:
    weaker = [{**item, "quorum": 1} for item in thief.find("action.requested", "quorum").facts["obligations"]]  # type: ignore[union-attr,dict-item]  # a list of objects
    named(thief, thief.request("quorum", obligations=weaker).seq, 11)


def test_a_hold_with_another_key_for_its_reviewer_is_named(thief: Thief) -> None:
    people = {**thief.find("action.requested", "waiting").facts["reviewers"]}  # type: ignore[dict-item]  # an object
    people["alice"] = [thief.world.people.line("mallory")]
    named(thief, thief.request("waiting", reviewers=people).seq, 11)


@pytest.mark.parametrize("plan", [{}, {"effects": [], "view": {}}])
def test_a_request_with_a_plan_of_another_form_is_named(thief: Thief, plan: dict[str, Any]) -> None:
    named(thief, thief.request("permitted", data={"plan": canon.encode(plan)}).seq, 11)


def test_a_request_without_a_plan_is_named(thief: Thief) -> None:
    like = thief.find("action.requested", "permitted")
    forged = thief.append("action.requested", like.facts, action=new_id(thief.all[-1].at), data={"reason": b'""'})
    named(thief, forged.seq, 11)


def test_a_request_for_another_target_than_planned_is_named(thief: Thief) -> None:
    named(thief, thief.request("permitted", target="tickets:ops/OPS-1").seq, 11)


def test_a_request_with_a_contract_that_is_not_published_is_named(thief: Thief) -> None:
    named(thief, thief.request("permitted", contract=f"v1 {ZEROS}").seq, 10)


def test_a_request_of_a_tool_that_nothing_pins_is_named(thief: Thief) -> None:
    label = thief.world.catalog.contracts["get_deployment"].label
    named(thief, thief.request("permitted", tool="get_deployment", contract=label).seq, 10)


def test_a_request_under_a_policy_that_is_not_in_force_is_named(thief: Thief) -> None:
    old = thief.find("action.requested", "commented").text("policy")
    named(thief, thief.request("permitted", policy=old).seq, 10)


def test_a_request_with_an_unknown_token_is_named(thief: Thief) -> None:
    named(thief, thief.request("permitted", token=ZEROS).seq)


def test_a_request_with_anothers_token_is_named(thief: Thief) -> None:
    token = thief.find("action.requested", "shadow").text("token")
    named(thief, thief.request("permitted", token=token).seq)


def test_a_request_with_a_revoked_token_is_named(thief: Thief) -> None:
    token = next(entry for entry in thief.all if entry.kind == "token.revoked").text("token")
    named(thief, thief.request("permitted", token=token).seq)


def test_an_intent_after_its_token_was_revoked_is_named(thief: Thief) -> None:
    token = thief.find("action.requested", "approved").text("token")
    thief.append("token.revoked", {"token": token, "by": {"type": "account", "name": "root"}})
    named(thief, thief.start("approved").seq)


def test_a_request_on_a_transport_its_token_is_not_for_is_named(thief: Thief) -> None:
    named(thief, thief.request("permitted", transport="pigeon").seq)


def requested_under_an_id(thief: Thief, later: timedelta) -> int:
    """Request an action whose id was made so much later than its request; return the entry's place."""
    like = thief.find("action.requested", "permitted")
    at = thief.all[-1].at + timedelta(seconds=1)
    facts = {**like.facts, "expires_at": format_timestamp(at + timedelta(minutes=15))}
    action = new_id(at + later)
    return thief.append("action.requested", facts, action=action, data=thief.payloads_of(like.seq)).seq


def test_an_action_id_of_another_time_is_named(thief: Thief) -> None:
    named(thief, requested_under_an_id(thief, -timedelta(days=8)))


def test_an_action_id_of_half_an_hour_before_is_named(thief: Thief) -> None:
    named(thief, requested_under_an_id(thief, -timedelta(minutes=30, seconds=2)))


def test_an_action_id_of_half_an_hour_later_is_named(thief: Thief) -> None:
    named(thief, requested_under_an_id(thief, timedelta(minutes=30, seconds=2)))


def test_an_action_id_of_nearly_half_an_hour_before_is_not(thief: Thief) -> None:
    requested_under_an_id(thief, -timedelta(minutes=29, seconds=58))
    assert thief.world.verify().first_bad is None


def test_an_action_requested_twice_is_named(thief: Thief) -> None:
    like = thief.find("action.requested", "permitted")
    at = thief.all[-1].at + timedelta(seconds=1)
    facts = {**like.facts, "expires_at": format_timestamp(at + timedelta(minutes=15))}
    forged = thief.append("action.requested", facts, action=like.action, data=thief.payloads_of(like.seq))
    named(thief, forged.seq)


def test_a_request_over_a_limit_is_named(thief: Thief) -> None:
    lately = thief.all[-1].at - timedelta(hours=1)
    counted = [
        e for e in thief.all if e.kind == "action.requested" and e.at > lately and e.facts["principal"] == "claude"
    ]
    spent = sum(entry.text("tool") == "update_ticket" for entry in counted)
    for number in range(10 - spent):
        thief.request("permitted", data={"argument.comment": canon.encode(f"number {number}")})
    assert thief.world.verify().verdict == "PASS-UNANCHORED"
    report = named(thief, thief.request("permitted").seq, 11)
    assert report.first_bad is not None
    assert "limit" in report.first_bad.reason


# --- reads and refusals -------------------------------------------------------------------------------------------


def read_again(thief: Thief, **changes: Any) -> int:
    like = next(entry for entry in thief.all if entry.kind == "read.served")
    facts = {**like.facts, "policy": thief.force, **changes}
    return thief.append("read.served", facts, data=thief.payloads_of(like.seq)).seq


def test_a_proper_read_passes(thief: Thief) -> None:
    read_again(thief)
    assert thief.world.verify().verdict == "PASS-UNANCHORED"


def test_a_read_the_policy_does_not_permit_is_named(thief: Thief) -> None:
    named(thief, read_again(thief, target="tickets:another/OPS-1"), 11)


def test_a_read_under_another_rule_is_named(thief: Thief) -> None:
    named(thief, read_again(thief, rules=["another"]), 11)


def test_a_read_with_an_expired_token_is_named(thief: Thief) -> None:
    like = next(entry for entry in thief.all if entry.kind == "read.served")
    at = format_timestamp(thief.all[-1].at + timedelta(days=100))
    forged = thief.append(
        "read.served", {**like.facts, "policy": thief.force}, data=thief.payloads_of(like.seq), ts=at
    )
    named(thief, forged.seq)


def test_a_refusal_under_another_policy_is_named(thief: Thief) -> None:
    like = next(entry for entry in thief.all if entry.kind == "action.denied")
    action = new_id(thief.all[-1].at)
    forged = thief.append("action.denied", {**like.facts, "policy": ZEROS}, action=action)
    named(thief, forged.seq, 10)


# --- acts ---------------------------------------------------------------------------------------------------------


def activation(thief: Thief, signer: str | None = "alice", by: str = "alice", **changes: Any) -> int:
    """Append an activation of a changed policy, signed or not."""
    text = changes.pop("text", policy_text(thief.world.people, thief.world.catalog, "[people.zoe]\n"))
    stored = changes.pop("stored", {})
    files = {"policy.toml": text}
    digest, last = canon.manifest_digest(files), thief.all[-1]
    force = next(entry for entry in reversed(thief.all) if entry.kind == "policy.activated")
    previous = force.text("policy")
    statement: dict[str, Json] = {
        "type": "keyturn.act/v1",
        "log": last.log,
        "after": force.seq,
        "verb": "policy.activate",
        "object": previous,
        "digest": digest,
        "by": by,
        "at": format_timestamp(last.at),
    }
    act = None
    if signer is not None:
        act = {"statement": statement, "signature": b64(thief.world.people.sign(signer, statement, ACT))}
    facts = {"policy": digest, "previous": previous, "reviewers": force.facts["reviewers"], "act": act, **changes}
    data = {"policy.files": canon.encode(files)} | stored
    return thief.append("policy.activated", facts, data=data).seq


def test_a_signed_activation_passes_and_shows_the_change_of_reviewers(thief: Thief) -> None:
    people = thief.world.people
    text = policy_text(people, thief.world.catalog).replace(people.line("carol"), people.line("mallory"))
    reviewers: Any = next(e for e in thief.all if e.kind == "policy.activated").facts["reviewers"]
    activation(thief, text=text, reviewers={**reviewers, "carol": [people.line("mallory")]})
    report = thief.world.verify()
    assert report.verdict == "PASS-UNANCHORED", report.first_bad
    assert list(report.activations[-1].added) == list(report.activations[-1].removed) == ["carol"]
    assert any("- carol SHA256:" in line for line in in_words(report))


def test_an_activation_without_an_act_is_named(thief: Thief) -> None:
    named(thief, activation(thief, signer=None))


def test_an_activation_signed_by_an_unlisted_key_is_named(thief: Thief) -> None:
    named(thief, activation(thief, signer="mallory"))


def test_an_activation_signed_by_an_unlisted_person_is_named(thief: Thief) -> None:
    named(thief, activation(thief, signer="mallory", by="mallory"))


def test_a_replayed_activation_is_named(thief: Thief) -> None:
    old = [entry for entry in thief.all if entry.kind == "policy.activated"][-1]
    activation(thief)
    forged = thief.append("policy.activated", old.facts, data=thief.payloads_of(old.seq))
    named(thief, forged.seq)


def test_an_activation_without_its_text_is_named(thief: Thief) -> None:
    old = [entry for entry in thief.all if entry.kind == "policy.activated"][-1]
    seq = activation(thief)
    facts = thief.all[seq].facts
    tamper(thief.world.database, f"DELETE FROM payload WHERE seq = {seq}", f"DELETE FROM entry WHERE seq = {seq}")
    assert thief.all[-1].seq > old.seq
    named(thief, thief.append("policy.activated", facts).seq, 10)


@pytest.mark.parametrize("payload", [b'{"policy.toml":"version = 1"}', b"[]", b'{"policy.toml":7}', b"no json"])
def test_an_activation_of_another_text_than_signed_is_named(thief: Thief, payload: bytes) -> None:
    named(thief, activation(thief, stored={"policy.files": payload}), 10)


def test_an_activation_with_other_reviewers_than_its_text_is_named(thief: Thief) -> None:
    named(thief, activation(thief, reviewers={"mallory": [thief.world.people.line("mallory")]}), 10)


def test_an_activation_with_reviewers_keys_that_are_none_is_named(thief: Thief) -> None:
    named(thief, activation(thief, reviewers={"alice": ["no key"]}), 10)


def test_an_activation_of_a_policy_that_does_not_load_is_named(thief: Thief) -> None:
    named(thief, activation(thief, text="version = 2\n"), 10)


def test_an_activation_that_pins_other_contracts_is_named(thief: Thief) -> None:
    label = thief.world.catalog.contracts["get_ticket"].label
    text = policy_text(thief.world.people, thief.world.catalog).replace(label, f"v1 {ZEROS}")
    named(thief, activation(thief, text=text), 10)


def test_a_bad_policy_is_named_even_when_something_follows_it(thief: Thief) -> None:
    seq = activation(thief, text="version = 2\n")
    thief.review("waiting", "alice")
    named(thief, seq, 10)


def test_a_token_issued_without_an_act_after_the_founding_is_named(thief: Thief) -> None:
    facts = token_facts("mine", thief.all[-1].at + timedelta(days=1))
    named(thief, thief.append("token.issued", {**facts, "act": None}).seq)


def test_a_token_issued_with_the_act_for_another_is_named(thief: Thief) -> None:
    old: Any = [entry for entry in thief.all if entry.kind == "token.issued"][-1].facts
    facts = token_facts("mine", thief.all[-1].at + timedelta(days=1))
    assert token_digest(facts) != token_digest(dict(old))
    named(thief, thief.append("token.issued", {**facts, "act": old["act"]}).seq)


STOPPED = '[[forbids]]\nid = "stop"\ntool = "update_ticket"\n'
STRICTER = """
[[grants]]
id = "more"
principals = ["claude"]
tool = "update_ticket"
approval = { quorum = 2, from = ["alice", "carol"] }
"""


@pytest.mark.parametrize("rule", [STOPPED, STRICTER])
def test_an_intent_that_a_later_policy_does_not_allow_is_named(thief: Thief, rule: str) -> None:
    activation(thief, text=policy_text(thief.world.people, thief.world.catalog, rule))
    named(thief, thief.start("approved").seq, 11)


def test_an_intent_that_a_later_policy_only_shadows_is_named(thief: Thief) -> None:
    text = policy_text(thief.world.people, thief.world.catalog)
    shadowed = text.replace('id = "status"\n', 'id = "status"\nmode = "shadow"\n')
    assert shadowed != text
    activation(thief, text=shadowed)
    named(thief, thief.start("approved").seq, 11)


def test_a_policy_without_contracts_is_named(thief: Thief) -> None:
    tamper(thief.world.database, "DELETE FROM payload WHERE seq > 2", "DELETE FROM entry WHERE seq > 2")
    named(thief, 2, 10)


def test_a_decision_before_any_policy_is_named(thief: Thief) -> None:
    facts = next(entry for entry in thief.all if entry.kind == "action.denied").facts
    tamper(thief.world.database, "DELETE FROM payload WHERE seq > 1", "DELETE FROM entry WHERE seq > 1")
    named(thief, thief.append("action.denied", facts, action=new_id(thief.all[-1].at)).seq, 10)


# --- contracts ----------------------------------------------------------------------------------------------------


def publish(thief: Thief, files: dict[str, str], **changes: Any) -> int:
    like = next(entry for entry in thief.all if entry.kind == "catalog.published")
    facts = {**like.facts, "catalog": canon.manifest_digest(files), **changes}
    return thief.append("catalog.published", facts, data={"catalog.files": canon.encode(files)}).seq


def test_the_same_contracts_published_again_pass(thief: Thief) -> None:
    publish(thief, dict(thief.world.catalog.files))
    assert thief.world.verify().verdict == "PASS-UNANCHORED"


def test_contracts_with_another_digest_are_named(thief: Thief) -> None:
    named(thief, publish(thief, dict(thief.world.catalog.files), catalog=ZEROS), 10)


def test_contracts_with_other_labels_are_named(thief: Thief) -> None:
    named(thief, publish(thief, dict(thief.world.catalog.files), contracts={}), 10)


def test_contracts_that_are_none_are_named(thief: Thief) -> None:
    named(thief, publish(thief, {"x.v1.json": "{}"}), 10)


def test_contracts_other_than_the_policy_pins_are_named(thief: Thief) -> None:
    files = dict(thief.world.catalog.files)
    del files["get_ticket.v1.json"]
    labels = {t: c.label for t, c in thief.world.catalog.contracts.items() if t != "get_ticket"}
    publish(thief, files, contracts=labels)
    force = [entry for entry in thief.all if entry.kind == "policy.activated"][-1]
    named(thief, force.seq, 10)


# --- frames, keys and rewriting -----------------------------------------------------------------------------------


def test_an_unknown_kind_is_named(thief: Thief) -> None:
    last = thief.all[-1]
    body = last.body.replace(b'"kind":"action.requested"', b'"kind":"freeze.ordered"')
    thief.insert(body)
    report = named(thief, last.seq + 1, 1)
    assert report.first_bad is not None
    assert "freeze.ordered" in report.first_bad.reason


def test_an_entry_signed_with_an_unknown_key_is_named(thief: Thief) -> None:
    thief.key = make_key(b"\x09" * 32)
    named(thief, thief.finish_begun().seq, 4)


def test_a_time_that_goes_back_is_named(thief: Thief) -> None:
    named(thief, thief.finish_begun(after=timedelta(seconds=-1)).seq, 3)


def test_a_time_beyond_all_reckoning_is_named_and_no_crash(thief: Thief) -> None:
    forged = thief.review("waiting", "alice", at="9999-12-31T23:59:59.000000Z")
    named(thief, forged.seq)


def test_an_escalation_beyond_all_reckoning_is_named_and_no_crash(thief: Thief) -> None:
    like: Any = thief.find("action.requested", "waiting").facts["obligations"]
    far = [{**item, "escalate": [{"after": 2**52, "reviewers": ["carol"]}]} for item in like]
    named(thief, thief.request("waiting", obligations=far).seq, 11)


def rewritten(thief: Thief, seq: int) -> World:
    """Change entry `seq` and link and sign everything after it again."""
    stored = thief.all
    with_new = [entry.body for entry in stored[:seq]]
    previous = leaf_hash(with_new[-1])
    for entry in stored[seq:]:
        fields: dict[str, Any] = canon.decode_object(entry.body)
        fields["prev"] = previous
        facts = {name: fields.pop(name) for name in list(entry.facts)}
        action, data = fields.pop("action", None), fields.pop("data", {})
        if entry.seq == seq:
            facts["by"] = {"type": "account", "name": "nobody"}
        body = write_body(fields, facts, data, action)
        previous = leaf_hash(body)
        row = (body, thief.key.sign(pae(ENTRY_TYPE, body)), bytes.fromhex(previous), entry.seq)
        tamper(thief.world.database, ("UPDATE entry SET body = ?, sig = ?, leaf = ? WHERE seq = ?", row))
    return thief.world


def test_a_tail_rewritten_with_the_key_is_consistent_and_so_only_unanchored(thief: Thief) -> None:
    seq = next(entry.seq for entry in thief.all if entry.kind == "token.revoked")
    world = rewritten(thief, seq)
    report = world.verify(pinned=world.verifier)
    # The requests after it have new digests, so the one review among them no longer fits: a signature holds it.
    assert bad(report)[1] == 9
    tamper(world.database, f"DELETE FROM payload WHERE seq > {seq}", f"DELETE FROM entry WHERE seq > {seq}")
    assert world.verify(pinned=world.verifier).verdict == "PASS-UNANCHORED"
    assert entries(world.database)[seq].facts["by"] == {"type": "account", "name": "nobody"}


def test_a_log_replaced_as_a_whole_fails_against_the_pinned_verifier(world: World, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = build(tmp_path / "other")
    assert other.verify().verdict == "PASS-UNANCHORED"
    assert bad(other.verify(pinned=world.verifier)) == (0, 12)
    replaced = dataclasses.replace(world, database=other.database)
    assert bad(replaced.verify(pinned=world.verifier)) == (0, 12)
