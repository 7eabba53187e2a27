"""One definition of what hides in a text, and that every other one agrees with it."""

from __future__ import annotations

import re
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import keyturn
from keyturn.canon import Json
from keyturn.log import kinds
from keyturn.model.text import HIDDEN, LONGEST, SHAPING, clean, invisible, never_seen, replaced, told, visible
from keyturn.policy.shown import is_plain
from keyturn.tools.arguments.base import UNSEEN

EVERYTHING = [chr(point) for point in range(sys.maxunicode + 1)]
CLASS = re.compile(f"[{HIDDEN}]")
SET = frozenset(character for character in EVERYTHING if CLASS.match(character))
CATEGORIES = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
# Default_Ignorable_Code_Point beyond Cf below plane 4 (DerivedCoreProperties), and what is simply blank.
IGNORABLE = "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0"
BLANK = "\u2800\U0001d159"


def test_the_set_holds_every_control_format_and_private_character_and_no_other_that_is_seen() -> None:
    of_category = {character for character in EVERYTHING if unicodedata.category(character) in CATEGORIES}
    assert of_category - SET == {"\u200c", "\u200d"}
    assert set(IGNORABLE + BLANK) <= SET
    rest = SET - of_category - set(IGNORABLE + BLANK)
    newer = {chr(point) for point in range(0x13430, 0x13440)}  # format characters since Unicode 15
    selectors = {chr(point) for point in range(0xFE00, 0xFE0E)}
    assert all(
        unicodedata.category(character) == "Cn" or ord(character) > 0x40000 for character in rest - newer - selectors
    )
    assert all(chr(plane * 0x10000 + last) in SET for plane in range(17) for last in (0xFFFE, 0xFFFF))


@pytest.mark.parametrize(
    "text", ["plain", "naïve Ωmega", "日本語", "می‌خواهم", "क्‍ष", "👩‍🚒", "⚠️ look", "1\u00a0000", "❤️‍🔥", "\U00020000"]
)
def test_what_scripts_and_emoji_need_is_seen(text: str) -> None:
    assert invisible(text) == ()
    assert visible(text) == text


@pytest.mark.parametrize(
    "text",
    ["a\u200cb", "\u200d", "é\u200c\u200d", "é\u200d\u200d", "x\ufe0f", "⚠\ufe0f\ufe0e", "a\U000e0041", "a\xadb",
     "a\ufe00", "a\U000e0100", "\u3164", "a\u2800", "a\u180e", "a\x1b", "a\u2066b", "\ue000", "\ufdd0", "\udc00"],
)  # fmt: skip
def test_what_only_programs_read_is_found(text: str) -> None:
    assert invisible(text)
    assert never_seen(text)
    assert invisible(visible(text)) == ()


def test_the_places_are_told_and_some_characters_may_be_kept() -> None:
    assert invisible("a\tb\u202ec") == (1, 3)
    assert invisible("a\tb\u202ec", keep="\t") == (3,)
    assert visible("a\tb\U000e0041", keep="\t") == "a\tb\\u{e0041}"
    assert replaced("👩‍🚒") == "👩\ufffd🚒"


@given(st.text(), st.integers(1, 20))
def test_clean_text_is_bounded_and_hides_nothing_but_lines_and_tabs(text: str, limit: int) -> None:
    assert len(clean(text, limit)) <= limit
    assert not CLASS.search(clean(text, limit).translate({9: None, 10: None}))


def test_what_an_assistant_is_told_is_bounded_and_hides_nothing_at_any_depth() -> None:
    value: Json = {"a": ["x\U000e0041\n", ("y\u202e", 1, True, None)], "b": {"c": "\xad" * 100_000}}
    seen = told(value)
    assert isinstance(seen, dict)
    assert seen["a"] == ["x\\u{e0041}\n", ["y\\u{202e}", 1, True, None]]
    inner = seen["b"]
    assert isinstance(inner, dict)
    text = inner["c"]
    assert isinstance(text, str)
    assert len(text) == LONGEST
    assert text.endswith("…")


def members(inside: str) -> frozenset[str]:
    pattern = re.compile(f"[{inside}]")
    return frozenset(character for character in EVERYTHING if pattern.match(character))


def test_the_patterns_of_the_contracts_name_a_part_of_the_set() -> None:
    assert members(UNSEEN) < SET


def test_what_the_ledger_format_refuses_is_never_seen_and_what_a_policy_takes_the_format_takes_too() -> None:
    """The format's ranges are frozen: a policy must not take a name that no entry could carry."""
    refused = {character for character in EVERYTHING if kinds.text(1)(character)}
    assert refused < SET | set(SHAPING)
    assert not any(map(is_plain, refused))


def test_no_other_module_has_a_definition_of_its_own() -> None:
    """Screens add to the set what terminals cannot place; nobody else asks Unicode's tables what is hidden."""
    source = Path(keyturn.__file__).parent
    asking = {
        str(path.relative_to(source))
        for path in source.rglob("*.py")
        if "unicodedata.category" in path.read_text(encoding="utf-8")
    }
    assert asking <= {"cli/screen.py"}
