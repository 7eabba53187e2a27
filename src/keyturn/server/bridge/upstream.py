"""Speaks HTTP with the one server a bridge leads to: verified, bounded, without redirects, proxies or cookies."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpcore2
import httpx2
import mcp_types as types
from pydantic import ValidationError

from keyturn.server.bridge.eras import SESSION
from keyturn.server.bridge.target import Target
from keyturn.server.bridge.transport import DistrustedError, Transport
from keyturn.server.lines import MAX_LINE, MOST_VALUES, Unreadable, read_message, values_in

EVENTS = "text/event-stream"
_SILENCE = 120.0  # seconds; both eras of the server send something every 15 while a call runs
_HEADERS = {
    "accept": f"application/json, {EVENTS}",
    "content-type": "application/json",
    "accept-encoding": "identity",  # what is not packed cannot burst
    "user-agent": "keyturn-connect",
}


class UnreachableError(Exception):
    """No connection to the server: what should have been sent was not. The text says why."""


class CutOffError(Exception):
    """The connection broke after something was sent. The text says how."""


class NotAnAnswerError(Exception):
    """What came back is no message, or too large. The text says which."""


class Answer:
    """An HTTP answer whose content is still to be read."""

    def __init__(self, response: httpx2.Response) -> None:
        self._response = response

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self._response.status_code

    @property
    def in_session(self) -> bool:
        """Whether what it answers was sent in a session of the older eras."""
        return SESSION in self._response.request.headers

    @property
    def session_id(self) -> str | None:
        """The session the server named, if it did."""
        found: str | None = self._response.headers.get(SESSION)
        return found

    @property
    def kind(self) -> str:
        """The media type, without parameters."""
        return str(self._response.headers.get("content-type", "")).partition(";")[0].strip().lower()

    async def messages(self) -> AsyncIterator[types.JSONRPCMessage]:
        """Yield the messages as they arrive. Raises `CutOffError` and `NotAnAnswerError`."""
        with _errors_named():
            if self.kind == EVENTS:
                async for event in httpx2.EventSource(self._response, max_event_size=MAX_LINE):
                    if event.event == "message" and event.data:
                        yield _read(event.data.encode())
            elif self.kind == "application/json":
                yield _read(await self._whole())

    async def _whole(self) -> bytes:
        content = bytearray()
        async for chunk in self._response.aiter_raw():
            content += chunk
            if len(content) > MAX_LINE:
                raise NotAnAnswerError(f"more than {MAX_LINE} bytes")
        return bytes(content)


class Upstream:
    """The server, with the token that every request carries."""

    def __init__(self, target: Target, token: str) -> None:
        self.target = target
        self._client = httpx2.AsyncClient(
            transport=Transport(target),
            headers={**_HEADERS, "authorization": f"Bearer {token}"},
            timeout=httpx2.Timeout(10.0, read=_SILENCE, write=30.0),
            trust_env=False,  # neither proxies nor credentials come from the environment
            follow_redirects=False,
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    @asynccontextmanager
    async def post(self, body: bytes, headers: Mapping[str, str]) -> AsyncIterator[Answer]:
        """Send one message; leaving the block closes what is left of the answer."""
        async with self._send("POST", headers, body) as answer:
            yield answer

    @asynccontextmanager
    async def listen(self, headers: Mapping[str, str]) -> AsyncIterator[Answer]:
        """Open the stream of what the server says unasked in a session of the older eras."""
        async with self._send("GET", {**headers, "accept": EVENTS}, None) as answer:
            yield answer

    async def leave(self, headers: Mapping[str, str]) -> None:
        """Tell the server that a session of the older eras is over."""
        async with self._send("DELETE", headers, None):
            pass

    @asynccontextmanager
    async def _send(self, method: str, headers: Mapping[str, str], body: bytes | None) -> AsyncIterator[Answer]:
        request = self._client.build_request(method, self.target.url, content=body, headers=dict(headers))
        with _errors_named():
            response = await self._client.send(request, stream=True)
        self._client.cookies.clear()
        try:
            yield Answer(response)
        finally:
            await response.aclose()


def _read(data: bytes) -> types.JSONRPCMessage:
    """Read what the server sent, within the bounds of what a client may send and with one meaning, as there."""
    if values_in(data) > MOST_VALUES:
        raise NotAnAnswerError(f"more than {MOST_VALUES} values in one message")
    match message := read_message(data):
        case Unreadable(code=types.INVALID_REQUEST):
            return _read_nameless(data)
        case Unreadable(why=why):
            raise NotAnAnswerError(f"it sends what is no JSON-RPC message: {why}")
    return message


def _read_nameless(data: bytes) -> types.JSONRPCError:
    """Read the one message that a server alone may send: an error to a request whose id it could not make out."""
    try:
        return types.JSONRPCError.model_validate_json(data, by_name=False)
    except ValidationError:
        raise NotAnAnswerError("it sends what is no JSON-RPC message") from None


class _errors_named:  # noqa: N801 - a context manager, written as a class for speed: it stands around each event
    """Turn the library's errors into ours; whatever may have been sent counts as sent."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        match error:
            case DistrustedError():
                raise UnreachableError(str(error)) from None
            case httpcore2.ConnectError() | httpcore2.ConnectTimeout() | httpcore2.PoolTimeout():
                raise UnreachableError(_why(error)) from None
            case httpx2.SSEError():
                raise NotAnAnswerError("a stream of events that cannot be read") from None
            case (
                httpcore2.NetworkError()
                | httpcore2.ProtocolError()
                | httpcore2.TimeoutException()
                | httpx2.HTTPError()
                | httpx2.StreamError()
            ):
                raise CutOffError(_why(error)) from None


def _why(error: BaseException) -> str:
    """Say the cause in the words of the system, not of the library."""
    cause: BaseException | None = error
    while cause is not None:
        match cause:
            case ssl.SSLCertVerificationError():
                return f"its certificate is not trusted: {cause.verify_message}"
            case OSError(strerror=str(said)):
                return said
        cause = cause.__cause__ or cause.__context__
    return "no answer in time" if isinstance(error, httpcore2.TimeoutException) else "the connection was closed"
