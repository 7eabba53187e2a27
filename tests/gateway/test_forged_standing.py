"""Whoever holds the entry key can sign any snapshot: no token, policy or reviewer comes from one."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from keyturn import canon
from keyturn.fold.standing import PolicyInForce, Token
from keyturn.fold.state import State
from keyturn.ledger.keys import ENTRY_KEY, load_key
from keyturn.ledger.snapshot import write_snapshot
from keyturn.log.entry import Entry
from tests.gateway.world import World

STRANGER = "sha256:" + "f" * 64


def a_token_nobody_issued(state: State, _: Entry) -> None:
    one = next(iter(state.tokens.values()))
    state.tokens[STRANGER] = replace(one, digest=STRANGER, seq=4, expires_at=one.expires_at + timedelta(days=999))


def a_token_that_lives_longer(state: State, _: Entry) -> None:
    for digest, one in list(state.tokens.items()):
        state.tokens[digest] = replace(one, expires_at=one.expires_at + timedelta(days=999))


def a_revocation_forgotten(state: State, _: Entry) -> None:
    for digest, one in list(state.tokens.items()):
        state.tokens[digest] = replace(one, revoked_at=None)


def the_founding_policy(state: State, first: Entry) -> None:
    facts: dict[str, Any] = dict(first.facts)
    reviewers = {name: tuple(lines) for name, lines in facts["reviewers"].items()}
    state.policy = PolicyInForce(digest=facts["policy"], seq=first.seq, at=first.at, reviewers=reviewers)


def a_reviewer_more(state: State, _: Entry) -> None:
    assert state.policy is not None
    line = state.policy.reviewers["alice"]
    state.policy = replace(state.policy, reviewers={**state.policy.reviewers, "mallory": line})


def another_catalog(state: State, _: Entry) -> None:
    assert state.catalog is not None
    state.catalog = replace(state.catalog, contracts={})


def the_founding_again(state: State, _: Entry) -> None:
    state._founding = True


@pytest.mark.parametrize(
    "forge",
    [
        a_token_nobody_issued,
        a_token_that_lives_longer,
        a_revocation_forgotten,
        the_founding_policy,
        a_reviewer_more,
        another_catalog,
        the_founding_again,
    ],
)
def test_what_a_forged_snapshot_says_stands_is_not_believed(
    world: World, forge: Callable[[State, Entry], None]
) -> None:
    world.comment("Hello.")
    world.activate(("10 calls per hour", "9 calls per hour"))
    one: Token = next(iter(world.gate.ledger.look(lambda view: view.state).tokens.values()))
    by = {"type": "account", "name": "root"}
    world.gate.ledger.transact(lambda tx: tx.append("token.revoked", {"token": one.digest, "by": by}))
    head, true = world.gate.ledger.look(lambda view: (view.head, view.state.to_json()))
    state = State.from_json(true)
    forge(state, world.entries("policy.activated")[0])
    assert canon.encode(state.to_json()) != canon.encode(true)
    with closing(sqlite3.connect(world.home.place.database, isolation_level=None)) as db:
        write_snapshot(db, head, state, load_key(world.home.place.keys / ENTRY_KEY))
    victim = world.open()
    assert victim.ledger.look(lambda view: view.state.to_json()) == true
    victim.ledger.close()
