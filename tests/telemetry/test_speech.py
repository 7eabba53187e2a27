"""Lines on standard error: one each, safe on a terminal, and without a word of what was handed in."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.model.errors import ConnectorError, LedgerError
from keyturn.telemetry.speech import LONGEST, LONGEST_NAME, Form, line, place_of, say, set_up, tell
from keyturn.telemetry.trace import Trace, current

CANARY = "sk-c4n4ry-91a7"
LOG = logging.getLogger("keyturn.somewhere")


class Spoken:
    """Standard error as the set-up meets it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._stream = io.StringIO()
        self._patch = monkeypatch

    def set_up(self, form: Form = "text", *, stamped: bool = False) -> None:
        self._patch.setattr(sys, "stderr", self._stream)  # here: pytest has one of its own for each phase of a test
        set_up(form, "keyturn test", stamped=stamped)

    @property
    def text(self) -> str:
        return self._stream.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


def fail(error: Exception) -> None:
    raise error


@pytest.fixture
def spoken(monkeypatch: pytest.MonkeyPatch) -> Iterator[Spoken]:
    ours, root = logging.getLogger("keyturn"), logging.getLogger()
    before = ours.handlers[:], ours.propagate, root.handlers[:], logging.raiseExceptions
    level = ours.level
    with warnings.catch_warnings():
        yield Spoken(monkeypatch)
    ours.handlers[:], ours.propagate, root.handlers[:], logging.raiseExceptions = before
    ours.setLevel(level)


def test_an_event_is_one_object_with_the_listed_fields_and_no_others(spoken: Spoken) -> None:
    spoken.set_up("json")
    token = current.set(Trace("a" * 32, "b" * 16))
    try:
        tell(
            "call.finished",
            "finished",
            ms=12,
            principal="claude",
            tool="get_ticket",
            status="succeeded",
            token=CANARY,
        )
    finally:
        current.reset(token)
    [said] = spoken.lines
    assert datetime.fromisoformat(said.pop("ts")).tzinfo is not None
    assert said == {
        "level": "info",
        "event": "call.finished",
        "message": "finished",
        "program": "keyturn test",
        "pid": os.getpid(),
        "trace_id": "a" * 32,
        "span_id": "b" * 16,
        "principal": "claude",
        "tool": "get_ticket",
        "status": "succeeded",
        "ms": 12,
    }


def test_other_attributes_of_a_record_stay_out(spoken: Spoken) -> None:
    spoken.set_up("json")
    LOG.warning("a note", extra={"arguments": CANARY, "ms": CANARY, "action": 7})
    [said] = spoken.lines
    assert CANARY not in spoken.text
    assert (said["event"], said["action"]) == ("note", "7")


def test_text_tells_warnings_and_what_is_said_and_leaves_events_to_programs(spoken: Spoken) -> None:
    spoken.set_up()
    tell("call.finished", "finished")
    LOG.info("nothing new")
    LOG.warning("look at %s", "this")
    say("listening\non 127.0.0.1")
    assert spoken.text == "keyturn: look at this\nkeyturn: listening on 127.0.0.1\n"


def test_lines_that_go_into_a_file_begin_with_their_time(spoken: Spoken) -> None:
    spoken.set_up(stamped=True)
    LOG.warning("look")
    time, _, rest = spoken.text.partition(" ")
    assert rest == "keyturn: look\n"
    assert time.endswith("Z")


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_words_of_foreign_exceptions_are_not_repeated(spoken: Spoken, form: Form) -> None:
    spoken.set_up(form)
    try:
        fail(ConnectorError(f"the back end said {CANARY}"))
    except ConnectorError as error:
        LOG.warning("it failed: %s", error)
        LOG.exception("in the middle of %s", "7k2m")
    assert CANARY not in spoken.text
    assert spoken.text.count("ConnectorError at ") == 2
    assert "in the middle of 7k2m: ConnectorError at " in spoken.text
    assert len(spoken.text.splitlines()) == 2


def test_our_own_errors_are_told_in_their_own_words(spoken: Spoken) -> None:
    spoken.set_up()
    LOG.error("stopped: %s", LedgerError("entry 7 was changed"))
    assert spoken.text == "keyturn: stopped: entry 7 was changed\n"


def test_a_record_with_named_arguments_tells_its_template_alone(spoken: Spoken) -> None:
    spoken.set_up()
    LOG.warning("made of %(secret)s", {"secret": CANARY})
    assert spoken.text == "keyturn: made of %(secret)s\n"


def test_libraries_and_their_warnings_are_not_heard(spoken: Spoken) -> None:
    spoken.set_up("json")
    logging.getLogger("uvicorn").error("%s", CANARY)
    warnings.warn(CANARY, stacklevel=1)
    assert spoken.text == ""


def test_a_second_set_up_takes_the_place_of_the_first(spoken: Spoken) -> None:
    spoken.set_up()
    spoken.set_up("json")
    say("once", event="server.started")
    [said] = spoken.lines
    assert (said["event"], said["level"]) == ("server.started", "info")


def test_what_an_event_tells_is_no_warning_and_a_bare_line_is_one(spoken: Spoken) -> None:
    spoken.set_up("json")
    say("serving", event="server.listening")
    say("look at this")
    assert [line["level"] for line in spoken.lines] == ["info", "warning"]


def test_text_tells_what_is_said_with_an_event_and_no_other_event(spoken: Spoken) -> None:
    spoken.set_up()
    say("serving", event="server.listening")
    tell("call.finished", "a call")
    assert spoken.text == "keyturn: serving\n"


def test_a_line_that_cannot_be_made_is_lost_without_a_traceback(spoken: Spoken) -> None:
    spoken.set_up()
    LOG.warning("%d", CANARY)
    assert spoken.text == ""


@given(st.text(max_size=3000))
def test_a_line_is_one_line_without_control_characters(text: str) -> None:
    said = line(text)
    assert len(said) <= LONGEST + len("keyturn: ")
    assert not any(ord(character) < 32 or 0x7F <= ord(character) < 0xA0 for character in said)


def test_hostile_names_are_cleaned_and_cut(spoken: Spoken) -> None:
    spoken.set_up("json")
    tell("call.finished", "\x1b[2J\u202egone", tool="x" * 1000 + "\x1b", principal="a\nb")
    [said] = spoken.lines
    assert said["message"] == "[2Jgone"
    assert said["principal"] == "a b"
    assert len(said["tool"]) == LONGEST_NAME


def test_an_exception_that_was_never_raised_has_no_place() -> None:
    assert place_of(ValueError(CANARY)) == "ValueError"
