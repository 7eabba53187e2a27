"""Faults between a client and a server: which request they strike, what they do, and how often they struck.

A `Fault` names requests by method, pattern of the decoded path, and which match it is (`nth`, from 1; 0 is each). The
first fault of the plan that fits and is not used up strikes; all else passes. No fault waits by the clock: what is
held back waits for a `Gate`, within a bound.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.bed.recorder import Answer, Cut, Next, Proxy, Record, Request, answer, fits, raw


class Gate:
    """A place where a request is held: the test waits until it is there, looks around, and lets it go."""

    def __init__(self, bound: float = 20) -> None:
        """Hold for at most `bound` seconds; a request that nobody let go by then fails the test."""
        self.bound = bound
        self._there, self._open = threading.Event(), threading.Event()

    def wait(self) -> None:
        """Wait until a request is held here."""
        assert self._there.wait(self.bound), "no request came to the gate"

    def open(self) -> None:
        """Let it go, and every later one."""
        self._open.set()

    async def hold(self) -> None:
        """Be the request that waits."""
        self._there.set()
        assert await asyncio.to_thread(self._open.wait, self.bound), "nobody opened the gate"


@dataclass(frozen=True, slots=True)
class DropBefore:
    """Close the line; the upstream never hears of the request."""

    reset: bool = False


@dataclass(frozen=True, slots=True)
class DropAfter:
    """Let the upstream do it, then close the line without an answer."""

    reset: bool = False


@dataclass(frozen=True, slots=True)
class Hold:
    """Keep the request (or, with `after`, the answer) until the gate is opened."""

    gate: Gate
    after: bool = False


@dataclass(frozen=True, slots=True)
class Meanwhile:
    """Do what other people do first (or, with `after`, between the upstream's deed and its answer)."""

    deed: Callable[[], object]
    after: bool = False


@dataclass(frozen=True, slots=True)
class Twice:
    """Send the request to the upstream twice, as a network or a proxy may; answer with the first or second answer."""

    answered: int = 1


@dataclass(frozen=True, slots=True)
class Truncate:
    """Let the upstream do it and send only the first part of the answer's body, then close the line."""

    keep: float = 0.5


@dataclass(frozen=True, slots=True)
class Instead:
    """Answer without telling the upstream: an error, or a lie. The answer may be made from the request."""

    answer: Answer | Callable[[Request], Answer]


@dataclass(frozen=True, slots=True)
class DoneBut:
    """Let the upstream do it, then answer this instead (500: processed, but it says error)."""

    answer: Answer


@dataclass(frozen=True, slots=True)
class Garble:
    """Let the upstream do it and keep status and headers, but send a body that is not what it should be."""

    body: bytes = b"<html>\x00\xffnot what you asked for"


Deed = DropBefore | DropAfter | Hold | Meanwhile | Twice | Truncate | Instead | DoneBut | Garble


@dataclass(frozen=True, slots=True)
class Fault:
    """What is done to the `nth` request (0: each) that has this method (`*`, `change`) and fits this pattern."""

    method: str
    path: str
    deed: Deed
    nth: int = 1


@dataclass(slots=True)
class Faults:
    """A layer of the proxy: the plan, and which of its faults struck. Plans are changed between requests only."""

    plan: list[Fault] = field(default_factory=list)
    struck: list[Fault] = field(default_factory=list)
    _met: dict[int, int] = field(default_factory=dict)

    def set(self, *plan: Fault) -> None:
        """Begin anew with these faults; without any, everything passes."""
        self.plan, self.struck, self._met = list(plan), [], {}

    async def __call__(self, request: Request, onward: Next) -> Answer:
        """Pass a request, or do to it what the plan says."""
        fault = self._meant(request)
        if fault is None:
            return await onward(request)
        self.struck.append(fault)
        return await _strike(fault.deed, request, onward)

    def _meant(self, request: Request) -> Fault | None:
        chosen: Fault | None = None
        for place, fault in enumerate(self.plan):
            if fits(request.method, request.path, fault.method, fault.path):
                self._met[place] = self._met.get(place, 0) + 1
                if chosen is None and fault.nth in (0, self._met[place]):
                    chosen = fault
        return chosen


async def _strike(deed: Deed, request: Request, onward: Next) -> Answer:
    match deed:
        case DropBefore(reset):
            raise Cut(reset=reset)
        case Instead(said):
            return said(request) if callable(said) else said
        case Hold(gate, after=False):
            await gate.hold()
            return await onward(request)
        case Meanwhile(doing, after=False):
            await asyncio.to_thread(doing)
            return await onward(request)
        case Twice(answered):
            both = [await onward(request), await onward(request)]
            return both[answered - 1]
        case _:
            return await _after(deed, await onward(request))


async def _after(deed: Deed, said: Answer) -> Answer:
    match deed:
        case DropAfter(reset):
            raise Cut(reset=reset)
        case Truncate(keep):
            whole = raw(said)
            raise Cut(whole[: len(whole) - len(said.body) + int(len(said.body) * keep)])
        case DoneBut(other):
            return other
        case Garble(body):
            return Answer(said.status, said.headers, body)
        case Hold(gate):
            await gate.hold()
        case Meanwhile(doing):
            await asyncio.to_thread(doing)
        case _:
            raise AssertionError(f"{deed} does not happen after")
    return said


def refusal(status: int, message: str = "refused by the test", **headers: str) -> Answer:
    """Make an error as GitHub words it: 409, 412, 422, 429 (`retry_after="1"`), 500, 502, 503 …"""
    return answer(status, {"message": message, "documentation_url": "https://docs.github.com/rest"}, **headers)


def kubernetes_refusal(status: int, reason: str, message: str = "refused by the test") -> Answer:
    """Make an error as a Kubernetes API server words it (`Status` of apimachinery's meta/v1)."""
    said = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    return answer(status, said | {"message": message, "reason": reason, "code": status})


def echo(status: int = 200, **more: object) -> Callable[[Request], Answer]:
    """Make a lie: success, with the request's own body given back and a few plausible fields, and nothing done."""

    def lying(request: Request) -> Answer:
        try:
            sent: Any = request.json()
        except json.JSONDecodeError:
            sent = None
        said = {"id": 990099, "number": 990099, "sha": "0" * 40, "url": request.path, "state": "open"}
        return answer(status, said | (sent if isinstance(sent, dict) else {}) | more)

    return lying


class FaultProxy(Proxy):
    """A proxy with a plan of faults: `with FaultProxy(url) as proxy: proxy.faults.set(Fault(…))`."""

    def __init__(self, upstream: tuple[str, int] | str, *, inner: tuple[Any, ...] = (), **more: Any) -> None:
        """Put the faults outermost, before `inner` layers (as GitHub's manners): they stand for the network."""
        self.faults = Faults()
        super().__init__(upstream, layers=(self.faults, *inner), **more)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxied:
    """A server of the test bed behind its proxy of faults, which is what our connectors are pointed at."""

    proxy: FaultProxy

    @property
    def url(self) -> str:
        """Its address."""
        return self.proxy.url

    @property
    def faults(self) -> Faults:
        """The plan of faults, empty at first."""
        return self.proxy.faults

    @property
    def seen(self) -> Record:
        """Requests of our connectors, with the answers they got."""
        return self.proxy.seen
