"""Cases of a policy: how they are read, what they expect, which rules none reached, and as JUnit XML."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.assembly.build import read_own_catalog
from keyturn.assembly.case_files import case_files
from keyturn.assembly.home import Home
from keyturn.canon import manifest_digest
from keyturn.model.decision import Deny, Hold
from keyturn.model.errors import ConfigurationError
from keyturn.policy import Policy, evaluate, read_policy
from keyturn.policy.cases.junit import junit
from keyturn.policy.cases.running import TestRun, run_cases
from keyturn.policy.pinning import pin
from keyturn.policy.usage import Usage

CATALOG = read_own_catalog(Home(Path(__file__).parents[2])).contracts
POLICY = """version = 1
tests = "policy_tests/"

[principals.claude]
owner = "bob"
scopes = ["ticket:write", "pr:write"]

[principals.codex]
scopes = ["ticket:write"]

[people.bob]

[reviewers.alice]
keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILOJLPxdWkIBknW12cBKuCR0fOYnymwRI2guX8vyTUOY"]

[environments.tracker]
targets = ["tickets:ops/*"]

[environments.code]
targets = ["forge:shop/*"]

[[grants]]
id = "comments"
principals = ["claude"]
tool = "update_ticket"
where = { "arguments.status" = { exists = false } }
limits = ["3 calls per hour", "2 pending"]

[[grants]]
id = "pulls"
principals = ["claude"]
tool = "open_pull_request"
approval = { quorum = 1, from = ["alice"] }
limits = ["10 files_changed per day"]

[[grants]]
id = "trial"
principals = ["codex"]
tool = "update_ticket"
mode = "shadow"

[[forbids]]
id = "secrets"
tool = "open_pull_request"
where = { "plan.files[*].path" = { glob = ".github/**" } }
"""
COMMENT = """
[[cases]]
name = "NAME"
principal = "claude"
tool = "update_ticket"
arguments = { ticket = "OPS-1", comment = "hello" }
target = "tickets:ops/OPS-1"
"""
PULL = """
[[cases]]
name = "NAME"
principal = "claude"
tool = "open_pull_request"
arguments = { repository = "shop", base = "main", title = "x", files = [] }
target = "forge:shop/main"
plan = { files = [{ path = "PATH" }] }
"""


def comment(name: str, more: str) -> str:
    return COMMENT.replace("NAME", name) + more


def pull(name: str, more: str, path: str = "app/a.py") -> str:
    return PULL.replace("NAME", name).replace("PATH", path) + more


def read(*cases: str, policy: str = POLICY) -> Policy:
    files = {"policy.toml": pin(policy, CATALOG), "policy_tests/all.toml": "\n".join(cases)}
    return read_policy(files, CATALOG)


def run(*cases: str, policy: str = POLICY) -> TestRun:
    return run_cases(read(*cases, policy=policy))


def problems(*cases: str, policy: str = POLICY) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        read(*cases, policy=policy)
    return caught.value.problems


# --- what cases expect ----------------------------------------------------------------------------------------


def test_a_case_passes_where_decision_rule_and_code_are_those_it_expects() -> None:
    found = run(
        comment("permitted", 'expect = "permit"\nrule = "comments"'),
        pull("held", 'expect = "hold"\nrule = "pulls"\ncode = "approval"'),
        pull("forbidden", 'expect = "deny"\nrule = "secrets"', ".github/ci.yml"),
        comment("no status", 'expect = "deny"\ncode = "no_grant"').replace(
            '"hello" }', '"hello", status = "closed" }'
        ),
        comment("shadow", 'expect = "shadow"\nrule = "trial"').replace('"claude"', '"codex"'),
        comment("unknown", 'expect = "deny"\ncode = "unknown_principal"').replace('"claude"', '"nobody"'),
        comment("token", 'scopes = ["pr:write"]\nexpect = "deny"\ncode = "scope"'),
        comment("elsewhere", 'environment = "code"\nexpect = "deny"\ncode = "environment"'),
    )
    assert found.failures == ()
    assert found.unreached == ()
    assert [result.verdict for result in found.results][:3] == ["permit", "hold", "deny"]


@pytest.mark.parametrize(
    ("case", "wrong"),
    [
        (comment("c", 'expect = "deny"'), 'expected deny, got permit (granted: "comments" lets it run'),
        (comment("c", 'expect = "permit"\nrule = "pulls"'), 'expected the rule "pulls" to speak, but "comments" did'),
        (comment("c", 'expect = "permit"\ncode = "limit"'), "expected the code limit, got granted"),
    ],
)
def test_a_case_fails_with_what_was_wrong(case: str, wrong: str) -> None:
    found = run(case)
    (failure,) = found.failures
    assert failure.startswith('policy_tests/all.toml: cases[0] "c": ')
    assert wrong in failure


def test_a_grant_that_missed_is_not_said_to_have_spoken() -> None:
    status = comment("c", 'expect = "deny"\nrule = "comments"').replace('"hello" }', '"hello", status = "closed" }')
    assert "but no rule did" in run(status).failures[0]
    assert ("grant", "comments", "grants[0]") in run(status).unreached


# --- usage and time -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("used", "expected"),
    [
        ('[{ times = 2, ago = "59m" }]', "permit"),
        ('[{ times = 3, ago = "59m" }]', "deny"),
        ('[{ times = 3, ago = "60m" }]', "permit"),
        ('[{ times = 3, ago = "5m", principal = "codex" }]', "permit"),
        ('[{ times = 3, ago = "5m", tool = "open_pull_request", target = "forge:shop/main" }]', "permit"),
    ],
)
def test_what_was_used_before_counts_as_in_a_ledger(used: str, expected: str) -> None:
    assert run(comment("used", f'used = {used}\nexpect = "{expected}"')).failures == ()


def test_amounts_and_requests_that_wait_count_too() -> None:
    more = 'effects = { files_changed = 3 }\nused = [{ ago = "2h", amounts = { files_changed = 8 } }]\n'
    assert run(pull("files", f'{more}expect = "deny"\ncode = "limit"')).failures == ()
    waiting = 'used = [{ times = 2, ago = "7d", pending = true, amounts = { calls = 0 } }]\n'
    policy = POLICY.replace('"10 files_changed per day"', '"2 pending"')
    assert run(pull("pending", f'{waiting}expect = "deny"\ncode = "limit"'), policy=policy).failures == ()


def test_all_cases_together_have_no_more_earlier_uses_than_anybody_can_count() -> None:
    """Reviewers and auditors run the cases of whoever proposes a policy."""
    many = "used = [" + "{ times = 10000 }, " * 6 + "]\n"
    [said] = problems(comment("one", 'expect = "deny"\n' + many), comment("two", 'expect = "deny"\n' + many))
    assert "cases[1].used[4].times: all cases together may have 100000 earlier uses" in said


def test_a_case_is_decided_at_the_time_it_says() -> None:
    policy = POLICY.replace(
        'where = { "arguments.status" = { exists = false } }', 'where = { "time.weekday" = ["saturday"] }'
    )
    monday, saturday = "2026-01-05T12:00:00Z", "2026-01-10T12:00:00+02:00"
    found = run(
        comment("nothing said", 'expect = "deny"'),
        comment("monday", f'time = {monday}\nexpect = "deny"'),
        comment("saturday", f'time = {saturday}\nexpect = "permit"'),
        policy=policy,
    )
    assert found.failures == ()
    assert found.results[2].case.at == datetime(2026, 1, 10, 10, tzinfo=UTC)


def test_defaults_of_the_contract_stand_for_arguments_that_are_not_given() -> None:
    (case,) = read(pull("draft", 'expect = "hold"')).cases
    properties = CATALOG["open_pull_request"].input["properties"]
    assert isinstance(properties, dict)
    defaults = {name for name, shape in properties.items() if "default" in shape} - {"reason", "repeat"}
    assert defaults <= set(case.request.arguments)
    assert "repeat" not in case.request.arguments


# --- reading --------------------------------------------------------------------------------------------------


def test_every_problem_of_a_case_is_told_at_once_with_its_place() -> None:
    told = problems(
        'sugar = 1\n[[cases]]\nname = "a"\ntool = "update_tickets"\nexpect = "allow"\nwhen = 3\n',
        comment("a", 'time = "noon"\nused = [{ ago = "9d", pending = "yes", who = "x" }]').replace(
            "ticket =", "tickte ="
        ),
    )
    here = "policy_tests/all.toml: "
    assert {line.partition(": ")[2].partition(": ")[0] for line in told} >= {
        "sugar",
        "cases[0].when",
        "cases[0].principal",
        "cases[0].tool",
        "cases[0].target",
        "cases[0].expect",
        "cases[1].name",
        "cases[1].arguments.tickte",
        "cases[1].time",
        "cases[1].used[0].ago",
        "cases[1].used[0].pending",
        "cases[1].used[0].who",
        "cases[1].expect",
    }
    assert all(line.startswith(here) for line in told)
    assert any('(did you mean "update_ticket"?)' in line for line in told)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("arguments = { ticket = 1.5 }", "float"),
        ("plan = { x = 2026-01-05T12:00:00Z }", "datetime"),
        ("effects = { files_changed = -1 }", "must be an integer from 0"),
        ("used = [{ amounts = { pending = 1 } }]", "say pending = true"),
        ("used = [{ times = 0 }]", "must be an integer from 1"),
        ("effects = { lines_chnged = 1 }", '"lines_chnged" is not counted here (did you mean "lines_changed"?)'),
        ("effects = { calls = 2 }", '"calls" is not counted here'),
        ("plan = { lines_changed = 1 }", "cases[0].plan.lines_changed: is counted: write effects = "),
        ("used = [{ amounts = { cals = 1 } }]", '"cals" is not counted here (did you mean "calls"?)'),
        ("time = 0001-01-01T00:00:00+14:00", "cases[0].time: lies outside the years 1970 to 2200"),
        ("time = 9999-12-31T23:59:59Z", "cases[0].time: lies outside the years 1970 to 2200"),
        ("plan = { x = [{ y = nan }] }", "policy_tests/all.toml: cases[0].plan.x[0].y: float"),
    ],
)
def test_values_that_no_call_could_have_are_refused(value: str, said: str) -> None:
    case = COMMENT.replace('arguments = { ticket = "OPS-1", comment = "hello" }\n', "") + f'{value}\nexpect = "deny"'
    (told,) = problems(case)
    assert said in told
    assert told.count("cases[0]") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("title = 5", "arguments.title: must be of type string by the contract, not 5"),
        ('draft = "yes"', 'arguments.draft: must be of type boolean by the contract, not "yes"'),
        ("draft = 1", "arguments.draft: must be of type boolean by the contract, not 1"),
        ('files = "app/a.py"', 'arguments.files: must be of type array by the contract, not "app/a.py"'),
        ('files = ["a"]', 'arguments.files[0]: must be of type object by the contract, not "a"'),
        ("files = [{ path = 7 }]", "arguments.files[0].path: must be of type string by the contract, not 7"),
        ('files = [{ pth = "a" }]', 'files[0].pth: the contract has no "pth" there (did you mean "path"?)'),
        (
            'files = [{ path = "a", encoding = "rot13" }]',
            'arguments.files[0].encoding: must be one of "base64" by the contract, not "rot13"',
        ),
    ],
)
def test_arguments_that_the_contract_does_not_take_are_refused(arguments: str, said: str) -> None:
    given = f"arguments = {{ {arguments} }}"
    case = PULL.replace('arguments = { repository = "shop", base = "main", title = "x", files = [] }', given)
    (told,) = problems(f'{case}\nexpect = "deny"')
    assert told.startswith("policy_tests/all.toml: cases[0].arguments.")
    assert told.endswith(said)


def test_a_case_may_say_less_than_a_call() -> None:
    case = PULL.replace('title = "x", files = []', 'files = [{ path = "a/b" }]')
    assert run(f'{case}\nexpect = "hold"').failures == ()


@pytest.mark.parametrize("folder", ["../cases/", "/cases/", "a/b/", ".hidden/", "", "caf\u00e9/"])
def test_tests_name_a_folder_beside_the_policy(folder: str) -> None:
    assert any(line.startswith("tests: ") for line in problems(policy=POLICY.replace("policy_tests/", folder)))


def test_a_folder_without_a_case_is_a_problem() -> None:
    assert problems("# nothing here") == (
        "tests: there is no case in policy_tests/: a policy that names tests has at least one",
    )


def test_a_case_file_that_no_policy_names_is_not_taken_along() -> None:
    told = problems(comment("c", 'expect = "permit"'), policy=POLICY.replace('tests = "policy_tests/"\n', ""))
    assert any("policy_tests/all.toml" in line and "is not used" in line for line in told)


def test_every_letter_of_a_case_is_in_the_policys_digest() -> None:
    one, other = read(comment("c", 'expect = "permit"')), read(comment("c", 'expect = "permit" '))
    assert one.digest != other.digest
    assert one.digest == manifest_digest(
        {"policy.toml": pin(POLICY, CATALOG), "policy_tests/all.toml": comment("c", 'expect = "permit"')}
    )


# --- files ----------------------------------------------------------------------------------------------------


def test_case_files_are_those_of_the_folder_and_no_others(tmp_path: Path) -> None:
    folder = tmp_path / "policy_tests"
    folder.mkdir()
    for name in ("b.toml", "a.toml", "notes.md", ".hidden.toml"):
        (folder / name).write_text(name)
    assert case_files(tmp_path, POLICY) == {"policy_tests/a.toml": "a.toml", "policy_tests/b.toml": "b.toml"}
    assert case_files(tmp_path, "version = 1") == {}


def test_a_folder_of_cases_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="as `tests`"):
        case_files(tmp_path, POLICY)


def test_nothing_leads_out_of_the_folder_of_cases(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.toml").write_text("token = 1")
    (tmp_path / "policy_tests").symlink_to(outside)
    with pytest.raises(ConfigurationError, match="a link"):
        case_files(tmp_path, POLICY)
    (tmp_path / "policy_tests").unlink()
    (tmp_path / "policy_tests").mkdir()
    (tmp_path / "policy_tests" / "secret.toml").symlink_to(outside / "secret.toml")
    with pytest.raises(ConfigurationError, match="no links"):
        case_files(tmp_path, POLICY)


@pytest.mark.parametrize(("data", "said"), [(b"\xff", "not UTF-8"), (b"#" * (1024 * 1024 + 1), "more bytes")])
def test_a_case_file_that_is_no_text_or_too_large_is_an_error(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "policy_tests").mkdir()
    (tmp_path / "policy_tests" / "a.toml").write_bytes(data)
    with pytest.raises(ConfigurationError, match=said):
        case_files(tmp_path, POLICY)


def test_too_many_case_files_and_what_is_no_file_are_errors(tmp_path: Path) -> None:
    folder = tmp_path / "policy_tests"
    folder.mkdir()
    (folder / "folder.toml").mkdir()
    with pytest.raises(ConfigurationError, match="folder"):
        case_files(tmp_path, POLICY)
    (folder / "folder.toml").rmdir()
    for number in range(257):
        (folder / f"{number}.toml").write_text("")
    with pytest.raises(ConfigurationError, match="257 files"):
        case_files(tmp_path, POLICY)


# --- running --------------------------------------------------------------------------------------------------


@given(expect=st.sampled_from(["permit", "hold", "deny", "shadow"]), made=st.sampled_from([comment, pull]))
def test_a_case_passes_exactly_where_evaluate_decides_as_it_says(
    expect: str, made: Callable[[str, str], str]
) -> None:
    policy = read(made("c", f'expect = "{expect}"'))
    (case,) = policy.cases
    decision = evaluate(policy, case.request, Usage(), case.at)
    assert not isinstance(decision, Deny)
    assert (not run_cases(policy).failures) == (expect == ("hold" if isinstance(decision, Hold) else "permit"))


def test_the_same_policy_gives_the_same_run() -> None:
    policy = read(comment("a", 'expect = "permit"'), pull("b", 'expect = "deny"'))
    assert run_cases(policy) == run_cases(policy)


# --- JUnit ----------------------------------------------------------------------------------------------------


def test_a_run_is_junit_xml() -> None:
    policy = read(comment("good & <plain>", 'expect = "permit"'), comment("bad", 'expect = "hold"'))
    root = parsed(junit(run_cases(policy), policy.digest))
    assert (root.tag, root.get("tests"), root.get("failures")) == ("testsuites", "2", "1")
    (suite,) = root.findall("testsuite")
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == ("policy_tests/all.toml", "2", "1")
    assert [item.get("value") for item in suite.iter("property")] == [policy.digest]
    good, bad = suite.findall("testcase")
    assert (good.get("name"), good.find("failure")) == ("good & <plain>", None)
    (failure,) = bad.findall("failure")
    assert failure.get("type") == "expected-hold"
    assert str(failure.get("message")).startswith("expected hold, got permit")
    assert str(failure.text).startswith("policy_tests/all.toml: cases[1]")


@given(value=st.text(min_size=1, max_size=40))
def test_a_run_is_well_formed_xml_whatever_values_a_reason_quotes(value: str) -> None:
    """What a case gives as an argument may come back in the reason why it was refused."""
    case = comment("odd", 'expect = "permit"').replace('"OPS-1"', toml(value)).replace("hello", "x")
    policy = POLICY.replace('{ "arguments.status" = { exists = false } }', '{ "arguments.ticket" = "OPS-1" }')
    read_ = read(case, policy=policy)
    parsed(junit(run_cases(read_), read_.digest))


def parsed(text: str) -> ET.Element:
    return ET.fromstring(text.encode("utf-8"))  # noqa: S314 - written by our own hand a moment ago


def toml(text: str) -> str:
    return '"' + "".join(f"\\U{ord(c):08x}" for c in text) + '"'


# --- the reference page ---------------------------------------------------------------------------------------


def test_the_cases_on_the_reference_page_pass_beside_its_examples() -> None:
    page = (Path(__file__).parents[2] / "docs/reference/policy.md").read_text()
    examples = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    policy = 'tests = "policy_tests/"\n' + "".join(text for text in examples if "[[freezes]]" not in text)
    (cases,) = re.findall(r"```text\n(\[\[cases\]\].*?)```", page, re.DOTALL)
    found = run(cases, policy=policy)
    assert len(found.results) == 2
    assert found.failures == ()
