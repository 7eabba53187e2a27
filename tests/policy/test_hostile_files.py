"""Hostile files of a policy, its parts and its cases: dotted paths, all at once, soon, and never a policy."""

from __future__ import annotations

import pytest

from keyturn.model.errors import ConfigurationError
from keyturn.policy import read_policy
from keyturn.policy.lookalikes import look
from keyturn.policy.shown import is_plain
from tests.policy.freezes.calendars import calendar, event, freeze
from tests.policy.world import CATALOG, PEOPLE, budget, forbid, grant, problems

MAIN = 'tests = "policy_tests/"\nincludes = ["policy.d/"]\n' + PEOPLE
CASE = '[[cases]]\nname = "{}"\nprincipal = "claude"\ntool = "set_flag"\ntarget = "flags:a/b"\nexpect = "deny"\n'
PART, CASES = "policy.d/part.toml", "policy_tests/cases.toml"
HUGE = "9" * 30

HOSTILE = [
    ("version = 1\nversion = 2\n", "is not TOML: Cannot overwrite a value"),
    ("[a]\n[a]\n", "is not TOML: Cannot declare"),
    ("[[grants]]\n[grants]\n", "is not TOML: Cannot"),
    ("a = { b = 1, b = 2 }", "is not TOML: "),
    ("x = '\x00'", "is not TOML: "),
    ("x = " + "9" * 900_000, "is not TOML: Exceeds the limit"),
    ("x = 0x" + "f" * 900_000, "unknown key"),
    ("x = " + "[" * 500_000, "is nested deeper than 16"),
    ("x = " + "{a=" * 300_000, "is nested deeper than 16"),
    ("a." * 500_000 + "a = 1", "line 1: a dotted key of more than 16 parts"),
    ("#" * (1024 * 1024 + 1), "has 1048577 bytes; at most 1048576 are read"),
    ("# \ud800", "is not valid Unicode at character 2"),
    ("\n".join(f"key{n} = 1" for n in range(60_000)), 'key0: unknown key "key0"'),
    ("'gr\u0430nts' = 1", "unknown key"),
    ("'\u202eedis' = 1", "unknown key"),
]


def told(main: str = "", part: str = "", case: str = CASE.format("one"), **more: str) -> tuple[str, ...]:
    """The problems of a policy of three files, and `x.ics` if given."""
    files = {"policy.toml": MAIN + main, PART: part, CASES: case}
    with pytest.raises(ConfigurationError) as caught:
        read_policy({**files, **{f"{name}.ics": text for name, text in more.items()}}, CATALOG)
    return caught.value.problems


@pytest.mark.timeout(20)
@pytest.mark.parametrize("place", [PART, CASES])
@pytest.mark.parametrize(("text", "said"), HOSTILE, ids=[said[:30] + text[:8] for text, said in HOSTILE])
def test_a_hostile_file_beside_the_policy_is_refused_soon_under_its_name(place: str, text: str, said: str) -> None:
    found = told(part=text) if place == PART else told(case=text)
    assert any(line.startswith(f"{place}: ") and said in line for line in found)
    assert len(found) <= 501
    assert all(is_plain(line) and len(line) < 400 for line in found)


def test_what_is_wrong_in_any_file_is_told_at_once_under_its_path() -> None:
    found = told(
        main=grant("g", limits=f'["{HUGE} calls per hour"]', where=f'{{ "arguments.percent" = {HUGE} }}', sugar="1")
        + forbid("g", tool='"set_flags"')
        + freeze("z", effect='"quiet"'),
        part=budget("b", limits=f'["1 calls per {HUGE}s"]', principals='["nobody"]') + grant("G", tool="set_flag"),
        case=CASE.format("one") + f"arguments = {{ percent = {HUGE} }}\n" + CASE.format("one") + "wehn = 1\n",
        x=calendar(event(":20261201T000000Z", ":20261201T120000Z", "RRULE:FREQ=SECONDLY")),
    )
    for path in (
        "grants[0].limits[0]: ",
        "grants[0].where.arguments.percent: is too large",
        'grants[0].sugar: unknown key "sugar"',
        'forbids[0].id: "g" is the id of grants[0]',
        'forbids[0].tool: there is no tool "set_flags" (did you mean "set_flag"?)',
        "freezes[0].effect: ",
        "x.ics: ",
        f"{PART}: limits[0].limits[0]: ",
        f"{PART}: limits[0].principals",
        f'{PART}: grants[0].id: "G" looks like "g", the id of policy.toml: grants[0]',
        f"{CASES}: cases[0]",
        f"{CASES}: cases[1].name",
        f"{CASES}: cases[1].wehn",
    ):
        assert any(line.startswith(path) for line in found), (path, found)


@pytest.mark.parametrize(
    "other",
    [
        "Never Touch Prod",
        "n\u0435ver touch prod",
        "never touch \u0440rod",
        "never  touch prod",
        "never touch prod ",
        "never\u00a0touch prod",
        "\uff4eever touch prod",
        "nev\u200der touch prod",
        "n\u03b5ver touch pr\u03bfd",
    ],
)
def test_two_rules_whose_ids_look_alike_are_refused_with_both_places(other: str) -> None:
    found = problems(grant("never touch prod"), forbid(other))
    assert any(
        line.startswith("forbids[0].id: ") and ('"never touch prod"' in line or "invisible" in line) for line in found
    )


def test_ids_that_differ_for_a_reader_stay_apart() -> None:
    ids = [
        "web 1",
        "web 2",
        "web-1",
        "\u043d\u0435\u0442",
        "net",
        "caf\u00e9",
        "cafe",
        "\u65e5\u672c",
        "\u65e5\u672c\u8a9e",
    ]
    assert len({look(text) for text in ids}) == len(ids)
    assert look("caf\u00e9") == look("cafe\u0301")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[principals."cl\u0430ude"]\n', 'principals."cl\u0430ude": is no name'),
        ('[people."\u0430lice"]\n', 'people."\u0430lice": is no name'),
        ("[principals.Claude]\n", "principals.Claude: "),
        ('[environments."st\u0430ging"]\ntargets = ["flags:x/*"]\n', "is no name"),
        ('[lanes."r\u0435d"]\n', "is no name"),
    ],
)
def test_names_that_could_be_taken_for_others_are_refused(text: str, said: str) -> None:
    assert any(said in line for line in told(main=text)), told(main=text)
    assert any(said in line for line in told(part=text)), told(part=text)
