"""Suspensions in a ledger: what a holder of the entry key would get away with, were it not proved."""

from __future__ import annotations

from typing import Any

import pytest

from keyturn import canon
from keyturn.canon import Json
from keyturn.fold.suspensions import LIFT, Scope, lift_digest
from keyturn.log.commitment import commit
from keyturn.log.entry import Entry
from keyturn.model.time import format_timestamp
from tests.verifier.test_thief import named
from tests.verifier.world import ACT, Thief, b64, statement_of

EVERYTHING = Scope("all")
WORDS = canon.encode("all is well")
SCOPES = [EVERYTHING, Scope("principal", "claude"), Scope("tool", "update_ticket"), Scope("environment", "tracker")]


def suspend(thief: Thief, scope: Scope = EVERYTHING, mode: str = "suspended") -> Entry:
    by = {"type": "account", "name": "root"}
    return thief.append("suspension.set", {"scope": scope.to_json(), "mode": mode, "by": by})


def act(
    thief: Thief, verb: str, subject: str, digest: str, signer: str = "alice", **changes: Json
) -> dict[str, Json]:
    """An act of somebody under the policy in force."""
    last = thief.all[-1]
    force = next(e for e in reversed(thief.all) if e.kind == "policy.activated")
    fields: dict[str, Json] = {"log": last.log, "after": force.seq, "verb": verb, "object": subject}
    fields |= {"digest": digest, "by": signer, "at": format_timestamp(last.at), **changes}
    statement = statement_of(**fields)
    return {"statement": statement, "signature": b64(thief.world.people.sign(signer, statement, ACT))}


def lift(thief: Thief, about: Entry, scope: Scope = EVERYTHING, **changes: Any) -> Entry:
    meant = lift_digest(about.digest, commit(bytes([7]) * 32, "reason", WORDS))
    facts = {"scope": scope.to_json(), "act": act(thief, LIFT, scope.subject, meant, **changes)}
    return thief.append("suspension.lifted", facts, data={"reason": WORDS})


def passes(thief: Thief) -> bool:
    return thief.world.verify().verdict == "PASS-UNANCHORED"


@pytest.mark.parametrize("scope", SCOPES, ids=str)
def test_a_lifted_suspension_passes_and_what_follows_too(thief: Thief, scope: Scope) -> None:
    lift(thief, suspend(thief, scope), scope)
    thief.start("approved")
    thief.finish("approved")
    assert passes(thief)


@pytest.mark.parametrize("mode", ["suspended", "read-only"])
@pytest.mark.parametrize("scope", SCOPES, ids=str)
def test_an_action_begun_while_its_scope_was_stopped_is_named(thief: Thief, scope: Scope, mode: str) -> None:
    suspend(thief, scope, mode)
    report = named(thief, thief.start("approved").seq)
    assert report.first_bad is not None
    assert "was suspended" in report.first_bad.reason


def test_an_action_elsewhere_goes_on(thief: Thief) -> None:
    suspend(thief, Scope("tool", "rollback_deployment"))
    suspend(thief, Scope("environment", "production"))
    thief.start("approved")
    thief.finish("approved")
    assert passes(thief)


def test_what_had_begun_before_is_finished(thief: Thief) -> None:
    suspend(thief)
    thief.finish_begun()
    assert passes(thief)


def test_a_request_let_in_while_everything_was_stopped_is_named(thief: Thief) -> None:
    suspend(thief, mode="read-only")
    named(thief, thief.request("permitted").seq)


def read_again(thief: Thief) -> Entry:
    served = next(entry for entry in thief.all if entry.kind == "read.served")
    return thief.append("read.served", {**served.facts, "policy": thief.force}, data=thief.payloads_of(served.seq))


def test_reads_go_on_in_read_only_mode_and_are_named_otherwise(thief: Thief) -> None:
    suspend(thief, mode="read-only")
    read_again(thief)
    assert passes(thief)
    suspend(thief)
    named(thief, read_again(thief).seq)


def test_a_lift_by_nobody_listed_is_named(thief: Thief) -> None:
    named(thief, lift(thief, suspend(thief), signer="mallory").seq)


def test_a_lift_signed_for_an_earlier_suspension_is_named(thief: Thief) -> None:
    first = suspend(thief)
    lifted = lift(thief, first)
    suspend(thief)
    again = thief.append("suspension.lifted", lifted.facts, data={"reason": WORDS})
    named(thief, again.seq)


def test_a_lift_of_what_is_not_suspended_is_named(thief: Thief) -> None:
    first = suspend(thief)
    named(thief, lift(thief, first, Scope("tool", "update_ticket")).seq)


@pytest.mark.parametrize("mode", ["suspended", "read-only"])
def test_a_suspension_that_gives_something_back_is_named(thief: Thief, mode: str) -> None:
    suspend(thief)
    named(thief, suspend(thief, mode=mode).seq)


def test_a_suspension_of_nothing_is_named(thief: Thief) -> None:
    named(thief, suspend(thief, Scope("all", "claude")).seq)
