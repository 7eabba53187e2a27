"""Whatever a client sends, it is answered, the server stays, and nothing of it reaches standard error."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.clients import Raw, raw, request
from tests.server.home import Place

MARK = "pa55word-in-a-payload"
MODERN = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
COMMENT = request(1, "update_ticket", ticket="OPS-1", comment=MARK)


@pytest.fixture(scope="module")
def server(place: Place) -> Iterator[Raw]:
    """One server for all that is thrown at it; afterwards it ends in order and has said nothing."""
    with raw(place) as server:
        server.greet()
        yield server
        server.alive()
        assert server.end() == 0
        assert server.said() == ""


@pytest.mark.parametrize(
    ("line", "id_", "code"),
    [
        (MARK.encode(), None, -32700),
        (json.dumps([COMMENT, COMMENT]).encode(), None, -32600),
        (json.dumps(COMMENT).encode()[:-1], 1, -32700),
        (json.dumps(COMMENT).encode().replace(b"pa55", b"\xff\xfe"), 1, -32700),
        (json.dumps(COMMENT).encode().replace(b"pa55", b"\\ud83d"), 1, -32700),
        (json.dumps(COMMENT).encode().replace(b'"ticket"', b'"ticket": "OPS-2", "ticket"'), 1, -32700),
        (json.dumps(COMMENT).encode().replace(b'"OPS-1"', b"NaN"), 1, -32700),
        (json.dumps(COMMENT).encode().replace(b'"OPS-1"', b"[" * 5000 + b"]" * 5000), 1, -32700),
        (json.dumps({**COMMENT, "id": 1.5}).encode(), None, -32600),
        (json.dumps({**COMMENT, "id": None}).encode(), None, -32600),
        (json.dumps({**COMMENT, "params": [MARK]}).encode(), 1, -32600),
        (json.dumps({**COMMENT, "params": {"name": MARK, "arguments": [1]}}).encode(), 1, -32602),
        (json.dumps({**COMMENT, "params": {"arguments": {}}}).encode(), 1, -32602),
        (json.dumps({**COMMENT, "method": "nosuch/method"}).encode(), 1, -32601),
        (json.dumps(COMMENT).encode().replace(b"pa55", b"x" * 20_000_000), 1, -32600),
    ],
    ids=lambda value: value[:40] if isinstance(value, bytes) else None,
)
def test_what_cannot_be_read_is_answered_with_an_error(server: Raw, line: bytes, id_: Any, code: int) -> None:
    answer = server.ask(line)
    assert (answer["id"], answer["error"]["code"]) == (id_, code)
    assert MARK not in json.dumps(answer)
    server.alive()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"ticket": 1.5, "comment": MARK}, "arguments_malformed"),
        ({"ticket": 2**80, "comment": MARK}, "arguments_malformed"),
        ({"ticket": [[[[[[[[[[[[[[[[[MARK]]]]]]]]]]]]]]]]]}, "arguments_malformed"),
        ({"ticket": "OPS-1", "comment": f"{MARK}\0"}, "arguments_malformed"),
        ({"ticket": "OPS-1", "comment": MARK * 500_000}, "arguments_too_large"),
        ({"ticket": "../OPS-1", "comment": MARK}, "argument_invalid"),
        ({"ticket": "OPS-1", "comment": MARK, MARK: 1}, "argument_unknown"),
        ({}, "argument_missing"),
    ],
    ids=str,
)
def test_arguments_that_do_not_count_are_refused_in_the_envelope(
    server: Raw, arguments: dict[str, Any], code: str
) -> None:
    result = server.ask(request("a", "update_ticket", **arguments))["result"]
    assert result["isError"] is True
    assert result["structuredContent"]["status"] == "denied"
    assert result["structuredContent"]["reasons"][0]["code"] == code
    server.alive()


def test_names_of_unknown_tools_come_back_short_and_clean(server: Raw) -> None:
    message = server.ask(request(1, "\x1b[31m\u202e\n" + "x" * 5_000_000))["error"]["message"]
    assert message.isprintable()
    assert len(message) < 130
    server.alive()


def test_what_wants_no_answer_gets_none(server: Raw) -> None:
    server.send(b"", b"  \t ", {"jsonrpc": "2.0", "method": "notifications/nosuch"})
    server.send({"jsonrpc": "2.0", "id": 99, "result": {}})
    server.alive()


def test_two_hundred_calls_at_once_are_all_answered(server: Raw) -> None:
    server.send(
        *(request(number, "get_action", action_id=f"01890000-0000-7000-8000-{number:012}") for number in range(200))
    )
    answers = [server.receive() for _ in range(200)]
    assert sorted(answer["id"] for answer in answers) == list(range(200))
    assert {answer["result"]["structuredContent"]["status"] for answer in answers} == {"denied"}
    server.alive()


def test_calls_beyond_what_one_client_may_have_open_are_refused(place: Place) -> None:
    with raw(place) as server:
        server.greet()
        held = server.ask(request("held", "update_ticket", ticket="OPS-1", status="in progress"))
        action = held["result"]["structuredContent"]["action_id"]
        server.send(*(request(number, "get_action", action_id=action, wait_seconds=45) for number in range(300)))
        refused = [server.receive() for _ in range(300 - 256)]
        assert {answer["error"]["code"] for answer in refused} == {-32011}
        assert server.end() == 0


def test_waiting_keeps_nobody_out_and_ends_with_the_client(place: Place) -> None:
    with raw(place) as server:
        server.greet()
        held = server.ask(request(0, "update_ticket", ticket="OPS-1", status="closed"))
        action = held["result"]["structuredContent"]["action_id"]
        server.send(*(request(f"w{n}", "get_action", action_id=action, wait_seconds=45) for n in range(100)))
        assert server.ask(request(1, "get_ticket", ticket="OPS-1"))["id"] == 1
        assert server.end() == 0
        assert server.said() == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_in_order(place: Place, number: signal.Signals) -> None:
    with raw(place) as server:
        server.greet()
        server.process.send_signal(number)
        assert server.process.wait(10) == 0
        assert server.said() == ""


def test_a_client_that_goes_away_without_reading_ends_the_server(place: Place) -> None:
    with raw(place) as server:
        server.greet()
        assert server.process.stdout is not None
        server.process.stdout.close()
        server.send({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
        assert server.process.wait(10) == 0
        assert server.said() == ""


def test_a_client_that_does_not_read_can_still_be_left(place: Place) -> None:
    with raw(place) as server:
        server.greet()
        server.send(*({"jsonrpc": "2.0", "id": n, "method": "tools/list"} for n in range(20)))
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(10) == 0


def test_an_unreadable_line_is_answered_in_the_newest_era_too(place: Place) -> None:
    with raw(place) as server:
        first = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": MODERN}}
        assert server.ask(first)["result"]["ttlMs"] == 0
        assert server.ask(b'{"jsonrpc":"2.0","id":2')["error"]["code"] == -32700
        call = request(3, "get_ticket", ticket="OPS-1")
        call["params"]["_meta"] = {**MODERN, "progressToken": "p"}
        assert server.ask(call)["result"]["structuredContent"]["status"] == "succeeded"
        assert server.end() == 0


def test_neither_the_token_nor_what_was_sent_is_told_to_anybody(place: Place) -> None:
    with raw(place) as server:
        server.greet()
        done = server.ask(request(1, "update_ticket", ticket="OPS-2", comment=MARK, reason=MARK))
        assert done["result"]["structuredContent"]["status"] == "succeeded"
        assert "error" in server.ask(request(2, MARK))
        assert server.ask(request(3, "update_ticket", ticket=MARK))["result"]["isError"] is True
        assert "error" in server.ask({"jsonrpc": "2.0", "id": 4, "method": MARK})
        assert server.end() == 0
        assert server.said() == ""
    log = (place.folder / "state/run/worker.log").read_text()
    assert not any(secret in log for secret in (place.token, MARK, "Traceback"))
    for process in place.workers():
        assert place.token.encode() not in Path(f"/proc/{process}/environ").read_bytes()
