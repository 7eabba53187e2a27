"""Speaks to the operator on standard error: one line at a time, as text or as JSON, never a traceback or a payload.

What may stand in a line is listed here and nothing else gets in: the message that stands in our source, ids, states,
names the ledger knows, and the text of our own errors. An exception of anybody else may quote what a client or a back
end sent, so it is named by its type and the place it came from.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, Literal

from keyturn.model.errors import ConfigurationError, LedgerError, Refused
from keyturn.model.text import clean
from keyturn.model.time import format_timestamp
from keyturn.telemetry.trace import current

Form = Literal["text", "json"]
"""How lines are written: for people, or one JSON object per line for programs."""

FORMS: Final[tuple[Form, ...]] = ("text", "json")
LONGEST = 2000  # characters of one message
LONGEST_NAME = 200  # characters of one of the names beside it
NAMES: Final = ("principal", "tool", "action", "status")
"""What a line may carry beside event and message, where a record has it; `ms` is a number."""

_TOLD = 25  # between INFO and WARNING: what text tells too, and is nothing to worry about

_OURS = (LedgerError, ConfigurationError, Refused)  # their texts are written for operators and quote no payload
_log = logging.getLogger(__name__)


class _Text(logging.Formatter):
    """Writes the message alone, behind its time where the lines go into a file."""

    def __init__(self, *, stamped: bool) -> None:
        super().__init__()
        self._stamped = stamped

    def format(self, record: logging.LogRecord) -> str:
        time = f"{_time_of(record)} " if self._stamped else ""
        return f"{time}{line(_message_of(record))}"


class _Json(logging.Formatter):
    """Writes one JSON object in ASCII, with nothing in it but the fields listed here."""

    def __init__(self, program: str) -> None:
        super().__init__()
        self._program = program

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = {
            "ts": _time_of(record),
            "level": "info" if record.levelno == _TOLD else record.levelname.lower(),
            "event": _name(getattr(record, "event", "note")),
            "message": _one_line(_message_of(record)),
            "program": self._program,
            "pid": record.process,
        }
        if (trace := current.get()) is not None:
            fields |= {"trace_id": trace.trace_id, "span_id": trace.span_id}
        fields |= {name: _name(value) for name in NAMES if (value := getattr(record, name, None)) is not None}
        if isinstance(spent := getattr(record, "ms", None), int):
            fields["ms"] = spent
        return json.dumps(fields, ensure_ascii=True)


def set_up(form: Form = "text", program: str = "keyturn", *, stamped: bool = False) -> None:
    """Let our own lines through to standard error, and nobody else's: libraries quote what they were given.

    Text tells warnings, errors and what `say` says; `json` tells every event. `stamped` puts the time before each
    line of text.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json(program) if form == "json" else _Text(stamped=stamped))
    ours = logging.getLogger("keyturn")
    ours.handlers[:] = [handler]
    ours.setLevel(logging.INFO if form == "json" else _TOLD)
    ours.propagate = False
    logging.getLogger().addHandler(logging.NullHandler())
    logging.raiseExceptions = False  # a line that cannot be written is lost; its traceback would quote it
    warnings.simplefilter("ignore")


def say(message: str, event: str = "notice") -> None:
    """Tell the operator something that is to be read in either form: a warning, unless it names an event."""
    _log.log(logging.WARNING if event == "notice" else _TOLD, "%s", message, extra={"event": event})


def tell(event: str, message: str, *, ms: int | None = None, **names: str | None) -> None:
    """Note an event for the programs that read the log; `names` are some of `NAMES`, `ms` how long it took."""
    _log.info("%s", message, extra={"event": event, "ms": ms, **{name: names.get(name) for name in NAMES}})


def events_are_told() -> bool:
    """Say whether events get into the log, as they do in JSON."""
    return _log.isEnabledFor(logging.INFO)


def line(message: str) -> str:
    """Return a message as one line that is safe on a terminal."""
    return f"keyturn: {_one_line(message)}"


def place_of(error: BaseException) -> str:
    """Name an exception by its type and the place it came from; its text may quote what a client sent."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}"


def _message_of(record: logging.LogRecord) -> str:
    """Return the message with foreign exceptions named and not quoted, whether they are in it or hang on it."""
    given = record.args
    if isinstance(given, Mapping):
        text = str(record.msg)
    else:
        shown = tuple(_named(value) if isinstance(value, BaseException) else value for value in given or ())
        text = str(record.msg) % shown if shown else str(record.msg)
    hanging = record.exc_info[1] if record.exc_info else None
    return text if hanging is None else f"{text}: {_named(hanging)}"


def _named(error: BaseException) -> str:
    return str(error) if isinstance(error, _OURS) else place_of(error)


def _time_of(record: logging.LogRecord) -> str:
    return format_timestamp(datetime.fromtimestamp(record.created, UTC))


def _one_line(message: str) -> str:
    return clean(" ".join(message.split()), LONGEST)


def _name(value: object) -> str:
    return clean(" ".join(str(value).split()), LONGEST_NAME)
