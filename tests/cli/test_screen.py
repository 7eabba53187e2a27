"""What others wrote is shown on the screen and never interpreted by it."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.cli.screen import cells, folded, plain, safe
from keyturn.cli.sheet import INDENT, Line, laid_out
from keyturn.cli.times import ago, span

NOW = datetime(2026, 11, 21, 9, tzinfo=UTC)
HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


@given(st.text())
def test_safe_text_holds_nothing_a_terminal_obeys_or_hides(text: str) -> None:
    assert all(unicodedata.category(character) not in HIDDEN for character in safe(text))


@given(st.text())
def test_safe_lines_differ_from_safe_text_by_newlines_and_tabs_alone(text: str) -> None:
    shown = safe(text, lines=True)
    assert safe(shown.replace("\n", "").replace("\t", "")) == shown.replace("\n", "").replace("\t", "")
    assert shown.count("\n") == text.count("\n")


@given(st.text())
def test_plain_text_is_printable_ascii(text: str) -> None:
    assert all(" " <= character <= "~" for character in plain(text))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain words", "plain words"),
        ("naïve Ωmega 日本", "naïve Ωmega 日本"),
        ("\x1b[2J", "\\u{1b}[2J"),
        ("a\u202eb\u2066c", "a\\u{202e}b\\u{2066}c"),
        ("zero\u200bwidth\ufeff", "zero\\u{200b}width\\u{feff}"),
        ("blank\u3164\u2800\ufe0f", "blank\\u{3164}\\u{2800}\\u{fe0f}"),
        ("no\u00a0break", "no\\u{a0}break"),
        ("\u0301\u0301\u0301", "\u0301\u0301\\u{301}"),
        ("\x7f\x85\r", "\\u{7f}\\u{85}\\u{d}"),
    ],
)
def test_what_is_hidden_is_written_out_and_words_stay(text: str, shown: str) -> None:
    assert safe(text) == shown


@given(st.text(alphabet=st.characters(codec="ascii", min_codepoint=32, max_codepoint=126)), st.integers(1, 50))
def test_folding_loses_nothing_but_the_space_it_breaks_at(text: str, width: int) -> None:
    rows = folded(text, width)
    assert all(len(row) <= width for row in rows)
    assert "".join(rows).replace(" ", "") == text.replace(" ", "")


@given(st.text(alphabet="日本ab é"), st.integers(2, 12))
def test_wide_characters_are_folded_by_the_cells_they_take(text: str, width: int) -> None:
    rows = folded(safe(text), width)
    assert all(cells(row) <= width for row in rows)


@given(st.text(), st.integers(20, 200))
def test_no_text_reaches_the_column_of_the_labels(text: str, columns: int) -> None:
    first, *rest = laid_out([Line("Reason", text)], columns)
    assert first.startswith("Reason")
    assert all(row[: INDENT + 2].strip() == "" for row in rest)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "just now"), (59, "59 seconds ago"), (60, "1 minute ago"), (7199, "1 hour ago"), (86_400 * 3, "3 days ago")],
)
def test_the_past_is_said_in_one_unit(seconds: int, said: str) -> None:
    assert ago(NOW - timedelta(seconds=seconds), NOW) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-5, "0s"), (0, "0s"), (45, "45s"), (125, "2m"), (3600, "1h"), (3700, "1h 1m"), (90_000, "1d 1h")],
)
def test_a_span_is_said_in_two_units_at_most(seconds: int, said: str) -> None:
    assert span(NOW, NOW + timedelta(seconds=seconds)) == said
