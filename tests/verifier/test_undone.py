"""Undoing as an auditor sees it: what a holder of the entry key would like an undo to be, and is named for."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from keyturn import canon
from keyturn.model.time import format_timestamp
from tests.verifier.test_file import bad
from tests.verifier.test_thief import activation, named
from tests.verifier.world import Thief, policy_text, tamper

ZEROS = "sha256:" + "0" * 64


def activate_without_alice(thief: Thief) -> None:
    """Put a policy in force, signed by carol, that lists alice no more."""
    text = policy_text(thief.world.people, thief.world.catalog)
    alice = text[text.index("[reviewers.alice]") : text.index("[reviewers.bob]")]
    listed: Any = thief.all[2].facts["reviewers"]
    reviewers = {name: lines for name, lines in listed.items() if name != "alice"}
    activation(thief, "carol", "carol", text=text.replace(alice, ""), reviewers=reviewers)


def undoing(thief: Thief, name: str) -> dict[str, Any]:
    """How an undo names one of the story's actions."""
    request = thief.find("action.requested", name)
    outcome = thief.find("execution.finished", name)
    return {"action": request.action, "digest": request.digest, "request": request.seq, "outcome": outcome.seq}


def test_an_undo_asked_by_its_assistant_passes(thief: Thief) -> None:
    thief.undo()
    thief.review("forged", "carol")
    thief.start("forged")
    thief.finish("forged")
    assert thief.world.verify().verdict == "PASS-UNANCHORED"


def test_an_undo_asked_by_a_person_passes_once_somebody_else_has_agreed(thief: Thief) -> None:
    thief.undo("signed undo")
    thief.review("forged", "carol")
    thief.start("forged")
    assert thief.world.verify().verdict == "PASS-UNANCHORED"


def test_the_asker_counts_for_nothing_among_the_reviewers(thief: Thief) -> None:
    thief.undo("signed undo")
    named(thief, thief.review("forged", "alice").seq)


def test_an_asker_left_among_the_reviewers_is_named(thief: Thief) -> None:
    named(thief, thief.undo("signed undo", excluded=["bob"]).seq, 11)


def test_an_undo_of_another_principals_action_is_named(thief: Thief) -> None:
    named(thief, thief.undo(undone=undoing(thief, "shadow")).seq)


@pytest.mark.parametrize("name", ["undo", "signed undo"])
def test_an_undo_of_what_was_not_done_is_named(thief: Thief, name: str) -> None:
    unknown = undoing(thief, "unknown")
    forged = thief.undo(name, undone=unknown)
    assert "does not say that what it undoes was done" in str(named(thief, forged.seq).first_bad)


def test_an_undo_of_what_is_not_over_is_named(thief: Thief) -> None:
    waiting = thief.find("action.requested", "waiting")
    end = thief.all[-1].seq
    undone = {"action": waiting.action, "digest": waiting.digest, "request": waiting.seq, "outcome": end}
    named(thief, thief.undo(undone=undone).seq)


@pytest.mark.parametrize(
    "changed",
    [
        {"digest": ZEROS},
        {"request": 1},
        {"outcome": 2},
        {"outcome": 10**6},
        {"request": 10**6, "outcome": 10**6 + 1},
        {"action": "019aa5b2-7d80-7000-8000-000000000001"},
    ],
    ids=str,
)
def test_an_undo_that_names_other_entries_than_it_says_is_named(thief: Thief, changed: dict[str, Any]) -> None:
    named(thief, thief.undo(undone=changed).seq)


@pytest.mark.parametrize(("outcome", "asked"), [("two", "reviewed"), ("reviewed", "staging")])
def test_request_and_outcome_are_of_one_action(thief: Thief, outcome: str, asked: str) -> None:
    undone = {**undoing(thief, asked), "outcome": undoing(thief, outcome)["outcome"]}
    named(thief, thief.undo(undone=undone).seq)


def test_an_undo_of_another_action_than_its_call_takes_back_is_named(thief: Thief) -> None:
    report = named(thief, thief.undo(undone=undoing(thief, "staging")).seq)
    assert "is undone by rollback_deployment, not by update_ticket" in str(report.first_bad)


def test_an_undo_that_does_more_than_the_way_back_is_named(thief: Thief) -> None:
    named(thief, thief.undo(data={"argument.comment": b'"and this"'}).seq)


def test_an_undo_by_other_arguments_than_the_way_back_has_is_named(thief: Thief) -> None:
    named(thief, thief.undo(data={"argument.status": b'"resolved"'}).seq)


def test_an_undo_of_what_no_call_takes_back_is_named(thief: Thief) -> None:
    report = named(thief, thief.undo(undone=undoing(thief, "commented")).seq)
    assert "is undone by no call" in str(report.first_bad)


def test_the_same_is_not_undone_twice_at_once(thief: Thief) -> None:
    thief.undo()
    named(thief, thief.undo("signed undo").seq)


def undo_succeeds(thief: Thief, outcome: str = "succeeded") -> None:
    """Undo, have it agreed to and done; then let so long pass that the fold forgets that."""
    thief.undo()
    thief.review("forged", "carol")
    thief.start("forged")
    thief.finish("forged", outcome=outcome, effect=outcome == "succeeded")
    forgets(thief)


def forgets(thief: Thief) -> None:
    later = format_timestamp(thief.all[-1].at + timedelta(hours=3))
    for _ in range(65):
        throttled = {"principal": "claude", "count": 1, "code": "limit", "since": later, "until": later}
        thief.append("requests.throttled", throttled, ts=later)


def test_the_same_is_not_undone_twice_hours_later_either(thief: Thief) -> None:
    undo_succeeds(thief)
    report = named(thief, thief.undo().seq)
    assert "was undone before" in str(report.first_bad)


def test_what_an_undo_could_not_take_back_is_undone_anew_hours_later(thief: Thief) -> None:
    undo_succeeds(thief, "failed")
    thief.undo()
    assert thief.world.verify().verdict == "PASS-UNANCHORED"


def test_while_nobody_knows_whether_it_was_undone_it_is_not_undone_again(thief: Thief) -> None:
    thief.undo()
    thief.review("forged", "carol")
    thief.start("forged")
    thief.finish("forged", outcome="unknown", effect=None)
    forgets(thief)
    report = named(thief, thief.undo().seq)
    assert "is being undone by" in str(report.first_bad)


def test_what_was_undone_after_all_as_an_operator_found_is_not_undone_again(thief: Thief) -> None:
    thief.undo()
    thief.review("forged", "carol")
    thief.start("forged")
    thief.finish("forged", outcome="unknown", effect=None)
    thief.resolve("forged")
    forgets(thief)
    report = named(thief, thief.undo().seq)
    assert "was undone before" in str(report.first_bad)


def test_an_undo_that_was_rejected_or_has_expired_leaves_the_way_free(thief: Thief) -> None:
    thief.undo()
    thief.review("forged", "carol", verdict="reject")
    thief.undo()
    forgets(thief)
    thief.append("requests.throttled", _much_later(thief), ts=_much_later(thief)["since"])
    thief.undo()
    assert thief.world.verify().verdict == "PASS-UNANCHORED"


def _much_later(thief: Thief) -> dict[str, Any]:
    later = format_timestamp(thief.find("action.undoing", "forged").at + timedelta(hours=25))
    return {"principal": "claude", "count": 1, "code": "limit", "since": later, "until": later}


@pytest.mark.parametrize(
    "said",
    [
        {"signer": "mallory"},
        {"by": "mallory", "signer": "mallory"},
        {"signer": "carol"},
        {"digest": ZEROS},
        {"object": "019aa5b2-7d80-7000-8000-000000000001"},
        {"verb": "action.resolve"},
        {"after": 2},
        {"log": "another/" + "0" * 32},
    ],
    ids=str,
)
def test_an_act_that_asks_for_something_else_or_is_by_somebody_else_is_named(
    thief: Thief, said: dict[str, Any]
) -> None:
    named(thief, thief.undo("signed undo", said=said, excluded=["bob", said.get("by", "alice")]).seq)


def test_an_act_is_good_for_the_payloads_it_was_signed_for(thief: Thief) -> None:
    like = thief.find("action.undoing", "signed undo")
    act = thief.act_undoing(like.facts["undoes"], "update_ticket", thief.payloads_of(like.seq))  # type: ignore[arg-type]
    data = {"reason": canon.encode("another reason")}
    named(thief, thief.undo("signed undo", data, act=act).seq)


def test_an_undo_without_token_and_act_is_named(thief: Thief) -> None:
    named(thief, thief.undo("signed undo", act=None, excluded=["bob"]).seq)


def test_an_undo_with_token_and_act_is_named(thief: Thief) -> None:
    token = thief.find("action.undoing", "undo").facts["token"]
    named(thief, thief.undo("signed undo", token=token, transport="stdio").seq)


def test_what_a_person_asked_for_who_may_sign_no_more_does_not_begin(thief: Thief) -> None:
    thief.undo("signed undo")
    thief.review("forged", "carol")
    activate_without_alice(thief)
    started = thief.start("forged", policy=thief.force)
    report = named(thief, started.seq)
    assert "lists no reviewer 'alice'" in str(report.first_bad)


def test_an_entry_that_an_undo_names_and_that_was_cut_out_is_missing_before(thief: Thief) -> None:
    forged = thief.undo()
    outcome: Any = forged.facts["undoes"]
    tamper(thief.world.database, ("DELETE FROM payload WHERE seq = ?", (outcome["request"],)))
    assert bad(thief.world.verify()) == (outcome["request"], 6)
