"""`keyturn connect` and a server that forgets a session: opened again as it was, or the client learns why not."""

from __future__ import annotations

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from keyturn.server.bridge import answers
from keyturn.server.words import NOT_AUTHENTICATED
from tests.server.bridged import HELLO, READY, ask, bridge, door, reply

VERSION = "2025-11-25"


def result(id_: object, version: str) -> bytes:
    value = {"protocolVersion": version, "capabilities": {}, "serverInfo": {"name": "door", "version": "1"}}
    return json.dumps({"jsonrpc": "2.0", "id": id_, "result": value}).encode()


def greeted(handler: BaseHTTPRequestHandler, id_: object, version: str = VERSION) -> None:
    reply(handler, 200, result(id_, version), mcp_session_id="s")


def refuses(handler: BaseHTTPRequestHandler, _: object) -> None:
    reply(handler, 401, b"{}")


def is_a_page(handler: BaseHTTPRequestHandler, _: object) -> None:
    reply(handler, 200, b"<html>", "text/html")


def opens_nothing(handler: BaseHTTPRequestHandler, id_: object) -> None:
    content = {"jsonrpc": "2.0", "id": id_, "error": {"code": -32603, "message": "no"}}
    reply(handler, 200, json.dumps(content).encode())


def speaks_otherwise(handler: BaseHTTPRequestHandler, id_: object) -> None:
    greeted(handler, id_, "2025-06-18")


class Forgetful:
    """A door that greets once, then knows no session; `again` is how it answers the second greeting."""

    def __init__(self, again: Callable[[BaseHTTPRequestHandler, object], None]) -> None:
        self.again = again
        self.seen: list[str] = []

    def __call__(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        message: dict[str, Any] = json.loads(body)
        first = message["method"] not in self.seen
        self.seen.append(message["method"])
        match message["method"]:
            case "initialize":
                (greeted if first else self.again)(handler, message["id"])
            case "notifications/initialized":
                reply(handler, 202)
            case _:
                reply(handler, 404)


@pytest.mark.parametrize(
    ("again", "code", "words"),
    [
        (refuses, NOT_AUTHENTICATED, "does not take this token"),
        (is_a_page, answers.AWAY, "it opens no session"),
        (opens_nothing, answers.AWAY, "it opens no session"),
        (speaks_otherwise, answers.AWAY, "speaks differently now"),
        (greeted, answers.AWAY, "start this client again"),
    ],
    ids=["refused", "a page", "an error", "another version", "forgotten again"],
)
def test_a_session_that_cannot_be_opened_again_is_told_and_the_request_done_nowhere(
    again: Callable[[BaseHTTPRequestHandler, object], None], code: int, words: str
) -> None:
    forgetful = Forgetful(again)
    with door(forgetful) as place, bridge(place.url) as client:
        assert client.ask(HELLO)["result"]["protocolVersion"] == VERSION
        client.send(READY)
        error = client.ask(ask(1, "tools/list"))["error"]
        assert (error["code"], words in error["message"]) == (code, True), error
        assert client.end() == 0
    # Turned away with 404 each time: sent again only into a session that was opened again as it was.
    assert forgetful.seen.count("tools/list") == (2 if again is greeted else 1)


def test_a_notification_outside_any_session_is_handed_to_nobody() -> None:
    with door(Forgetful(refuses)) as place, bridge(place.url) as client:
        client.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}})
        assert "result" in client.ask(HELLO)
        assert client.end() == 0
        assert [json.loads(body)["method"] for body in place.bodies] == ["initialize"]


def test_a_line_without_end_is_answered_and_the_next_is_read() -> None:
    with door(Forgetful(refuses)) as place, bridge(place.url) as client:
        answer = client.ask(b'{"jsonrpc":"2.0","id":5,"method":"' + b"x" * (17 * 2**20) + b'"}')
        assert answer["error"]["code"] in {-32700, -32600}
        assert "result" in client.ask(HELLO)
        assert client.end() == 0
        assert len(place.bodies) == 1
