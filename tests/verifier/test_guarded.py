"""Whoever holds the entry key writes policies that ask for endorsements, and endorsements, as they like."""

from __future__ import annotations

from typing import Any

from keyturn import canon
from keyturn.approvals.statement import ACT_NAMESPACE
from keyturn.canon import Json
from keyturn.fold.guarding import MOST_PROPOSALS
from keyturn.log.entry import Entry
from keyturn.model.time import format_timestamp
from tests.verifier.test_recovery import recover
from tests.verifier.test_thief import named
from tests.verifier.world import Thief, b64, policy_text

GUARD = '[policy]\napproval = { quorum = 2, from = ["alice", "carol"] }\n'
NEXT = "[people.zoe]\n"
BY: dict[str, Json] = {"type": "account", "name": "root"}


def text_of(thief: Thief, extra: str) -> str:
    return policy_text(thief.world.people, thief.world.catalog, extra)


def digest_of(text: str) -> str:
    return canon.manifest_digest({"policy.toml": text})


def act(thief: Thief, verb: str, digest: str, by: str, **changes: Any) -> dict[str, Json]:
    """Return what `by` signs about a policy, under the one in force; `signer` has the key."""
    signer = changes.pop("signer", by)
    last = thief.all[-1]
    force = next(entry for entry in reversed(thief.all) if entry.kind == "policy.activated")
    statement: dict[str, Json] = {
        "type": "keyturn.act/v1",
        "log": last.log,
        "after": force.seq,
        "verb": verb,
        "object": force.text("policy"),
        "digest": digest,
        "by": by,
        "at": format_timestamp(last.at),
        **changes,
    }
    return {"statement": statement, "signature": b64(thief.world.people.sign(signer, statement, ACT_NAMESPACE))}


def activate(thief: Thief, text: str, by: str = "alice", **changes: Any) -> Entry:
    force = next(entry for entry in reversed(thief.all) if entry.kind == "policy.activated")
    facts: dict[str, Json] = {
        "policy": digest_of(text),
        "previous": force.text("policy"),
        "reviewers": force.facts["reviewers"],
        "act": act(thief, "policy.activate", digest_of(text), by),
        **changes,
    }
    return thief.append("policy.activated", facts, data={"policy.files": canon.encode({"policy.toml": text})})


def say_guard(thief: Thief, **changes: Json) -> Entry:
    asked: dict[str, Json] = {"quorum": 2, "from": ["alice", "carol"], "reviewers": ["alice", "carol"]}
    return thief.append("policy.guarded", {"policy": thief.force, **asked, **changes})


def guard(thief: Thief) -> None:
    """Put a policy in force, properly, that asks alice and carol to sign for the next one."""
    activate(thief, text_of(thief, GUARD))
    say_guard(thief)


def propose(thief: Thief, text: str, **changes: Json) -> Entry:
    facts: dict[str, Json] = {"policy": digest_of(text), "previous": thief.force, "by": BY, **changes}
    return thief.append("policy.proposed", facts, data={"policy.files": canon.encode({"policy.toml": text})})


def endorse(thief: Thief, text: str, by: str, **changes: Any) -> Entry:
    proposal = next((e.seq for e in reversed(thief.all) if e.kind == "policy.proposed"), 0)
    named_ = changes.pop("proposal", proposal)
    signed = act(thief, "policy.endorse", changes.pop("digest", digest_of(text)), by, **changes)
    return thief.append("policy.endorsed", {"policy": digest_of(text), "proposal": named_, "act": signed})


def passes(thief: Thief) -> None:
    report = thief.world.verify()
    assert report.verdict == "PASS-UNANCHORED", report.first_bad


# --- what passes ---


def test_a_change_that_two_signed_passes(thief: Thief) -> None:
    guard(thief)
    text = text_of(thief, GUARD + NEXT)
    propose(thief, text)
    endorse(thief, text, "carol")
    activate(thief, text)
    say_guard(thief)
    passes(thief)


def test_a_change_that_two_others_endorsed_passes_by_whoever_activates(thief: Thief) -> None:
    guard(thief)
    text = text_of(thief, NEXT)
    propose(thief, text)
    endorse(thief, text, "carol")
    endorse(thief, text, "alice")
    activate(thief, text, "carol")
    passes(thief)


def test_of_too_many_proposals_the_oldest_that_fewest_endorsed_makes_room(thief: Thief) -> None:
    guard(thief)
    endorsed, wanted = text_of(thief, "[people.ada]\n"), text_of(thief, NEXT)
    propose(thief, endorsed)
    endorse(thief, endorsed, "carol")
    for number in range(MOST_PROPOSALS):
        propose(thief, text_of(thief, f"[people.p{number}]\n"))
    first = thief.all[-1].seq - MOST_PROPOSALS + 1
    passes(thief)
    propose(thief, wanted)
    endorse(thief, wanted, "carol")
    endorse(thief, endorsed, "alice", proposal=first - 2)
    activate(thief, wanted)
    passes(thief)


# --- what does not ---


def test_an_endorsement_of_a_proposal_that_made_room_is_named(thief: Thief) -> None:
    guard(thief)
    first = propose(thief, text_of(thief, NEXT))
    for number in range(MOST_PROPOSALS):
        propose(thief, text_of(thief, f"[people.p{number}]\n"))
    late = endorse(thief, text_of(thief, NEXT), "carol", proposal=first.seq)
    assert "not proposed" in str(named(thief, late.seq).first_bad)


def test_an_activation_without_the_endorsements_is_named(thief: Thief) -> None:
    guard(thief)
    named(thief, activate(thief, text_of(thief, NEXT)).seq)


def test_an_activation_that_its_signer_alone_endorsed_is_named(thief: Thief) -> None:
    guard(thief)
    text = text_of(thief, NEXT)
    propose(thief, text)
    endorse(thief, text, "alice")
    named(thief, activate(thief, text).seq)


def test_an_activation_of_another_text_than_endorsed_is_named(thief: Thief) -> None:
    guard(thief)
    propose(thief, text_of(thief, NEXT))
    endorse(thief, text_of(thief, NEXT), "carol")
    named(thief, activate(thief, text_of(thief, "[people.zed]\n")).seq)


def test_a_second_endorsement_by_one_person_is_named(thief: Thief) -> None:
    guard(thief)
    text = text_of(thief, NEXT)
    propose(thief, text)
    endorse(thief, text, "carol")
    named(thief, endorse(thief, text, "carol").seq)


def test_an_endorsement_by_another_key_is_named(thief: Thief) -> None:
    guard(thief)
    text = text_of(thief, NEXT)
    propose(thief, text)
    named(thief, endorse(thief, text, "carol", signer="mallory").seq)


def test_an_endorsement_by_nobody_who_is_listed_is_named(thief: Thief) -> None:
    guard(thief)
    text = text_of(thief, NEXT)
    propose(thief, text)
    named(thief, endorse(thief, text, "mallory").seq)


def test_an_endorsement_for_another_text_is_named(thief: Thief) -> None:
    guard(thief)
    text = text_of(thief, NEXT)
    propose(thief, text)
    named(thief, endorse(thief, text, "carol", digest=digest_of(text_of(thief, ""))).seq)


def test_an_endorsement_under_an_older_activation_is_named(thief: Thief) -> None:
    guard(thief)
    text = text_of(thief, NEXT)
    propose(thief, text)
    old = [entry for entry in thief.all if entry.kind == "policy.activated"][-2]
    named(thief, endorse(thief, text, "carol", after=old.seq).seq)


def test_an_endorsement_from_before_going_back_is_named(thief: Thief) -> None:
    """The same policy is in force again, and the same text proposed: what was signed then is void all the same."""
    guard(thief)
    guarded, text = text_of(thief, GUARD), text_of(thief, GUARD + NEXT)
    propose(thief, text)
    first = endorse(thief, text, "carol")
    activate(thief, text)
    say_guard(thief)
    propose(thief, guarded)
    endorse(thief, guarded, "carol")
    activate(thief, guarded)
    say_guard(thief)
    proposal = propose(thief, text)
    again = thief.append("policy.endorsed", {**first.facts, "proposal": proposal.seq})
    named(thief, again.seq)


def test_an_activation_by_an_endorsement_from_before_going_back_is_named(thief: Thief) -> None:
    guard(thief)
    guarded, text = text_of(thief, GUARD), text_of(thief, GUARD + NEXT)
    propose(thief, text)
    endorse(thief, text, "carol")
    propose(thief, guarded + "# again\n")
    endorse(thief, guarded + "# again\n", "carol")
    activate(thief, guarded + "# again\n")
    say_guard(thief)
    named(thief, activate(thief, text).seq)


def test_an_endorsement_of_what_was_not_proposed_is_named(thief: Thief) -> None:
    guard(thief)
    named(thief, endorse(thief, text_of(thief, NEXT), "carol").seq)


def test_an_endorsement_that_names_another_proposal_is_named(thief: Thief) -> None:
    guard(thief)
    text = text_of(thief, NEXT)
    proposal = propose(thief, text)
    named(thief, endorse(thief, text, "carol", proposal=proposal.seq - 1).seq)


def test_an_endorsement_where_nobody_asks_for_one_is_named(thief: Thief) -> None:
    text = text_of(thief, NEXT)
    propose(thief, text)
    named(thief, endorse(thief, text, "carol").seq)


def test_a_proposal_that_follows_another_policy_is_named(thief: Thief) -> None:
    named(thief, propose(thief, text_of(thief, NEXT), previous=digest_of("")).seq)


def test_a_second_proposal_of_a_text_is_named(thief: Thief) -> None:
    text = text_of(thief, NEXT)
    propose(thief, text)
    named(thief, propose(thief, text).seq)


def test_a_proposal_of_another_text_than_it_says_is_named(thief: Thief) -> None:
    named(thief, propose(thief, text_of(thief, NEXT), policy=digest_of("")).seq, 10)


def test_a_guard_that_comes_later_is_named(thief: Thief) -> None:
    """Else whoever holds the key could say, when it suits, that one person is enough."""
    guard(thief)
    propose(thief, text_of(thief, NEXT))
    named(thief, say_guard(thief, quorum=1).seq)


def test_a_second_guard_is_named(thief: Thief) -> None:
    guard(thief)
    named(thief, say_guard(thief, quorum=1).seq)


def test_a_guard_of_people_whom_the_policy_does_not_list_is_named(thief: Thief) -> None:
    activate(thief, text_of(thief, GUARD))
    named(thief, say_guard(thief, reviewers=["alice", "mallory"]).seq)


def test_a_guard_that_asks_for_more_than_it_names_is_named(thief: Thief) -> None:
    activate(thief, text_of(thief, GUARD))
    named(thief, say_guard(thief, quorum=3).seq)


def test_a_guard_of_another_policy_is_named(thief: Thief) -> None:
    activate(thief, text_of(thief, GUARD))
    named(thief, say_guard(thief, policy=digest_of("")).seq)


def test_a_guard_that_is_not_the_policys_is_named(thief: Thief) -> None:
    activate(thief, text_of(thief, GUARD))
    named(thief, say_guard(thief, quorum=1).seq, 10)


def test_a_guard_that_no_policy_asks_for_is_named(thief: Thief) -> None:
    activate(thief, text_of(thief, NEXT))
    named(thief, say_guard(thief).seq, 10)


def test_a_guard_that_is_kept_quiet_is_named(thief: Thief) -> None:
    silent = activate(thief, text_of(thief, GUARD))
    propose(thief, text_of(thief, NEXT))
    named(thief, silent.seq, 10)


def test_a_guard_that_is_kept_quiet_at_the_end_is_named(thief: Thief) -> None:
    named(thief, activate(thief, text_of(thief, GUARD)).seq, 10)


def test_an_activation_by_an_endorsement_from_before_a_restore_is_named(thief: Thief) -> None:
    """What is lost may have put another policy in force, and so ended what was signed for before."""
    guard(thief)
    text = text_of(thief, NEXT)
    propose(thief, text)
    endorse(thief, text, "carol")
    recover(thief)
    named(thief, activate(thief, text).seq)


# --- cases ---

CASE = """
[[cases]]
name = "a stranger gets nothing"
principal = "nobody"
tool = "update_ticket"
target = "tickets:ops/OPS-1"
expect = "EXPECTED"
"""


def with_cases(thief: Thief, expected: str) -> Entry:
    text = text_of(thief, NEXT).replace("version = 1\n", 'version = 1\ntests = "policy_tests/"\n', 1)
    files = {"policy.toml": text, "policy_tests/strangers.toml": CASE.replace("EXPECTED", expected)}
    digest = canon.manifest_digest(files)
    force = next(entry for entry in reversed(thief.all) if entry.kind == "policy.activated")
    facts: dict[str, Json] = {
        "policy": digest,
        "previous": force.text("policy"),
        "reviewers": force.facts["reviewers"],
        "act": act(thief, "policy.activate", digest, "alice"),
    }
    return thief.append("policy.activated", facts, data={"policy.files": canon.encode(files)})


def test_a_policy_whose_cases_pass_passes(thief: Thief) -> None:
    with_cases(thief, "deny")
    passes(thief)


def test_a_policy_whose_cases_fail_is_named(thief: Thief) -> None:
    named(thief, with_cases(thief, "permit").seq, 10)
