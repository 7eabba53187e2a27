"""The nouns that carry words: reasons, labels and errors say what they were told."""

from __future__ import annotations

import dataclasses
import inspect

import pytest

from keyturn.model import contract, decision, errors, outcome, plan, principal, time, tool
from keyturn.model.contract import Contract
from keyturn.model.decision import Reason
from keyturn.model.errors import ConfigurationError, ConnectorError, Refused
from keyturn.model.outcome import Failed, Succeeded

ROOMS = (contract, decision, outcome, plan, principal, time, tool)


def nouns() -> list[type]:
    found = [value for room in ROOMS for _, value in inspect.getmembers(room, inspect.isclass)]
    return sorted({noun for noun in found if dataclasses.is_dataclass(noun)}, key=lambda noun: noun.__name__)


@pytest.mark.parametrize("noun", nouns(), ids=lambda noun: noun.__name__)
def test_every_noun_is_frozen_and_has_no_room_for_more(noun: type) -> None:
    assert noun.__dataclass_params__.frozen  # type: ignore[attr-defined]  # dataclasses keep it there
    assert "__slots__" in vars(noun)


def test_a_reason_is_told_with_its_code_and_rule() -> None:
    assert Reason("limit", "spent", "hourly").to_json() == {"code": "limit", "text": "spent", "rule": "hourly"}
    assert Reason("limit", "spent").to_json()["rule"] is None


def test_a_contract_is_pinned_by_version_and_digest() -> None:
    made = Contract(
        tool="t",
        version=3,
        kind="read",
        scope="t:read",
        title="",
        description="",
        annotations={},
        input={},
        output={},
        duplicate_window=0,
        digest="sha256:" + "0" * 64,
    )
    assert made.label == "v3 sha256:" + "0" * 64


def test_a_configuration_error_tells_every_problem() -> None:
    error = ConfigurationError("grants[0].tool: unknown", "principals.x: no scopes")
    assert error.problems == ("grants[0].tool: unknown", "principals.x: no scopes")
    assert str(error) == "grants[0].tool: unknown\nprincipals.x: no scopes"


def test_a_connector_that_says_no_more_refused() -> None:
    assert (ConnectorError("no").kind, ConnectorError("no").retry_after) == ("refused", None)
    later = ConnectorError("later", kind="retry", retry_after=30)
    assert (str(later), later.kind, later.retry_after) == ("later", "retry", 30)


def test_a_refusal_has_a_stable_code_beside_its_words() -> None:
    refused = Refused("not_newer", "say it again")
    assert (refused.code, str(refused)) == ("not_newer", "say it again")


def test_a_failure_has_changed_nothing_unless_it_says_so() -> None:
    assert Failed("no").effect is False
    assert Failed("half", effect=True).effect is True
    assert Succeeded().result == {}


def test_errors_are_split_by_who_must_act() -> None:
    found = {
        name for name, value in inspect.getmembers(errors, inspect.isclass) if value.__module__ == errors.__name__
    }
    assert found == {"ConfigurationError", "LedgerError", "ConnectorError", "Refused"}
