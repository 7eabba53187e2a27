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

import math
import ssl
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import anyio

from keyturn.canon import Json
from keyturn.connectors.credentials import Secret
from keyturn.connectors.http.answer import Answer, items_of, piece_of, refusal_without, scrubbed
from keyturn.connectors.http.authority import Authority
from keyturn.connectors.http.calls import LIMIT, Call, Params, encoded, joined, target_of, typed, unsendable, what_of
from keyturn.connectors.http.connection import Connection, base_of, proxy_of, trust_of
from keyturn.connectors.http.course import Course, Trouble, failed, late
from keyturn.connectors.http.failure import Failure
from keyturn.connectors.http.links import following, host_in, target_on
from keyturn.connectors.http.reading import Received
from keyturn.connectors.http.sorting import judge
from keyturn.connectors.http.transport import Sending, Transport
from keyturn.connectors.http.turn import Pausing, turn_of
from keyturn.connectors.world import World
from keyturn.model.errors import ConnectorError

TRIES: Final = 5
REDIRECTS: Final = 3
PAGES: Final = 200
"""Pages that one listing may have."""
_FIRST_PAUSE: Final = 0.25  # seconds before the second try; doubled each time
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_USUAL: Final = {"User-Agent": "keyturn", "Accept": "application/json", "Accept-Encoding": "gzip"}


class Door:
    """One system over HTTP. `place` is the dotted path of the back end's settings, as `forge.shop`.

    `headers` go with every request, `limit` bounds the bytes of an answer. `trust` makes the TLS context where `ca`
    is not enough (client certificates); it must verify. Raises `ConfigurationError`.
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
        self._base = base_of(place, connection)
        proxy = proxy_of(place, connection)
        if trust is None:
            trust_of(place, world.home, connection.ca)  # what is wrong with it is said at once
        self._transport = Transport(
            self._base.origin,
            trust=trust or (lambda: trust_of(place, world.home, connection.ca)),
            proxy=proxy,
            private=connection.private,
        )
        self._turn = turn_of(world.run, self._base.origin.authority, connection.pause, world.now)
        self._connection = connection
        self._now = world.now
        self._authority = authority
        self._headers = joined(_USUAL, headers or {})
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
        call = self._call("GET", path, params, headers)
        return await self._called(replace(call, expected=expected, limit=limit or self._limit))

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
        call = self._call("POST", path, params, typed(headers))
        return await self._called(replace(call, body=encoded(body), expected=expected, limit=limit or self._limit))

    async def post_bytes(
        self, path: str, *, data: bytes, content: str, expected: frozenset[int] = frozenset()
    ) -> Answer:
        """POST bytes as they are, of the type `content`, where sending them twice does no harm: repeated as a GET."""
        call = self._call("POST", path, None, typed({"Content-Type": content, "Accept": "*/*"}))
        return await self._called(replace(call, body=data, expected=expected))

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
        call = self._call(method, path, params, headers if body is None else typed(headers))
        return await self._called(
            replace(call, body=b"" if body is None else encoded(body), expected=expected, change=True)
        )

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
        call, seen = self._call("GET", path, params, headers), set[str]()
        while call.target not in seen and len(seen) < PAGES:
            seen.add(call.target)
            answer = await self._called(call)
            items += items_of(answer, member)
            if len(items) > most:
                raise ConnectorError(f"{call.what}: lists more than {most} items, and no more are read")
            link = following(answer.headers.get("link", ""))
            if link is None:
                return items
            target = target_on(self._base.origin, call.target, link)
            if target is None:
                raise ConnectorError(f"{call.what}: its next page is on another host, which is not followed")
            call = replace(call, target=target)
        raise ConnectorError(f"{call.what}: the pages of this list do not come to an end")

    def _call(self, method: str, path: str, params: Params | None, headers: Mapping[str, str] | None) -> Call:
        what, target = what_of(self.place, method, path), target_of(self._base, path, params)
        if target is None:
            raise ConnectorError(f"{what}: is no path below the url")
        fields = joined(self._headers, headers or {})
        return Call(method=method, target=target, what=what, headers=fields, limit=self._limit)

    async def _called(self, call: Call) -> Answer:
        """Make a call within its deadline. The errors of what was tried are not chained to the one raised here."""
        seconds = float(self._connection.deadline)
        course = Course(anyio.current_time() + seconds)
        ended: Answer | Trouble | None = None
        with anyio.move_on_after(seconds):
            ended = await self._tried(call, course)
        if ended is None:
            ended = late(call, course, self.host, seconds)
        if isinstance(ended, Answer):
            return ended
        after = None if ended.wait is None else max(1, math.ceil(ended.wait))
        raise ConnectorError(f"{call.what}: {ended.words}", kind=ended.kind, retry_after=after)

    async def _tried(self, call: Call, course: Course) -> Answer | Trouble:
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
            course.stage = "pause"
            await anyio.sleep(wait)

    def _pause(self, tries: int) -> float:
        """Return the seconds before another try, spread by the clock so that many do not come back together."""
        spread = self._now() * 1000 % 1  # what is below the millisecond is nobody's choice
        return float(_FIRST_PAUSE * 2 ** (tries - 1) * (0.75 + spread / 2))

    async def _once(self, call: Call, course: Course) -> Answer | Trouble:
        course.stage, course.departure.sent = "credential", False
        secrets = await self._authority.headers()
        if problem := unsendable(secrets):
            return Trouble("refused", problem)
        if not call.change:
            return await self._answered(call, secrets, course)
        course.stage = "turn"
        async with self._turn.taken(course.until) as mine:
            if isinstance(mine, Pausing):
                return Trouble(
                    "retry", f"{self.host} wants no change before {mine.seconds:.0f} s from now", wait=mine.seconds
                )
            ended = await self._answered(call, secrets, course)
            if isinstance(ended, Trouble) and ended.kind == "retry" and ended.wait:
                mine.rest = self._now() + ended.wait
        return ended

    async def _answered(self, call: Call, secrets: Mapping[str, Secret], course: Course) -> Answer | Trouble:
        course.stage, target = "exchange", call.target
        for _ in range(REDIRECTS + 1):
            sending = Sending(
                method=call.method,
                target=target,
                headers=call.headers,
                secrets=secrets,
                body=call.body,
                fresh=call.change,
            )
            received = await self._exchanged(sending, call, course)
            if isinstance(received, Failure):
                return failed(call, received)
            if received.status not in _REDIRECTS or received.status in call.expected:
                return self._judged(call, received, secrets, course)
            link = received.headers.get("location", "")
            to = target_on(self._base.origin, target, link) if call.method == "GET" and not call.change else None
            if to is None:
                where = scrubbed(host_in(link), secrets.values())
                return Trouble("refused", f"answered {received.status} and points to {where}: not followed")
            target = to
        return Trouble("refused", f"points elsewhere more than {REDIRECTS} times in a row")

    async def _exchanged(self, sending: Sending, call: Call, course: Course) -> Received | Failure:
        seconds = min(float(self._connection.timeout), course.until - anyio.current_time())
        return await self._transport.exchange(
            sending, limit=call.limit, seconds=max(seconds, 0.0), departure=course.departure
        )

    def _judged(
        self, call: Call, received: Received, secrets: Mapping[str, Secret], course: Course
    ) -> Answer | Trouble:
        status, headers, body = received.status, received.headers, received.body
        if 200 <= status < 300 or status in call.expected:
            doubt = "unknown" if call.change else "refused"
            if status >= 400:
                body = refusal_without(body, secrets.values())
            return Answer(status=status, headers=headers, body=body, what=call.what, doubt=doubt)
        said = piece_of(body, secrets.values())
        words = f"answered {status}{f': {said}' if said else ''}"
        if status == 401 and self._authority.refused() and not course.renewed:
            course.renewed = True
            return Trouble("refused", words, again=True, wait=0.0)
        verdict = judge(status, headers, body, change=call.change, now=self._now())
        return Trouble(verdict.kind, words, again=verdict.again, wait=verdict.wait)
