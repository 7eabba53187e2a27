"""What people sign: the same statement comes back, and nothing else is one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn import canon
from keyturn.approvals.statement import (
    ActStatement,
    ReviewStatement,
    StatementError,
    read_act_statement,
    read_review_statement,
)
from keyturn.canon import Json
from tests.approvals.world import ORIGIN, REASON, SOON, action_id

REVIEW = ReviewStatement(
    log=ORIGIN,
    action=action_id(1),
    digest="sha256:" + "d" * 64,
    verdict="approve",
    reviewer="alice",
    reason=REASON,
    at=SOON,
)
ACT = ActStatement(
    log=ORIGIN,
    after=2,
    verb="policy.activate",
    object="sha256:" + "e" * 64,
    digest="sha256:" + "d" * 64,
    by="alice",
    at=SOON,
)

times = st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis wants naive bounds
names = st.text("abcdefghijklmnopqrstuvwxyz äé漢-._", min_size=1, max_size=200)
digests = st.text("0123456789abcdef", min_size=64, max_size=64).map(lambda text: f"sha256:{text}")


reviews = st.builds(
    ReviewStatement,
    log=st.just(ORIGIN),
    action=st.just(REVIEW.action),
    digest=digests,
    verdict=st.sampled_from(["approve", "reject"]),
    reviewer=names,
    reason=st.just(REASON),
    at=times,
)
acts = st.builds(
    ActStatement,
    log=st.just(ORIGIN),
    after=st.integers(0, canon.MAX_INTEGER),
    verb=st.from_regex(r"[a-z]{1,9}\.[a-z]{1,9}", fullmatch=True),
    object=names,
    digest=digests,
    by=names,
    at=times,
)


@given(reviews)
def test_a_review_statement_is_read_back_as_it_was_written(statement: ReviewStatement) -> None:
    assert read_review_statement(statement.to_json()) == statement
    assert read_review_statement(canon.decode(statement.signed_bytes)) == statement


@given(acts)
def test_an_act_statement_is_read_back_as_it_was_written(statement: ActStatement) -> None:
    assert read_act_statement(statement.to_json()) == statement
    assert read_act_statement(canon.decode(statement.signed_bytes)) == statement


def test_what_is_signed_is_one_canonical_line() -> None:
    assert REVIEW.signed_bytes == (
        b'{"action":"01a1fdf0-0000-7000-8000-000000000001","at":"2026-11-21T09:01:00.000000Z","digest":"sha256:'
        + b"d" * 64
        + b'","log":"acme/0123456789abcdef0123456789abcdef","reason":"hmac-sha256:'
        + b"0" * 64
        + b'","reviewer":"alice","type":"keyturn.review/v1","verdict":"approve"}'
    )
    assert ACT.signed_bytes.startswith(b'{"after":2,"at":"2026-11-21T09:01:00.000000Z","by":"alice"')
    assert not ACT.signed_bytes.endswith(b"\n")


@pytest.mark.parametrize("name", [*REVIEW.to_json()])
def test_a_review_statement_lacks_no_field(name: str) -> None:
    fields = REVIEW.to_json()
    del fields[name]
    with pytest.raises(StatementError, match=name):
        read_review_statement(fields)


@pytest.mark.parametrize("name", [*ACT.to_json()])
def test_an_act_statement_lacks_no_field(name: str) -> None:
    fields = ACT.to_json()
    del fields[name]
    with pytest.raises(StatementError, match=name):
        read_act_statement(fields)


WRONG_REVIEWS: dict[str, list[Json]] = {
    "type": ["keyturn.act/v1", "keyturn.review/v2", "", None],
    "log": ["", 1, "a\nb", "x" * 201, "\ud800"],
    "action": [action_id(1).upper(), action_id(1)[:-1], action_id(1) + "\n", "", None],
    "digest": ["sha256:" + "D" * 64, "d" * 64, "sha256:" + "d" * 63, None],
    "verdict": ["Approve", "deny", "", True, None],
    "reviewer": ["", "a\tb", "\u202ealice", "\ud800", 7, ["alice"]],
    "reason": ["sha256:" + "0" * 64, "fine", None],
    "at": ["2026-11-21T09:00:00Z", "2026-11-21T09:00:00.000000+00:00", "2026-02-30T00:00:00.000000Z", 0, None],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, tries in WRONG_REVIEWS.items() for value in tries]
)
def test_a_review_statement_with_a_wrong_field_is_none(name: str, value: Json) -> None:
    with pytest.raises(StatementError, match=name):
        read_review_statement({**REVIEW.to_json(), name: value})


WRONG_ACTS: dict[str, list[Json]] = {
    "type": ["keyturn.review/v1", None],
    "log": ["", None],
    "after": [-1, "2", True, None, 2**53],
    "verb": ["activate", "policy.activate.", "Policy.Activate", "policy.activate\n", None],
    "object": ["", "\x00", "\udfff", None],
    "digest": ["", None],
    "by": ["", "\u200b", None],
    "at": ["now", None],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, tries in WRONG_ACTS.items() for value in tries])
def test_an_act_statement_with_a_wrong_field_is_none(name: str, value: Json) -> None:
    with pytest.raises(StatementError, match=name):
        read_act_statement({**ACT.to_json(), name: value})


@pytest.mark.parametrize("value", [None, 1, "x", [], [REVIEW.to_json()], {}])
def test_what_is_no_object_with_the_fields_is_no_statement(value: Any) -> None:
    with pytest.raises(StatementError):
        read_review_statement(value)
    with pytest.raises(StatementError):
        read_act_statement(value)


def test_a_field_nobody_asked_for_is_refused() -> None:
    with pytest.raises(StatementError, match="extra is not known"):
        read_review_statement({**REVIEW.to_json(), "extra": 1})
    with pytest.raises(StatementError, match="extra is not known"):
        read_act_statement({**ACT.to_json(), "extra": 1})


def test_each_kind_of_statement_is_not_the_other() -> None:
    with pytest.raises(StatementError):
        read_act_statement(REVIEW.to_json())
    with pytest.raises(StatementError):
        read_review_statement(ACT.to_json())
