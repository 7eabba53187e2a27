"""Cases of a policy that scores: what went before, and what a change adds, are parts of a case."""

from __future__ import annotations

import pytest

from keyturn.model.errors import ConfigurationError
from keyturn.policy import Policy, read_policy
from keyturn.policy.cases.running import run_cases
from tests.policy.risk.samples import credentials, diff_of
from tests.policy.world import CATALOG, PEOPLE, grant

TEXT = PEOPLE.replace("version = 1", 'version = 1\ntests = "policy_tests/"') + grant(
    "pulls", "open_pull_request", '["claude"]', risk="{ deny_at = 8 }"
)
CASE = """
[[cases]]
name = "{name}"
principal = "claude"
tool = "open_pull_request"
arguments = {{ repository = "shop", base = "main", title = "x", files = [] }}
target = "forge:shop/main"
time = 2026-11-23T09:30:00Z
used = [{used}]
{more}
"""


def case(name: str, used: str = "", more: str = 'expect = "permit"') -> str:
    return CASE.format(name=name, used=used, more=more)


def read(*cases: str) -> Policy:
    return read_policy({"policy.toml": TEXT, "policy_tests/risk.toml": "".join(cases)}, CATALOG)


def test_a_case_says_what_went_before_and_what_is_added() -> None:
    ran = run_cases(
        read(
            case("known", '{ ago = "1h" }'),
            case("first use", more='expect = "deny"\ncode = "risk"'),
            case("known elsewhere", '{ tool = "update_ticket" }', 'expect = "deny"\ncode = "risk"'),
            case("failed before", '{ times = 2 }, { ended = "failed", times = 3 }', 'expect = "deny"\ncode = "risk"'),
            case("failed elsewhere", '{ times = 2 }, { ended = "failed", target = "forge:shop/x", times = 3 }'),
            case("undone before", '{ ended = "undone", times = 3 }', 'expect = "deny"\ncode = "risk"'),
            case("a credential", "{ }", f'expect = "deny"\ncode = "secret"\ndiff = """{diff_of("x", *SECRET)}"""'),
        )
    )
    assert ran.failures == ()


SECRET = credentials()["a GitHub token"][:1]


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (case("x", '{ ended = "lost" }'), 'used[0].ended: must be one of "succeeded", "failed", "undone"'),
        (case("x", more='expect = "deny"\ndiff = 3'), "diff: must be a unified diff, not 3"),
    ],
)
def test_a_mistake_in_a_case_is_told(written: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(written)
    assert any(told in problem for problem in caught.value.problems), caught.value.problems
