"""Texts made to hurt end soon, with a problem under a path, and never as a policy."""

from __future__ import annotations

import pytest

from keyturn.policy.problems import Problems
from keyturn.policy.shown import LONGEST, is_plain, shown
from keyturn.policy.tables import Table
from tests.policy.world import grant, problems


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("version = 1\nversion = 2\n", "is not TOML: Cannot overwrite a value"),
        ("[a]\n[a]\n", "is not TOML: Cannot declare"),
        ("x = \n", "is not TOML: Invalid value (at line 1"),
        ("x = '\x00'", "is not TOML: "),
        ("x = " + "9" * 900_000, "is not TOML: Exceeds the limit"),
        ("x = " + "[" * 500_000, "is nested deeper than 16"),
        ("x = " + "{a=" * 300_000, "is nested deeper than 16"),
        ("x = " + "[" * 30 + "]" * 30, "is nested deeper than 16"),
        ("a." * 500_000 + "a = 1", "line 1: a dotted key of more than 16 parts"),
        ("\n\n" + '"\\"".' * 200_000 + "a = 1", "line 3: a dotted key of more than 16 parts"),
        ("[" + "'a' . " * 150_000 + "a]", "line 1: a dotted key of more than 16 parts"),
        ("#" * (1024 * 1024 + 1), "has 1048577 bytes; at most 1048576 are read"),
        ("é" * 600_000, "has 1200000 bytes"),
        ("# \ud800", "is not valid Unicode at character 2"),
        ("\n".join(f"key{n} = 1" for n in range(60_000)), 'key0: unknown key "key0"'),
        ("\n".join("[[grants]]" for _ in range(19_000)), "grants[0].id: is missing"),
        ("\n".join(f"[principals.a{n}]" for n in range(40_000)), "version: is missing"),
        ("[people]\n" + "\n".join(f"'{n}\u202e' = 1" for n in range(30_000)), "is no name"),
        ("\n".join(f"[[limits]]\nid = 'a{n}'" for n in range(40_000)), "policy.toml: has more than 20000 rules"),
    ],
)  # fmt: skip
def test_a_hostile_text_is_refused_soon(text: str, said: str) -> None:
    told = problems(people=text)
    assert any(said in line for line in told)
    assert len(told) <= 501
    assert all(is_plain(line) for line in told)


def test_a_huge_valid_text_still_fits() -> None:
    rules = "".join(grant(f"g{n}", where='{ "arguments.flag" = "a" }') for n in range(1000))
    assert problems(rules + "oops = 1") == ('grants[999].oops: unknown key "oops"',)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain", '"plain"'),
        ("\x1b[31m\u202ered", '"\ufffd[31m\ufffdred"'),
        ("x" * 100, '"' + "x" * 78 + "…"),
        (True, "true"),
        (False, "false"),
        (12, "12"),
        (2**70, "a huge number"),
        ([1, 2], "a list of 2"),
        ({"a": 1}, "a table"),
        (1.5, "1.5"),
    ],
)
def test_a_value_is_shown_in_one_harmless_line(value: object, written: str) -> None:
    assert shown(value) == written
    assert len(shown(value)) <= LONGEST


def test_helpers_that_take_defaults_keep_them_when_the_value_is_wrong() -> None:
    found = Problems()
    table = Table({"n": "x", "d": "1h", "t": []}, "here", found)
    assert table.integer("n", low=1, default=4) == 4
    assert table.text("t", default="word") == "word"
    assert len(found) == 2
