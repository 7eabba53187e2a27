"""Policies as code on the command line, where a transcript would not do: files, clashes, and old contracts."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

from tests.cli.operator import Operator

CASES = """
[[cases]]
name = "a comment goes through"
principal = "claude"
tool = "update_ticket"
arguments = { ticket = "OPS-1", comment = "hello" }
target = "tickets:ops/OPS-1"
expect = "permit"

[[cases]]
name = "and this is wrong"
principal = "claude"
tool = "update_ticket"
arguments = { ticket = "OPS-1", comment = "hello" }
target = "tickets:ops/OPS-1"
expect = "hold"
"""
GUARD = 'version = 1\npolicy.approval = { quorum = 1, from = ["alice"] }\n'


def with_cases(operator: Operator, text: str = CASES) -> None:
    folder = operator.home / "policy_tests"
    folder.mkdir(exist_ok=True)
    (folder / "tickets.toml").write_text(text)
    operator.edit("version = 1\n", 'version = 1\ntests = "policy_tests/"\n')


def test_junit_xml_is_written_and_the_exit_code_says_whether_all_passed(operator: Operator, tmp_path: Path) -> None:
    with_cases(operator)
    report = tmp_path / "report.xml"
    said = operator.tell("policy", "test", "--junit", report, "--json")
    assert (said.code, said.json["passed"], said.json["failed"]) == (1, 1, 1)
    root = ET.parse(report).getroot()  # noqa: S314 - written by the program under test
    assert [case.get("name") for case in root.iter("testcase")] == [case["name"] for case in said.json["cases"]]
    assert [case.find("failure") is None for case in root.iter("testcase")] == [True, False]
    with_good = CASES.replace('expect = "hold"', 'expect = "permit"')
    (operator.home / "policy_tests" / "tickets.toml").write_text(with_good)
    assert operator.tell("policy", "test", "--junit", report).code == 0
    assert ET.parse(report).getroot().get("failures") == "0"  # noqa: S314 - as above


def test_a_report_that_cannot_be_written_is_an_error(operator: Operator, tmp_path: Path) -> None:
    with_cases(operator)
    said = operator.tell("policy", "test", "--junit", tmp_path / "nowhere" / "report.xml")
    assert (said.code, "No such file" in said.err) == (1, True)


def test_a_file_that_the_policy_in_force_does_not_have_is_not_shown(operator: Operator) -> None:
    for form in ([], ["--json"]):
        said = operator.tell("policy", "show", "policy_tests/tickets.toml", *form)
        assert (said.code, said.out, "it has: policy.toml" in said.err) == (5, "", True)


def test_an_earlier_text_is_found_by_the_digits_of_its_digest(operator: Operator) -> None:
    first = operator.tell("policy", "show", "--json").json["policy"]
    operator.edit("50 calls per hour", "5 calls per hour")
    operator.activate()
    assert operator.tell("policy", "show", "--json").json["policy"] != first
    said = operator.activate("--to", first.removeprefix("sha256:")[:12], "--json")
    assert (said.code, said.json["policy"]) == (0, first)
    assert operator.activate("--to", first).code == 6  # in force already


def test_of_several_proposals_one_has_to_be_named(operator: Operator) -> None:
    operator.edit("version = 1\n", GUARD)
    operator.activate()
    for allowed in ("5", "6"):
        path = operator.home / "policy.toml"
        path.write_text(f"{path.read_text()}\n# {allowed}\n")
        proposed = operator.tell("policy", "propose", "-m", "one of two", "--json").json
        assert (proposed["signatures"], proposed["needed"]) == (0, 1)
    said = operator.tell("policy", "endorse")
    assert (said.code, "2 policies wait" in said.err) == (2, True)
    signed = operator.tell("policy", "endorse", str(proposed["entry"]), "-m", "this one", "--key", operator.key)
    assert (signed.code, f"entry {proposed['entry'] + 1}" in signed.out) == (0, True)
    assert f"keyturn policy activate --to {proposed['entry']}" in signed.err
    waiting = operator.tell("policy", "history", "--json").json
    assert [v["state"] for v in waiting["versions"]] == ["earlier", "in force", "waits", "waits"]
    assert waiting["guard"] == {"quorum": 1, "from": ["alice"], "reviewers": ["alice"]}
    closed = operator.tell("policy", "endorse", "2")
    assert (closed.code, "does not wait" in closed.err) == (6, True)


def test_what_a_proposal_changes_is_not_compared_under_contracts_that_moved(operator: Operator) -> None:
    """The policy in force cannot be read with them; the text is shown all the same."""
    path = operator.home / "tool_schemas" / "update_ticket.v1.json"
    value = json.loads(path.read_text(encoding="utf-8"))
    del value["input"]["properties"]["status"]
    operator.edit("version = 1\n", GUARD)
    operator.activate()
    path.write_text(json.dumps(value), encoding="utf-8")
    operator.tell("policy", "pin")
    said = operator.tell("policy", "propose", "-m", "new contracts")
    assert said.code != 0  # the grants on `arguments.status` do not load: nothing is proposed
    assert operator.tell("audit", "log", "--kind", "policy.proposed").rows == []
