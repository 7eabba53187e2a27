"""Tokens: good on their transports, until they expire or are revoked."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from keyturn.fold.standing import Token
from tests.approvals.world import MICROSECOND, START
from tests.fold.world import World, token

EXPIRY = START + timedelta(days=90)


def issued() -> Token:
    return World().found().state.tokens[token(1)]


def test_a_token_is_good_on_its_transports_until_the_exact_moment_of_its_expiry() -> None:
    one = issued()
    assert one.refusal("stdio", EXPIRY - MICROSECOND) is None
    assert one.refusal("stdio", EXPIRY) == "the token has expired"
    assert one.refusal("http", START) == "the token is not for http"


def test_a_revoked_token_is_good_nowhere_and_never() -> None:
    one = replace(issued(), revoked_at=EXPIRY)
    assert one.refusal("stdio", START) == "the token was revoked"
