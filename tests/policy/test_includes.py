"""Policies of several files: what an included folder adds, and how problems in it are told."""

from __future__ import annotations

import pytest

from keyturn.model.errors import ConfigurationError
from keyturn.policy import Usage, evaluate, pin, read_policy
from tests.policy.freezes.calendars import calendar, event, freeze
from tests.policy.world import CATALOG, NOW, PEOPLE, budget, forbid, grant, request

INCLUDING = 'includes = ["policy.d/", "teams/"]\n'


def read(*, main: str = "", **parts: str) -> object:
    files = {f"policy.d/{name}.toml": text for name, text in parts.items()}
    return read_policy({"policy.toml": INCLUDING + PEOPLE + main, **files}, CATALOG)


def told(*, main: str = "", **parts: str) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        read(main=main, **parts)
    return caught.value.problems


def test_included_files_hold_the_same_tables_as_the_policy() -> None:
    split = read(
        web=grant("web"), rest=forbid("never", tool='"create_ticket"') + budget(limits='["5 calls per hour"]')
    )
    whole = read_policy(
        {
            "policy.toml": PEOPLE
            + grant("web")
            + forbid("never", tool='"create_ticket"')
            + budget(limits='["5 calls per hour"]')
        },
        CATALOG,
    )
    assert evaluate(split, request(), Usage(), NOW) == evaluate(whole, request(), Usage(), NOW)  # type: ignore[arg-type]  # a policy
    assert split.grants[0].place == "policy.d/web.toml: grants[0]"  # type: ignore[attr-defined]  # as above
    assert split.digest != whole.digest  # type: ignore[attr-defined]  # as above


def test_people_and_places_may_stand_in_included_files() -> None:
    policy = read(
        people='[principals.newcomer]\nscopes = ["odd:write"]\n[environments.lab]\ntargets = ["flags:lab/**"]\n',
        rules=grant("lab", principals='["newcomer"]'),
    )
    asked = request("newcomer", target="flags:lab/x")
    assert type(evaluate(policy, asked, Usage(), NOW)).__name__ == "Permit"  # type: ignore[arg-type]  # a policy


def test_one_digest_is_over_all_files() -> None:
    first = read(web=grant("web"))
    assert first.digest != read(web=grant("web") + "# a word\n").digest  # type: ignore[attr-defined]  # a policy
    assert first.digest == read(web=grant("web")).digest  # type: ignore[attr-defined]  # as above


def test_what_stands_in_two_files_is_told_with_both() -> None:
    problems = told(
        main=grant("same"),
        a='[people.eve]\n[environments.staging]\ntargets = ["x:y/z"]\n' + grant("same"),
        b="[people.Eve]\n",
    )
    assert problems == (
        'policy.d/b.toml: people.Eve: "eve" stands in policy.d/a.toml already',
        'policy.d/a.toml: environments.staging: "staging" stands in policy.toml already',
        'policy.d/a.toml: grants[0].id: "same" is the id of policy.toml: grants[0] already',
    )


def test_one_section_that_is_no_list_may_stand_in_one_file_only() -> None:
    problems = told(main="[queue]\n", a="[queue]\n")
    assert any(text.startswith("policy.d/a.toml: queue: stands in policy.toml already") for text in problems)


def test_what_concerns_the_whole_stands_in_the_policy_itself() -> None:
    problems = told(a='version = 1\nincludes = ["x/"]\ntests = "t/"\n[policy]\n')
    assert [text.split(":")[1].strip() for text in problems] == ["version", "includes", "tests", "policy"]
    assert all("stands in policy.toml only" in text for text in problems)


def test_problems_in_an_included_file_begin_with_its_path() -> None:
    problems = told(a="grants = 3\nnonsense = 1", b="not toml", c=grant("g", where='{ "arguments.flg" = "x" }'))
    assert problems[0].startswith("policy.d/b.toml: is not TOML")
    assert any(text.startswith("policy.d/a.toml: nonsense: unknown key") for text in problems)
    assert any(text.startswith("policy.d/a.toml: grants: must be a list of tables") for text in problems)
    assert any(text.startswith("policy.d/c.toml: grants[0].where") and '"flag"' in text for text in problems)


@pytest.mark.parametrize(
    "folder", ["/etc/", "../up/", "policy.d", "a/b/", ".hidden/", "state/", "tool_schemas/", "./"]
)
def test_only_folders_beside_the_policy_are_included(folder: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_policy({"policy.toml": f'version = 1\nincludes = ["{folder}"]'}, CATALOG)
    assert any(problem.startswith("includes: ") for problem in caught.value.problems)


def test_a_file_in_no_included_folder_is_not_part_of_the_policy() -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_policy({"policy.toml": INCLUDING + PEOPLE, "other/x.toml": "", "policy.d/x/y.toml": ""}, CATALOG)
    assert caught.value.problems == (
        '"other/x.toml": is not used by policy.toml',
        '"policy.d/x/y.toml": is not used by policy.toml',
    )


def test_a_freeze_in_an_included_file_names_a_calendar_beside_the_policy_or_in_its_folder() -> None:
    files = {
        "policy.toml": INCLUDING + PEOPLE + grant(),
        "policy.d/f.toml": freeze("a", "year.ics") + freeze("b", "policy.d/week.ics"),
        "year.ics": calendar(event(":20261120T000000Z", ":20261130T000000Z")),
        "policy.d/week.ics": calendar(event(":20261120T000000Z", ":20261125T000000Z")),
    }
    decision = evaluate(read_policy(files, CATALOG), request(), Usage(), NOW)
    assert [reason.rule for reason in decision.reasons] == ["a", "b"]


def test_pins_are_written_into_the_file_that_is_named() -> None:
    text = '[[grants]]\nid = "g"\ntool = "set_flag"\n'
    assert 'contract = "v1' in pin(text, CATALOG, "policy.d/web.toml")
    with pytest.raises(ConfigurationError, match=r"policy\.d/web\.toml: grants: "):
        pin('grants = [{ id = "g", tool = "set_flag" }]', CATALOG, "policy.d/web.toml")
