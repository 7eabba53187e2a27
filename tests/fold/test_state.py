"""What entries add up to, and which entries contradict what came before them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from keyturn import canon
from keyturn.approvals.action import status
from keyturn.canon import Json
from keyturn.fold.state import State
from keyturn.log import kinds
from keyturn.log.entry import Entry, read_entry
from keyturn.log.fold import FoldError
from tests.approvals.world import CONTRACT, POLICY, SOON, START, TTL, Book, action_id, key_of, obligation, seconds
from tests.fold.people import ALICE, BOB, CAROL, MALLORY, listed
from tests.fold.world import OTHER_POLICY, TOOL, WORDS, World, token
from tests.vectors.reading import chain
from tests.vectors.story import BY_HAND, CANCELLED, EXPIRED, HELD, SHADOWED, STALE, TOKEN, UNDOING


def golden() -> list[Entry]:
    return [read_entry(row.body, row.signature) for row in chain()]


def folded(entries: list[Entry], state: State | None = None) -> State:
    state = state or State.empty()
    for entry in entries:
        state.apply(entry)
    return state


def restored(state: State) -> State:
    """The state after a snapshot of it went through its canonical bytes."""
    return State.from_json(canon.decode(canon.encode(state.to_json())))


# --- the golden log -------------------------------------------------------------------------------------------


def test_the_golden_log_adds_up() -> None:
    entries = golden()
    state = folded(entries)
    assert state.policy is not None
    last = [entry for entry in entries if entry.kind == "policy.activated"][-1]
    assert (state.policy.seq, state.policy.by) == (last.seq, "alice")
    assert (state.policy.digest, state.guard, state.proposals) == (last.facts["policy"], None, {})
    assert [*state.policy.reviewers] == ["alice"]
    assert state.catalog is not None
    assert state.catalog.seq == 3
    assert state.catalog.contracts == entries[3].facts["contracts"]
    assert {name: status(state.actions[name], entries[-1].at) for name in state.actions} == {
        HELD: "succeeded",
        SHADOWED: "shadowed",
        STALE: "stale",
        CANCELLED: "cancelled",
        EXPIRED: "expired",
        UNDOING: "approved",
        BY_HAND: "approved",
    }
    assert state.actions[BY_HAND].reserved == {"cost": 5, "runtime": 60}
    assert not state.actions[BY_HAND].waits_for_a_hand
    assert (state.undos.of(HELD), state.undos.of(STALE)) == (UNDOING, None)
    assert (state.actions[UNDOING].undoes, state.actions[UNDOING].asked_by) == (HELD, "alice")
    assert state.actions[HELD].digest == entries[6].digest
    assert state.tokens[TOKEN].refusal("stdio", entries[-1].at) == "the token was revoked"
    assert state.denials_since("claude", entries[-1].at) == 1
    assert [action.id for action, _ in state.open_actions(entries[-1].at)] == [UNDOING, BY_HAND]


def test_a_snapshot_at_any_entry_gives_the_same_later_states() -> None:
    entries = golden()
    for size in range(len(entries) + 1):
        state = folded(entries[:size])
        again = restored(state)
        assert again.to_json() == state.to_json()
        for entry in entries[size:]:
            state.apply(entry)
            again.apply(entry)
            assert again.to_json() == state.to_json()
            assert [*again.open_actions(entry.at)] == [*state.open_actions(entry.at)]
            assert again.actions == state.actions


def test_the_fold_knows_every_kind_of_entry() -> None:
    assert set(State._HANDLERS) == set(kinds.KINDS)


def test_a_snapshot_of_another_shape_is_refused() -> None:
    whole: Any = folded(golden()).to_json()
    for name in whole:
        with pytest.raises(KeyError):
            State.from_json({key: value for key, value in whole.items() if key != name})
    for name in whole.keys() - {"founding"}:
        with pytest.raises((KeyError, TypeError, ValueError)):
            State.from_json({**whole, name: "?"})
    with pytest.raises((KeyError, TypeError, ValueError)):
        State.from_json(None)


def test_a_snapshot_opens_the_founding_again_by_nothing_but_true() -> None:
    made = World().found()
    whole: Any = made.state.to_json()
    made.state = State.from_json({**whole, "founding": 1})
    with pytest.raises(FoldError, match="only the founding entries"):
        made.issue(2)


def test_names_outside_ascii_do_not_spoil_a_snapshot() -> None:
    made = World().found()
    made.deny("клод")
    again = restored(made.state)
    assert again.denials_since("клод", made.now) == 1


# --- founding -------------------------------------------------------------------------------------------------

CLOSES: dict[str, Callable[[World], Any]] = {
    "a read": lambda made: made.read(),
    "a request": lambda made: made.ask(1),
    "a refusal": lambda made: made.deny(),
    "a count of refusals": lambda made: made.throttle(),
    "a revoked token": lambda made: made.revoke(1),
    "a signed activation": lambda made: made.activate(OTHER_POLICY, POLICY, made.act_activating(OTHER_POLICY)),
    "a signed token": lambda made: made.issue(2, made.act_issuing(2)),
}


def test_tokens_are_issued_without_a_signature_while_the_log_is_founded() -> None:
    made = World().found()
    made.issue(2)
    made.publish(another="v1")
    made.issue(3)
    assert set(made.state.tokens) == {token(1), token(2), token(3)}


@pytest.mark.parametrize("what", CLOSES)
def test_the_founding_is_over_with_the_first_other_entry(what: str) -> None:
    made = World().found()
    CLOSES[what](made)
    with pytest.raises(FoldError, match="only the founding entries"):
        made.issue(9)
    made.issue(9, made.act_issuing(9))


def test_the_founding_stays_over_in_a_snapshot() -> None:
    made = World().found()
    made.read()
    made.state = restored(made.state)
    with pytest.raises(FoldError, match="only the founding entries"):
        made.issue(9)


def test_a_log_begun_with_anything_else_gets_no_unsigned_policy() -> None:
    made = World()
    made.throttle()
    with pytest.raises(FoldError, match="only the founding entries"):
        made.activate(POLICY)


def test_the_first_policy_carries_no_act() -> None:
    made = World()
    with pytest.raises(FoldError, match="only the founding entries"):
        made.activate(POLICY, None, made.act("policy.activate", "x", POLICY))


# --- policies -------------------------------------------------------------------------------------------------


def test_a_later_policy_is_activated_by_a_listed_person() -> None:
    made = World().found()
    entry = made.activate(OTHER_POLICY, POLICY, made.act_activating(OTHER_POLICY, BOB), people=(CAROL,))
    assert made.state.policy is not None
    assert (made.state.policy.digest, made.state.policy.seq, made.state.policy.by) == (OTHER_POLICY, entry.seq, "bob")
    assert made.state.policy.reviewers == {"carol": (CAROL.line,)}


def test_a_second_policy_without_an_act_is_refused_even_while_founding() -> None:
    made = World().found()
    with pytest.raises(FoldError, match="no signed statement"):
        made.activate(OTHER_POLICY, POLICY)
    with pytest.raises(FoldError, match="does not follow"):
        made.activate(OTHER_POLICY)


def test_a_policy_signed_by_an_unlisted_person_is_refused() -> None:
    made = World().found()
    with pytest.raises(FoldError, match="no reviewer 'mallory'"):
        made.activate(OTHER_POLICY, POLICY, made.act_activating(OTHER_POLICY, MALLORY))


def test_a_candidate_does_not_judge_itself() -> None:
    made = World().found()
    act = made.act_activating(OTHER_POLICY, MALLORY)
    with pytest.raises(FoldError, match="no reviewer 'mallory'"):
        made.activate(OTHER_POLICY, POLICY, act, people=(MALLORY,))


def test_an_activation_cannot_be_replayed_after_the_way_back() -> None:
    made = World().found()
    act = made.act_activating(OTHER_POLICY)
    made.activate(OTHER_POLICY, POLICY, act)
    with pytest.raises(FoldError, match="does not follow"):
        made.activate(OTHER_POLICY, POLICY, act)
    made.activate(POLICY, OTHER_POLICY, made.act_activating(POLICY))
    with pytest.raises(FoldError, match="signed after entry 2"):
        made.activate(OTHER_POLICY, POLICY, act)


def test_an_activation_of_another_policy_than_was_signed_is_refused() -> None:
    made = World().found()
    with pytest.raises(FoldError, match="the signed act says"):
        made.activate("sha256:" + "9" * 64, POLICY, made.act_activating(OTHER_POLICY))


def test_who_lost_their_place_signs_no_more() -> None:
    made = World().found()
    made.activate(OTHER_POLICY, POLICY, made.act_activating(OTHER_POLICY), people=(CAROL,))
    with pytest.raises(FoldError, match="no reviewer 'alice'"):
        made.issue(5, made.act_issuing(5, ALICE))
    made.issue(5, made.act_issuing(5, CAROL))


# --- tokens ---------------------------------------------------------------------------------------------------


def test_a_token_is_issued_once_even_after_it_was_revoked() -> None:
    made = World().found()
    with pytest.raises(FoldError, match="issued before"):
        made.issue(1)
    made.revoke(1)
    with pytest.raises(FoldError, match="issued before"):
        made.issue(1, made.act_issuing(1))


def test_revoking_takes_the_token_and_keeps_the_first_time() -> None:
    made = World().found()
    made.revoke(1)
    made.wait(seconds(60))
    made.revoke(1)
    assert made.state.tokens[token(1)].revoked_at == START


def test_a_token_nobody_issued_cannot_be_revoked() -> None:
    with pytest.raises(FoldError, match="never issued"):
        World().found().revoke(7)


@pytest.mark.parametrize(
    "changed",
    [
        {"principal": "other"},
        {"transports": ["stdio", "http"]},
        {"scopes": ["pr:write"]},
        {"expires_at": "2099-01-01T00:00:00.000000Z"},
        {"token": token(9)},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_a_token_that_grants_anything_else_than_was_signed_is_refused(changed: dict[str, Any]) -> None:
    made = World().found()
    act = made.act_issuing(5)
    with pytest.raises(FoldError, match="the signed act says"):
        made.add("token.issued", {**made.token_facts(5), **changed, "act": act})
    made.issue(5, act)


def test_an_act_for_a_token_is_void_under_the_next_policy() -> None:
    made = World().found()
    act = made.act_issuing(5)
    made.activate(OTHER_POLICY, POLICY, made.act_activating(OTHER_POLICY))
    with pytest.raises(FoldError, match="signed after entry 2"):
        made.issue(5, act)


# --- requests and reads ---------------------------------------------------------------------------------------


def test_a_request_under_a_policy_that_is_not_in_force_is_refused() -> None:
    made = World().found()
    with pytest.raises(FoldError, match="not in force"):
        made.ask(1, policy=OTHER_POLICY)
    with pytest.raises(FoldError, match="not in force"):
        made.read(policy=OTHER_POLICY)


def test_without_a_policy_nothing_is_requested_or_read() -> None:
    with pytest.raises(FoldError, match="not in force"):
        World().ask(1)
    with pytest.raises(FoldError, match="not in force"):
        World().read()


@pytest.mark.parametrize(
    "changed",
    [{"contract": "v2 sha256:" + "c" * 64}, {"tool": "merge_everything"}],
    ids=["contract", "tool"],
)
def test_a_request_under_another_contract_than_the_published_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(FoldError, match="contract is not the published one"):
        World().found().ask(1, **changed)


def test_without_a_catalog_nothing_is_requested() -> None:
    made = World()
    made.activate(POLICY)
    with pytest.raises(FoldError, match="contract is not the published one"):
        made.ask(1)


def test_a_new_catalog_decides_which_contract_counts() -> None:
    made = World().found()
    made.publish(**{TOOL: "v2 sha256:" + "d" * 64})
    with pytest.raises(FoldError, match="contract is not the published one"):
        made.ask(1)
    made.ask(1, contract="v2 sha256:" + "d" * 64)


def test_an_action_is_requested_once() -> None:
    made = World().found()
    made.ask(1)
    with pytest.raises(FoldError, match="requested twice"):
        made.ask(1)


def test_a_request_cannot_choose_whose_keys_may_review_it() -> None:
    made = World().found()
    for people in ((MALLORY,), (ALICE, MALLORY)):
        with pytest.raises(FoldError, match="lists keys of 'mallory'"):
            made.ask(1, people=people)
    with pytest.raises(FoldError, match="lists keys of 'alice'"):
        made.ask(1, reviewers={"alice": [ALICE.line, MALLORY.line]})
    with pytest.raises(FoldError, match="lists keys of 'alice'"):
        made.ask(1, reviewers={"alice": [key_of("alice")]})
    made.ask(1, reviewers=listed(ALICE))


def test_a_request_that_contradicts_itself_stops_the_fold() -> None:
    made = World().found()
    with pytest.raises(FoldError, match="owner"):
        made.ask(1, excluded=[])
    with pytest.raises(FoldError, match="obligations"):
        made.ask(1, obligations=[])


# --- running --------------------------------------------------------------------------------------------------


def test_nothing_starts_while_another_action_runs_on_its_target() -> None:
    made = World().found()
    made.ask_and_start(1)
    made.ask(2, decision="permit")
    with pytest.raises(FoldError, match="another action is running on forge:shop/main"):
        made.start(number=2)
    busy = made.state.busy("forge:shop/main", made.now)
    assert busy is not None
    assert busy.id == action_id(1)
    assert made.state.busy("forge:shop/main", made.now, without=action_id(1)) is None
    made.ask_and_start(3, target="forge:shop/other")
    made.finish("unknown", 1)
    made.start(number=2)


def test_a_start_names_the_policy_in_force() -> None:
    made = World().found()
    made.ask(1, decision="permit")
    made.activate(OTHER_POLICY, POLICY, made.act_activating(OTHER_POLICY))
    with pytest.raises(FoldError, match="not in force"):
        made.start()
    made.start(policy=OTHER_POLICY)


def test_a_shadowed_action_never_starts() -> None:
    made = World().found()
    made.ask(1, decision="shadow")
    with pytest.raises(FoldError, match="shadowed"):
        made.start()


@pytest.mark.parametrize("kind", ["started", "finished", "resolved", "cancelled", "stale", "expired", "reviewed"])
def test_an_entry_of_an_action_nobody_requested_stops_the_fold(kind: str) -> None:
    made = World().found()
    made.ask(1)
    facts = made.review_facts(made.statement(ALICE), ALICE)
    act = made.act_resolving("failed")
    attempts: dict[str, Callable[[], Entry]] = {
        "started": lambda: made.start(number=8),
        "finished": lambda: made.finish("failed", 8),
        "resolved": lambda: made.resolve("failed", 8, method="operator", act=act),
        "cancelled": lambda: made.cancel(8),
        "stale": lambda: made.stale(8),
        "expired": lambda: made.expire(8),
        "reviewed": lambda: made.add("action.reviewed", facts, action_id(8)),
    }
    with pytest.raises(FoldError, match="not requested or is long over"):
        attempts[kind]()


# --- settling the unknown -------------------------------------------------------------------------------------


def unknown() -> World:
    made = World().found()
    made.ask_and_start(1)
    made.finish("unknown")
    return made


def settle(made: World, outcome: str, act: Json, reason: str = WORDS) -> Entry:
    facts: dict[str, Json] = {
        "outcome": outcome,
        "effect": outcome == "succeeded",
        "method": "operator",
        "act": act,
    }
    return made.add("execution.resolved", facts, action_id(1), {"resolve.reason": reason})


@pytest.mark.parametrize("outcome", ["succeeded", "failed"])
def test_an_operators_signed_word_settles_an_unknown_outcome(outcome: str) -> None:
    made = unknown()
    settle(made, outcome, made.act_resolving(outcome))
    assert made.state.actions[action_id(1)].ended == outcome


def test_a_probe_settles_an_unknown_outcome_without_anybody() -> None:
    made = unknown()
    made.resolve("succeeded")
    assert made.state.actions[action_id(1)].ended == "succeeded"


def test_an_operators_word_without_a_signature_is_refused() -> None:
    made = unknown()
    with pytest.raises(FoldError, match="carries a signed act"):
        settle(made, "failed", None)


def test_a_probe_carries_no_act() -> None:
    made = unknown()
    with pytest.raises(FoldError, match="a probe's none"):
        made.resolve("failed", act=made.act_resolving("failed"))


def test_an_operators_word_counts_for_what_was_signed_alone() -> None:
    made = unknown()
    act = made.act_resolving("failed")
    with pytest.raises(FoldError, match="the signed act says"):
        settle(made, "succeeded", act)
    with pytest.raises(FoldError, match="the signed act says"):
        settle(made, "failed", act, "hmac-sha256:" + "6" * 64)
    made.ask_and_start(2)
    made.finish("unknown", 2)
    with pytest.raises(FoldError, match="the signed act says"):
        settle(made, "failed", made.act_resolving("failed", 2))
    with pytest.raises(FoldError, match="no reviewer 'mallory'"):
        settle(made, "failed", made.act_resolving("failed", 1, MALLORY))
    settle(made, "failed", act)
    with pytest.raises(FoldError, match="the action is failed"):
        settle(made, "failed", act)


# --- looking --------------------------------------------------------------------------------------------------


def test_open_actions_come_oldest_first_with_their_state_at_that_moment() -> None:
    made = World().found()
    made.ask(1)
    made.ask(2, decision="permit")
    made.ask(3)
    made.ask_and_start(4, target="forge:shop/four")
    made.ask_and_start(5, target="forge:shop/five")
    made.finish("unknown", 5)
    made.ask(6)
    made.cancel(6)
    made.wait(seconds(60))
    made.review(ALICE, number=1)
    seen = [(action.id, state) for action, state in made.state.open_actions(made.now)]
    states = ["approved", "approved", "pending", "running", "unknown"]
    assert seen == [(action_id(number), state) for number, state in enumerate(states, 1)]
    late = [(action.id, state) for action, state in made.state.open_actions(START + TTL)]
    assert late == [(action_id(4), "running"), (action_id(5), "unknown")]
    assert [action.id for action in made.state.overdue(START + TTL)] == [action_id(n) for n in (1, 2, 3)]
    assert made.state.overdue(SOON) == []
    again = restored(made.state)
    assert [*again.open_actions(START + TTL)] == [*made.state.open_actions(START + TTL)]
    assert again.overdue(START + TTL) == made.state.overdue(START + TTL)


def test_refusals_are_counted_for_one_minute() -> None:
    made = World().found()
    for _ in range(3):
        made.deny()
        made.wait(seconds(20))
    made.deny("other")
    assert made.now == START + seconds(60)
    assert made.state.denials_since("claude", made.now) == 2
    assert made.state.denials_since("claude", START + seconds(99)) == 1
    assert made.state.denials_since("claude", START + seconds(100)) == 0
    assert made.state.denials_since("other", made.now) == 1
    assert made.state.denials_since("nobody", made.now) == 0


def test_refusals_are_forgotten_and_bounded_also_after_a_snapshot() -> None:
    made = World().found()
    for _ in range(100):
        made.deny()
    assert made.state.denials_since("claude", made.now) == 64
    made.state = restored(made.state)
    for _ in range(100):
        made.deny()
    assert made.state.denials_since("claude", made.now) == 64
    made.wait(seconds(61))
    made.deny()
    made.deny("other")
    made.pad()
    assert set(made.state.denials) == {"claude", "other"}
    made.wait(seconds(61))
    made.pad()
    assert made.state.denials == {}


def test_an_anchor_is_recorded_of_entries_that_were_there_before() -> None:
    made = World().found()
    facts: dict[str, Json] = {"anchor": "mount", "type": "file", "root": "0" * 64}
    with pytest.raises(FoldError, match="more than there were"):
        made.add("anchor.recorded", {**facts, "size": len(made.entries) + 1})
    made.add("anchor.recorded", {**facts, "size": len(made.entries)})


def test_a_fault_names_the_entry_and_its_kind() -> None:
    made = World().found()
    entry = Book.add(World(), "token.revoked", {"token": token(9), "by": {"type": "account", "name": "root"}})
    with pytest.raises(FoldError, match=r"entry 0 \(token\.revoked\): it revokes a token that was never issued"):
        made.state.apply(entry)


def test_the_contract_of_a_request_is_its_label() -> None:
    made = World().found()
    made.ask(1, obligation("alice"))
    assert made.state.actions[action_id(1)].contract == CONTRACT
