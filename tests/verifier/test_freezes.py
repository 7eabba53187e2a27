"""Freezes in a ledger: what is begun or asked for while frozen is named, and so is an override of nobody who may."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from keyturn import canon
from keyturn.canon import Json
from keyturn.fold.freezes import OVERRIDE, overriding
from keyturn.log.commitment import commit
from keyturn.log.entry import Entry
from keyturn.model.time import format_timestamp
from tests.policy.freezes.calendars import calendar, event, freeze
from tests.verifier.test_suspensions import act, passes
from tests.verifier.test_thief import named
from tests.verifier.world import Thief

ALWAYS = calendar(event(":20200101T000000Z", ":20290101T000000Z"))
WORDS = canon.encode("the shop is down")


def put_in_force(thief: Thief, **more: str) -> Entry:
    """Activate the policy in force with a freeze added."""
    last = next(e for e in reversed(thief.all) if e.kind == "policy.activated")
    texts = canon.decode_object(thief.payloads_of(last.seq)["policy.files"])
    files: dict[str, Any] = {**texts, "policy.toml": f"{texts['policy.toml']}{freeze('z', **more)}", "x.ics": ALWAYS}
    digest, before = canon.manifest_digest(files), last.text("policy")
    facts: dict[str, Json] = {"policy": digest, "previous": before, "reviewers": last.facts["reviewers"]}
    signed = act(thief, "policy.activate", before, digest)
    return thief.append("policy.activated", {**facts, "act": signed}, data={"policy.files": canon.encode(files)})


def set_aside(thief: Thief, named: str = "z", signer: str = "alice", hours: int = 1, **changes: Any) -> Entry:
    until = format_timestamp(thief.all[-1].at + timedelta(hours=hours))
    facts: dict[str, Json] = {"freeze": named, "until": until}
    meant = overriding({**facts, **changes}, commit(bytes([7]) * 32, "reason", WORDS))
    signed = act(thief, OVERRIDE, meant.object, meant.digest, signer=signer)
    return thief.append("freeze.overridden", {**facts, "act": signed}, data={"reason": WORDS})


def told(thief: Thief, entry: Entry, proof: int = 9) -> str:
    report = named(thief, entry.seq, proof)
    assert report.first_bad is not None
    return report.first_bad.reason


def test_an_action_begun_while_frozen_is_named(thief: Thief) -> None:
    put_in_force(thief)
    assert "frozen" in told(thief, thief.start("approved"), proof=11)


def test_an_action_begun_while_the_freeze_was_set_aside_passes(thief: Thief) -> None:
    put_in_force(thief)
    set_aside(thief)
    thief.start("approved")
    thief.finish("approved")
    assert passes(thief)


def test_an_override_by_somebody_whom_the_freeze_does_not_name_is_named(thief: Thief) -> None:
    put_in_force(thief, override="[]")
    assert "does not let alice set this freeze aside" in told(thief, set_aside(thief), proof=11)


def test_an_override_of_a_freeze_that_is_not_there_is_named(thief: Thief) -> None:
    put_in_force(thief)
    assert "does not have" in told(thief, set_aside(thief, "another"), proof=11)


def test_an_override_signed_for_another_end_or_freeze_is_named(thief: Thief) -> None:
    put_in_force(thief)
    entry = set_aside(thief, until=format_timestamp(thief.all[-1].at + timedelta(minutes=1)))
    assert "the signed act says" in told(thief, entry)


def test_an_override_without_an_end_that_is_near_is_named(thief: Thief) -> None:
    put_in_force(thief)
    assert "at most 7 days ahead" in told(thief, set_aside(thief, hours=24 * 8))
