"""Where a bridge may lead, and what is refused before a token is sent anywhere."""

from __future__ import annotations

import mcp_types as types
import pytest

from keyturn.model.errors import ConfigurationError
from keyturn.server.bridge import answers
from keyturn.server.bridge.eras import cancelled_id, modern_version, session_of
from keyturn.server.bridge.target import read_target


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://keyturn.example.com", "https://keyturn.example.com/mcp"),
        ("https://keyturn.example.com:8443/", "https://keyturn.example.com:8443/mcp"),
        ("https://keyturn.example.com/a/mcp", "https://keyturn.example.com/a/mcp"),
        ("http://127.0.0.1:8765", "http://127.0.0.1:8765/mcp"),
        ("http://127.9.9.9:1", "http://127.9.9.9:1/mcp"),
        ("http://[::1]:8765", "http://[::1]:8765/mcp"),
        ("http://localhost:8765/mcp", "http://localhost:8765/mcp"),
    ],
)
def test_an_address_leads_to_its_endpoint(text: str, url: str) -> None:
    assert str(read_target(text)) == url


@pytest.mark.parametrize("text", ["unix:/run/keyturn/mcp.sock", "unix:///run/keyturn/mcp.sock"])
def test_a_socket_is_named_by_its_path(text: str) -> None:
    target = read_target(text)
    assert (str(target), target.url) == ("unix:/run/keyturn/mcp.sock", "http://localhost/mcp")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("http://keyturn.example.com", "readable over the network"),
        ("http://127.0.0.1.example.com", "readable over the network"),
        ("http://10.0.0.1:80", "readable over the network"),
        ("https://me:secret@keyturn.example.com", "no credentials"),
        ("https://keyturn.example.com/mcp?token=secret", "ends with its path"),
        ("https://keyturn.example.com/mcp#secret", "ends with its path"),
        ("https://keyturn.example.com:99999", "no URL"),
        ("https://[::1", "no URL"),
        ("https://", "give https://"),
        ("ftp://127.0.0.1", "give https://"),
        ("keyturn.example.com", "give https://"),
        ("unix:mcp.sock", "whole path"),
        ("unix:", "whole path"),
        (f"unix:/{'x' * 107}", "too long"),
    ],
)
def test_anything_else_is_refused_and_no_secret_repeated(text: str, why: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read_target(text)
    assert why in str(refused.value)
    assert "secret" not in str(refused.value)


def _request(method: str = "tools/call", params: dict[str, object] | None = None) -> types.JSONRPCRequest:
    return types.JSONRPCRequest(jsonrpc="2.0", id=1, method=method, params=params)


def test_only_a_message_that_carries_its_version_is_of_the_modern_era() -> None:
    key = "io.modelcontextprotocol/protocolVersion"
    assert modern_version(_request(params={"_meta": {key: "2026-07-28"}})) == "2026-07-28"
    others: list[dict[str, object] | None] = [None, {}, {"_meta": None}, {"_meta": {}}, {"_meta": {key: 3}}]
    for params in others:
        assert modern_version(_request(params=params)) is None
    assert modern_version(types.JSONRPCResponse(jsonrpc="2.0", id=1, result={})) is None


@pytest.mark.parametrize("named", [None, True, {}, 1.5])
def test_a_cancellation_that_names_no_request_cancels_none(named: object) -> None:
    note = types.JSONRPCNotification(jsonrpc="2.0", method="notifications/cancelled", params={"requestId": named})
    assert cancelled_id(note) is None


@pytest.mark.parametrize(("id_", "kept"), [("abc", "abc"), (None, None), ("x" * 257, None), ("\u00e9", None)])
def test_a_session_id_is_kept_only_as_the_specification_allows_it(id_: str | None, kept: str | None) -> None:
    answer = types.JSONRPCResponse(jsonrpc="2.0", id=1, result={"protocolVersion": "2025-11-25"})
    session = session_of(_request("initialize"), answer, id_)
    assert session is not None
    assert session.id == kept
    assert ("mcp-session-id" in session.headers) is (kept is not None)


def test_what_opens_no_session_opens_none() -> None:
    for answer in (
        None,
        types.JSONRPCResponse(jsonrpc="2.0", id=1, result={}),
        answers.session_lost(_request()),
    ):
        assert session_of(_request("initialize"), answer, "x") is None


def test_only_a_call_is_told_to_look_before_it_asks_again() -> None:
    assert "list_actions" in answers.broken(_request(), "x").error.message
    assert "list_actions" not in answers.broken(_request("tools/list"), "x").error.message
    assert "list_actions" in answers.not_understood(_request(), "x").error.message
    assert "list_actions" not in answers.not_understood(_request("tools/list"), "x").error.message
