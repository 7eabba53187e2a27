"""The three forms of an answer: JSON on request, tab-separated lines in a pipe; tables are tested on a terminal."""

from __future__ import annotations

import json

import click
import pytest

from keyturn.cli.frame import Exit, worst
from keyturn.cli.moments import moment_of
from keyturn.cli.output import Column, emit, emit_json, select, widths
from keyturn.cli.times import minute

ROWS = [{"name": "a\tb\n\x1b[31m", "there": True, "tags": ["x", "y"], "deep": {"k": 1}, "none": None}]
COLUMNS = [Column(name.upper(), name) for name in ROWS[0]]


def test_a_pipe_gets_one_complete_line_for_each_row(capsys: pytest.CaptureFixture[str]) -> None:
    emit(ROWS, as_json=False, columns=COLUMNS)
    assert capsys.readouterr().out == 'a\\u{9}b\\u{a}\\u{1b}[31m\tyes\tx, y\t{"k": 1}\t\n'


def test_a_pipe_gets_a_record_as_names_and_values(capsys: pytest.CaptureFixture[str]) -> None:
    emit(ROWS[0], as_json=False, columns=COLUMNS[:2])
    assert capsys.readouterr().out == "name\ta\\u{9}b\\u{a}\\u{1b}[31m\nthere\tyes\n"


def test_no_rows_are_no_output(capsys: pytest.CaptureFixture[str]) -> None:
    emit([], as_json=False, columns=COLUMNS)
    assert capsys.readouterr() == ("", "")


def test_json_is_exact_and_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"text": "é\u202e\x7f\x1b", "n": 3}
    emit_json(value)
    out = capsys.readouterr().out
    assert out.isascii()
    assert all(character.isprintable() or character == "\n" for character in out)
    assert json.loads(out) == value


def test_fields_are_chosen_in_the_order_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    emit(ROWS, as_json="none, there", columns=COLUMNS)
    assert capsys.readouterr().out == '[{"none": null, "there": true}]\n'


def test_an_unknown_field_is_refused_with_the_known_ones() -> None:
    with pytest.raises(click.UsageError, match="no field nine; there are: name, there"):
        select(ROWS, "name,nine")
    assert select([], "name") == []


def test_the_worst_of_several_exit_codes_counts() -> None:
    assert worst([Exit.OK, Exit.REFUSED, Exit.CONFLICT, Exit.NOT_FOUND]) == Exit.CONFLICT
    assert worst([Exit.NOT_FOUND, Exit.OK]) == Exit.NOT_FOUND
    assert worst([Exit.OK, Exit.FAILURE]) == Exit.FAILURE
    assert worst([]) == Exit.OK


def test_a_narrow_terminal_cuts_neither_headings_nor_whole_columns() -> None:
    columns = [Column("PRINCIPAL", "p"), Column("RULE", "r"), Column("RESETS", "t", whole=True)]
    assert widths(columns, [5, 40, 16], 80) == [9, 40, 16]
    assert widths(columns, [12, 40, 16], 46) == [12, 12, 16]
    assert widths(columns, [12, 40, 16], 35) == [9, 4, 16]
    assert widths(columns, [12, 40, 16], 34) == [None, None, None]


def test_a_terminal_shows_times_to_the_minute() -> None:
    assert minute("2027-02-19T15:29:01.123456Z") == "2027-02-19 15:29"
    assert minute(None) == ""


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_time_that_has_no_utc_is_refused_as_one(text: str) -> None:
    with pytest.raises(click.UsageError, match="lies beyond the calendar"):
        moment_of(text)
