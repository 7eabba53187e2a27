"""The faults of the matrix: what becomes of one request on its way to a system and back, and of who sent it.

None waits by the clock. A client that gives up does so because its event loop's time is set forward; a process that
dies is interrupted where it waits for its answer, and none of its code sends anything after that.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.bed.faults import (
    Deed,
    DoneBut,
    DropAfter,
    DropBefore,
    Fault,
    Garble,
    Instead,
    Meanwhile,
    Truncate,
    Twice,
    refusal,
)
from tests.bed.recorder import Answer, Cut, Request

BOUND = 20.0
GIVEN_UP = 11.0
"""Seconds after which a client that waits ten for an answer waits no longer."""
AGAIN = 40
"""How many requests of one kind are struck by a fault that lasts."""


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose time can be set forward, so that what waits in it has waited long enough."""

    ahead = 0.0

    def time(self) -> float:
        """Return its time in seconds."""
        return super().time() + self.ahead

    def forward(self, seconds: float) -> None:
        """Set it forward, from another thread."""

        def jump() -> None:
            self.ahead += seconds

        self.call_soon_threadsafe(jump)


@dataclass(slots=True)
class Client:
    """Who sends what is struck: its event loop, and what ends it; and the other end: how it lies, what others do."""

    lie: Callable[[Request], Answer]
    others: Callable[[], object]
    loop: Loop | None = None
    end: Callable[[], object] = lambda: None
    over: threading.Event = field(default_factory=threading.Event)

    def give_up(self) -> None:
        """Let its time-out pass."""
        assert self.loop is not None
        self.loop.forward(GIVEN_UP)

    def die(self) -> None:
        """End it, and return when it has ended."""
        self.end()
        assert self.over.wait(BOUND), "the client does not end"


@dataclass(slots=True)
class Post:
    """What is on its way while nobody waits for it."""

    gate: threading.Event = field(default_factory=threading.Event)
    held: bool = False

    def keep(self) -> None:
        """Be the request that is on its way."""
        self.held = True
        assert self.gate.wait(BOUND), "it never arrives"


@dataclass(frozen=True, slots=True)
class Trouble:
    """One fault. `lasts`: until all is healed; `kills`: the process that sends does not live on."""

    deed: Callable[[Client, Post], Deed]
    lasts: bool = False
    kills: bool = False

    def plan(self, request: tuple[str, str, int], client: Client, post: Post) -> tuple[Fault, ...]:
        """Return the faults for a request: method, pattern of the path, and which it is."""
        method, path, nth = request
        deed = self.deed(client, post)
        return tuple(Fault(method, path, deed, n) for n in range(nth, nth + (AGAIN if self.lasts else 1)))


def always(deed: Deed) -> Callable[[Client, Post], Deed]:
    return lambda client, post: deed


def _cut_after(deed: Callable[[], None]) -> Callable[[Request], Answer]:
    def cut(request: Request) -> Answer:
        deed()
        raise Cut

    return cut


def _late(leave: Callable[[], None], post: Post, *, after: bool = False) -> Deed:
    def meanwhile() -> None:
        leave()
        post.keep()

    return Meanwhile(meanwhile, after=after)


ON_THE_WAY: Mapping[str, Trouble] = {
    "never arrives": Trouble(always(DropBefore())),
    "never arrives, however often it is sent": Trouble(always(DropBefore()), lasts=True),
    "arrives when nobody waits for it any more": Trouble(lambda client, post: _late(client.give_up, post)),
    "arrives twice, the first answer is told": Trouble(always(Twice())),
    "arrives twice, the second answer is told": Trouble(always(Twice(answered=2))),
    "is done, its answer is lost": Trouble(always(DropAfter())),
    "is done, its answer is lost, the line is reset": Trouble(always(DropAfter(reset=True))),
    "is done, its answer is lost, and so are all others": Trouble(always(DropAfter()), lasts=True),
    "is done, its answer comes too late": Trouble(lambda client, post: _late(client.give_up, post, after=True)),
    "is done, its answer is cut": Trouble(always(Truncate())),
    "is done, its answer is garbage": Trouble(always(Garble())),
    "is not sent: the process dies": Trouble(lambda client, post: Instead(_cut_after(client.die)), kills=True),
    "is done, and the process dies": Trouble(lambda client, post: Meanwhile(client.die, after=True), kills=True),
    "arrives after the process died and all was settled": Trouble(
        lambda client, post: _late(client.die, post), kills=True
    ),
}
"""By words that go on from the name of a request: what the network does to it, and the machine that sends it."""


def answered(refuse: Callable[..., Answer]) -> dict[str, Trouble]:
    """Return what the system itself may answer; `refuse` makes an error of a status and headers in its words."""
    return {
        "is answered 409": Trouble(always(Instead(refuse(409)))),
        "is answered 422": Trouble(always(Instead(refuse(422)))),
        "is answered 403": Trouble(always(Instead(refuse(403)))),
        "is answered 429, with Retry-After: 0": Trouble(always(Instead(refuse(429, retry_after="0")))),
        "is answered 429, for an hour": Trouble(always(Instead(refuse(429, retry_after="3600")))),
        "is answered 500": Trouble(always(Instead(refuse(500)))),
        "is answered 500, and done": Trouble(always(DoneBut(refuse(500)))),
        "is answered 502": Trouble(always(Instead(refuse(502)))),
        "is answered 503, with Retry-After: 0": Trouble(always(Instead(refuse(503, retry_after="0")))),
        "is answered with success, and not done": Trouble(lambda client, post: Instead(client.lie)),
    }


HTTP: Mapping[str, Trouble] = {**ON_THE_WAY, **answered(refusal)}
"""The faults of a system that speaks as GitHub does."""
