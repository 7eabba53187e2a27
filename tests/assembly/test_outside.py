"""Ids, tokens, clocks and accounts: what comes from outside."""

from __future__ import annotations

import base64
import os
import pwd
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from keyturn.assembly.outside import account, entropy, environment, moment, new_action_id, new_instance, new_token

AT = datetime(2026, 11, 21, 9, 0, 0, 123456, tzinfo=UTC)


def test_an_action_id_is_a_uuid_of_version_seven_that_holds_its_time() -> None:
    for _ in range(200):
        made = uuid.UUID(new_action_id(AT))
        assert (made.version, made.variant) == (7, uuid.RFC_4122)
        assert made.int >> 80 == 1795251600123
    assert str(made) == new_action_id(AT)[:14] + str(made)[14:]


def test_ids_sort_by_the_millisecond_they_were_made_in_and_never_repeat() -> None:
    made = [new_action_id(AT + timedelta(milliseconds=n)) for n in range(500)]
    assert made == sorted(made)
    assert len({new_action_id(AT) for _ in range(2000)}) == 2000


def test_a_token_has_two_hundred_and_fifty_six_random_bits() -> None:
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    for token in tokens:
        assert token.startswith("kt_")
        assert len(base64.urlsafe_b64decode(token[3:] + "=")) == 32


def test_entropy_and_instances_are_fresh_each_time() -> None:
    assert len(entropy(32)) == 32
    assert entropy(32) != entropy(32)
    assert len(new_instance()) == 32
    assert int(new_instance(), 16) != int(new_instance(), 16)


def test_the_clocks_agree_with_the_systems() -> None:
    first, second = moment(), moment()
    assert abs(datetime.now(UTC) - second.wall) < timedelta(seconds=5)
    assert first.boot == second.boot
    assert first.up <= second.up
    assert first.wall.tzinfo is UTC


def test_the_environment_is_what_it_is_now_and_cannot_be_changed_through_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYTURN_TEST", "1")
    now = environment()
    assert now["KEYTURN_TEST"] == "1"
    with pytest.raises(TypeError):
        now["KEYTURN_TEST"] = "2"  # type: ignore[index]


def test_an_account_is_named_as_the_system_names_it() -> None:
    assert account() == pwd.getpwuid(os.geteuid()).pw_name


def test_an_account_without_a_name_is_named_by_its_number() -> None:
    nameless = next(n for n in range(60_000, 61_000) if n not in {entry.pw_uid for entry in pwd.getpwall()})
    if os.geteuid() != 0:
        pytest.skip("only root can become an account without a name")
    os.seteuid(nameless)
    try:
        assert account() == f"uid-{nameless}"
    finally:
        os.seteuid(0)
