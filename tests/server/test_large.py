"""A file of 10 MB in a call: refused clearly and soon, and none of it is kept."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.clients import Raw, raw, request
from tests.server.home import Place

MARK = "not-to-be-kept/"
MEGABYTE = 1_000_000
SOON = 20.0  # seconds on a busy machine; it takes a fraction of one on a free one


@pytest.fixture(scope="module")
def server(place: Place) -> Iterator[Raw]:
    with raw(place) as server:
        server.greet()
        yield server
        server.alive()
        assert server.end() == 0
        assert server.said() == ""


def pull_request(content: str, **more: Any) -> dict[str, Any]:
    file = {"path": "app/large.txt", "content": content}
    return request(1, "open_pull_request", repository="shop", base="main", title="Large", files=[file], **more)


def text(size: int) -> str:
    return (MARK * (size // len(MARK) + 1))[:size]


def ask(server: Raw, message: dict[str, Any]) -> dict[str, Any]:
    """Send a message; the answer comes soon, and the server still serves."""
    before = time.monotonic()
    answer = server.ask(message)
    assert time.monotonic() - before < SOON
    server.alive()
    return answer


def kept(place: Place) -> dict[Path, int]:
    """The files of state/ and their sizes; none of them holds a word of what was sent."""
    files = [path for path in (place.folder / "state").rglob("*") if path.is_file()]
    for path in files:
        data = path.read_bytes()
        assert MARK.encode() not in data, path
    return {path: path.stat().st_size for path in files}


def test_a_file_of_ten_megabytes_is_refused_with_what_is_allowed(place: Place, server: Raw) -> None:
    before = kept(place)
    message = pull_request(text(10 * MEGABYTE))
    result = ask(server, message)["result"]
    envelope = result["structuredContent"]
    assert (result["isError"], envelope["status"]) == (True, "denied")
    [reason] = envelope["reasons"]
    assert reason["code"] == "arguments_too_large"
    assert "8388608" in reason["text"]
    assert MARK not in json.dumps(result)
    [entry] = place.entries("action.denied", envelope["action_id"])
    assert MARK.encode() not in entry.body
    assert len(entry.body) < 4096
    grown = sum(kept(place).values()) - sum(before.values())
    assert grown < MEGABYTE
    assert place.entries("action.requested") == []


def test_ten_megabytes_that_do_not_fit_one_message_are_refused_before_they_are_read(
    place: Place, server: Raw
) -> None:
    message = pull_request((MARK + "\n\n\n") * (10 * MEGABYTE // len(MARK)) + "\n" * 10 * MEGABYTE)
    answer = ask(server, message)
    assert (answer["id"], answer["error"]["code"]) == (1, -32600)
    assert "a message has at most" in answer["error"]["message"]
    kept(place)


def test_a_file_larger_than_one_may_be_is_refused_by_name(place: Place, server: Raw) -> None:
    result = ask(server, pull_request(text(2 * MEGABYTE)))["result"]
    envelope = result["structuredContent"]
    assert (result["isError"], envelope["status"]) == (True, "denied")
    [reason] = envelope["reasons"]
    assert reason["code"] == "argument_invalid"
    assert "files[0].content" in reason["text"]
    assert "1048576" in reason["text"]
    assert MARK not in json.dumps(result)
    kept(place)
