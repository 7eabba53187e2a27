"""`keyturn token …` and `keyturn limit list`: authority is added by signature, and taken away without."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from keyturn.assembly.build import open_gateway
from keyturn.assembly.home import Home
from keyturn.assembly.outside import account, entropy, moment
from keyturn.canon import Json
from keyturn.fold.state import State
from keyturn.gateway.callers import authenticate
from keyturn.ledger.writer import Ledger, Surroundings
from keyturn.model.errors import Refused
from keyturn.model.time import Moment, format_timestamp, parse_timestamp
from tests.cli.operator import Operator, column, lines


def caller(operator: Operator, token: str, transport: str = "stdio") -> str:
    """Return what a token proves: the principal, or why nothing."""
    gate = open_gateway(Home(operator.home), "test")
    try:
        known = authenticate(gate, token, transport=transport)
        return f"{known.principal} {sorted(known.scopes) if known.scopes is not None else 'all'}"
    except Refused as refused:
        return str(refused)
    finally:
        gate.ledger.close()


def issue(operator: Operator, *arguments: str) -> dict[str, object]:
    said = operator.tell("token", "issue", "claude", "--key", operator.key, "--json", *arguments)
    assert said.code == 0, said.err
    value: dict[str, object] = json.loads(said.out)
    return value


def test_a_token_is_printed_once_and_only_it_stands_on_stdout(operator: Operator) -> None:
    said = operator.tell("token", "issue", "claude", "--key", operator.key)
    assert said.transcript == lines(
        "TOKEN",
        "! the token of claude, shown this once; good until TIME; signed by alice",
        "! where it goes: keyturn client-config claude-code --principal claude",
        "! to revoke it: keyturn token revoke ID",
    )
    assert caller(operator, said.out.strip()) == "claude all"


def test_a_token_can_be_kept_to_a_time_a_transport_and_scopes(operator: Operator) -> None:
    made = issue(operator, "--expires", "1h", "--transport", "http", "--scope", "ticket:read", "--scope", "pr:read")
    assert (made["principal"], made["by"]) == ("claude", "alice")
    left = parse_timestamp(str(made["expires_at"])) - datetime.now(UTC)
    assert timedelta(minutes=59) < left <= timedelta(hours=1)
    assert caller(operator, str(made["token"]), "http") == "claude ['pr:read', 'ticket:read']"
    assert "the token is not for stdio" in caller(operator, str(made["token"]))


def test_a_token_lives_from_the_time_of_the_ledger_on_where_its_clock_was_ahead(operator: Operator) -> None:
    """What decides whether it has expired is the ledger's time; counted from another it could be born dead."""

    def fast() -> Moment:
        now = moment()
        return replace(now, wall=now.wall + timedelta(hours=5), up=now.up + 5 * 3_600_000_000)

    ahead = Surroundings(fast, entropy, "ahead")
    ledger = Ledger(Home(operator.home).place, State, ahead)
    try:
        last = ledger.transact(lambda tx: tx.append("requests.throttled", throttled(tx.now)).at)
    finally:
        ledger.close()
    issued = issue(operator, "--expires", "1h")
    assert (
        timedelta() <= parse_timestamp(str(issued["expires_at"])) - last - timedelta(hours=1) < timedelta(minutes=5)
    )
    assert [row[2] for row in operator.tell("token", "list").rows] == ["live", "live"]


def throttled(now: datetime) -> dict[str, Json]:
    at = format_timestamp(now)
    return {"principal": "claude", "count": 1, "code": "limit", "since": at, "until": at}


def test_what_is_no_token_to_make_is_refused(operator: Operator, mallory: Path) -> None:
    def refused(*arguments: str | Path) -> tuple[int, str]:
        said = operator.tell("token", "issue", *arguments)
        return said.code, said.err

    key = ("--key", operator.key)
    assert refused("nobody", *key) == (5, "keyturn: the policy in force has no principal 'nobody'; it has: claude\n")
    assert refused("claude", "--scope", "root", *key)[0] == 2
    assert refused("claude", "--expires", "soon", *key)[0] == 2
    assert refused("claude", "--expires", "400d", *key) == (2, "keyturn: --expires: at most 366d\n")
    assert refused("claude", "--transport", "pigeon", *key)[0] == 2
    assert refused("claude", "--key", mallory)[0] == 6
    assert refused("claude", "--key", mallory, "--as", "alice")[0] == 6
    assert len(operator.tell("token", "list").rows) == 1


def test_the_list_tells_whose_tokens_there_are_and_how_they_stand(operator: Operator) -> None:
    made = issue(operator, "--scope", "pr:read", "--transport", "stdio")
    operator.tell("token", "revoke", str(made["id"]))
    rows = operator.tell("token", "list").rows
    assert [row[1:3] for row in rows] == [["claude", "live"], ["claude", "revoked"]]
    assert rows[0][4:6] == ["stdio, http", "all of the principal's"]
    assert rows[1][4:6] == ["stdio", "pr:read"]
    listed = operator.tell("token", "list", "--json").json
    assert [(item["id"], item["revoked_at"] is None) for item in listed] == [(rows[0][0], True), (made["id"], False)]


def test_a_revoked_token_is_no_good_at_once_and_needs_no_signature(operator: Operator) -> None:
    token = operator.tell("token", "list").rows[0][0]
    assert operator.tell("token", "revoke", token[:6]).out == f"revoked {token}\n"
    assert "the token was revoked" in caller(operator, operator.token)
    entry = operator.tell("audit", "show", "5", "--json").json
    assert entry["facts"]["by"] == {"type": "account", "name": account()}
    assert operator.tell("token", "revoke", token).code == 5


def test_all_tokens_of_an_assistant_end_together(operator: Operator) -> None:
    made = issue(operator)
    assert len(operator.tell("token", "revoke", "claude", "--json").json["revoked"]) == 2
    assert "the token was revoked" in caller(operator, str(made["token"]))


def test_a_leaked_token_can_be_named_by_itself(operator: Operator) -> None:
    made = issue(operator)
    assert operator.tell("token", "revoke", str(made["token"])).out == f"revoked {made['id']}\n"
    assert caller(operator, operator.token) == "claude all"


def test_an_id_that_could_be_several_revokes_none(operator: Operator) -> None:
    ids: list[str] = []
    while len({known[0] for known in ids}) == len(ids):
        ids.append(str(issue(operator)["id"]))
    said = operator.tell("token", "revoke", ids[-1][0])
    assert said.code == 2
    assert "give more of it" in said.err
    assert operator.tell("token", "revoke", "").code == 5
    assert set(column(operator.tell("token", "list").rows, 2)) == {"live"}


def test_limits_are_listed_by_principal_with_what_is_used(operator: Operator) -> None:
    rows = operator.tell("limit", "list").rows
    assert len(rows) == 20
    assert set(column(rows, 0)) == {"claude"}
    assert ["claude", "assistants open pull requests", "pending", "0", "5", "", "principal", ""] in rows
    listed = operator.tell("limit", "list", "--principal", "claude", "--json").json
    comment = next(item for item in listed if item["rule"] == "assistants comment on tickets")
    assert comment == {
        "principal": "claude",
        "rule": "assistants comment on tickets",
        "unit": "calls",
        "used": 0,
        "allowed": 50,
        "left": 50,
        "window": "1h",
        "per": "principal",
        "key": "claude",
        "resets_at": None,
    }


def test_limits_of_somebody_unknown_are_not_found(operator: Operator) -> None:
    said = operator.tell("limit", "list", "--principal", "nobody")
    assert said.transcript == lines("! keyturn: the policy in force has no principal 'nobody'", code=5)


@pytest.mark.parametrize(("window", "shown"), [("90s", "90s"), ("2h", "2h"), ("90m", "90m"), ("week", "7d")])
def test_windows_are_written_in_their_largest_unit(operator: Operator, window: str, shown: str) -> None:
    operator.edit("50 calls per hour", f"50 calls per {window}")
    assert operator.activate().code == 0
    rows = operator.tell("limit", "list").rows
    assert {row[5] for row in rows if "comment" in row[1]} == {shown}
