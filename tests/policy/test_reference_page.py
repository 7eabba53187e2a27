"""The reference page tells the truth: its examples load, and it names every key, unit and operator there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from keyturn.policy import pin, read_policy
from keyturn.policy.conditions import OPERATORS, OPTION
from keyturn.policy.documents import calendars_of
from keyturn.policy.limits import UNITS
from keyturn.policy.paths import WEEKDAYS
from keyturn.policy.patterns import glob
from keyturn.policy.rules import KEY_CLASSES
from keyturn.policy.usage import DIMENSIONS
from tests.policy.freezes.calendars import calendar, event
from tests.policy.world import CATALOG

PAGE = (Path(__file__).parents[2] / "docs/reference/policy.md").read_text()
BLOCKS = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


def files(text: str) -> dict[str, str]:
    """A policy of this text, with the calendars its freezes name."""
    weekend = event(":20261204T180000", ":20261207T060000", "RRULE:FREQ=WEEKLY;BYDAY=FR")
    return {"policy.toml": pin(text, CATALOG), **dict.fromkeys(calendars_of(text), calendar(weekend))}


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_each_example_loads_beside_the_first_without_a_warning(number: int) -> None:
    text = BLOCKS[0] + (BLOCKS[number] if number else "")
    warnings = read_policy(files(text), CATALOG).warnings()
    assert [line for line in warnings if "no grant is about" not in line] == []


def test_all_examples_load_together_without_a_warning() -> None:
    read = read_policy(files("".join(BLOCKS)), CATALOG)
    assert (len(read.grants), len(read.forbids), len(read.budgets), read.warnings()) == (6, 2, 3, ())
    assert len(read.freezes) == 2


@pytest.mark.parametrize("word", [*OPERATORS, OPTION, *UNITS, *DIMENSIONS, *KEY_CLASSES, WEEKDAYS[0], WEEKDAYS[-1]])
def test_every_word_of_the_language_stands_on_the_page(word: str) -> None:
    assert re.search(rf"(?<![\w]){re.escape(word)}(?![\w])", PAGE), word


@pytest.mark.parametrize(
    "key",
    re.findall(
        r"\w+",
        "version display owner groups scopes keys targets id principals tool contract where limits approval mode "
        "anchor quorum from expires rejects escalate after to per environments lane tools recipients retention cost "
        "runtime execute per_principal per_owner total waiting patience over on_unknown_outcomes on_anchor_lag "
        "on_incident tools calendar timezone effect override valid",
    ),
)
def test_every_key_has_an_example(key: str) -> None:
    assert any(re.search(rf"(?m)(?:^|[{{ ,]){key} =", block) for block in BLOCKS), key


def test_the_words_on_globs_hold() -> None:
    assert glob("docs/**").matches("docs/a/b")
    assert not glob("docs/*").matches("docs/a/b")
    assert glob("**/x").matches("x")
    assert glob(r"\[x\]").matches("[x]")
