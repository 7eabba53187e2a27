"""The golden bundles: `audit verify` and the one-file program say of each what its file says."""

from __future__ import annotations

from typing import Any

import pytest

from keyturn.verifier import Report, verify_ledger
from tests.evidence.bundling import asked, first_bad
from tests.vectors.reading import FOLDER, load, names

CASES = {name: load(f"bundles/{name}.json") for name in names("bundles")}


def expected(case: dict[str, Any]) -> tuple[str, int | None, int | None]:
    return first_bad(case["expect"])


@pytest.mark.parametrize("name", CASES)
def test_audit_verify_says_what_is_to_be_said_of_a_golden_bundle(name: str) -> None:
    case = CASES[name]
    report = verified(case)
    assert first_bad(report.to_json()) == expected(case)
    if report.first_bad is None:
        assert report.witnessed_size == case["expect"]["witnessed"]
        return
    assert case["expect"]["first_bad"]["reason"]
    assert case["expect"]["first_bad"]["reason"] in report.first_bad.reason


@pytest.mark.parametrize("name", CASES)
def test_the_program_says_it_too_and_leaves_out_only_what_takes_the_policy(name: str) -> None:
    case = CASES[name]
    witnesses = [word for key in case["witnesses"] for word in ("--witness", key)]
    said = asked(FOLDER / "bundles" / case["bundle"], case["verifier"], *witnesses)
    if "without_policy" in case["expect"]:
        assert expected(case)[2] == 11
        assert first_bad(said) == (case["expect"]["without_policy"], None, None)
        return
    if expected(case)[2] == 17 and said["anchors_before_effects"] == "not checked":
        return  # this Python reads no policy, and the program says so
    assert first_bad(said) == expected(case)
    if said["first_bad"] is None:
        assert said["witnessed"] == case["expect"]["witnessed"]


def verified(case: dict[str, Any]) -> Report:
    return verify_ledger(FOLDER / "bundles" / case["bundle"], pinned=case["verifier"], witnesses=case["witnesses"])


def test_what_is_not_witnessed_is_named_to_the_entry() -> None:
    tail = verified(CASES["tail-not-witnessed"]).unwitnessed_tail
    assert tail is not None
    assert (tail.first, tail.last) == (10, 13)
