"""`keyturn audit …`: the log is read, told and proved."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from keyturn.approvals.statement import REVIEW_NAMESPACE
from keyturn.assembly.build import become_executor, open_gateway
from keyturn.assembly.home import Home
from keyturn.assembly.outside import account, environment
from keyturn.assembly.standing import open_desk
from keyturn.canon import Json
from keyturn.gateway.call import UnknownTool, call
from keyturn.gateway.callers import authenticate
from keyturn.gateway.incoming import Incoming
from keyturn.gateway.review import draft_review, submit_review
from keyturn.ledger.keys import VERIFIER
from keyturn.log.keys import LogVerifier, parse_verifier
from keyturn.sshsig.signing import sign
from tests.cli.operator import Operator, column, lines, tell
from tests.gateway.hands import drain

ROLLBACK: dict[str, Json] = {"deployment": "web", "environment": "production", "to": "previous", "reason": "p95 up"}


def ask(operator: Operator, tool: str, arguments: dict[str, Json]) -> str:
    """Make a call as the assistant; return the action's id."""
    gate = open_gateway(Home(operator.home), "test")

    async def once() -> str:
        caller = authenticate(gate, operator.token, transport="stdio")
        answer = await call(gate, caller, Incoming(tool, arguments, len(json.dumps(arguments))))
        return str(answer.envelope["action_id"])

    try:
        return anyio.run(once)
    finally:
        gate.ledger.close()


def review(operator: Operator, action: str, verdict: str, reason: str) -> None:
    """Say yes or no as alice. (The verb would start a worker, which outlives the test.)"""
    desk = open_desk(Home(operator.home), "test")
    try:
        draft = draft_review(desk, action, reviewer="alice", verdict=verdict, reason=reason)
        submit_review(
            desk,
            draft,
            sign(draft.to_sign, key=operator.key, namespace=REVIEW_NAMESPACE, environment=environment()),
        )
    finally:
        desk.ledger.close()


def execute(operator: Operator) -> None:
    """Run what is approved."""
    home = Home(operator.home)
    gate = open_gateway(home, "test")
    executor = become_executor(home)
    try:
        anyio.run(drain, gate, executor, home.place.run)
    finally:
        executor.lock.release(forget=True)
        gate.ledger.close()


@pytest.fixture
def told(operator: Operator) -> tuple[Operator, str]:
    """A home in which a rollback was asked for, approved and done."""
    action = ask(operator, "rollback_deployment", ROLLBACK)
    review(operator, action, "approve", "go \x1b[31m")
    execute(operator)
    return operator, action


# --- log, show ------------------------------------------------------------------------------------------------


def test_the_log_tells_what_happened_newest_last(told: tuple[Operator, str]) -> None:
    operator, action = told
    rows = operator.tell("audit", "log").rows
    assert column(rows, 0) == [str(seq) for seq in range(len(rows))]
    assert rows[-4:] == [
        [row[0], row[1], kind, action, "claude", text]
        for row, (kind, text) in zip(
            rows[-4:],
            [
                (
                    "action.requested",
                    'claude asks for rollback_deployment on deployments:web/production: held for review ("p95 up")',
                ),
                ("action.reviewed", 'alice approves ("go \\u{1b}[31m")'),
                ("execution.started", "it begins to run"),
                ("execution.finished", "it succeeded"),
            ],
            strict=True,
        )
    ]
    assert operator.tell("log").out == operator.tell("audit", "log").out


def test_the_log_is_chosen_by_kind_principal_action_and_number(told: tuple[Operator, str]) -> None:
    operator, action = told
    assert column(operator.tell("log", "--kind", "action.reviewed").rows, 3) == [action]
    assert column(operator.tell("log", "--principal", "claude").rows, 2) == [
        "token.issued", "action.requested", "action.reviewed", "execution.started", "execution.finished"
    ]  # fmt: skip
    assert operator.tell("log", "--principal", "nobody").out == ""
    assert len(operator.tell("log", "--action", action[-6:]).rows) == 4
    assert column(operator.tell("log", "--limit", "1").rows, 2) == ["execution.finished"]
    listed = operator.tell("log", "--limit", "2", "--json").json
    assert [(item["kind"], item["action"], item["principal"]) for item in listed] == [
        ("execution.started", action, "claude"),
        ("execution.finished", action, "claude"),
    ]


def test_likely_mistakes_in_asking_for_the_log_are_named(operator: Operator) -> None:
    kind = operator.tell("log", "--kind", "reviewed")
    assert (kind.code, "there is no kind 'reviewed'; there are: log.opened" in kind.err) == (2, True)
    assert operator.tell("log", "--limit", "0").code == 2
    assert operator.tell("log", "--action", "abcdef").transcript == lines(
        "! keyturn: there is no action abcdef; see keyturn action list", code=5
    )


def test_an_action_is_shown_as_its_story(told: tuple[Operator, str]) -> None:
    operator, action = told
    said = operator.tell("audit", "show", action[-6:])
    heading, *rest = said.out.splitlines()
    labels = [line.split()[0] for line in rest if not line.startswith(" ")]
    assert heading.endswith("succeeded")
    assert labels == [
        "When", "Who", "Reason", "Tool", "Through", "Arguments", "Effect", "Preview", "Checked", "Changes",
        "Decision", "Rule", "Needed", "Agreed", "Outcome", "Digest", "Receipts", "Prove",
    ]  # fmt: skip
    entries = operator.tell("audit", "show", action, "--json").json
    for entry in entries:
        assert f"entry {entry['seq']}  {entry['at']}  {entry['kind']}  {entry['digest']}" in said.out
    assert f"alice approved {entries[1]['at']} “go \\u{{1b}}[31m”" in said.out
    assert entries[1]["facts"]["key"] in said.out
    assert "\x1b" not in said.out
    story = operator.tell("audit", "show", action, "--json").json
    assert story[0]["payloads"]["reason"] == "p95 up"
    assert story[0]["payloads"]["diff"].count("diff --git ") == 2
    assert story[1]["payloads"]["review.reason"] == "go \x1b[31m"


def test_the_log_is_chosen_by_tool_state_and_time(told: tuple[Operator, str]) -> None:
    operator, action = told
    kinds = [row[2] for row in operator.tell("log", "--action", action).rows]

    def seen(*words: str) -> list[str]:
        return [row[2] for row in operator.tell("log", *words).rows]

    assert seen("--status", "succeeded") == kinds
    assert seen("--status", "failed") == []
    assert [kind for kind in seen("--tool", "rollback_deployment") if kind in kinds] == kinds
    assert seen("--tool", "merge_pull_request") == []
    third = operator.tell("log", "--action", action).rows[2][1]
    assert seen("--since", third, "--action", action) == kinds[2:]
    assert seen("--until", third, "--action", action) == kinds[:2]
    assert seen("--since", "1d") == seen()
    assert operator.tell("log", "--since", "soon").code == 2
    assert operator.tell("log", "--status", "dreaming").code == 2


def test_an_entry_is_shown_with_all_it_carries_and_nothing_raw(told: tuple[Operator, str]) -> None:
    operator, action = told
    seq = operator.tell("log", "--kind", "action.reviewed").rows[0][0]
    said = operator.tell("audit", "show", seq)
    assert "\x1b" not in said.out
    shown = dict(line.split("\t") for line in said.out.split("\n\n")[0].splitlines())
    assert (shown["kind"], shown["action"], shown["reviewer"]) == ("action.reviewed", action, "alice")
    assert shown["payload review.reason"] == "go \\u{1b}[31m"
    assert '"verdict": "approve"' in said.out


def test_the_first_policy_is_shown_as_its_text(operator: Operator) -> None:
    said = operator.tell("audit", "show", "2")
    assert "payload policy.files: policy.toml\n# Policy: who may do what" in said.out


def test_what_is_not_there_is_not_found(operator: Operator) -> None:
    assert operator.tell("audit", "show", "99").transcript == lines(
        "! keyturn: there is no entry 99; the last is 4", code=5
    )
    assert operator.tell("audit", "show", "999999").code == 5
    assert operator.tell("audit", "show", "xyz").code == 2


def test_what_operators_and_assistants_do_is_told_in_sentences(operator: Operator) -> None:
    files: Json = [{"path": ".github/x", "content": "a"}]
    ask(operator, "get_ticket", {"ticket": "OPS-1"})
    ask(operator, "open_pull_request", {"repository": "shop", "base": "main", "title": "x", "files": files})
    with pytest.raises(UnknownTool):
        ask(operator, "no_such_tool", {})
    review(operator, ask(operator, "rollback_deployment", ROLLBACK), "reject", "not now")
    other = ask(operator, "rollback_deployment", {**ROLLBACK, "to": "2.2.0"})
    assert operator.tell("action", "cancel", other).code == 0
    operator.tell("token", "revoke", "claude")
    operator.edit("50 calls per hour", "7 calls per hour")
    assert operator.tell("policy", "activate", "-m", "fewer", "--key", operator.key).code == 0
    rows = operator.tell("log").rows
    told = {row[2]: row[5] for row in rows}
    assert told["log.opened"].startswith("the log keyturn/")
    assert told["key.added"] == "a new entry key may sign"
    contracts = len(list((operator.home / "tool_schemas").glob("*_*.v1.json")))
    assert told["catalog.published"] == f"{contracts} contracts are published"
    assert told["token.issued"].startswith("the token ")
    assert told["read.served"] == "claude read tickets:ops/OPS-1 with get_ticket"
    denied = [row[5] for row in rows if row[2] == "action.denied"]
    assert denied[0].startswith("claude may not call open_pull_request: ")
    assert denied[1].startswith("claude may not call a tool that is not there: ")
    assert told["action.reviewed"] == 'alice rejects ("not now")'
    assert told["action.cancelled"].startswith(f"account {account()} cancels it")
    assert told["token.revoked"].startswith(f"account {account()} revokes the token ")
    assert told["policy.activated"].startswith("alice activates the policy sha256:")
    assert told["policy.activated"].endswith('("fewer")')


# --- verify ---------------------------------------------------------------------------------------------------


def test_a_sound_log_verifies(told: tuple[Operator, str]) -> None:
    operator, _ = told
    said = operator.tell("audit", "verify")
    assert said.code == 0
    assert said.out.startswith("PASS-UNANCHORED: keyturn/")
    assert "an assistant that can run commands under this account" in said.err
    report = operator.tell("audit", "verify", "--json").json
    assert (report["verdict"], report["size"], report["first_bad"]) == ("PASS-UNANCHORED", 9, None)


def test_a_log_that_nobody_outside_vouches_for_exits_11_where_that_is_asked(operator: Operator) -> None:
    assert operator.tell("audit", "verify", "--require-anchor").code == 11


def test_one_changed_byte_is_named_and_exits_7(told: tuple[Operator, str]) -> None:
    operator, _ = told
    spoil(operator.home / "state" / "ledger.db", 5)
    said = operator.tell("audit", "verify", "--json")
    assert said.code == 7
    assert (said.json["verdict"], said.json["first_bad"]["seq"]) == ("FAIL", 5)
    assert set(said.json["first_bad"]) >= {"seq", "reason"}
    text = operator.tell("audit", "verify")
    assert (text.code, "first bad: entry 5" in text.out) == (7, True)


def spoil(database: Path, seq: int) -> None:
    """Change one byte of an entry by hand, its triggers dropped and made again."""
    connection = sqlite3.connect(database, isolation_level=None)
    (trigger,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'entry_stays'").fetchone()
    (body,) = connection.execute("SELECT body FROM entry WHERE seq = ?", (seq,)).fetchone()
    connection.execute("DROP TRIGGER entry_stays")
    changed = body.replace(b"production", b"productioN", 1)
    assert changed != body
    connection.execute("UPDATE entry SET body = ? WHERE seq = ?", (changed, seq))
    connection.execute(trigger)
    connection.close()


def test_a_copy_elsewhere_is_verified_with_the_key_one_kept(
    operator: Operator, founded: Operator, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.db"
    shutil.copy(operator.home / "state" / "ledger.db", copy)
    kept = operator.tell("audit", "verify", "--json").json["log"]
    given = tell("audit", "verify", "--ledger", copy, "--key", kept, "--json")
    assert (given.code, given.json["pinned"]) == (0, True)
    assert operator.tell("audit", "verify", "--ledger", copy, "--json").json["pinned"] is True
    changed = kept.replace("keyturn/", "other/")
    assert tell("audit", "verify", "--ledger", copy, "--key", changed).code in {1, 7}
    assert founded.home.exists()


def test_without_any_key_the_file_speaks_for_itself_and_the_report_says_so(
    operator: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy.db"
    shutil.copy(operator.home / "state" / "ledger.db", copy)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KEYTURN_HOME", raising=False)
    said = tell("audit", "verify", "--ledger", copy, "--json")
    assert (said.code, said.json["pinned"]) == (0, False)


def test_a_home_without_its_verifier_is_verified_with_the_one_somebody_kept(operator: Operator) -> None:
    pinned = Home(operator.home).place.keys / VERIFIER
    kept = pinned.read_text()
    pinned.unlink()
    lost = operator.tell("audit", "verify")
    assert (lost.code, lost.err) == (1, f"keyturn: {pinned} is missing: put it back from a copy\n")
    said = operator.tell("audit", "verify", "--key", kept, "--json")
    assert (said.code, said.json["pinned"]) == (0, True)


def test_the_report_says_whose_word_the_log_key_is(operator: Operator) -> None:
    own = operator.tell("audit", "verify").out
    assert "the log key is this home's own state/keys/log.vkey; compare it with the line you kept elsewhere" in own
    kept = operator.tell("audit", "verify", "--json").json["log"]
    assert "the log key is the one given with --key" in operator.tell("audit", "verify", "--key", kept).out
    another = LogVerifier("keyturn/" + "0" * 32, parse_verifier(kept).key)
    other = operator.tell("audit", "verify", "--key", str(another))
    assert (other.code, "not the one given from outside" in other.out) == (7, True)
    assert "no log key was believed" in other.out
    assert "compare the verifier string above" not in other.out


def test_of_a_file_that_is_no_ledger_no_log_key_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "junk").write_text("junk")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KEYTURN_HOME", raising=False)
    said = tell("audit", "verify", "--ledger", tmp_path / "junk")
    assert said.code == 7
    assert "no log key was believed" in said.out
    assert "verifier string above" not in said.out


def rows_of(operator: Operator) -> list[object]:
    with closing(sqlite3.connect(operator.home / "state" / "ledger.db")) as db:
        return db.execute("SELECT * FROM lookup ORDER BY seq").fetchall()


def test_the_table_for_listings_is_made_again_from_the_log(told: tuple[Operator, str]) -> None:
    operator, _ = told
    before, listed = rows_of(operator), operator.tell("action", "list").out
    with closing(sqlite3.connect(operator.home / "state" / "ledger.db", isolation_level=None)) as db:
        db.execute("DELETE FROM lookup WHERE seq % 2")
        db.execute("UPDATE lookup SET kind = 'action.requested', action = NULL")
    assert operator.tell("audit", "rebuild").transcript == lines(f"{len(before)} rows, one for each entry")
    assert rows_of(operator) == before
    assert operator.tell("action", "list").out == listed
    assert operator.tell("audit", "rebuild", "--json").json == {"rows": len(before)}
    assert operator.tell("audit", "verify").code == 0


def test_nothing_is_made_again_from_a_log_that_was_changed(told: tuple[Operator, str]) -> None:
    operator, _ = told
    before = rows_of(operator)
    spoil(operator.home / "state" / "ledger.db", 5)
    said = operator.tell("audit", "rebuild")
    assert (said.code, "check with `keyturn audit verify`" in said.err) == (1, True), said.err
    assert rows_of(operator) == before


def test_without_a_ledger_there_is_nothing_to_make_again(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text("version = 1\n")
    said = tell("--home", tmp_path, "audit", "rebuild")
    assert (said.code, "keyturn init" in said.err) == (1, True), said.err


def test_a_ledger_that_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KEYTURN_HOME", raising=False)
    assert tell("audit", "verify").code == 1
    assert tell("audit", "verify", "--ledger", tmp_path / "none").code == 2
    (tmp_path / "junk").write_bytes(b"junk" * 300)
    assert tell("audit", "verify", "--ledger", tmp_path / "junk").code == 7
