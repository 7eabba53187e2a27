"""A request with another score than its policy gives, or with a credential, by whoever holds the entry key."""

from __future__ import annotations

from typing import Any

from keyturn import canon
from keyturn.log.entry import Entry
from tests.gateway.risky import ask, score, verdict
from tests.gateway.world import World
from tests.policy.risk.samples import credentials


def forged(world: World, **changed: bytes | None) -> Entry:
    """Write the newest request once more with other payloads, as only the holder of the entry key can."""
    [*_, honest] = world.entries("action.requested")
    data = {name: world.payload(honest, name) for name in honest.data}
    data = {name: value for name, value in {**data, **changed}.items() if value is not None}
    new_id = world.gate.new_id

    def write(tx: Any) -> Entry:
        entry: Entry = tx.append("action.requested", dict(honest.facts), action=new_id(tx.now), data=data)
        return entry

    return world.gate.ledger.transact(write)


def test_a_recorded_score_that_is_another_is_found(world: World) -> None:
    score(world)
    ask(world, "auth/one.py")
    forged(world, risk=canon.encode({"score": 0, "parts": []}))
    assert verdict(world) == ("FAIL", "the recorded risk is not the one that the policy gives")


def test_a_request_without_its_score_is_found(world: World) -> None:
    score(world)
    ask(world, "auth/one.py")
    forged(world, risk=None)
    assert verdict(world) == ("FAIL", "the policy scores this request")


def test_a_score_that_no_policy_gives_is_found(world: World) -> None:
    world.held()
    forged(world, risk=canon.encode({"score": 0, "parts": []}))
    assert verdict(world) == ("FAIL", "the policy does not score this request")


def test_a_credential_let_through_by_the_holder_of_the_key_is_found(world: World) -> None:
    world.held()
    line = credentials()["a private key"][0]
    forged(world, diff=f"diff --git a/k b/k\n@@ -0,0 +1,1 @@\n+{line}\n".encode())
    word, reason = verdict(world)
    assert word == "FAIL"
    assert "secret: what looks like a private key is added" in str(reason)
