"""Turns bytes from a client into JSON-RPC messages, one line each, or into the error that answers the line.

A client is never left waiting: whatever cannot be read is answered, with the line's own id where one can be made out.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import mcp_types as types
from pydantic import ValidationError

MAX_LINE = 16 * 1024 * 1024
"""Bytes of one message. Contracts take 8 MiB of arguments; JSON's escapes can double most of a text."""

MOST_VALUES = 160_000
"""Texts, and marks that begin or divide objects and lists, in one message. Contracts take 140,000 of them; each costs
a hundred times its own bytes once it is read."""

_FEW = 10_000  # values that cost nothing to speak of: they are not counted exactly
_VALUE = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[{,]', re.DOTALL)
_END = 512  # bytes at either end of an unreadable line in which its id is looked for
_INTEGER = rb"-?(?:0|[1-9]\d{0,14})(?![\d.eE])"  # as JSON writes one
_ID = rb'"id"[ \t]*:[ \t]*(' + _INTEGER + rb'|"[^"\\\x00-\x1f\x7f-\xff]{1,128}")'
_BEFORE = re.compile(rb'\s*\{\s*(?:"(?:jsonrpc|method)"\s*:\s*"[^"\\]{0,128}"\s*,\s*){0,2}' + _ID)
_AFTER = re.compile(_ID + rb'\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}\s*$')


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A line that is no message: the id to answer to (None when there is none), an error code, and why."""

    id: types.RequestId | None
    code: int
    why: str

    def answer(self) -> types.JSONRPCError:
        """Return the error message that answers the line."""
        return types.JSONRPCError(
            jsonrpc="2.0",
            id=self.id,
            error=types.ErrorData(code=self.code, message=f"Unreadable message: {self.why}"),
        )


class Lines:
    """Cuts a stream of bytes into lines and holds at most `limit` bytes of an unfinished one."""

    def __init__(self, limit: int = MAX_LINE) -> None:
        self._limit = limit
        self._line = bytearray()
        self._head = b""
        self._skipped = 0

    def feed(self, chunk: bytes) -> Iterator[bytes | Unreadable]:
        """Take the next bytes; yield each line they complete, without its newline. Blank lines are left out."""
        start = 0
        while (end := chunk.find(b"\n", start)) >= 0:
            self._take(chunk[start:end])
            start = end + 1
            line = self._finish()
            if isinstance(line, Unreadable) or line.strip():
                yield line
        self._take(chunk[start:])

    def _take(self, part: bytes) -> None:
        self._line += part
        if self._skipped or len(self._line) > self._limit:
            # Too long: only its two ends are kept, to find the id in.
            self._head = self._head or bytes(self._line[:_END])
            self._skipped += max(0, len(self._line) - _END)
            del self._line[:-_END]

    def _finish(self) -> bytes | Unreadable:
        line, head, size = bytes(self._line), self._head, self._skipped + len(self._line)
        too_long = self._skipped > 0
        self._line.clear()
        self._head, self._skipped = b"", 0
        if not too_long:
            return line
        why = f"{size} bytes; a message has at most {self._limit}"
        return Unreadable(_guess_id(head, line), types.INVALID_REQUEST, why)


def values_in(line: bytes) -> int:
    """Return how many values there are in a message, 0 for few, and at most one more than there may be.

    It takes time in proportion to the bytes, whatever they are.
    """
    if line.count(b",") + line.count(b"[") + line.count(b"{") <= _FEW:
        return 0
    return sum(1 for _ in islice(_VALUE.finditer(line), MOST_VALUES + 1))


def read_message(line: bytes) -> types.JSONRPCMessage | Unreadable:
    """Read one line as a JSON-RPC 2.0 message that has exactly one meaning.

    Refused: invalid UTF-8, doubled keys, numbers without a finite value, half surrogate pairs, nesting deeper than
    the parser allows (about 200), more than `MOST_VALUES`, batches, and ids that are neither text nor integer.
    """
    if values_in(line) > MOST_VALUES:
        why = f"a message has at most {MOST_VALUES} values"
        return Unreadable(_guess_id(line[:_END], line[-_END:]), types.INVALID_REQUEST, why)
    try:
        text = line.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_once, parse_float=_finite, parse_constant=_no_number)
    except UnicodeDecodeError as error:
        return _unparsed(line, f"not UTF-8 at byte {error.start}")
    except json.JSONDecodeError as error:
        return _unparsed(line, f"not JSON at character {error.pos}")
    except (ValueError, RecursionError) as error:
        return _unparsed(line, str(error) if isinstance(error, _NotOneMeaningError) else "not JSON that can be read")
    if isinstance(value, list):
        return Unreadable(None, types.INVALID_REQUEST, "batches are not taken; send one message on each line")
    if not isinstance(value, dict):
        return Unreadable(None, types.INVALID_REQUEST, "not an object")
    if "id" in value and _id_of(value) is None:
        return Unreadable(None, types.INVALID_REQUEST, "id must be a text or an integer")
    return _as_message(text, value)


def _as_message(text: str, value: dict[str, Any]) -> types.JSONRPCMessage | Unreadable:
    try:
        message: types.JSONRPCMessage = types.jsonrpc_message_adapter.validate_json(text, by_name=False)
    except ValidationError as error:
        if any(problem["type"] == "json_invalid" for problem in error.errors(include_url=False, include_input=False)):
            why = "half a surrogate pair in a text, or nested too deeply"
            return Unreadable(_id_of(value), types.PARSE_ERROR, why)
        return Unreadable(_id_of(value), types.INVALID_REQUEST, "not a JSON-RPC 2.0 message")
    return message


def _id_of(value: dict[str, Any]) -> types.RequestId | None:
    """Return the id of a parsed message when an answer can carry it."""
    found = value.get("id")
    if isinstance(found, str):
        return found if not any("\ud800" <= c <= "\udfff" for c in found) else None
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def _unparsed(line: bytes, why: str) -> Unreadable:
    return Unreadable(_guess_id(line[:_END], line[-_END:]), types.PARSE_ERROR, why)


def _guess_id(head: bytes, tail: bytes) -> types.RequestId | None:
    """Make out the id where clients write it: first or last in the message."""
    found = _BEFORE.match(head) or _AFTER.search(tail)
    if found is None:
        return None
    value: types.RequestId = json.loads(found[1])
    return value


class _NotOneMeaningError(ValueError):
    """JSON that readers understand differently; the text says how."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise _NotOneMeaningError("a key stands twice in one object")
    return value


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _NotOneMeaningError("a number is too large to have a value")
    return value


def _no_number(text: str) -> float:
    raise _NotOneMeaningError(f"{text} is no JSON number")
