"""Reviews and acts by real SSH signatures: what counts, and every way in which one does not."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from keyturn.approvals.action import Action, Review
from keyturn.approvals.judgement import SKEW
from keyturn.approvals.life import requested
from keyturn.approvals.statement import ACT_NAMESPACE, REVIEW_NAMESPACE, ReviewStatement
from keyturn.canon import Json
from keyturn.fold.signatures import Act, SignedReview, check_act, check_review, read_review
from keyturn.log.entry import Entry
from keyturn.model.decision import Obligation
from keyturn.model.errors import Refused
from keyturn.model.sshkey import PublicKey
from keyturn.sshsig.signing import sign
from tests.approvals.world import ORIGIN, START, TTL, Book, action_id, obligation, seconds
from tests.fold.people import ALICE, BOB, CAROL, LISTED, MALLORY, OLGA, Person, SoftwareKey, Token
from tests.fold.world import WORDS, World
from tests.sshsig.keys import PRESENT, VERIFIED, environment, make_key, public_key, stock_accepts

OTHER_DIGEST = "sha256:" + "f" * 64
OTHER_LOG = "acme/" + "f" * 32


def world(*due: Obligation, people: tuple[Person, ...] = LISTED) -> World:
    """A log in which action 1 waits."""
    made = World().found(people)
    made.ask(1, *due, people=people)
    made.wait(seconds(60))
    return made


def action_of(made: World) -> Action:
    return made.state.actions[action_id(1)]


def submit(made: World, said: ReviewStatement, by: Person, namespace: str = REVIEW_NAMESPACE) -> Review:
    signed = SignedReview(said, by.sign(said.to_json(), namespace))
    return check_review(action_of(made), signed, len(made.entries), made.now)


def refusal(made: World, said: ReviewStatement, by: Person, namespace: str = REVIEW_NAMESPACE) -> str:
    with pytest.raises(Refused) as refused:
        submit(made, said, by, namespace)
    return refused.value.code


# --- reviews --------------------------------------------------------------------------------------------------


def test_stock_openssh_takes_what_these_tests_sign() -> None:
    said = world().statement(ALICE)
    blob = ALICE.sign(said.to_json(), REVIEW_NAMESPACE)
    assert stock_accepts(said.signed_bytes, blob, PublicKey.parse(ALICE.key.public_line), REVIEW_NAMESPACE)


def test_a_review_signed_by_ssh_keygen_counts(tmp_path: Path) -> None:
    key = make_key(tmp_path)
    line = public_key(key).line
    book = Book()
    entry = book.request(reviewers={"alice": [line]})
    made = World()
    made.entries.append(entry)
    said = made.statement(ALICE)
    blob = sign(said.signed_bytes, key=key, namespace=REVIEW_NAMESPACE, environment=environment(tmp_path))
    given = check_review(requested(entry), SignedReview(said, blob), 1, START)
    assert (given.reviewer, given.verdict, given.key) == ("alice", "approve", public_key(key).fingerprint)
    assert (given.present, given.pinned) == (None, None)


def test_a_review_that_counts_says_who_when_and_where() -> None:
    made = world()
    given = submit(made, made.statement(BOB, "reject", at=made.now - seconds(5)), BOB)
    assert given == Review(
        seq=len(made.entries),
        reviewer="bob",
        verdict="reject",
        key=BOB.fingerprint,
        signed_at=made.now - seconds(5),
        recorded_at=made.now,
    )


def test_a_review_signed_by_an_unlisted_key_is_refused() -> None:
    made = world()
    assert refusal(made, made.statement(ALICE), MALLORY) == "key_not_listed"
    assert refusal(made, made.statement(MALLORY), MALLORY) == "not_a_reviewer"


def test_a_review_signed_by_another_reviewer_is_refused() -> None:
    made = world()
    assert refusal(made, made.statement(ALICE), BOB) == "key_not_listed"


def test_a_review_of_another_digest_or_action_is_refused() -> None:
    made = world()
    assert refusal(made, made.statement(ALICE, digest=OTHER_DIGEST), ALICE) == "other_digest"
    assert refusal(made, made.statement(ALICE, action=action_id(2)), ALICE) == "other_action"


@pytest.mark.parametrize("namespace", [ACT_NAMESPACE, "file", "git", "keyturn.review.v2"])
def test_a_review_signed_in_another_namespace_is_refused(namespace: str) -> None:
    made = world()
    assert refusal(made, made.statement(ALICE), ALICE, namespace) == "bad_signature"


@pytest.mark.parametrize("field", [*world().statement(ALICE).to_json()])
def test_a_signature_covers_every_field_of_a_review(field: str) -> None:
    made = world()
    said = made.statement(ALICE)
    others: dict[str, Any] = {
        "log": OTHER_LOG,
        "action": action_id(2),
        "digest": OTHER_DIGEST,
        "verdict": "reject",
        "reviewer": "bob",
        "reason": "hmac-sha256:" + "6" * 64,
        "at": said.at + timedelta(microseconds=1),
    }
    if field == "type":
        signature = ALICE.sign({**said.to_json(), "type": "keyturn.review/v2"}, REVIEW_NAMESPACE)
    else:
        signature = ALICE.sign(replace(said, **{field: others[field]}).to_json(), REVIEW_NAMESPACE)
    with pytest.raises(Refused) as refused:
        check_review(action_of(made), SignedReview(said, signature), 9, made.now)
    assert refused.value.code == "bad_signature"


def test_a_signature_that_is_none_is_refused() -> None:
    made = world()
    said = made.statement(ALICE)
    good = ALICE.sign(said.to_json(), REVIEW_NAMESPACE)
    for blob in (b"", b"SSHSIG", good[:-1], good + b"\0", good[:-1] + bytes([good[-1] ^ 1])):
        with pytest.raises(Refused) as refused:
            check_review(action_of(made), SignedReview(said, blob), 9, made.now)
        assert refused.value.code == "bad_signature"


def test_a_review_submitted_twice_is_refused_as_not_newer() -> None:
    made = world()
    said = made.statement(ALICE)
    made.review(ALICE)
    made.wait(seconds(10))
    assert refusal(made, said, ALICE) == "not_newer"
    submit(made, made.statement(ALICE, "reject"), ALICE)


def test_a_review_from_the_future_or_from_before_the_request_is_refused() -> None:
    made = world()
    ahead, behind = made.now + SKEW + seconds(1), START - SKEW - seconds(1)
    assert refusal(made, made.statement(ALICE, at=ahead), ALICE) == "from_the_future"
    assert refusal(made, made.statement(ALICE, at=behind), ALICE) == "before_the_request"


def test_the_owner_cannot_review_with_a_good_signature() -> None:
    made = world(obligation("alice", "olga"))
    assert refusal(made, made.statement(OLGA), OLGA) == "owner_excluded"


def test_nobody_reviews_what_has_expired() -> None:
    made = world()
    made.now = START + TTL
    assert refusal(made, made.statement(ALICE), ALICE) == "already_decided"


@pytest.mark.parametrize(
    ("keys", "flags", "code"),
    [
        ("hardware", PRESENT, ""),
        ("hardware", 0, "key_class"),
        ("hardware", VERIFIED, "key_class"),
        ("hardware+pin", PRESENT | VERIFIED, ""),
        ("hardware+pin", PRESENT, "key_class"),
        ("hardware+pin", VERIFIED, "key_class"),
        ("any", 0, ""),
    ],
)
def test_a_hardware_keys_flags_inside_the_signature_decide(keys: str, flags: int, code: str) -> None:
    alice = Person("alice", Token(flags))
    made = world(obligation("alice", keys=keys), people=(alice,))
    if code:
        assert refusal(made, made.statement(alice), alice) == code
    else:
        given = submit(made, made.statement(alice), alice)
        assert (given.present, given.pinned) == (bool(flags & PRESENT), bool(flags & VERIFIED))
    assert submit(made, made.statement(alice, "reject"), alice).verdict == "reject"


def test_flags_changed_after_signing_break_the_signature() -> None:
    alice = Person("alice", Token(0))
    made = world(obligation("alice", keys="hardware"), people=(alice,))
    said = made.statement(alice)
    blob = bytearray(alice.sign(said.to_json(), REVIEW_NAMESPACE))
    assert blob[-5] == 0
    blob[-5] = PRESENT
    with pytest.raises(Refused) as refused:
        check_review(action_of(made), SignedReview(said, bytes(blob)), 9, made.now)
    assert refused.value.code == "bad_signature"


def test_a_plain_key_cannot_approve_where_hardware_is_asked_for() -> None:
    made = world(obligation("alice", keys="hardware"))
    assert refusal(made, made.statement(ALICE), ALICE) == "key_class"


# --- reviews as entries tell them -----------------------------------------------------------------------------


def reviewed(made: World, facts: Mapping[str, Json], reason: str | None = WORDS) -> Entry:
    data = {} if reason is None else {"review.reason": reason}
    return Book.add(made, "action.reviewed", facts, action_id(1), data)


def test_the_entry_of_a_review_tells_it_again() -> None:
    made = world()
    said = made.statement(ALICE)
    entry = reviewed(made, made.review_facts(said, ALICE))
    assert read_review(action_of(made), entry) == replace(submit(made, said, ALICE), seq=entry.seq)


@pytest.mark.parametrize(
    "changed",
    [{"reviewer": "bob"}, {"verdict": "reject"}, {"key": BOB.fingerprint}],
    ids=lambda changed: next(iter(changed)),
)
def test_an_entry_whose_facts_are_not_those_of_the_statement_is_refused(changed: dict[str, Json]) -> None:
    made = world()
    entry = reviewed(made, {**made.review_facts(made.statement(ALICE), ALICE), **changed})
    with pytest.raises(Refused) as refused:
        read_review(action_of(made), entry)
    assert refused.value.code == "other_facts"


@pytest.mark.parametrize("reason", [None, "hmac-sha256:" + "6" * 64])
def test_an_entry_whose_reason_is_not_the_one_signed_is_refused(reason: str | None) -> None:
    made = world()
    entry = reviewed(made, made.review_facts(made.statement(ALICE), ALICE), reason)
    with pytest.raises(Refused) as refused:
        read_review(action_of(made), entry)
    assert refused.value.code == "other_facts"


def test_a_review_signed_for_another_log_is_refused() -> None:
    made = world()
    entry = reviewed(made, made.review_facts(made.statement(ALICE, log=OTHER_LOG), ALICE))
    with pytest.raises(Refused) as refused:
        read_review(action_of(made), entry)
    assert refused.value.code == "other_facts"


def test_an_entry_with_another_statement_than_was_signed_is_refused() -> None:
    made = world()
    facts = made.review_facts(made.statement(ALICE, "reject"), ALICE)
    facts |= {"statement": made.statement(ALICE, "approve").to_json(), "verdict": "approve"}
    with pytest.raises(Refused) as refused:
        read_review(action_of(made), reviewed(made, facts))
    assert refused.value.code == "bad_signature"


def test_a_statement_that_is_none_is_refused_wherever_it_comes_from() -> None:
    made = world()
    entry = reviewed(made, made.review_facts(made.statement(ALICE), ALICE))
    broken = replace(entry, facts={**entry.facts, "statement": {"type": "keyturn.review/v1"}})
    with pytest.raises(Refused) as refused:
        read_review(action_of(made), broken)
    assert refused.value.code == "bad_statement"


# --- acts -----------------------------------------------------------------------------------------------------

EXPECTED = Act(verb="policy.activate", object="sha256:" + "a" * 64, digest="sha256:" + "d" * 64)
REVIEWERS = {person.name: (person.line,) for person in LISTED}
AFTER = 2


def act(made: World, by: Person = ALICE, /, **changed: Any) -> dict[str, Json]:
    return made.act(EXPECTED.verb, EXPECTED.object, EXPECTED.digest, by, **changed)


def act_code(made: World, value: Mapping[str, Json], reviewers: Mapping[str, tuple[str, ...]] = REVIEWERS) -> str:
    """The code of the refusal, or "" when the act counts."""
    try:
        check_act(value, EXPECTED, log=ORIGIN, after=AFTER, reviewers=reviewers, now=made.now)
    except Refused as refused:
        return refused.code
    return ""


def test_an_act_by_a_listed_person_counts_and_says_by_whom() -> None:
    made = World().found()
    said = check_act(act(made, BOB), EXPECTED, log=ORIGIN, after=AFTER, reviewers=REVIEWERS, now=made.now)
    assert (said.by, said.at) == ("bob", made.now)


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"log": OTHER_LOG}, "other_log"),
        ({"after": AFTER + 1}, "superseded"),
        ({"after": 0}, "superseded"),
        ({"verb": "token.issue"}, "other_act"),
        ({"object": "claude"}, "other_act"),
        ({"digest": OTHER_DIGEST}, "other_act"),
        ({"at": START + SKEW + timedelta(microseconds=1)}, "from_the_future"),
        ({"at": START + SKEW}, ""),
        ({"by": "bob"}, "not_a_reviewer"),
        ({"by": "mallory"}, "not_a_reviewer"),
        ({"namespace": REVIEW_NAMESPACE}, "bad_signature"),
        ({"namespace": "file"}, "bad_signature"),
    ],
)
def test_an_act_that_says_anything_else_is_refused(changed: dict[str, Any], code: str) -> None:
    made = World().found()
    assert act_code(made, act(made, **changed)) == code


def test_an_act_by_an_unlisted_key_is_refused() -> None:
    made = World().found()
    assert act_code(made, act(made, MALLORY)) == "not_a_reviewer"
    assert act_code(made, act(made, Person("alice", SoftwareKey(77)))) == "not_a_reviewer"
    assert act_code(made, act(made), {}) == "not_a_reviewer"


def test_a_signature_covers_every_field_of_an_act() -> None:
    made = World().found()
    good = act(made)
    others: dict[str, Json] = {
        "log": OTHER_LOG,
        "after": 3,
        "verb": "token.issue",
        "object": "other",
        "digest": OTHER_DIGEST,
        "by": "bob",
        "at": "2026-11-21T09:00:00.000001Z",
    }
    statement: Any = good["statement"]
    assert set(others) == set(statement) - {"type"}
    for name, value in others.items():
        tampered = {**good, "statement": {**statement, name: value}}
        assert act_code(made, tampered) == "bad_signature", name


def test_an_act_nobody_touched_the_hardware_key_for_is_refused() -> None:
    made = World().found()
    touched = Token(PRESENT)
    asleep = Token(0, touched.hardware)
    reviewers = {"alice": (Person("alice", touched).line,)}
    assert act_code(made, act(made, Person("alice", touched)), reviewers) == ""
    assert act_code(made, act(made, Person("alice", asleep)), reviewers) == "nobody_present"


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"statement": {}},
        {"signature": "AAAA"},
        {"statement": {"type": "keyturn.act/v1"}, "signature": "AAAA"},
        {"statement": None, "signature": "AAAA"},
    ],
)
def test_what_is_no_act_is_refused(broken: dict[str, Json]) -> None:
    assert act_code(World().found(), broken) == "bad_statement"


@pytest.mark.parametrize("signature", ["", "A", "????", None, 7])
def test_an_act_without_a_signature_in_base64_is_refused(signature: Json) -> None:
    made = World().found()
    assert act_code(made, {**act(made), "signature": signature}) in {"bad_statement", "bad_signature"}


def test_a_statement_outside_the_canonical_profile_is_refused_not_a_crash() -> None:
    made = World().found()
    good: dict[str, Any] = act(made)
    good["statement"] = {**good["statement"], "object": "\ud800"}
    assert act_code(made, good) == "bad_statement"


def test_an_extra_member_beside_statement_and_signature_is_refused() -> None:
    made = World().found()
    assert act_code(made, {**act(made), "note": "x"}) == "bad_statement"


def test_a_review_cannot_pass_for_an_act() -> None:
    made = world()
    said = made.statement(CAROL)
    signature = base64.b64encode(CAROL.sign(said.to_json(), ACT_NAMESPACE)).decode()
    assert act_code(made, {"statement": said.to_json(), "signature": signature}) == "bad_statement"
