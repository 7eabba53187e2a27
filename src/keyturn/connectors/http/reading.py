"""Reads an answer to its end, unpacked, and never more of it than it may hold."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpcore2


@dataclass(frozen=True, slots=True)
class Received:
    """An answer, read to its end and unpacked. Names of fields are in lower case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class Unreadable(Exception):
    """An answer that is read no further; the text says why."""

    final = True


class Cut(Unreadable):
    """An answer that ended too early: the next may be whole."""

    final = False


async def read_answer(response: httpcore2.Response, limit: int) -> Received:
    """Read an answer to its end. Raises `Unreadable` where it is too long, or packed as nobody asked for."""
    headers: dict[str, str] = {}
    for raw_name, raw_text in response.headers:
        name, text = raw_name.decode("ascii", "replace").lower(), raw_text.decode("latin-1")
        if name != "set-cookie":  # nothing here keeps cookies
            headers[name] = f"{headers[name]}, {text}" if name in headers else text
    unpacking = _Unpacking(headers.get("content-encoding", "identity").strip().lower(), limit)
    async for part in response.aiter_stream():
        unpacking.add(part)
    return Received(response.status, headers, unpacking.whole())


class _Unpacking:
    """Puts a body together, unpacked, and never more of it than `limit` bytes."""

    def __init__(self, encoding: str, limit: int) -> None:
        if encoding not in ("identity", "", "gzip", "x-gzip"):
            raise Unreadable("the answer is packed in a way that was not asked for")
        self._packed = zlib.decompressobj(wbits=31) if "gzip" in encoding else None
        self._limit = limit
        self._body = bytearray()
        self._came = False

    def add(self, part: bytes) -> None:
        self._came = self._came or bool(part)
        if self._packed is not None:
            part = self._unpacked(self._packed, part)
        self._body += part
        if len(self._body) > self._limit:
            raise Unreadable(f"the answer holds more than {self._limit} bytes")

    def _unpacked(self, packed: zlib._Decompress, part: bytes) -> bytes:
        problem = "the answer says it is packed with gzip, and is not"
        try:
            unpacked = packed.decompress(part, self._limit - len(self._body) + 1)
        except zlib.error:
            pass  # told below
        else:
            if not packed.unused_data:
                return unpacked
            problem = "the answer goes on after the end of what is packed"  # and maybe for ever
        raise Unreadable(problem)

    def whole(self) -> bytes:
        if self._packed is not None and self._came and not self._packed.eof:
            raise Cut("the answer is cut off")
        return bytes(self._body)
