"""Rules with `anchor = "before"` as an auditor sees them: intents anchored first, and those that were not."""

from __future__ import annotations

from typing import Any

import pytest

from keyturn.log.entry import Entry
from keyturn.verifier import AnchoredBefore, Report, in_words
from tests.verifier.outside import Witness, note, record_anchor
from tests.verifier.test_file import bad
from tests.verifier.test_recovery import recover
from tests.verifier.test_thief import activation
from tests.verifier.world import Thief, policy_text

WITNESS = Witness()
BEFORE = '\nanchor = "before"'


def asked_first(thief: Thief, rule: str = "comments", name: str = "commented") -> None:
    """Put a policy in force whose rule asks for an anchor, and have an action asked for under it."""
    text = policy_text(thief.world.people, thief.world.catalog)
    assert f'id = "{rule}"' in text
    activation(thief, text=text.replace(f'id = "{rule}"', f'id = "{rule}"{BEFORE}'))
    thief.request(name)


def begun(thief: Thief) -> Entry:
    asked_first(thief)
    return thief.start("forged")


def anchored(thief: Thief, size: int, *witnesses: Witness, **facts: Any) -> Entry:
    return record_anchor(thief, size, note(thief.world, size, *witnesses), **facts)


def named_17(thief: Thief, seq: int) -> Report:
    report = thief.world.verify(pinned=thief.world.verifier)
    assert bad(report) == (seq, 17), report.first_bad
    return report


def test_an_intent_that_was_anchored_before_its_outcome_passes_and_is_counted(thief: Thief) -> None:
    intent = begun(thief)
    anchored(thief, intent.seq + 1, WITNESS)
    thief.finish("forged")
    report = thief.world.verify()
    assert (report.verdict, report.first_bad) == ("PASS-UNANCHORED", None)
    assert report.anchored_before == AnchoredBefore(actions=1, cosigned=0)
    report = thief.world.verify(witnesses=[WITNESS.vkey])
    assert report.anchored_before == AnchoredBefore(actions=1, cosigned=1)
    told = "anchored before their effects, as their rules ask: 1 action; of 1 a witness that you named"
    assert any(told in line for line in in_words(report))


def test_an_outcome_without_any_anchor_is_named(thief: Thief) -> None:
    begun(thief)
    seq = thief.finish("forged").seq
    assert 'anchor = "before"' in str(named_17(thief, seq).first_bad)


def test_an_anchor_after_the_outcome_is_too_late(thief: Thief) -> None:
    intent = begun(thief)
    seq = thief.finish("forged").seq
    anchored(thief, intent.seq + 1, WITNESS)
    named_17(thief, seq)


def test_an_anchor_of_fewer_entries_than_hold_the_intent_is_none(thief: Thief) -> None:
    intent = begun(thief)
    anchored(thief, intent.seq, WITNESS)
    named_17(thief, thief.finish("forged").seq)


def test_an_anchor_of_another_tree_fails_for_itself(thief: Thief) -> None:
    intent = begun(thief)
    forged = anchored(thief, intent.seq + 1, WITNESS, root="0" * 64)
    thief.finish("forged")
    assert bad(thief.world.verify()) == (forged.seq, 14)


@pytest.mark.parametrize(
    ("outcome", "effect", "passes"),
    [("failed", False, True), ("stale", False, True), ("unknown", None, True), ("failed", True, False)],
)
def test_only_an_effect_needs_its_anchor(thief: Thief, outcome: str, effect: bool | None, passes: bool) -> None:
    begun(thief)
    seq = thief.finish("forged", outcome=outcome, effect=effect).seq
    if passes:
        report = thief.world.verify()
        assert (report.first_bad, report.anchored_before.actions) == (None, 0)
    else:
        named_17(thief, seq)


@pytest.mark.parametrize("before", [True, False])
def test_what_was_unknown_is_settled_as_done_only_if_it_was_anchored_before_that(thief: Thief, before: bool) -> None:
    intent = begun(thief)
    if before:
        anchored(thief, intent.seq + 1)
    thief.finish("forged", outcome="unknown", effect=None)
    anchored(thief, intent.seq + 1)
    seq = thief.resolve("forged").seq
    if before:
        assert thief.world.verify().anchored_before.actions == 1
    else:
        named_17(thief, seq)


def test_a_rule_that_says_so_only_now_counts_as_the_action_begins(thief: Thief) -> None:
    text = policy_text(thief.world.people, thief.world.catalog)
    activation(thief, text=text.replace('id = "comments"', f'id = "comments"{BEFORE}'))
    thief.start("permitted")
    named_17(thief, thief.finish("permitted").seq)


def test_a_rule_that_does_not_say_so_any_more_counts_for_nothing(thief: Thief) -> None:
    asked_first(thief)
    activation(thief, text=policy_text(thief.world.people, thief.world.catalog, "[people.zoe]\n"))
    thief.start("forged")
    thief.finish("forged")
    assert thief.world.verify().first_bad is None


def test_another_rule_that_lets_it_through_as_it_begins_counts_as_well(thief: Thief) -> None:
    thief.request("commented")
    more = '[[grants]]\nid = "also"\nprincipals = ["claude"]\ntool = "update_ticket"' + BEFORE + "\n"
    activation(thief, text=policy_text(thief.world.people, thief.world.catalog, more))
    thief.start("forged")
    named_17(thief, thief.finish("forged").seq)


def test_after_a_restore_nothing_is_said_of_what_ran_before_it(thief: Thief) -> None:
    begun(thief)
    recover(thief)
    thief.finish("forged", recovered=True)
    report = thief.world.verify()
    assert (report.first_bad, report.anchored_before.actions) == (None, 0)
