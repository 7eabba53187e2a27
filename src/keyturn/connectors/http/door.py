"""The one way of back ends to systems over HTTP: who asks, what is repeated, whose turn it is, what an error is.

What holds for every call:

1. It ends within its deadline: waits for a turn, tries and the pauses between them included.
2. A read is repeated where that may help. A change is repeated only where it certainly was not processed: no
   connection was made, or the host told how long to wait before asking again. What is doubtful is `unknown`.
3. Redirects of reads are followed on the same scheme, host and port, three at most; no other is.
4. Nothing of a credential is in any message: nothing is repeated of what an exception below said, and the pieces of
   answers that messages hold are searched for what was sent.
"""

from __future__ import annotations

import json
import math
import re
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, TypeAlias
from urllib.parse import quote, urlencode, urljoin, urlsplit

import anyio

from keyturn.canon import Json
from keyturn.connectors.credentials import Secret
from keyturn.connectors.http.answer import Answer, piece_of
from keyturn.connectors.http.authority import Authority
from keyturn.connectors.http.connection import Base, Connection, base_of, proxy_of, trust_of
from keyturn.connectors.http.sorting import judge
from keyturn.connectors.http.transport import Departure, Failure, Received, Sending, Transport
from keyturn.connectors.http.turn import Turn, turn_of
from keyturn.connectors.world import World
from keyturn.model.errors import ConnectorError
from keyturn.model.text import visible

TRIES: Final = 5
REDIRECTS: Final = 3
PAGES: Final = 200
"""Pages that one listing may have."""
LIMIT: Final = 8 * 2**20
_FIRST_PAUSE: Final = 0.25  # seconds before the second try; doubled each time
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NEXT: Final = re.compile(r"<([^<>]*)>((?:\s*;\s*[^,;<>]+)*)")
_USUAL: Final = {"User-Agent": "keyturn", "Accept": "application/json", "Accept-Encoding": "gzip"}

Params: TypeAlias = "Mapping[str, str | int | Sequence[str]]"
"""What follows the question mark of a URL, not yet escaped; a list becomes one pair per item."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """What was asked for. `change`: it may alter something there."""

    method: str
    target: str
    what: str
    headers: Mapping[str, str]
    body: bytes
    expected: frozenset[int]
    limit: int
    change: bool


@dataclass(frozen=True, slots=True)
class _Trouble:
    """A try without an answer: the kind and words of the error, whether and after how long to try again."""

    kind: str
    words: str
    again: bool
    wait: float | None = None


@dataclass(slots=True)
class _Course:
    """How far a call has come: what is needed to say what became of it when its time is over."""

    until: float
    departure: Departure
    tries: int = 0
    renewed: bool = False
    trouble: _Trouble | None = None


class Door:
    """One system over HTTP. `place` is the dotted path of the back end's settings, as `forge.shop`.

    `headers` go with every request, `limit` bounds the bytes of an answer. `trust` makes the TLS context where the
    settings alone do not say it (a client's certificate, another name to expect); by default it follows from `ca`.
    Raises `ConfigurationError`.
    May be used from several event loops and threads; nothing is opened before the first call.
    """

    def __init__(
        self,
        *,
        place: str,
        connection: Connection,
        world: World,
        authority: Authority,
        headers: Mapping[str, str] | None = None,
        limit: int = LIMIT,
        trust: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        self.place = place
        self._base: Base = base_of(place, connection)
        proxy = proxy_of(place, connection)
        by_settings = partial(trust_of, place, world.home, connection.ca)
        by_settings()  # said at once when it cannot be read
        self._transport = Transport(
            self._base.origin,
            trust=trust or by_settings,
            proxy=proxy,
            private=connection.private,
        )
        self._turn: Turn = turn_of(world.run, self._base.origin.authority, connection.pause, world.now)
        self._connection = connection
        self._now = world.now
        self._authority = authority
        self._headers = {**_USUAL, **(headers or {})}
        self._limit = limit

    def __repr__(self) -> str:
        return f"Door({self.place}, {self._base.origin})"

    @property
    def host(self) -> str:
        """The host, with its port where that is not the scheme's own."""
        return self._base.origin.authority

    async def read(
        self,
        path: str,
        *,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        expected: frozenset[int] = frozenset(),
        limit: int | None = None,
    ) -> Answer:
        """GET below the interface's URL and return the answer: 2xx, or a status in `expected`.

        `path` begins with a slash, and its segments are escaped (`urllib.parse.quote(…, safe="")`). Raises
        `ConnectorError`: `retry`, `conflict` or `refused`.
        """
        call = self._call("GET", path, params, headers, expected)
        return await self._called(replace(call, limit=limit or self._limit))

    async def post_read(
        self,
        path: str,
        *,
        body: Json,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        expected: frozenset[int] = frozenset(),
        limit: int | None = None,
    ) -> Answer:
        """POST what only reads, such as a query of GraphQL: repeated as a GET, without a turn for changes."""
        call = self._call("POST", path, params, _typed(headers), expected)
        return await self._called(replace(call, body=_encoded(body), limit=limit or self._limit))

    async def change(
        self,
        method: str,
        path: str,
        *,
        body: Json | None,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        expected: frozenset[int] = frozenset(),
    ) -> Answer:
        """Send what may alter something there, when it is its turn, and return the answer as `read` does.

        Raises `ConnectorError`; with the kind `unknown` it may or may not have happened, with every other it has not.
        """
        call = self._call(method, path, params, headers if body is None else _typed(headers), expected)
        return await self._called(replace(call, body=b"" if body is None else _encoded(body), change=True))

    async def pages(
        self,
        path: str,
        *,
        params: Params | None = None,
        most: int,
        headers: Mapping[str, str] | None = None,
        member: str | None = None,
    ) -> list[Any]:
        """Read a listing whose pages link to the next (RFC 8288, `rel="next"`), and return its items in order.

        `member` names the list where pages are objects. Raises `ConnectorError` for more than `most` items.
        """
        items: list[Any] = []
        call, seen = self._call("GET", path, params, headers, frozenset()), set[str]()
        while call.target not in seen and len(seen) < PAGES:
            seen.add(call.target)
            answer = await self._called(call)
            items += _items(answer, member)
            if len(items) > most:
                raise ConnectorError(f"{call.what}: lists more than {most} items, and no more are read")
            following = _following(answer.headers.get("link", ""))
            if following is None:
                return items
            call = replace(call, target=self._same_origin(call, following))
        raise ConnectorError(f"{call.what}: the pages of this list do not come to an end")

    def _call(
        self,
        method: str,
        path: str,
        params: Params | None,
        headers: Mapping[str, str] | None,
        expected: frozenset[int],
    ) -> _Call:
        what = f"{self.place}: {method} {visible(path)[:200]}"
        if not _fine(path):
            raise ConnectorError(f"{what}: is no path below the url")
        target = self._base.path + quote(path, safe="/%-._~!$&'()*+,;=:@")
        query = urlencode(params or {}, doseq=True)
        return _Call(
            method=method,
            target=f"{target}?{query}" if query else target,
            what=what,
            headers=_joined(self._headers, headers or {}),
            body=b"",
            expected=expected,
            limit=self._limit,
            change=False,
        )

    async def _called(self, call: _Call) -> Answer:
        """Make a call within its deadline. The errors of what was tried are not chained to those raised here."""
        seconds = float(self._connection.deadline)
        course = _Course(anyio.current_time() + seconds, Departure())
        ended: Answer | _Trouble | None = None
        with anyio.move_on_after(seconds):
            ended = await self._tried(call, course)
        if ended is None:
            ended = _late(call, course, seconds)
        if isinstance(ended, Answer):
            return ended
        after = None if ended.wait is None else max(1, math.ceil(ended.wait))
        raise ConnectorError(f"{call.what}: {ended.words}", kind=ended.kind, retry_after=after)

    async def _tried(self, call: _Call, course: _Course) -> Answer | _Trouble:
        """Try, and try again as long as that is safe, may help, and fits into the time that is left."""
        while True:
            course.tries += 1
            ended = await self._once(call, course)
            if isinstance(ended, Answer):
                return ended
            course.trouble = ended
            wait = self._pause(course.tries) if ended.wait is None else ended.wait
            if not ended.again or course.tries >= TRIES or anyio.current_time() + wait >= course.until:
                return ended
            await anyio.sleep(wait)

    def _pause(self, tries: int) -> float:
        """Return the seconds before another try, spread by the clock so that many do not come back together."""
        return float(_FIRST_PAUSE * 2 ** (tries - 1) * (0.75 + self._now() * 1000 % 1 / 2))

    async def _once(self, call: _Call, course: _Course) -> Answer | _Trouble:
        course.departure = Departure()
        secrets = await self._authority.headers()
        if problem := _unsendable(secrets):
            return _Trouble("refused", problem, again=False)
        if not call.change:
            return await self._answered(call, secrets, course)
        async with self._turn.taken() as standing:
            ended = await self._answered(call, secrets, course)
            if isinstance(ended, _Trouble) and ended.kind == "retry" and ended.wait:
                standing.rest = self._now() + ended.wait
        return ended

    async def _answered(self, call: _Call, secrets: Mapping[str, Secret], course: _Course) -> Answer | _Trouble:
        target, method, body = call.target, call.method, call.body
        for _ in range(REDIRECTS + 1):
            sending = Sending(method=method, target=target, headers=call.headers, secrets=secrets, body=body)
            received = await self._exchanged(sending, call, course)
            if isinstance(received, Failure):
                return _failed(call, received)
            if received.status not in _REDIRECTS or received.status in call.expected:
                return self._judged(call, received, secrets, course)
            to = self._redirected(call, target, received.headers.get("location", ""))
            if isinstance(to, _Trouble):
                return to
            target = to
        return _Trouble("refused", f"redirects more than {REDIRECTS} times", again=False)

    async def _exchanged(self, sending: Sending, call: _Call, course: _Course) -> Received | Failure:
        seconds = min(float(self._connection.timeout), course.until - anyio.current_time())
        return await self._transport.exchange(
            sending, limit=call.limit, seconds=max(seconds, 0.0), departure=course.departure
        )

    def _judged(
        self, call: _Call, received: Received, secrets: Mapping[str, Secret], course: _Course
    ) -> Answer | _Trouble:
        status = received.status
        if 200 <= status < 300 or status in call.expected:
            return Answer(
                status=status,
                headers=received.headers,
                body=received.body,
                what=call.what,
                doubt="unknown" if call.change else "refused",
            )
        said = piece_of(received.body, secrets.values())
        words = f"answered {status}{f': {said}' if said else ''}"
        if status == 401 and self._authority.refused() and not course.renewed:
            course.renewed = True
            return _Trouble("refused", words, again=True, wait=0.0)
        verdict = judge(status, received.headers, received.body, change=call.change, now=self._now())
        return _Trouble(verdict.kind, words, again=verdict.again, wait=verdict.wait)

    def _redirected(self, call: _Call, target: str, location: str) -> str | _Trouble:
        """Return the target to go on with, or why not."""
        if call.change or call.method != "GET":
            return _Trouble("refused", f"redirects to {self._named(location)}, which only reads follow", again=False)
        following = self._on_origin(urljoin(f"{self._base.origin}{target}", location))
        if following is None or not location:
            return _Trouble("refused", f"redirects to {self._named(location)}, which is not followed", again=False)
        return following

    def _named(self, location: str) -> str:
        """Name where a redirect leads: the host alone, for the rest may hold a credential."""
        try:
            return visible(urlsplit(location).hostname or self._base.origin.host)[:200]
        except ValueError:
            return "no URL"

    def _on_origin(self, url: str) -> str | None:
        """Return the target of a URL of the same scheme, host and port, or None."""
        try:
            parts = urlsplit(url)
            origin = (parts.scheme, (parts.hostname or "").rstrip("."), parts.port)
        except ValueError:
            return None
        own = self._base.origin
        ports = {own.port, None} if own.port == {"https": 443, "http": 80}[own.scheme] else {own.port}
        if origin[:2] != (own.scheme, own.host.lower()) or origin[2] not in ports or "@" in parts.netloc:
            return None
        target = quote(parts.path or "/", safe="/%-._~!$&'()*+,;=:@")
        return f"{target}?{quote(parts.query, safe=_QUERY)}" if parts.query else target

    def _same_origin(self, call: _Call, link: str) -> str:
        target = self._on_origin(urljoin(f"{self._base.origin}{call.target}", link))
        if target is None:
            raise ConnectorError(f"{call.what}: its next page is on {self._named(link)}, which is not followed")
        return target


_QUERY: Final = "/%-._~!$&'()*+,;=:@?[]"


def _failed(call: _Call, failure: Failure) -> _Trouble:
    if call.change and failure.sent:
        return _Trouble("unknown", failure.words, again=False)
    return _Trouble("refused" if failure.final else "retry", failure.words, again=not failure.final)


def _late(call: _Call, course: _Course, seconds: float) -> _Trouble:
    """Say what a call is that has not ended in its time."""
    if call.change and course.departure.sent:
        return _Trouble("unknown", f"no whole answer came within {seconds:g} s", again=False)
    before = f"; before that: {course.trouble.words}" if course.trouble is not None else ""
    waited = "it was not its turn, or it had no answer," if call.change else "it had no answer"
    return _Trouble("retry", f"{waited} within {seconds:g} s{before}", again=False)


def _unsendable(secrets: Mapping[str, Secret]) -> str | None:
    """Say which credential does not fit into a field (RFC 9110, section 5.5); the library would quote it."""
    for name, secret in secrets.items():
        if not secret.reveal().isascii() or not secret.reveal().isprintable():
            return f"the credential for {name} holds characters that cannot be sent; is it the right file?"
    return None


def _fine(path: str) -> bool:
    """Whether a path stays below the interface: no dots that lead out of it, nothing that ends it early."""
    segments = path.replace("%2e", ".").replace("%2E", ".").split("/")
    return (
        path.startswith("/")
        and not {".", ".."} & set(segments)
        and not set(path) & set("?#\\")
        and path.isprintable()
    )


def _joined(*headers: Mapping[str, str]) -> dict[str, str]:
    """Join fields, the later over the earlier whatever their case. Raises `ValueError` for what is no field."""
    found: dict[str, tuple[str, str]] = {}
    for name, text in (pair for fields in headers for pair in fields.items()):
        if not _TOKEN.fullmatch(name) or not text.isascii() or not text.isprintable():
            raise ValueError(f"{name!r} cannot be sent as a field")
        found[name.lower()] = name, text
    return dict(found.values())


def _typed(headers: Mapping[str, str] | None) -> dict[str, str]:
    return _joined({"Content-Type": "application/json"}, headers or {})


def _encoded(body: Json) -> bytes:
    return json.dumps(body, ensure_ascii=True, allow_nan=False, separators=(",", ":"), default=dict).encode("ascii")


def _items(answer: Answer, member: str | None) -> list[Any]:
    value = answer.json()
    if member is not None and isinstance(value, dict):
        value = value.get(member)
    if not isinstance(value, list):
        raise ConnectorError(f"{answer.what}: what came back is no list")
    return value


def _following(link: str) -> str | None:
    """Return where `rel="next"` leads (RFC 8288, section 3), or None on the last page."""
    for target, parameters in _NEXT.findall(link):
        if re.search(r';\s*rel\s*=\s*("[^"]*\bnext\b[^"]*"|next\b)', parameters, re.IGNORECASE):
            return str(target)
    return None
