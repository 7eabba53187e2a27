"""`keyturn connect`: what a client says reaches a server elsewhere unchanged, and what it answers comes back."""

from __future__ import annotations

import json
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from keyturn.server.bridge import answers
from keyturn.server.words import NOT_AUTHENTICATED, TOO_MANY
from tests.server.bridged import HELLO, MEASURED, READY, Elsewhere, ask, bridge, call, door, reply
from tests.server.clients import MODES, Mode, Raw
from tests.server.elsewhere import TOKEN
from tests.server.home import SECONDS, until

ERAS = pytest.mark.parametrize("modern", [True, False], ids=["modern", "legacy"])


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Elsewhere]:
    """A server that stays."""
    found = Elsewhere(tmp_path_factory.mktemp("elsewhere"))
    found.start()
    yield found
    found.end()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Elsewhere]:
    """A server that a test may end."""
    found = Elsewhere(tmp_path)
    found.start()
    yield found
    found.end()


def greet(client: Raw) -> None:
    answer = client.ask(HELLO)
    assert answer["id"] == 0
    assert answer["result"]["protocolVersion"] == "2025-11-25"
    client.send(READY)


def begin(client: Raw, *, modern: bool) -> None:
    """Do what an era's client does first."""
    if not modern:
        greet(client)


@pytest.mark.anyio
@pytest.mark.parametrize("mode", MODES)
async def test_the_sdks_client_lists_calls_and_hears_progress(shared: Elsewhere, mode: Mode) -> None:
    parameters = StdioServerParameters(
        command=sys.executable, args=["-m", "keyturn", "connect", shared.target], env={"KEYTURN_TOKEN": TOKEN}
    )
    heard: list[str | None] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        heard.append(message)

    shared.go(f"sdk-{mode}")
    async with Client(stdio_client(parameters), mode=mode, read_timeout_seconds=SECONDS) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["echo", "hold"]
        said = {"text": "a\u2028b \U0001f511", "n": [1, 2.5, None], "deep": {"k": "v"}}
        assert (await client.call_tool("echo", said)).structured_content == said
        assert (await client.call_tool("fail", {})).is_error
        await client.call_tool("hold", {"name": f"sdk-{mode}"}, progress_callback=note)
    assert heard == ["step 1", "step 2", "step 3"]


@ERAS
def test_answers_come_in_the_order_they_are_ready_each_with_its_own_id(shared: Elsewhere, modern: bool) -> None:
    with bridge(shared.target) as client:
        begin(client, modern=modern)
        name = f"order-{modern}"
        client.send(call("slow", "hold", modern=modern, name=name))
        until(lambda: shared.happened(f"{name}.begun"))
        assert client.ask(call(7, "echo", modern=modern, text="quick"))["id"] == 7
        shared.go(name)
        answer = client.receive()
        assert (answer["id"], answer["result"]["isError"]) == ("slow", False)
        assert client.end() == 0
        assert client.said() == ""


@ERAS
def test_a_cancellation_reaches_the_call_and_whatever_the_server_says_of_it_comes_back(
    shared: Elsewhere, modern: bool
) -> None:
    with bridge(shared.target) as client:
        begin(client, modern=modern)
        name = f"cancelled-{modern}"
        client.send(call(1, "hold", modern=modern, name=name))
        until(lambda: shared.happened(f"{name}.begun"))
        client.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}})
        until(lambda: shared.happened(f"{name}.cancelled"))
        if not modern:  # the SDK's server says that it is cancelled; in the modern era the bridge has hung up
            assert client.receive()["error"]["message"] == "Request cancelled"
        assert client.ask(call(2, "echo", modern=modern, text="on"))["id"] == 2


@ERAS
def test_errors_come_back_in_the_servers_own_words(shared: Elsewhere, modern: bool) -> None:
    with bridge(shared.target) as client:
        begin(client, modern=modern)
        answer = client.ask(ask("x", "no/such", modern=modern))
        assert (answer["id"], answer["error"]["code"]) == ("x", -32601)


def test_what_is_no_message_is_answered_and_not_handed_on(shared: Elsewhere) -> None:
    with bridge(shared.target) as client:
        assert client.ask(b"{not json")["error"]["code"] == -32700
        assert client.ask(b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]')["error"]["code"] == -32600
        assert client.ask(call(1, "echo", modern=True, text="on"))["id"] == 1


def test_a_line_that_is_too_long_is_answered_and_not_handed_on(shared: Elsewhere) -> None:
    with bridge(shared.target) as client:
        answer = client.ask(b'{"jsonrpc":"2.0","id":"long","method":"' + b"x" * (16 * 1024 * 1024) + b'"}')
        assert (answer["id"], answer["error"]["code"]) == ("long", -32600)
        assert client.ask(call(1, "echo", modern=True, text="on"))["id"] == 1


def test_an_id_that_is_open_cannot_be_used_again(shared: Elsewhere) -> None:
    with bridge(shared.target) as client:
        client.send(call(1, "hold", modern=True, name="twice"))
        until(lambda: shared.happened("twice.begun"))
        client.send(call(1, "echo", modern=True))
        said = client.receive()
        while "method" in said:
            said = client.receive()
        assert "still open" in said["error"]["message"]
        shared.go("twice")
        assert client.receive()["result"]["isError"] is False


def test_more_requests_than_may_be_open_are_refused_and_the_others_go_on(shared: Elsewhere) -> None:
    with bridge(shared.target) as client:
        for number in range(65):
            client.send(call(number, "hold", modern=True, name="many"))
        refused = client.receive()
        assert (refused["id"], refused["error"]["code"]) == (64, TOO_MANY)
        shared.go("many")
        assert {client.receive()["id"] for _ in range(64)} == set(range(64))


# --- the end --------------------------------------------------------------------------------------------------


def test_what_was_asked_before_the_client_closed_is_still_answered(shared: Elsewhere) -> None:
    with bridge(shared.target) as client:
        client.send(*(call(number, "echo", modern=True, text="x") for number in range(5)))
        answered = {client.receive()["id"]}  # on a busy machine a start alone can take longer than its last words
        assert client.process.stdin is not None
        client.process.stdin.close()
        answered |= {client.receive()["id"] for _ in range(4)}
        assert answered == set(range(5))
        assert client.process.wait(SECONDS) == 0
        assert client.said() == ""


def test_the_last_answer_is_written_to_its_end(shared: Elsewhere) -> None:
    with bridge(shared.target) as client:
        assert client.ask(call("first", "echo", modern=True, text="x"))["id"] == "first"
        text = "long" * 250_000  # more than a pipe holds
        client.send(call("last", "echo", modern=True, text=text))
        assert client.process.stdin is not None
        client.process.stdin.close()
        assert client.receive()["result"]["structuredContent"] == {"text": text}
        assert client.process.wait(SECONDS) == 0


@ERAS
def test_a_client_that_closes_in_the_middle_is_left_within_its_patience(shared: Elsewhere, modern: bool) -> None:
    with bridge(shared.target) as client:
        begin(client, modern=modern)
        client.send(call(1, "hold", modern=modern, name="left"))
        until(lambda: shared.happened("left.begun"))
        assert client.process.stdin is not None
        client.process.stdin.close()
        assert client.process.wait(timeout=SECONDS) == 0


def test_a_signal_ends_it_in_order(shared: Elsewhere) -> None:
    with bridge(shared.target) as client:
        greet(client)
        client.process.send_signal(signal.SIGTERM)
        assert client.process.wait(SECONDS) == 0
        assert client.said() == ""


def test_a_client_that_reads_no_more_ends_it(shared: Elsewhere) -> None:
    with bridge(shared.target) as client:
        assert client.process.stdout is not None
        client.process.stdout.close()
        client.send(call(1, "echo", modern=True))
        assert client.process.wait(SECONDS) == 0


# --- a server that comes and goes -----------------------------------------------------------------------------


@ERAS
def test_while_the_server_is_away_each_request_is_answered_and_afterwards_all_is_well(
    own: Elsewhere, modern: bool
) -> None:
    with bridge(own.target) as client:
        begin(client, modern=modern)
        assert client.ask(call(1, "echo", modern=modern, text="x"))["id"] == 1
        own.end(kill=True)
        for number in (2, 3):
            error = client.ask(call(number, "echo", modern=modern))["error"]
            assert error["code"] == answers.AWAY
            assert "It was not asked, so nothing was done" in error["message"]
        own.start()
        assert client.ask(call(4, "echo", modern=modern, text="again"))["result"]["structuredContent"] == {
            "text": "again"
        }
        assert client.end() == 0
        assert client.said().count("cannot be reached") == 1
        assert client.said().count("is reached again") == 1


@ERAS
def test_a_call_whose_connection_breaks_is_answered_and_never_sent_again(own: Elsewhere, modern: bool) -> None:
    with bridge(own.target) as client:
        begin(client, modern=modern)
        client.send(call(1, "hold", modern=modern, name="cut"))
        until(lambda: own.happened("cut.begun"))
        own.end(kill=True)
        error = client.receive()["error"]
        assert error["code"] == answers.BROKEN
        assert "look with list_actions before you ask again" in error["message"]
        (own.folder / "cut.begun").unlink()
        own.start()
        assert client.ask(call(2, "echo", modern=modern, text="x"))["id"] == 2
        assert not own.happened("cut.begun")


def test_a_session_the_server_forgot_is_opened_again_once_for_all_that_wait(own: Elsewhere) -> None:
    with bridge(own.target) as client:
        greet(client)
        assert client.ask(ask("before", "tools/list"))["id"] == "before"
        own.end()
        own.start()
        for number in range(5):
            client.send(call(number, "echo", text="again"))
        found = [client.receive() for _ in range(5)]
        assert {answer["id"] for answer in found} == set(range(5))
        assert all(answer["result"]["structuredContent"] == {"text": "again"} for answer in found)


def test_the_server_is_told_when_a_session_is_over() -> None:
    def answers_(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        message = json.loads(body)
        if "id" in message:
            result = {
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "serverInfo": {"name": "d", "version": "1"},
            }
            reply(handler, 200, _result(message["id"], result), mcp_session_id="s-1")
        else:
            reply(handler, 202)

    with door(answers_) as place:
        with bridge(place.url) as client:
            greet(client)
            until(lambda: len(place.bodies) == 2)
            assert client.end() == 0
        assert place.left == ["s-1"]


def _opened(version: str) -> dict[str, object]:
    return {"protocolVersion": version, "capabilities": {}, "serverInfo": {"name": "d", "version": "1"}}


REOPENED: list[tuple[str, int, object, int, str]] = [
    ("the session is forgotten at once", 200, _opened("2025-11-25"), answers.AWAY, "start this client again"),
    ("another version", 200, _opened("2025-06-18"), answers.AWAY, "start this client again"),
    ("no session", 200, {}, answers.AWAY, "it opens no session"),
    ("no answer", 200, None, answers.AWAY, "no JSON-RPC message"),
    ("no turn", 503, None, TOO_MANY, "takes no more at present"),
    ("no token", 401, None, NOT_AUTHENTICATED, "does not take this token"),
]


@pytest.mark.parametrize(
    ("status", "result", "code", "words"), [row[1:] for row in REOPENED], ids=[r[0] for r in REOPENED]
)
def test_a_request_of_a_forgotten_session_that_cannot_be_opened_again_is_answered_with_why(
    status: int, result: object, code: int, words: str
) -> None:
    greetings: list[object] = []

    def answers_(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        message = json.loads(body)
        if message["method"] == "tools/list":
            reply(handler, 404)
        elif "id" not in message:
            reply(handler, 202)
        elif greetings:
            reply(handler, status, b"" if result is None else _result(message["id"], result), mcp_session_id="s-2")
        else:
            greetings.append(message)
            reply(handler, 200, _result(message["id"], _opened("2025-11-25")), mcp_session_id="s-1")

    with door(answers_) as place, bridge(place.url) as client:
        greet(client)
        answer = client.ask(ask("lost", "tools/list"))
        assert (answer["id"], answer["error"]["code"]) == ("lost", code)
        assert words in answer["error"]["message"]


def test_what_needs_no_answer_is_let_go_while_the_server_is_away(own: Elsewhere) -> None:
    with bridge(own.target) as client:
        greet(client)
        assert client.ask(ask(1, "tools/list"))["id"] == 1
        own.end(kill=True)
        client.send({"jsonrpc": "2.0", "method": "notifications/roots/list_changed"})
        until(lambda: "cannot be reached" in client.said())
        own.start()
        assert client.ask(ask(2, "tools/list"))["id"] == 2


# --- what else may answer -------------------------------------------------------------------------------------


def _result(id_: object, result: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": id_, "result": result}).encode()


def _event(content: bytes) -> bytes:
    return b"event: message\ndata: " + content + b"\n\n"


ODD: list[tuple[str, int, bytes, str, int, str]] = [
    ("a redirect", 307, b"", "text/html", answers.BAD_ANSWER, "redirect, which is not followed"),
    ("no token", 401, b"{}", "application/json", NOT_AUTHENTICATED, "does not take this token"),
    ("another site", 404, b"<html>", "text/html", answers.BAD_ANSWER, "no MCP server at this address"),
    ("too large", 413, b"", "text/plain", -32600, "larger than Keyturn takes"),
    ("busy", 503, b"", "text/plain", TOO_MANY, "takes no more at present"),
    ("a fault", 502, b"<html>", "text/html", answers.BROKEN, "look with list_actions"),
    ("a page", 200, b"<html>", "text/html", answers.BAD_ANSWER, "without an answer"),
    ("no json", 200, b"{", "application/json", answers.BAD_ANSWER, "no JSON-RPC message"),
    ("not utf-8", 200, b'"\xff"', "application/json", answers.BAD_ANSWER, "not UTF-8"),
    ("a batch", 200, b"[]", "application/json", answers.BAD_ANSWER, "no JSON-RPC message"),
    ("no number", 200, b'{"jsonrpc":"2.0","id":1,"result":{"n":NaN}}', "application/json", answers.BAD_ANSWER, "NaN"),
    (
        "a doubled key",
        200,
        b'{"jsonrpc":"2.0","id":1,"result":{"status":"denied","status":"succeeded"}}',
        "application/json",
        answers.BAD_ANSWER,
        "stands twice",
    ),
    ("another id", 200, _result("other", {}), "application/json", answers.BAD_ANSWER, "answers another request"),
    ("accepted", 202, b"", "text/plain", answers.BAD_ANSWER, "without an answer"),
    (
        "a short stream",
        200,
        _event(b'{"jsonrpc":"2.0","method":"n"}'),
        "text/event-stream",
        answers.BROKEN,
        "list_act",
    ),
    ("an odd stream", 200, _event(b"{"), "text/event-stream", answers.BAD_ANSWER, "no JSON-RPC message"),
]


def test_whatever_answers_the_client_is_told_what_it_means_and_nothing_is_sent_twice() -> None:
    by_name = {odd[0]: odd for odd in ODD}

    def answers_(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        name = json.loads(body)["params"]["name"]
        _, status, content, kind, _, _ = by_name[name]
        more = {"location": "http://127.0.0.1:1/"} if status == 307 else {}
        reply(handler, status, content, kind, **more)

    with door(answers_) as place, bridge(place.url) as client:
        for name, _, _, _, code, words in ODD:
            client.send(call(name, name, modern=True))
            answer = client.receive()
            while "method" in answer:
                answer = client.receive()
            assert (answer["id"], answer["error"]["code"]) == (name, code)
            assert words in answer["error"]["message"]
            assert TOKEN not in json.dumps(answer)
        assert len(place.bodies) == len(ODD)
        assert TOKEN not in client.said()


def test_an_answer_without_end_is_given_up() -> None:
    def endless(handler: BaseHTTPRequestHandler, _body: bytes) -> None:
        handler.send_response(200)
        handler.send_header("content-type", "application/json")
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b" " * 65536)
        except OSError:
            pass

    with door(endless) as place, bridge(place.url) as client:
        error = client.ask(ask(1, "tools/list", modern=True))["error"]
        assert error["code"] == answers.BAD_ANSWER
        assert "more than 16777216 bytes" in error["message"]


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_an_answer_of_millions_of_values_is_refused_before_it_is_read(stream: bool) -> None:
    full = _result(1, {"n": []}).replace(b"[]", b"[" + b"{}," * 5_000_000 + b"{}]")

    def answers_(handler: BaseHTTPRequestHandler, _body: bytes) -> None:
        if stream:
            reply(handler, 200, _event(full), "text/event-stream")
        else:
            reply(handler, 200, full)

    with door(answers_) as place, bridge(place.url) as client:
        error = client.ask(ask(1, "tools/list", modern=True))["error"]
        assert error["code"] == answers.BAD_ANSWER
        assert "more than 160000 values" in error["message"]
        status = Path(f"/proc/{client.process.pid}/status").read_text()
        [most] = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
        assert int(most) < 300_000  # KiB; the values themselves would take 1.7 GB


def test_an_error_without_an_id_is_given_the_requests() -> None:
    said = json.dumps({"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "no"}}).encode()
    with door(lambda handler, _body: reply(handler, 400, said)) as place, bridge(place.url) as client:
        assert client.ask(ask("mine", "tools/list", modern=True)) == {
            "jsonrpc": "2.0",
            "id": "mine",
            "error": {"code": -32600, "message": "no"},
        }


def test_headers_say_what_the_message_says_whatever_characters_it_has() -> None:
    with door(welcome) as place:
        with bridge(place.url) as client:
            client.ask(call(1, "caf\u00e9\r\nx-evil: 1", modern=True))
            client.ask(ask(2, "resources/read", modern=True, uri="action://1"))
        first, second = place.headers
        assert first["authorization"] == f"Bearer {TOKEN}"
        assert first["mcp-protocol-version"] == "2026-07-28"
        assert first["mcp-method"] == "tools/call"
        assert first["mcp-name"].startswith("=?base64?")
        assert "x-evil" not in first
        assert second["mcp-name"] == "action://1"
        assert "mcp-session-id" not in first


def test_neither_proxies_nor_credentials_of_the_environment_are_used(tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    with (
        door(welcome) as place,
        bridge(
            place.url, HTTP_PROXY="http://127.0.0.1:1", ALL_PROXY="http://127.0.0.1:1", HOME=str(tmp_path)
        ) as client,
    ):
        assert client.ask(ask(1, "tools/list", modern=True))["result"] == {}
        assert place.headers[0]["authorization"] == f"Bearer {TOKEN}"


def certified(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """What a server on localhost needs to speak TLS, and its certificate, for which nobody vouches."""
    certificate = folder / "own.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "1"]
    files = ["-keyout", str(folder / "own.key"), "-out", str(certificate)]
    subprocess.run([*command, *names, *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, folder / "own.key")
    return context, certificate


def welcome(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    reply(handler, 200, _result(json.loads(body)["id"], {}))


def test_a_certificate_nobody_vouches_for_ends_it_before_the_token_is_sent(tmp_path: Path) -> None:
    context, certificate = certified(tmp_path)
    with door(welcome, context) as place:
        url = f"https://localhost:{place.port}"
        with bridge(url) as client:
            error = client.ask(ask(1, "tools/list", modern=True))["error"]
            assert error["code"] == answers.AWAY
            assert "certificate is not trusted" in error["message"]
        assert place.headers == []
        with bridge(url, SSL_CERT_FILE=str(certificate)) as client:
            assert client.ask(ask(1, "tools/list", modern=True))["result"] == {}
        assert place.headers[0]["authorization"] == f"Bearer {TOKEN}"


def test_a_certificate_for_another_name_is_not_enough(tmp_path: Path) -> None:
    context, certificate = certified(tmp_path)
    with (
        door(welcome, context) as place,
        bridge(f"https://127.0.0.1:{place.port}", SSL_CERT_FILE=str(certificate)) as client,
    ):
        assert "certificate is not trusted" in client.ask(ask(1, "tools/list", modern=True))["error"]["message"]
        assert place.headers == []


def test_the_keys_of_a_connection_are_written_nowhere_although_the_environment_asks_for_it(tmp_path: Path) -> None:
    context, certificate = certified(tmp_path)
    keys = tmp_path / "keys"
    with (
        door(welcome, context) as place,
        bridge(f"https://localhost:{place.port}", SSL_CERT_FILE=str(certificate), SSLKEYLOGFILE=str(keys)) as client,
    ):
        assert client.ask(ask(1, "tools/list", modern=True))["result"] == {}
    assert not keys.exists()


# --- who it is ------------------------------------------------------------------------------------------------


def test_a_token_that_does_not_count_is_said_in_words(shared: Elsewhere) -> None:
    with bridge(shared.target, token="kt_wrong") as client:
        error = client.ask(HELLO)["error"]
        assert error["code"] == NOT_AUTHENTICATED
        assert client.end() == 0
        assert "kt_wrong" not in client.said() + json.dumps(error)


def test_the_token_may_lie_in_a_file_that_only_its_owner_reads(shared: Elsewhere, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    path.chmod(0o600)
    with bridge(shared.target, "--token-file", str(path), token=None) as client:
        assert client.ask(call(1, "echo", modern=True))["id"] == 1
        command = Path(f"/proc/{client.process.pid}/cmdline").read_bytes()
        assert TOKEN.encode() not in command
    path.chmod(0o644)
    with bridge(shared.target, "--token-file", str(path), token=None) as client:
        assert client.process.wait(SECONDS) == 4
        assert "chmod 600" in client.said()


def test_without_a_token_nothing_starts(shared: Elsewhere) -> None:
    with bridge(shared.target, token=None) as client:
        assert client.process.wait(SECONDS) == 4
        assert "KEYTURN_TOKEN" in client.said()


def test_a_place_that_a_token_must_not_be_sent_to_is_refused_by_the_program_itself() -> None:
    command = [sys.executable, "-P", "-m", "keyturn.server.bridge", "http://10.0.0.1:80"]
    environment = {"KEYTURN_TOKEN": TOKEN, **MEASURED}
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert done.returncode == 2
    assert b"readable over the network" in done.stderr
    assert done.stdout == b""


def test_it_needs_no_home(shared: Elsewhere, tmp_path: Path) -> None:
    with bridge(shared.target, HOME=str(tmp_path), KEYTURN_HOME="/nowhere") as client:
        assert client.ask(call(1, "echo", modern=True))["id"] == 1
    assert list(tmp_path.iterdir()) == []
