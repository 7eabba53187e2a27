"""Speaks to the operator on standard error: one plain line at a time, never a traceback or a payload."""

from __future__ import annotations

import logging
import sys
import traceback
import warnings

from keyturn.model.text import clean

LONGEST = 2000  # characters of one line


class _OneLine(logging.Formatter):
    """Writes the message alone; exceptions that hang on a record are left out."""

    def format(self, record: logging.LogRecord) -> str:
        return line(record.getMessage())


def set_up() -> None:
    """Let our own warnings through to standard error, and nobody else's: libraries quote what they were given."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine())
    ours = logging.getLogger("keyturn")
    ours.addHandler(handler)
    ours.setLevel(logging.WARNING)
    ours.propagate = False
    logging.getLogger().addHandler(logging.NullHandler())
    warnings.simplefilter("ignore")


def say(message: str) -> None:
    """Write one line to standard error."""
    print(line(message), file=sys.stderr, flush=True)  # noqa: T201 - the operator's line, on stderr


def line(message: str) -> str:
    """Return a message as one line that is safe on a terminal."""
    shown = clean(" ".join(message.split()), LONGEST)
    return f"keyturn: {shown}"


def place_of(error: BaseException) -> str:
    """Name an exception by its type and the place it came from; its text may quote what a client sent."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}"
