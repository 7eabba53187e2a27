"""The one-file program and rules with `anchor = "before"`: what it names without deriving a decision."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from keyturn.evidence import verify as program
from tests.evidence.bundling import asked, bundle_in
from tests.verifier.test_before import anchored, begun
from tests.verifier.world import Thief


def told(thief: Thief, tmp_path: Path) -> dict[str, object]:
    return asked(bundle_in(tmp_path, thief.world), thief.world.verifier, python=sys.executable)


@pytest.mark.parametrize("case", ["before", "after", "too small", "none"])
def test_it_names_an_effect_whose_intent_was_not_anchored_first(thief: Thief, tmp_path: Path, case: str) -> None:
    intent = begun(thief)
    if case == "before":
        anchored(thief, intent.seq + 1)
    if case == "too small":
        anchored(thief, intent.seq)
    end = thief.finish("forged").seq
    if case == "after":
        anchored(thief, intent.seq + 1)
    said = told(thief, tmp_path)
    assert said["anchors_before_effects"] == "checked"
    if case == "before":
        assert (said["verdict"], said["first_bad"]) == ("PASS-UNANCHORED", None)
    else:
        first_bad = said["first_bad"]
        assert isinstance(first_bad, dict)
        assert (first_bad["seq"], first_bad["proof"]) == (end, 17)


def test_what_was_unknown_and_is_settled_as_done_needs_the_anchor_before_that(thief: Thief, tmp_path: Path) -> None:
    intent = begun(thief)
    thief.finish("forged", outcome="unknown", effect=None)
    anchored(thief, intent.seq + 1)
    thief.resolve("forged")
    assert told(thief, tmp_path)["verdict"] == "FAIL"


def test_a_python_that_reads_no_policy_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "READS_POLICIES", False)
    assert program.anchored_rules({"policy.toml": 'grants = [{ id = "a", anchor = "before" }]'}) == set()
    report = program.as_json(program.Report(), None)
    assert report["anchors_before_effects"] == "not checked"
    assert any("this Python reads no policy" in line for line in program.lines_of(report))


@pytest.mark.parametrize("text", ["grants = 1", "=", "grants = [1]", "grants = [{ anchor = 'before' }]"])
def test_a_text_that_is_no_policy_asks_for_nothing(text: str) -> None:
    assert program.anchored_rules({"policy.toml": text}) == set()
    assert program.anchored_rules({}) == set()
