"""A policy text is read whole or not at all, and every problem is told at once under its dotted path."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from keyturn.canon import manifest_digest
from keyturn.log import kinds
from keyturn.model.errors import ConfigurationError
from keyturn.policy import read_policy
from tests.policy.world import CATALOG, PEOPLE, budget, forbid, grant, hardware_key, key, label, policy, problems

APPROVAL = '{ quorum = 1, from = ["group:sre"] }'


def test_a_wrong_argument_name_is_told_with_its_path_and_the_nearest_name() -> None:
    text = grant(tool="open_pull_request", where="{ arguments.draf = true }")
    assert problems(grant(name="a"), grant(name="b"), text.replace('"g"', '"c"')) == (
        'grants[2].where.arguments.draf: open_pull_request has no argument "draf" (did you mean "draft"?)',
    )


def test_every_problem_is_told_at_once() -> None:
    told = problems(
        grant(name="a", where='{ "arguments.percent" = "many", environment = "stagin" }', limits='["20 calls"]'),
        forbid(name="a", tool='"set_flak"', extra="1"),
        budget(name="c", per='"galaxy"'),
        "\n[surprise]\n",
    )
    places = [line.split(": ")[0] for line in told]
    assert places == [
        "surprise",
        "grants[0].where.arguments.percent",
        "grants[0].where.environment",
        "grants[0].limits[0]",
        "forbids[0].extra",
        "forbids[0].id",
        "forbids[0].tool",
        "limits[0].per",
        "limits[0].limits",
    ]
    assert 'did you mean "staging"?' in told[2]
    assert 'did you mean "set_flag"?' in told[6]


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ('{ "arguments.percent" = "x" }', '"x" can never be: the value is integer'),
        ('{ "arguments.percent" = true }', "true can never be"),
        ('{ "arguments.level" = "hihg" }', 'one of "high", "low" (did you mean "high"?)'),
        ('{ "arguments.level" = ["low", "mid"] }', 'arguments.level[1]: "mid" can never be'),
        ('{ "arguments.level" = [] }', "must be a list of 1 to 1000 values"),
        ('{ "arguments.level" = {} }', "must name at least one operator"),
        ('{ "arguments.level" = { globb = "x" } }', 'unknown operator "globb" (did you mean "glob"?)'),
        ('{ "arguments.percent" = { glob = "x" } }', "cannot apply: the value is integer"),
        ('{ "arguments.flag" = { min = 3 } }', "cannot apply: the value is string"),
        ('{ "arguments.percent" = { min = 9, max = 3 } }', "can never hold: min 9 is above max 3"),
        ('{ "arguments.percent" = 1.5 }', "must be a string, an integer, true or false"),
        ('{ "arguments.percent" = 99999999999999999999 }', "too large"),
        ('{ "arguments.owners" = "x" }', "is a list"),
        ('{ "arguments.owners" = { some = { every = "x" } } }', "asks about items, but the value is no list"),
        ('{ "arguments.flag" = { every = "x" } }', "asks about items"),
        ('{ "arguments.flag[*]" = "x" }', "is no list, so it cannot have [*]"),
        ('{ "arguments.flag" = { regex = "(" } }', "is no RE2 pattern: missing )"),
        ('{ "arguments.flag" = { regex = "(?=a)b" } }', "invalid perl operator"),
        ('{ "arguments.flag" = { regex = "(.)\\\\1" } }', "invalid escape sequence"),
        ('{ "arguments.flag" = { glob = "[a-z]" } }', "sets and alternatives do not exist"),
        ('{ "arguments.flag" = { glob = "a\\\\" } }', "escapes nothing"),
        ('{ "arguments.flag" = { glob = [] } }', "a list of 1 to"),
        ('{ "arguments.flag" = { glob = [3] } }', "must be a pattern, not 3"),
        ('{ "arguments.flag" = { glob = "' + "a" * 300 + '" } }', "longer than 250 characters"),
        ('{ "arguments.flag" = { regex = "' + "a" * 1001 + '" } }', "longer than 1000 characters"),
        ('{ "arguments.flag" = { regex = "(a{900}){900}" } }', "is no RE2 pattern"),
        ('{ "arguments.flag" = { exists = 1 } }', "must be true or false"),
        ('{ "arguments.flag" = { not = { exists = true } } }', "cannot hold `exists`"),
        ('{ "arguments.flag" = { equals = "a", ignore_case = true } }', "works with `glob` and `regex` only"),
        ('{ "arguments.flag" = { glob = "a", ignore_case = 3 } }', "must be true or false"),
        ('{ "arguments.reason" = "x" }', 'has no argument "reason"'),
        ('{ "arguments.rules[*].segmnt" = "x" }', 'has nothing called "segmnt" (did you mean "segment"?)'),
        ('{ "arguments" = 3 }', "must be a table, not 3"),
        ('{ "arguments.flag" = "a", arguments = { flag = "b" } }', "is asked about twice"),
        ('{ "plan" = "x" }', "must be a table"),
        ('{ "plan.a b" = "x" }', "must be a path of 1 to 8 names"),
        ('{ "plan.files_changed" = "x" }', "can never be: the value is integer"),
        ('{ "principal.nam" = "x" }', 'there is principal.name, principal.owner, principal.groups (did you mean'),
        ('{ "principal.groups" = "x" }', "is a list"),
        ('{ "envionment" = "x" }', 'conditions cannot see "envionment" (did you mean "environment"?)'),
        ('{ "tool" = "nothing" }', "can never be"),
        ('{ "time.hour" = 24 }', "can never be"),
        ('{ "time.weekday" = "mondy" }', 'did you mean "monday"?'),
        ('{ "time.date" = "soon" }', "must be a date such as 2026-12-24"),
        ('{ "time.date" = { min = 2026-01-02T03:04:05 } }', "must be a date such as 2026-12-24"),
        ('{ "time.hour" = 3, "time.zone" = "Mars/Base" }', "is no time zone such as Europe/Berlin"),
        ('{ "time.hour" = 3, "time.zone" = "../etc/passwd" }', "is no time zone"),
        ('{ "time.zone" = "Europe/Berlin" }', "says nothing without a condition on time"),
        ('{ "plan.x" = { min = "three" } }', "must be an integer"),
        ('{ "plan.x" = { max = true } }', "must be an integer"),
        ('"x"', "where: must be a table"),
    ],
)  # fmt: skip
def test_a_condition_that_can_never_hold_is_refused(where: str, said: str) -> None:
    (told,) = problems(grant(where=where))
    assert told.startswith("grants[0].where")
    assert said in told


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (grant(principals="[]"), "grants[0].principals: must not be empty"),
        (grant(principals='["cluade"]'), 'there is no principal "cluade" (did you mean "claude"?)'),
        (grant(principals='["group:assistant"]'), 'no principal is in "group:assistant" (did you mean'),
        (grant(principals='["claude", "claude"]'), "is listed twice"),
        (grant(principals='"claude"'), "must be a list"),
        (grant(principals="[3]"), "must be a string"),
        (grant().replace(f'contract = "{label("set_flag")}"', ""), "`keyturn policy pin` writes it"),
        (grant().replace("sha256:", "sha1:"), "is no pin like v1 sha256:"),
        (grant().replace('tool = "set_flag"', ""), "grants[0].tool: is missing"),
        (grant(tool="get_permissions"), "needs no grant"),
        (grant(tool="get_ticket", approval=APPROVAL), "only reads: nobody can be asked"),
        (grant(mode='"quiet"'), 'must be one of "live", "shadow"'),
        (grant(risk="{ hold_at = 40 }"), "nobody is named who could agree"),
        (grant(name="a\\u202eb"), "control, invisible or bidirectional"),
        (grant(name="a\\nb"), "control, invisible or bidirectional"),
        (grant(name=" "), "must have 1 to 200 characters"),
        (grant(name="x" * 201), "must have 1 to 200 characters"),
        (grant(name="a") + grant(name="a"), '"a" is the id of grants[0] already'),
        (grant(name="a") + budget(name="a", limits='["1 call per day"]'), '"a" is the id of grants[0] already'),
        (grant(limits="[]"), "limits: must not be empty"),
        (grant(limits='["0 calls per hour"]'), "write it like"),
        (grant(limits='["3 kittens per hour"]'), "kittens cannot be counted"),
        (grant(limits='["3 calls per hour per moon"]'), "cannot count per moon"),
        (grant(limits='["3 calls per 8d"]'), "the longest window is 7 days"),
        (grant(limits='["3 calls per 0m"]'), "is not a duration"),
        (grant(limits='["3 pending per hour"]'), "waiting requests have no window"),
        (grant(limits='["9999999999999999 calls per hour"]'), "too large"),
        (forbid(where='{ "arguments.flag" = "x" }'), "name the rule's `tool`"),
        (budget(limits='["3 calls per hour"]', environments='["moon"]'), 'there is no environment "moon"'),
        (budget(limits='["3 calls per hour"]', environments="[]"), "must not be empty"),
        ("\n[grants]\nid = 3\n", "write [[grants]]"),
        ("\n[[grants]]\n", "grants[0].id: is missing"),
    ],
)
def test_a_rule_that_is_not_sound_is_refused(rule: str, said: str) -> None:
    told = problems(rule)
    assert any(said in line for line in told), told


def test_rules_that_are_no_list_are_refused() -> None:
    assert problems(people="grants = 3\n" + PEOPLE) == ("grants: must be a list of tables: write [[grants]]",)


@pytest.mark.parametrize(
    ("approval", "said"),
    [
        ("3", "grants[0].approval: must be a table"),
        ('{ from = ["group:sre"] }', "approval.quorum: is missing"),
        ('{ quorum = 0, from = ["group:sre"] }', "must be an integer from 1 to 100"),
        ("{ quorum = 1 }", "approval.from: is missing"),
        ("{ quorum = 1, from = [] }", "approval.from: must not be empty"),
        ('{ quorum = 1, from = ["group:nobody"] }', 'no reviewer is in "group:nobody"'),
        ('{ quorum = 1, from = ["alcie"] }', 'there is no reviewer "alcie" (did you mean "alice"?)'),
        ('{ quorum = 3, from = ["group:sre"] }', "3 people must agree, but only 2 can"),
        ('{ quorum = 2, from = ["group:sre"] }', 'only 1 can when the owner "carol" is left out'),
        ('{ quorum = 1, from = ["carol"] }', 'only 0 can when the owner "carol" is left out'),
        ('{ quorum = 2, from = ["group:sre"], keys = "hardware" }', "2 people with a hardware key must agree"),
        ('{ quorum = 1, from = ["carol"], keys = "hardware+pin" }', "with a hardware+pin key"),
        ('{ quorum = 1, from = ["alice"], keys = "software" }', 'must be one of "any", "hardware"'),
        ('{ quorum = 1, from = ["alice"], expires = "8d" }', "longer than 7 days"),
        ('{ quorum = 1, from = ["alice"], expires = "soon" }', "is not a duration"),
        ('{ quorum = 1, from = ["alice"], rejects = "all" }', "rejects: must be an integer"),
        ('{ quorum = 1, from = ["alice"], escalate = [{ to = "dave" }] }', "escalate[0].after: is missing"),
        ('{ quorum = 1, from = ["alice"], escalate = [{ after = "1h" }] }', "escalate[0].to: is missing"),
        ('{ quorum = 1, from = ["alice"], escalate = [{ after = "4h", to = "dave" }] }', "no sooner than"),
        ('{ quorum = 1, from = ["alice"], escalate = [{ after = "1h", to = ["x"] }] }', 'no reviewer "x"'),
        ('{ quorum = 1, from = ["alice"], by = "all" }', 'unknown key "by"'),
    ],
)
def test_an_approval_nobody_could_give_is_refused(approval: str, said: str) -> None:
    told = problems(grant(approval=approval))
    assert any(said in line and line.startswith("grants[0].approval") for line in told), told


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace("version = 1", "version = 2"), "version: must be an integer from 1 to 1"),
        (lambda text: text.replace("version = 1", ""), "version: is missing"),
        (lambda text: text.replace('owner = "bob"', 'owner = "bbo"'), "is in neither [reviewers] nor [people] (did"),
        (lambda text: text.replace("people.bob", "people.Alice").replace('"bob"', '"Alice"'), "another section"),
        (lambda text: text.replace("people.bob", "people.claude").replace('"bob"', '"carol"'), "another section"),
        (lambda text: text + "[principals.Claude]\n", 'differs from "claude" only in case'),
        (lambda text: text + '[principals."a b"]\n', "is no name"),
        (lambda text: text + '[principals."a\\u202eb"]\n', "is no name"),
        (lambda text: text.replace('["assistants"]', '["bad group"]'), "is no name"),
        (lambda text: text.replace(key("carol"), key("alice")), "is already the key of alice"),
        (lambda text: text.replace(key("carol"), "ssh-ed25519 AAAA"), "reviewers.carol.keys[0]: "),
        (lambda text: text.replace("ssh-ed25519 ", "ssh-ed25519-cert-v01@openssh.com "), "certificates are not"),
        (lambda text: text.replace(f'keys = ["{hardware_key("dave")}"]', ""), "reviewers.dave.keys: is missing"),
        (lambda text: text.replace("forge:sandbox/*", "sandbox"), "must look like <port>:<name>/<object>"),
        (lambda text: text.replace("forge:sandbox/*", "forge:[ab]/*"), "sets and alternatives"),
        (lambda text: text + 'lane = "red"\n', 'environments.production.lane: there is no lane "red"'),
        (lambda text: text + "\n[people.eve]\ndisplay = 3\n", "people.eve.display: must be a string"),
    ],
)
def test_a_world_that_is_not_sound_is_refused(change: Callable[[str], str], said: str) -> None:
    told = problems(people=change(PEOPLE))
    assert any(said in line for line in told), told


@pytest.mark.parametrize("section", ["reviewers", "people", "principals", "environments"])
@pytest.mark.parametrize("name", ["\u0430lice", "zo\u00eb", "\uff41lice", "al\u0131ce"])
def test_a_name_outside_ascii_is_refused_under_its_path(section: str, name: str) -> None:
    """Reviewers' names become members of entries, which are ASCII; the others must not look like them."""
    told = problems(people=PEOPLE + f'[{section}."{name}"]\n')
    assert f'{section}."{name}": is no name: use letters, digits and . _ @ -, at most 64' in told


@pytest.mark.parametrize("section", ["reviewers", "principals"])
def test_a_group_outside_ascii_is_refused_under_its_path(section: str) -> None:
    told = problems(people=PEOPLE + f'[{section}.zoe]\ngroups = ["\u0455re"]\n')
    assert f'{section}.zoe.groups: "\u0455re" is no name: use letters, digits and . _ @ -' in told


def test_every_name_a_policy_takes_may_be_a_member_of_an_entry() -> None:
    reviewers = {name: [key.line for key in reviewer.keys] for name, reviewer in policy().reviewers.items()}
    assert kinds.KINDS["policy.activated"]["reviewers"](reviewers) is None
    alike = {"\u0430lice": reviewers["alice"]}
    assert kinds.KINDS["policy.activated"]["reviewers"](alike) == "'\\u0430lice': a name in ASCII"
    assert kinds.KINDS["action.requested"]["reviewers"](alike) == "'\\u0430lice': a name in ASCII"


def test_files_the_policy_does_not_use_and_a_missing_policy_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"\"other\.toml\": is not used by policy.toml"):
        read_policy({"policy.toml": PEOPLE, "other.toml": ""}, CATALOG)
    with pytest.raises(ConfigurationError, match=r"policy.toml: is missing"):
        read_policy({}, CATALOG)


def test_the_digest_is_that_of_the_manifest_of_files() -> None:
    assert policy().digest == manifest_digest({"policy.toml": PEOPLE})
    assert policy("\n# a comment\n").digest != policy().digest


def test_reviewers_keep_keys_and_groups_and_a_pin_is_told_by_place() -> None:
    read = policy(grant(name="a"), grant(name="b", tool="update_ticket"))
    assert [key.hardware for key in read.reviewers["alice"].keys] == [False, True]
    assert read.reviewers["dave"].groups == {"oncall"}
    assert read.people["bob"].display == "Bob"
    assert read.pins() == {
        "grants[0]": ("set_flag", label("set_flag")),
        "grants[1]": ("update_ticket", label("update_ticket")),
    }


def test_a_pin_that_no_longer_fits_its_contract_still_loads() -> None:
    stale = "v9 sha256:" + "0" * 64
    assert policy(grant().replace(label("set_flag"), stale)).pins()["grants[0]"] == ("set_flag", stale)


def test_what_is_allowed_but_hardly_meant_is_warned_of() -> None:
    doubled = PEOPLE.replace('"flags:production/**"', '"flags:production/**", "forge:sandbox/*"')
    late = '{ quorum = 1, from = ["carol"], escalate = [{ after = "1h", to = "dave" }] }'
    told = policy(
        grant(name="late", approval=late),
        grant(name="unscoped", tool="open_pull_request", principals='["lone"]'),
        grant(name="closed", tool="update_ticket", principals='["claude"]'),
        forbid(tool='"update_ticket"'),
        budget(limits='["1 call per day"]', tool='"rollback_deployment"'),
        people=doubled + '\n[principals.idle]\nowner = "bob"\n',
    ).warnings()
    assert told == (
        "principals.lone: no owner is set, so four eyes are not enforced for this assistant",
        (
            'environments.production.targets: "forge:sandbox/*" is in staging and production, '
            "and a target in two environments is always denied"
        ),
        "grants[0].approval: enough people may review only after escalation",
        'grants[1]: can never match: none of its principals has the scope "pr:write"',
        'grants[2]: can never match: forbids[0] ("f") forbids all of it',
        "limits[0]: binds nothing: no grant is about its principals and tool",
        "principals.idle: no grant is about it, so it may do nothing",
    )


def test_a_policy_without_environments_is_warned_of() -> None:
    text = PEOPLE.split("[environments")[0]
    assert any("has no environments" in line for line in policy(grant(), people=text).warnings())


def test_tools_are_visible_where_a_grant_and_the_scopes_reach() -> None:
    read = policy(grant(), grant(name="t", tool="update_ticket"), grant(name="r", tool="rollback_deployment"))
    about_self = {"cancel_action", "get_action", "get_permissions", "list_actions", "undo_action"}
    assert read.visible_tools("claude", None) == {"set_flag", "update_ticket", "rollback_deployment", *about_self}
    assert read.visible_tools("codex", None) == {"set_flag", "update_ticket", *about_self}
    assert read.visible_tools("claude", frozenset({"ticket:write"})) == {"update_ticket", *about_self}
    assert read.visible_tools("nobody", None) == frozenset()


def test_a_tool_forbidden_whatever_the_arguments_is_not_visible() -> None:
    closed = policy(grant(), forbid(tool='"set_flag"', principals='["lone"]'))
    assert "set_flag" not in closed.visible_tools("lone", None)
    assert "set_flag" in closed.visible_tools("claude", None)
    assert "set_flag" in policy(grant(), forbid(mode='"shadow"')).visible_tools("claude", None)
