"""Entries: what is written is read back; any change of a stored byte is refused."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyturn.canon import Json
from keyturn.log.chain import ChainError, follow, parse
from keyturn.log.entry import MAX_BODY, EntryError, leaf_hash, read_entry, write_body
from keyturn.model.time import format_timestamp
from tests.vectors.reading import chain, head_after, load, stored

ROWS = chain()
HEADS = [head_after(ROWS[:seq]) for seq in range(len(ROWS))]
HEX = "0123456789abcdef"


def refused(seq: int, body: bytes, signature: bytes) -> bool:
    try:
        follow(HEADS[seq], parse(seq, body, signature))
    except ChainError:
        return True
    return False


@pytest.mark.parametrize("seq", [0, 1, 8, 9])
def test_a_flipped_bit_in_any_byte_of_body_or_signature_is_refused(seq: int) -> None:
    row = ROWS[seq]
    for place in range(len(row.body)):
        body = bytearray(row.body)
        body[place] ^= 1 << place % 8
        assert refused(seq, bytes(body), row.signature), place
    for place in range(64):
        signature = bytearray(row.signature)
        signature[place] ^= 1 << place % 8
        assert refused(seq, row.body, bytes(signature)), place


places = st.integers(0, len(ROWS) - 1)


@settings(max_examples=300)
@given(places, st.booleans(), st.data())
def test_any_other_byte_in_its_place_is_refused(seq: int, in_body: bool, data: st.DataObject) -> None:
    row = ROWS[seq]
    whole = row.body if in_body else row.signature
    place = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != whole[place]))
    other = whole[:place] + bytes([byte]) + whole[place + 1 :]
    assert refused(seq, other, row.signature) if in_body else refused(seq, row.body, other)


@settings(max_examples=300)
@given(places, st.booleans(), st.data())
def test_a_cut_or_an_insertion_anywhere_is_refused(seq: int, in_body: bool, data: st.DataObject) -> None:
    row = ROWS[seq]
    whole = row.body if in_body else row.signature
    place = data.draw(st.integers(0, len(whole) - 1))
    inserted = data.draw(st.binary(min_size=1, max_size=3))
    for other in (whole[:place], whole[place + 1 :], whole[:place] + inserted + whole[place:], whole + inserted):
        assert refused(seq, other, row.signature) if in_body else refused(seq, row.body, other)


names = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=200)
digests = st.text(HEX, min_size=64, max_size=64).map("sha256:".__add__)
commitments = st.text(HEX, min_size=64, max_size=64).map("hmac-sha256:".__add__)
integers = st.integers(0, 2**53 - 1)
times = st.datetimes(timezones=st.just(UTC)).map(format_timestamp)
frames = st.fixed_dictionaries(
    {
        "v": st.just(1), "log": names, "seq": integers, "prev": st.text(HEX, min_size=64, max_size=64), "ts": times,
        "boot": names.map(lambda text: text[:64]), "up": integers, "kid": st.text(HEX, min_size=32, max_size=32),
    }
)  # fmt: skip
fields = st.from_regex(r"[a-z][a-z0-9_]{0,9}(\.[A-Za-z0-9_]{1,9})?", fullmatch=True)
denials = st.fixed_dictionaries(
    {
        "principal": names, "owner": st.none() | names, "token": digests, "transport": names,
        "tool": st.none() | names, "stage": st.sampled_from(["contract", "screen", "plan", "policy"]),
        "codes": st.lists(st.fixed_dictionaries({"code": names, "rule": st.none() | names}), max_size=4),
        "arguments_bytes": integers, "policy": digests, "target": st.none() | names, "environment": st.none() | names,
    }
)  # fmt: skip


@given(frames, denials, st.dictionaries(fields, commitments, max_size=4), st.binary(max_size=64))
def test_a_written_entry_is_read_back(
    frame: dict[str, Json], facts: dict[str, Json], data: dict[str, str], signature: bytes
) -> None:
    action = "019aa5b2-7d80-7000-8000-000000000001"
    body = write_body({**frame, "kind": "action.denied"}, facts, data, action)
    entry = read_entry(body, signature)
    assert (entry.facts, entry.data, entry.action, entry.signature) == (facts, data, action, signature)
    said = (entry.log, entry.seq, entry.prev, format_timestamp(entry.at), entry.boot, entry.up, entry.kid)
    assert said == tuple(frame[name] for name in ("log", "seq", "prev", "ts", "boot", "up", "kid"))
    assert entry.leaf == leaf_hash(body)


def parts(kind: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, str], str | None]:
    expect = load(f"entries/{kind}.json")["expect"]
    frame = {name: expect[name] for name in ("v", "log", "seq", "prev", "ts", "boot", "up", "kid", "kind")}
    return frame, expect["facts"], expect["data"], expect["action"]


def test_writing_gives_the_golden_bytes() -> None:
    for kind in ("log.opened", "action.requested"):
        assert write_body(*parts(kind)) == stored(load(f"entries/{kind}.json")).body


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"outcome": 1.5}, "float is not part of the profile"),
        ({"outcome": "perhaps"}, "outcome: expected one of succeeded, failed"),
        ({"mood": "good"}, "mood is not known"),
        ({"kind": "x"}, "recovered"),
    ],
)
def test_a_field_that_is_wrong_is_not_written(changed: dict[str, Any], reason: str) -> None:
    frame, facts, data, action = parts("execution.finished")
    if "kind" in changed:
        facts = {name: value for name, value in facts.items() if name != "recovered"}
        changed = {}
    with pytest.raises(EntryError, match=reason):
        write_body(frame, {**facts, **changed}, data, action)


def test_a_fact_cannot_take_the_place_of_a_frame_field() -> None:
    frame, facts, data, action = parts("execution.finished")
    assert write_body(frame, {**facts, "seq": 99}, data, action) == write_body(frame, facts, data, action)


def test_a_body_may_have_65535_bytes_and_no_more() -> None:
    frame, facts, data, action = parts("action.requested")
    lines = ["x" * 3000] * 21

    def body(last: int) -> bytes:
        return write_body(frame, {**facts, "reviewers": {"alice": [*lines, "x" * last]}}, data, action)

    room = MAX_BODY - len(body(1)) + 1
    assert len(body(room)) == MAX_BODY
    with pytest.raises(EntryError, match="at most 65535 are allowed"):
        body(room + 1)


def test_facts_are_asked_for_by_their_type() -> None:
    row = ROWS[2]
    entry = read_entry(row.body, row.signature)
    assert entry.text("policy").startswith("sha256:")
    assert entry.optional_text("previous") is None
    assert read_entry(ROWS[12].body, b"").optional_text("previous") == entry.text("policy")
    assert read_entry(stored(load("entries/requests.throttled.json")).body, b"").number("count") == 12
    with pytest.raises(EntryError, match=r"entry 2 \(policy.activated\): previous is not a text"):
        entry.text("previous")
    with pytest.raises(EntryError, match=r"entry 2 \(policy.activated\): policy is not an integer"):
        entry.number("policy")


def test_the_digest_of_an_action_is_the_leaf_hash_of_its_request() -> None:
    requested, reviewed = (read_entry(ROWS[seq].body, b"") for seq in (6, 8))
    statement = reviewed.facts["statement"]
    assert isinstance(statement, dict)
    assert statement["digest"] == requested.digest == f"sha256:{requested.leaf}"


def test_the_leaf_hash_of_nothing_is_that_of_rfc_6962() -> None:
    # The hash of the empty leaf, as in Certificate Transparency's own test data.
    assert leaf_hash(b"") == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
