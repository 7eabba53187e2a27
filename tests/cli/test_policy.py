"""`keyturn policy …`: a proposal is checked, pinned, explained, and put in force by signature."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import shutil
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from keyturn.approvals.statement import ACT_NAMESPACE
from keyturn.assembly.build import read_own_catalog
from keyturn.assembly.home import Home
from keyturn.assembly.outside import environment
from keyturn.assembly.standing import open_ledger
from keyturn.gateway.acts import draft_activation, read_candidate, submit_act
from keyturn.ledger.keys import ENTRY_KEY
from keyturn.model.errors import Refused
from keyturn.sshsig.signing import sign
from tests.assembly.people import public
from tests.cli.operator import Operator, column, lines

PRODUCTION = '{"deployment": "web", "environment": "production", "to": "previous"}'


# --- check ----------------------------------------------------------------------------------------------------


def test_a_policy_in_force_is_said_to_be(operator: Operator) -> None:
    assert operator.tell("policy", "check").transcript == lines(
        "! policy.toml loads, with no warnings", "! it is the policy in force (entry 2)"
    )
    found = operator.tell("policy", "check", "--json").json
    assert (found["ok"], found["differs"], found["policy"] == found["in_force"]) == (True, False, True)


def test_a_proposal_that_differs_is_said_to_and_changes_nothing(operator: Operator) -> None:
    operator.edit("50 calls per hour", "5 calls per hour")
    assert operator.tell("policy", "check").transcript == lines(
        "! policy.toml loads, with no warnings",
        "! it differs from the policy in force (entry 2); to put it in force: keyturn policy activate -m REASON",
    )
    assert {row[4] for row in operator.tell("limit", "list").rows if "ticket" in row[1]} >= {"50"}


def test_every_error_is_told_at_once_with_its_place(operator: Operator) -> None:
    operator.edit('tool = "update_ticket"', 'tool = "update_tickets"')
    operator.edit('owner = "bob"', 'owner = "rob"')
    operator.edit("20 calls per hour", "20 calls per fortnight")
    said = operator.tell("policy", "check")
    assert said.code == 1
    assert {row[0] for row in said.rows} == {"error"}
    places = [text.split(":")[0] for text in column(said.rows, 1)]
    assert {"principals.claude.owner", "grants[0].limits[0]", "grants[4].tool", "grants[5].tool"} <= set(places)
    assert "policy.toml does not load" in said.err
    assert operator.tell("policy", "check", "--json").json["errors"] == column(said.rows, 1)


def test_pins_that_are_not_the_contracts_are_errors(operator: Operator) -> None:
    operator.edit('contract = "v1 sha256:e2', 'contract = "v1 sha256:00')
    found = operator.tell("policy", "check", "--json")
    assert found.code == 1
    assert "open_pull_request is pinned as" in found.json["errors"][0]


def test_warnings_do_not_fail_a_check(operator: Operator) -> None:
    operator.edit('owner = "bob"\n', "")
    said = operator.tell("policy", "check")
    assert said.code == 0
    assert said.rows == [
        ["warning", "principals.claude: no owner is set, so four eyes are not enforced for this assistant"]
    ]


def test_a_folder_without_a_ledger_can_be_checked(operator: Operator) -> None:
    shutil.rmtree(operator.home / "state")
    assert "no ledger yet" in operator.tell("policy", "check").err
    assert operator.tell("policy", "check", "--json").json["differs"] is None


def test_a_policy_that_is_not_there_is_an_error(operator: Operator) -> None:
    (operator.home / "policy.toml").unlink()
    said = operator.tell("policy", "check")
    assert said.code == 1
    assert "policy.toml: [Errno 2]" in said.out or "No such file" in said.out


def test_contracts_that_moved_are_said_to(operator: Operator) -> None:
    change_words(operator)
    operator.tell("policy", "pin")
    assert "it differs, and so does tool_schemas/, from the policy in force" in operator.tell("policy", "check").err


def test_what_an_activation_consents_to_is_shown_by_check_and_by_pin_in_a_pipe(operator: Operator) -> None:
    change_words(operator)
    (_, *_, told), *_ = operator.tell("policy", "pin").rows
    assert told.startswith("description: pinned says …")
    assert told.endswith(" It is a test.'")
    (warning,) = operator.tell("policy", "check", "--json").json["warnings"]
    assert warning == f"tool_schemas/update_ticket: {told}"


def change_words(operator: Operator) -> None:
    """Change what a contract says, not what it takes."""
    path = operator.home / "tool_schemas" / "update_ticket.v1.json"
    value = json.loads(path.read_text(encoding="utf-8"))
    value["description"] += " It is a test."
    path.write_text(json.dumps(value), encoding="utf-8")


# --- pin ------------------------------------------------------------------------------------------------------


def test_pins_that_are_right_change_nothing(operator: Operator) -> None:
    before = (operator.home / "policy.toml").stat()
    assert operator.tell("policy", "pin").transcript == lines("! every pin is as it should be; nothing changed")
    assert (operator.home / "policy.toml").stat().st_mtime_ns == before.st_mtime_ns


def test_pin_writes_the_contracts_and_shows_what_changed_in_them(operator: Operator) -> None:
    change_words(operator)
    assert operator.tell("policy", "check").code == 1
    (operator.home / "policy.toml").chmod(0o640)
    asked = operator.tell("policy", "pin", "--dry-run", "--json").json
    assert (asked["changed"], len(asked["pins"])) == (False, 2)
    assert operator.tell("policy", "check").code == 1
    done = operator.tell("policy", "pin", "--json").json
    assert done == {**asked, "changed": True}
    first = done["pins"][0]
    assert (first["place"], first["rule"], first["tool"]) == (
        "grants[4]", "assistants comment on tickets", "update_ticket"
    )  # fmt: skip
    assert len(first["differences"]) == 1
    assert first["differences"][0].startswith("description: pinned says ")
    assert operator.tell("policy", "check").code == 0
    assert (operator.home / "policy.toml").stat().st_mode & 0o777 == 0o640
    assert not list(operator.home.glob(".policy.toml.*"))


def test_a_pin_that_was_missing_is_added(operator: Operator) -> None:
    text = (operator.home / "policy.toml").read_text(encoding="utf-8")
    kept = [line for line in text.splitlines(keepends=True) if not line.startswith('contract = "v1 sha256:e2')]
    (operator.home / "policy.toml").write_text("".join(kept), encoding="utf-8")
    said = operator.tell("policy", "pin")
    assert said.rows == [
        ["grants[0]", "assistants open pull requests", "open_pull_request", "", said.rows[0][4], ""],
    ]
    assert "1 pin changed in policy.toml" in said.err
    assert operator.tell("policy", "check").code == 0


def test_a_pin_of_a_contract_nobody_has_any_more_changes_without_its_differences(operator: Operator) -> None:
    operator.edit('contract = "v1 sha256:e2', 'contract = "v1 sha256:00')
    assert operator.tell("policy", "pin", "--dry-run", "--json").json["pins"][0]["differences"] is None


def test_a_home_without_a_ledger_can_be_pinned(operator: Operator) -> None:
    shutil.rmtree(operator.home / "state")
    operator.edit('contract = "v1 sha256:e2', 'contract = "v1 sha256:00')
    assert operator.tell("policy", "pin").code == 0
    assert operator.tell("policy", "check").code == 0


def test_a_policy_that_is_a_link_stays_one_when_pinned(operator: Operator, tmp_path: Path) -> None:
    operator.edit('contract = "v1 sha256:e2', 'contract = "v1 sha256:00')
    (operator.home / "policy.toml").rename(tmp_path / "elsewhere.toml")
    (operator.home / "policy.toml").symlink_to(tmp_path / "elsewhere.toml")
    assert operator.tell("policy", "pin").code == 0
    assert (operator.home / "policy.toml").is_symlink()
    assert "sha256:00" not in (tmp_path / "elsewhere.toml").read_text(encoding="utf-8")


def test_contracts_that_do_not_load_are_errors_of_the_check(operator: Operator) -> None:
    (operator.home / "tool_schemas" / "get_ticket.v1.json").write_text("{", encoding="utf-8")
    operator.edit("version = 1", "version = = 1")
    said = operator.tell("policy", "check")
    assert said.code == 1
    assert [row[1].split(":")[0] for row in said.rows] == ["get_ticket.v1.json"]


def test_a_policy_that_is_no_toml_is_not_pinned(operator: Operator) -> None:
    (operator.home / "policy.toml").write_text("version = = 1", encoding="utf-8")
    said = operator.tell("policy", "pin")
    assert said.code == 1
    assert "is not TOML" in said.err


# --- activate, show -------------------------------------------------------------------------------------------


def test_an_activation_signed_by_a_listed_reviewer_is_in_force(operator: Operator) -> None:
    operator.edit("50 calls per hour", "7 calls per hour")
    said = operator.tell("policy", "activate", "-m", "fewer comments", "--key", operator.key)
    assert said.transcript == lines("in force: DIGEST (entry 5, signed by alice)")
    assert {row[4] for row in operator.tell("limit", "list").rows if "comment" in row[1]} == {"7"}
    force = operator.tell("policy", "show", "--json").json
    assert (force["by"], force["reason"], force["entry"]) == ("alice", "fewer comments", 5)
    assert force["files"] == {"policy.toml": (operator.home / "policy.toml").read_text(encoding="utf-8")}


def test_show_prints_the_text_in_force_not_the_file(operator: Operator) -> None:
    before = (operator.home / "policy.toml").read_text(encoding="utf-8")
    operator.edit("50 calls per hour", "7 calls per hour")
    said = operator.tell("policy", "show")
    assert said.out == before
    assert said.err.startswith("in force since ")
    assert "the log was founded with it" in said.err


def test_the_same_policy_is_not_activated_twice(operator: Operator) -> None:
    assert operator.activate().transcript == lines("! keyturn: this policy is in force already", code=6)


def test_json_names_both_policies_and_the_warnings(operator: Operator) -> None:
    before = operator.tell("policy", "show", "--json").json["policy"]
    operator.edit('owner = "bob"\n', "")
    said = operator.activate("--json").json
    assert said["previous"] == before
    assert said["policy"] == operator.tell("policy", "show", "--json").json["policy"]
    assert (said["entry"], said["by"], len(said["warnings"])) == (5, "alice", 1)


def test_a_signature_of_nobody_listed_is_refused(operator: Operator, mallory: Path) -> None:
    operator.edit("50 calls per hour", "7 calls per hour")
    unknown = operator.tell("policy", "activate", "-m", "mine", "--key", mallory)
    assert unknown.transcript == lines(
        f"! keyturn: the key {mallory} is not listed for anybody who may sign (alice)", code=6
    )
    posing = operator.tell("policy", "activate", "-m", "mine", "--key", mallory, "--as", "alice")
    assert posing.code == 6
    assert "is not listed for anybody who may sign (alice)" in posing.err
    assert operator.tell("audit", "log", "--kind", "policy.activated").rows[-1][0] == "2"


def test_the_candidate_cannot_vouch_for_itself(operator: Operator, mallory: Path) -> None:
    operator.edit(
        "[people.bob]", f'[reviewers.mallory]\nkeys = ["{public(mallory).read_text().strip()}"]\n\n[people.bob]'
    )
    assert operator.tell("policy", "activate", "-m", "mine", "--key", mallory).code == 6
    assert operator.activate().code == 0
    operator.edit("50 calls per hour", "7 calls per hour")
    assert operator.tell("policy", "activate", "-m", "mine now", "--key", mallory).code == 0


def test_a_proposal_that_does_not_load_is_not_signed(operator: Operator) -> None:
    operator.edit("version = 1", "version = 2")
    said = operator.activate()
    assert said.code == 1
    assert "version" in said.err


def test_a_reason_is_required(operator: Operator) -> None:
    assert operator.tell("policy", "activate", "--key", operator.key).code == 2


def test_the_signer_is_found_by_the_key_in_ssh(
    operator: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    operator.edit("50 calls per hour", "7 calls per hour")
    none = operator.tell("policy", "activate", "-m", "x")
    assert none.code == 1
    assert "name yours with --key PATH" in none.err
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "other.pub").write_text("not a key\n")
    shutil.copy(operator.key, tmp_path / ".ssh" / "work")
    shutil.copy(public(operator.key), tmp_path / ".ssh" / "work.pub")
    assert operator.tell("policy", "activate", "-m", "x", "--as", "bob").code == 6
    assert "signed by alice" in operator.tell("policy", "activate", "-m", "x").out


def test_a_key_that_is_not_there_is_named(operator: Operator, tmp_path: Path) -> None:
    operator.edit("50 calls per hour", "7 calls per hour")
    for arguments in ((), ("--as", "alice")):
        said = operator.tell("policy", "activate", "-m", "x", "--key", tmp_path / "none", *arguments)
        assert said.code == 1
        assert f"there is no key file {tmp_path}/none" in said.err


def test_an_old_activation_cannot_be_replayed(operator: Operator) -> None:
    """Signed once, recorded once: the same signed act is void under the policy it made, and under any later one."""
    home = Home(operator.home)
    operator.edit("50 calls per hour", "7 calls per hour")
    ledger = open_ledger(home, "test")
    try:
        candidate = read_candidate(home.policy_files(), read_own_catalog(home))
        draft = draft_activation(ledger, candidate, "alice", "once")
        signature = sign(draft.to_sign, key=operator.key, namespace=ACT_NAMESPACE, environment=environment())
        assert submit_act(ledger, draft, signature).seq == 5
        with pytest.raises(Refused) as at_once:
            submit_act(ledger, draft, signature)
        operator.edit("7 calls per hour", "50 calls per hour")
        assert operator.activate().code == 0
        with pytest.raises(Refused) as later:
            submit_act(ledger, draft, signature)
    finally:
        ledger.close()
    assert (at_once.value.code, later.value.code) == ("superseded", "superseded")
    assert column(operator.tell("audit", "log", "--kind", "policy.activated").rows, 0) == ["2", "5", "6"]


# --- explain --------------------------------------------------------------------------------------------------


def test_explain_plans_the_call_and_says_what_every_rule_makes_of_it(operator: Operator) -> None:
    said = operator.tell("policy", "explain", "rollback_deployment", "--as", "claude", "--arguments", PRODUCTION)
    assert said.code == 0
    assert said.rows[0][:3] == ["hold", "decision", "deployments:web/production (production)"]
    verdicts = {row[2]: row[0] for row in said.rows[1:]}
    assert verdicts["production rollbacks need a person"] == "applies"
    assert verdicts["staging rolls back by itself"] == "misses"
    assert verdicts["assistants open pull requests"] == "unrelated"
    assert len(verdicts) == 17
    assert column(operator.tell("audit", "log").rows, 0)[-1] == "4", "explaining records nothing"


def test_explaining_takes_no_key_that_signs(operator: Operator) -> None:
    (Home(operator.home).place.keys / ENTRY_KEY).unlink()
    for more in ((), ("--in-force",)):
        said = operator.tell(
            "policy", "explain", "rollback_deployment", "--as", "claude", "--arguments", PRODUCTION, *more
        )
        assert (said.code, said.rows[0][0]) == (0, "hold"), said.err


def test_explain_asks_the_file_unless_told_otherwise(operator: Operator) -> None:
    operator.edit('where = { environment = "production" }', 'where = { environment = "staging" }')
    arguments = ("policy", "explain", "rollback_deployment", "--as", "claude", "--arguments", PRODUCTION, "--json")
    proposed, force = operator.tell(*arguments).json, operator.tell(*arguments, "--in-force").json
    assert proposed["answers"][0]["decision"] == "deny"
    assert force["answers"][0]["decision"] == "hold"
    assert proposed["policy"] != force["policy"]


def test_explain_judges_the_plan_of_a_pull_request(operator: Operator) -> None:
    arguments = {
        "repository": "shop",
        "base": "main",
        "title": "CI",
        "files": [{"path": ".github/workflows/x.yml", "content": "a"}],
    }
    file = operator.home / "arguments.json"
    file.write_text(json.dumps(arguments), encoding="utf-8")
    answer = operator.tell(
        "policy", "explain", "open_pull_request", "--as", "claude", "--arguments", f"@{file}", "--json"
    ).json["answers"][0]
    assert answer["decision"] == "deny"
    assert answer["rules"] == ["never touch what runs with secrets"]


def test_explain_of_a_target_plans_nothing_and_says_so(operator: Operator) -> None:
    said = operator.tell(
        "policy", "explain", "rollback_deployment", "--as", "claude", "--target", "deployments:web/staging"
    )
    assert said.rows[0][0] == "permit"
    assert "nothing was planned" in said.err
    assert "a real call would be refused: to: is missing" in said.err
    elsewhere = operator.tell(
        "policy", "explain", "rollback_deployment", "--as", "claude", "--target", "deployments:web/staging",
        "--environment", "production", "--json",
    )  # fmt: skip
    assert elsewhere.json["answers"][0]["decision"] == "deny"


def test_explain_answers_for_other_times(operator: Operator) -> None:
    operator.edit(
        'where = { environment = "staging" }', 'where = { environment = "staging", "time.hour" = { max = 11 } }'
    )
    said = operator.tell(
        "policy", "explain", "rollback_deployment", "--as", "claude", "--target", "deployments:web/staging",
        "--at", "2026-12-24T10:00:00Z", "--at", "2026-12-24T18:00:00", "--json",
    )  # fmt: skip
    assert said.code == 0, said.err
    assert [(a["at"][11:13], a["decision"]) for a in said.json["answers"]] == [("10", "permit"), ("18", "deny")]


@pytest.mark.parametrize("which", [(), ("--in-force",)])
def test_explain_of_somebody_unknown_names_those_it_knows(operator: Operator, which: tuple[str, ...]) -> None:
    said = operator.tell("policy", "explain", "get_ticket", "--as", "nobody", "--target", "tickets:desk/1", *which)
    assert said.transcript == lines("! keyturn: the policy has no principal 'nobody'; it has: claude", code=5)


def test_explain_tells_the_environment_of_a_call_that_is_denied_before_it_matters(operator: Operator) -> None:
    policy = operator.home / "policy.toml"
    policy.write_text(policy.read_text() + '\n[principals.nightly]\nscopes = ["tickets:read"]\n')
    question = ("policy", "explain", "open_pull_request", "--as", "nightly", "--target", "forge:shop/main")
    said = operator.tell(*question)
    assert (said.code, said.rows[0][0]) == (0, "deny"), said.err
    assert said.rows[0][2] == "forge:shop/main (production)"
    assert operator.tell(*question, "--json").json["answers"][0]["environment"] == "production"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("rollback_deploymen",), 5, "there is no tool 'rollback_deploymen'; there are: cancel_action"),
        (("get_permissions",), 2, "every principal may call it"),
        (("rollback_deployment",), 2, "deployment: is missing"),
        (("rollback_deployment", "--arguments", "[]"), 2, "must be a JSON object"),
        (("rollback_deployment", "--arguments", "{"), 2, "is no JSON"),
        (("rollback_deployment", "--arguments", "@/nowhere"), 1, "/nowhere: No such file"),
        (("get_ticket", "--arguments", '{"ticket": "OPS-9"}'), 2, "it cannot be planned: ticket"),
        (("get_pull_request", "--arguments", '{"action_id": "019aa5b2-7d80-7000-8000-000000000005"}'), 2, "planned"),
        (("get_ticket", "--target", "tickets:ops/OPS-1", "--at", "tomorrow"), 2, "is not a time like"),
        (("get_ticket", "--target", "tickets:ops/OPS-1", "--at", "9999-12-31T23:59:59Z"), 2, "years 1970 to 2200"),
        (("get_ticket", "--target", "tickets:ops/OPS-1", "--at", "0001-01-01T00:00:00+14:00"), 2, "years 1970 to"),
    ],
)
def test_what_cannot_be_explained_is_said(
    operator: Operator, arguments: tuple[str, ...], code: int, message: str
) -> None:
    said = operator.tell("policy", "explain", "--as", "claude", *arguments)
    assert (said.code, message in said.err) == (code, True), said.err


# --- on a terminal --------------------------------------------------------------------------------------------


def on_terminal(operator: Operator, *arguments: str) -> str:
    """Return what a verb shows on a terminal of 100 columns."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, 100))
    program = [sys.executable, "-m", "keyturn", "--home", str(operator.home), *arguments]
    variables = {**os.environ, "TERM": "xterm", "NO_COLOR": "1", "PAGER": "cat"}
    with subprocess.Popen(program, stdin=theirs, stdout=theirs, stderr=theirs, env=variables) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # how Linux says that the other side has closed
            while part := os.read(ours, 65536):
                shown += part
        assert process.wait(60) is not None
    os.close(ours)
    return shown.decode("utf-8").replace("\r\n", "\n")


def test_explain_shows_the_rules_about_the_call_and_counts_the_others(operator: Operator) -> None:
    shown = on_terminal(
        operator, "policy", "explain", "rollback_deployment", "--as", "claude", "--arguments", PRODUCTION
    )
    assert shown.startswith("HOLD  claude calls rollback_deployment on deployments:web/production (production)\n")
    assert "needs the review of 1 person from group:sre" in shown
    assert "VERDICT" in shown
    assert "and 15 rules about other calls" in shown
    assert "assistants open pull requests" not in shown


def test_pin_shows_each_change_below_its_grant(operator: Operator) -> None:
    change_words(operator)
    operator.edit('contract = "v1 sha256:e2', 'contract = "v1 sha256:00')
    shown = on_terminal(operator, "policy", "pin")
    assert 'grants[4] "assistants comment on tickets" (update_ticket)\n  was v1 sha256:' in shown
    assert "    description: pinned says " in shown
    assert "the old contract is not at hand" in shown
    assert "3 pins changed in policy.toml" in shown


def test_check_and_activate_show_words_and_the_difference(operator: Operator) -> None:
    operator.edit('owner = "bob"\n', "")
    assert "warning: principals.claude: no owner is set" in on_terminal(operator, "policy", "check")
    shown = on_terminal(operator, "policy", "activate", "-m", "x", "--key", str(operator.key))
    assert '-owner = "bob"\n' in shown
    assert "signed by alice)" in shown


def test_the_verbs_list_themselves() -> None:
    program = Path(sys.executable).with_name("keyturn")
    shown = subprocess.run([program, "policy", "--help"], capture_output=True, text=True, check=True).stdout
    assert all(f"  {verb} " in shown for verb in ("activate", "check", "explain", "pin", "show"))
