"""What leaves on the wire is always one line of UTF-8."""

from __future__ import annotations

import json

import mcp_types as types

from keyturn.server.lines import read_message
from keyturn.server.wire import encode


def test_a_message_leaves_as_one_line_that_reads_back() -> None:
    message = types.JSONRPCResponse(jsonrpc="2.0", id=1, result={"text": "zwei\nZeilen, ünïcode", "none": None})
    line = encode(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert read_message(line) == message


def test_half_a_surrogate_pair_leaves_as_a_question_mark_and_the_rest_as_it_is() -> None:
    line = encode(types.JSONRPCResponse(jsonrpc="2.0", id=1, result={"text": "a\ud800b", "é": ["\udc00"]}))
    assert json.loads(line.decode("utf-8")) == {"jsonrpc": "2.0", "id": 1, "result": {"text": "a?b", "é": ["?"]}}
