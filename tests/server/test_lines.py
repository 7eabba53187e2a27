"""Bytes from a client become messages with one meaning, or an error that answers them."""

from __future__ import annotations

import json

import mcp_types as types
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.server.lines import MOST_VALUES, Lines, Unreadable, read_message, values_in

_LINES = st.lists(st.binary(max_size=40).map(lambda data: data.replace(b"\n", b"")))


@given(lines=_LINES, cuts=st.lists(st.integers(min_value=1, max_value=50)))
def test_lines_come_out_whole_however_the_bytes_arrive(lines: list[bytes], cuts: list[int]) -> None:
    data = b"".join(line + b"\n" for line in lines)
    splitter, found = Lines(), []
    for cut in [*cuts, len(data)]:
        found += list(splitter.feed(data[:cut]))
        data = data[cut:]
    assert found == [line for line in lines if line.strip()]


@given(size=st.integers(min_value=2001, max_value=20_000), step=st.integers(min_value=1, max_value=3000))
def test_a_line_that_is_too_long_is_answered_under_its_id_and_the_next_one_is_read(size: int, step: int) -> None:
    head = b'{"jsonrpc":"2.0","id":7,"method":"x","params":{"text":"'
    data = head + b"x" * (size - len(head)) + b'\n{"next":1}\n'
    splitter = Lines(limit=2000)
    found = [line for start in range(0, len(data), step) for line in splitter.feed(data[start : start + step])]
    why = f"{size} bytes; a message has at most 2000"
    assert found == [Unreadable(7, types.INVALID_REQUEST, why), b'{"next":1}']


def test_a_line_that_is_too_long_keeps_its_id_where_it_stands_last() -> None:
    line = b'{"method":"tools/call","params":{"text":"' + b"x" * 5000 + b'"},"jsonrpc":"2.0","id":"a-1"}\n'
    [found] = Lines(limit=2000).feed(line)
    assert isinstance(found, Unreadable)
    assert found.id == "a-1"


def test_a_request_is_read() -> None:
    found = read_message(b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"a":[1.5,"\\u00e9"]}}\r')
    assert isinstance(found, types.JSONRPCRequest)
    assert (found.id, found.method, found.params) == (1, "tools/list", {"a": [1.5, "é"]})


@pytest.mark.parametrize(
    ("line", "id_", "code", "why"),
    [
        (b"hello", None, -32700, "not JSON at character 0"),
        (b'{"jsonrpc":"2.0","id":3,"method":"x"', 3, -32700, "not JSON at character 36"),
        (b'{"jsonrpc":"2.0","id":"s","method":"\xff"}', "s", -32700, "not UTF-8 at byte 36"),
        (
            b'{"jsonrpc":"2.0","id":4,"method":"x","params":{"a":1,"a":2}}',
            4,
            -32700,
            "a key stands twice in one object",
        ),
        (b'{"jsonrpc":"2.0","id":5,"method":"x","params":{"a":NaN}}', 5, -32700, "NaN is no JSON number"),
        (b'{"jsonrpc":"2.0","id":5,"method":"x","params":{"a":-Infinity}}', 5, -32700, "-Infinity is no JSON number"),
        (
            b'{"jsonrpc":"2.0","id":5,"method":"x","params":{"a":1e999}}',
            5,
            -32700,
            "a number is too large to have a value",
        ),
        (
            b'{"method":"x","jsonrpc":"2.0","id":6,"params":{"a":"\\ud800"}}',
            6,
            -32700,
            "half a surrogate pair in a text, or nested too deeply",
        ),
        (
            b'{"jsonrpc":"2.0","id":8,"method":"x","params":' + b"[" * 300 + b"]" * 300 + b"}",
            8,
            -32700,
            "half a surrogate pair in a text, or nested too deeply",
        ),
        (
            b'{"jsonrpc":"2.0","id":9,"method":"x","params":' + b"[" * 100_000,
            9,
            -32700,
            "not JSON that can be read",
        ),
        (
            b'{"jsonrpc":"2.0","id":9,"method":"x","params":' + b"9" * 5000 + b"}",
            9,
            -32700,
            "not JSON that can be read",
        ),
        (b'{"jsonrpc":"2.0","id":010,"method":"x"}', None, -32700, "not JSON at character 23"),
        (b'{"jsonrpc":"2.0","method":"x","id":-01}', None, -32700, "not JSON at character 37"),
        (b'{"jsonrpc":"2.0","id":1.5e,"method":"x"}', None, -32700, "not JSON at character 25"),
        (
            b'[{"jsonrpc":"2.0","id":1,"method":"x"}]',
            None,
            -32600,
            "batches are not taken; send one message on each line",
        ),
        (b'"text"', None, -32600, "not an object"),
        (b"null", None, -32600, "not an object"),
        (b'{"jsonrpc":"2.0","id":null,"method":"x"}', None, -32600, "id must be a text or an integer"),
        (b'{"jsonrpc":"2.0","id":1.5,"method":"x"}', None, -32600, "id must be a text or an integer"),
        (b'{"jsonrpc":"2.0","id":true,"method":"x"}', None, -32600, "id must be a text or an integer"),
        (b'{"jsonrpc":"2.0","id":"\\udc00","method":"x"}', None, -32600, "id must be a text or an integer"),
        (b'{"jsonrpc":"1.0","id":2,"method":"x"}', 2, -32600, "not a JSON-RPC 2.0 message"),
        (b'{"jsonrpc":"2.0","id":2,"method":"x","params":[]}', 2, -32600, "not a JSON-RPC 2.0 message"),
        (b"{}", None, -32600, "not a JSON-RPC 2.0 message"),
    ],
)
def test_what_has_not_one_meaning_is_answered(line: bytes, id_: object, code: int, why: str) -> None:
    found = read_message(line)
    assert found == Unreadable(id_, code, why)  # type: ignore[arg-type]  # the table's ids are of every kind
    answer = json.loads(found.answer().model_dump_json(by_alias=True))
    assert answer["id"] == id_
    assert answer["error"]["message"] == f"Unreadable message: {why}"


def test_a_message_of_too_many_values_is_answered_under_its_id() -> None:
    def message(values: int) -> bytes:
        return b'{"id":7,"jsonrpc":"2.0","method":"x","params":{"a":[' + b"0," * values + b"0]}}"

    few = 16  # texts and marks around them
    assert not isinstance(read_message(message(MOST_VALUES - few)), Unreadable)
    found = read_message(message(MOST_VALUES + few))
    assert found == Unreadable(7, -32600, f"a message has at most {MOST_VALUES} values")


def test_marks_inside_of_texts_are_no_values() -> None:
    text = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "x", "params": {"a": '[{,"\\' * MOST_VALUES}})
    assert not isinstance(read_message(text.encode()), Unreadable)
    assert values_in(text.encode()) < 30


@pytest.mark.parametrize("unit", [b'"', b"\\", b'\\"', b'\\",', b"[{,", b'"",', b'\n"'])
def test_counting_takes_time_in_proportion_whatever_the_bytes(unit: bytes) -> None:
    assert 0 <= values_in(b'"' + b"," * 20_000 + unit * 1_000_000) <= MOST_VALUES + 1


@given(line=st.binary(max_size=200))
def test_no_bytes_bring_the_reader_down(line: bytes) -> None:
    found = read_message(line)
    assert isinstance(found, Unreadable) or found.jsonrpc == "2.0"
