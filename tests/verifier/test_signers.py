"""Reviewers' keys against a list that somebody outside keeps (proof 16)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from keyturn.model.errors import ConfigurationError
from keyturn.model.sshkey import PublicKey
from keyturn.verifier import in_words
from keyturn.verifier.signers import read_signers
from tests.verifier.test_file import bad
from tests.verifier.world import ACT, REVIEW, Thief, World, b64, entries

PEOPLE = ("alice", "bob", "carol", "dave")


def listed(world: World, *people: str, options: str = "") -> str:
    return "".join(f"{name} {options}{world.people.line(name)} {name}@desk\n" for name in people)


def first_reviewed(world: World) -> int:
    return next(entry.seq for entry in entries(world.database) if entry.kind == "action.reviewed")


def test_reviewers_who_are_all_listed_pass(good: World) -> None:
    report = good.verify(signers="# our people\n\n" + listed(good, *PEOPLE, "mallory"))
    assert (report.verdict, report.strangers) == ("PASS-UNANCHORED", ())


def test_a_reviewer_who_is_not_listed_is_named_wherever_the_key_stands(good: World) -> None:
    report = good.verify(signers=listed(good, "alice", "bob", "dave"))
    assert bad(report) == (2, 16)
    assert report.last_seq == len(entries(good.database)) - 1  # the rest is examined as well
    assert {(item.reviewer, item.reason) for item in report.strangers} == {("carol", "it is not listed")}
    reviewed = [e.seq for e in entries(good.database) if e.facts.get("reviewer") == "carol"]
    activated = [e.seq for e in entries(good.database) if e.kind == "policy.activated"]
    assert [item.seq for item in report.strangers] == sorted(reviewed + activated)
    assert any("not among the signers given: entry 2, carol with SHA256:" in line for line in in_words(report))


def test_a_key_listed_under_another_name_is_not_that_persons(good: World) -> None:
    text = listed(good, "alice", "bob", "dave") + f"alice {good.people.line('carol')}\n"
    report = good.verify(signers=text)
    assert bad(report) == (2, 16)
    assert report.strangers[0].reason == "it is listed for alice, not for carol"


def test_an_act_by_a_key_not_listed_for_acts_is_named(good: World) -> None:
    text = listed(good, "bob", "carol", "dave") + listed(good, "alice", options=f'namespaces="{REVIEW}" ')
    report = good.verify(signers=text)
    acts = [entry.seq for entry in entries(good.database) if entry.facts.get("act")]
    assert bad(report) == (acts[0], 16)
    assert [item.seq for item in report.strangers] == acts
    assert report.strangers[0].reason == f"it is not listed for {ACT}"


def test_a_review_at_a_time_its_key_is_not_listed_for_is_named(good: World) -> None:
    text = listed(good, "bob", "carol", "dave") + listed(good, "alice", options='valid-before="20200101Z" ')
    report = good.verify(signers=text)
    assert bad(report) == (first_reviewed(good), 16)
    assert report.strangers[0].reason == "it is not listed for that time"


def test_a_review_that_nobody_signed_is_no_strangers(thief: Thief) -> None:
    honest = thief.find("action.reviewed", "approved")
    broken = {**honest.facts, "signature": b64(b"nothing")}
    forged = thief.append("action.reviewed", broken, action=honest.action, data={"review.reason": b'"yes"'})
    report = thief.world.verify(signers=listed(thief.world, *PEOPLE))
    assert (bad(report), report.strangers) == ((forged.seq, 9), ())


# --- the file -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "person", "taken"),
    [
        ("alice", "alice", True),
        ("bob,alice", "alice", True),
        ("al*", "alice", True),
        ("a?ice", "alice", True),
        ("*,!alice", "alice", False),
        ("!alice,*", "alice", False),
        ("alice", "alice2", False),
        ("al[i]ce", "alice", False),
        ("Alice", "alice", False),
    ],
)
def test_names_are_patterns_as_ssh_reads_them(good: World, names: str, person: str, taken: bool) -> None:
    key = PublicKey.parse(good.people.line("alice"))
    signers = read_signers(f"{names} {key.line}")
    assert (signers.stranger(person, key) is None) == taken


@pytest.mark.parametrize(
    ("options", "at", "counts"),
    [
        ('valid-after="20260101Z"', "2026-01-01T00:00:00", True),
        ('valid-after="20260101Z"', "2025-12-31T23:59:59", False),
        ('valid-before="202601011230Z"', "2026-01-01T12:29:59", True),
        ('valid-before="20260101123001Z"', "2026-01-01T12:30:01", False),
        ('namespaces="keyturn.*",valid-after="20250101Z",valid-before="20270101Z"', "2026-01-01T00:00:00", True),
        ('namespaces="git"', "2026-01-01T00:00:00", False),
    ],
)
def test_options_bound_what_a_signature_counts_for(good: World, options: str, at: str, counts: bool) -> None:
    key = PublicKey.parse(good.people.line("alice"))
    signers = read_signers(f"alice {options} {key.line} with a comment")
    moment = datetime.fromisoformat(at).replace(tzinfo=UTC)
    assert (signers.refusal("alice", key, REVIEW, moment) is None) == counts


def test_a_second_line_may_allow_what_the_first_does_not(good: World) -> None:
    key = PublicKey.parse(good.people.line("alice"))
    signers = read_signers(f'alice namespaces="git" {key.line}\nalice namespaces="{REVIEW}" {key.line}\n')
    assert signers.refusal("alice", key, REVIEW, datetime(2026, 1, 1, tzinfo=UTC)) is None
    assert signers.refusal("bob", key, REVIEW, datetime(2026, 1, 1, tzinfo=UTC)) is not None


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "lists nobody"),
        ("# only a comment", "lists nobody"),
        ("alice", "line 1"),
        ("alice ssh-ed25519", "line 1"),
        ("alice ssh-ed25519 AAAA", "line 1"),
        ("alice ssh-dss AAAA", "'ssh-dss' is not understood"),
        ("alice cert-authority KEY", "'cert-authority' is not understood"),
        ('alice permit="x" KEY', "is not understood"),
        ('alice namespaces="a",namespaces="b" KEY', "is not understood"),
        ('alice valid-after="20260101" KEY', "not in UTC"),
        ('alice valid-after="20261301Z" KEY', "line 1"),
    ],
)
def test_a_line_that_is_not_understood_is_refused(good: World, line: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        read_signers(line.replace("KEY", good.people.line("alice")))
