"""One home before one system: an assistant asks, a person approves, a process executes, housekeeping settles.

A cell of the matrix is one governed action through all of that, with one fault on its way.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol, Self

import anyio

from keyturn.assembly.build import become_executor
from keyturn.gateway.acts import draft_resolution, submit_act
from keyturn.gateway.call import call
from keyturn.gateway.claim import claim_ready
from keyturn.gateway.core import Gateway
from keyturn.gateway.envelope import Answer
from keyturn.gateway.executor import Executor
from keyturn.gateway.incoming import Incoming
from keyturn.gateway.recover import recover, reprobe_due
from keyturn.gateway.threads import on_ledger
from keyturn.log.entry import Entry
from tests.bed.faults import FaultProxy
from tests.bed.programs import wait_until
from tests.bed.recorder import Answer as Reply
from tests.bed.recorder import Request as Sent
from tests.faults.matrix.troubles import BOUND, HTTP, Client, Loop, Post, Trouble
from tests.faults.world import KEYS, Place, found, review
from tests.gateway.hands import drain
from tests.ledger.processes import CONTEXT, running

CONTEXT.set_forkserver_preload(["tests.faults.matrix.bench"])

Request = tuple[str, str, int]
"""A request of a write: method, pattern of its path, and which of those that fit."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is there of an action, seen by others.

    effects  how often it is there, whoever did it; something of it counts, too
    whole    it is there as it was reviewed, all of it
    clean    nothing of it is there
    """

    effects: int
    whole: bool
    clean: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """What an assistant asks for in one cell, and how others see what came of it; `look` takes the action's id."""

    arguments: dict[str, Any]
    look: Callable[[str], Seen]


class System(Protocol):
    """A system behind a proxy, and the section of the wiring that points to it."""

    @property
    def proxy(self) -> FaultProxy:
        """The proxy before it."""

    def wiring(self) -> str:
        """Return the sections of `keyturn.toml`, for which `token` in the home holds the credential."""

    def token(self) -> str:
        """Return the credential as it is now."""

    def lie(self, request: Sent) -> Reply:
        """Answer a request with success, without doing anything."""

    def change(self) -> object:
        """Change what a write is about, as somebody else does."""


@dataclass(frozen=True, slots=True)
class Write:
    """One write of Keyturn's on a system.

    requests   the requests it sends that change something, in their order
    asked      makes what has to stand there before, and returns what is asked for
    processes  what executes it cannot be interrupted, and dies in a process of its own
    also       how many requests follow that are in the matrix as those of another write
    """

    tool: str
    requests: dict[str, Request]
    asked: Callable[[Any, Bench], Asked]
    troubles: Mapping[str, Trouble] = field(default_factory=lambda: HTTP)
    processes: bool = False
    also: int = 0


@dataclass(slots=True)
class Bench:
    """A founded home that is wired to one system."""

    place: Place
    system: System
    gate: Gateway
    executor: Executor
    client: Client

    def close(self) -> None:
        """Leave the home; verify its ledger."""
        self.gate.close()
        self.executor.lock.release(forget=True)
        report = self.place.verified()
        assert report.verdict == "PASS-UNANCHORED", report

    # asking and approving

    def ask(self, tool: str, arguments: dict[str, Any]) -> Answer:
        """Make a call as the assistant does."""
        incoming = Incoming(tool, arguments, len(json.dumps(arguments)))
        answer: Answer = self.run(lambda: call(self.gate, self.place.caller(self.gate), incoming))
        return answer

    def requested(self, tool: str, arguments: dict[str, Any]) -> str:
        """Ask, and have it approved where a person has to; return the action."""
        envelope = self.ask(tool, arguments).envelope
        assert envelope["status"] in ("pending", "approved"), envelope
        action = str(envelope["action_id"])
        if envelope["status"] == "pending":
            review(self.gate, action)
        return action

    def done(self, tool: str, arguments: dict[str, Any]) -> str:
        """Have something done without any fault; return the action."""
        action = self.requested(tool, arguments)
        self.execute()
        assert self.status(action) == "succeeded", self.ask("get_action", {"action_id": action}).envelope
        return action

    # executing

    def execute(self) -> None:
        """Execute what is approved, as a worker does."""
        self.run(lambda: drain(self.gate, self.executor, self.place.home.place.run))

    def execute_and_die(self, action: str) -> None:
        """Begin an action with an executor that dies in the middle: interrupted where it waits for an answer."""
        doomed = become_executor(self.place.home)

        async def live() -> None:
            [claimed] = await on_ledger(claim_ready, self.gate, doomed, 1)
            assert claimed.action.id == action
            with anyio.CancelScope() as life:
                self.client.end = partial(asyncio.get_running_loop().call_soon_threadsafe, life.cancel)
                await self.gate.governed[claimed.action.tool].execute(claimed.plan, claimed.reference)
            assert life.cancelled_caught, "it outlived the fault"

        self.run(live)
        doomed.lock.release()

    def execute_and_be_killed(self, action: str) -> None:
        """Begin an action in a process of its own, which is killed in the middle of it."""
        self.client.over.clear()
        with running(execute_one, self.place) as (process, _):

            def end() -> None:
                process.kill()
                process.join(BOUND)
                self.client.over.set()

            self.client.end = end
            assert self.client.over.wait(BOUND), "it outlived the fault"

    def settle(self) -> None:
        """Do what housekeeping of a process does that is started later."""
        self.run(lambda: reprobe_due(self.gate, eager=True))

    def recovered(self) -> None:
        """Settle what dead processes left behind."""
        assert self.run(lambda: recover(self.gate, self.executor, self.place.home.place.run)) == 1

    def heal(self) -> None:
        """End all faults, and every pause a system has asked for."""
        self.system.proxy.faults.set()
        for path in self.place.home.place.run.glob("host-*"):
            path.unlink()

    def resolve(self, action: str, *, happened: bool) -> None:
        """Have a person say what happened, after they looked."""
        draft = draft_resolution(self.gate, action, happened=happened, reason="looked there", by="alice")
        submit_act(self.gate.ledger, draft, KEYS["alice"].sign(draft.to_sign, "keyturn.act.v1"))

    def run(self, what: Callable[[], Awaitable[Any]]) -> Any:
        """Run in an event loop whose time can be set forward."""
        loop = self.client.loop = Loop()
        self.client.over.clear()
        try:
            return anyio.run(what, backend_options={"loop_factory": lambda: loop})
        finally:
            self.client.over.set()

    # looking

    def status(self, action: str) -> str:
        """Return the state of an action as the assistant is told."""
        return str(self.ask("get_action", {"action_id": action}).envelope["status"])

    def story(self, action: str) -> list[Entry]:
        """Return the entries about an action."""
        found: list[Entry] = self.gate.ledger.look(lambda view: [e for e in view.entries(0) if e.action == action])
        return found


def execute_one(_: Connection, place: Place) -> None:
    """Be a process that executes what is approved; it does not come to its end."""
    logging.disable()
    executor = become_executor(place.home)
    anyio.run(drain, place.gateway(), executor, place.home.place.run)


def bench(folder: Path, system: System) -> Bench:
    """Found a home in `folder`, wired to the system."""
    place = found(folder)
    place.home.wiring.write_text(f"version = 1\n\n{system.wiring()}", encoding="utf-8")
    (place.folder / "token").touch(mode=0o600)
    (place.folder / "token").write_text(system.token(), encoding="ascii")
    return Bench(place, system, place.gateway(), become_executor(place.home), Client(system.lie, system.change))


@dataclass(frozen=True, slots=True)
class Ended:
    """What came of a cell: the words the ledger has for it, first and last, and the effects that are there.

    Written as in the table: `done 1`, `? done 1` where it was unknown first, `? 0` where it stays unknown.
    """

    first: str
    last: str
    effects: int

    def __str__(self) -> str:
        words = "" if self.last == "unknown" else f" {self.last}"
        return f"{'?' if self.first == 'unknown' else ''}{words} {self.effects}".strip()


def tried(bench: Bench, write: Write, request: str, trouble: Trouble) -> Ended:
    """Play one cell, and hold it against all that holds for every cell."""
    asked = write.asked(bench.system, bench)
    action = bench.requested(write.tool, asked.arguments)
    post = Post()
    bench.system.proxy.faults.set(*trouble.plan(write.requests[request], bench.client, post))
    before = len(bench.system.proxy.seen.exchanges)
    if trouble.kills:
        bench.execute_and_be_killed(action) if write.processes else bench.execute_and_die(action)
        struck = len(bench.system.proxy.faults.struck)
        bench.heal()
        bench.recovered()
    else:
        bench.execute()
        struck = len(bench.system.proxy.faults.struck)
        bench.heal()
    assert struck >= 1, f"no request was struck: {bench.system.proxy.seen.exchanges[before:]}"
    first = told(bench, action)
    if post.held:
        delivered(bench, post)
    if first == "unknown":
        bench.settle()
    last = told(bench, action)
    seen = asked.look(action)
    ended = Ended(first, last, seen.effects)
    check_honest(ended, seen)
    check_story(bench, action, ended, killed=trouble.kills)
    check_repeated(bench, write, asked, action, ended)
    return ended


def delivered(bench: Bench, post: Post) -> None:
    """Let what is on its way arrive, and wait until it has."""
    there = len(bench.system.proxy.seen.exchanges)
    post.gate.set()
    arrived = lambda: len(bench.system.proxy.seen.exchanges) > there  # noqa: E731 - it has no other name
    wait_until(arrived, within=20, what="what was on its way has arrived")


def told(bench: Bench, action: str) -> str:
    """Return what the ledger says of an action, in words of this matrix."""
    last = [entry for entry in bench.story(action) if entry.kind in ("execution.finished", "execution.resolved")][-1]
    match last.facts["outcome"], last.facts["effect"]:
        case "succeeded", True:
            return "done"
        case "unknown", None:
            return "unknown"
        case "stale", False:
            return "stale"
        case "failed", True:
            return "part"
        case "failed", False:
            return "not done"
        case other:
            raise AssertionError(other)


def check_honest(ended: Ended, seen: Seen) -> None:
    """Hold what the ledger says against what is there."""
    match ended.last:
        case "done":
            assert (seen.effects, seen.whole) == (1, True), (ended, seen)
        case "not done" | "stale":
            assert (seen.effects, seen.clean) == (0, True), (ended, seen)
        case "part":
            assert seen.effects >= 1, (ended, seen)
            assert not seen.whole, (ended, seen)
        case _:
            assert seen.effects <= 1, (ended, seen)


def check_story(bench: Bench, action: str, ended: Ended, *, killed: bool) -> None:
    """Hold the entries against what happened: asked once, begun once, ended once, and settled where it had to be."""
    story = bench.story(action)
    kinds = [entry.kind for entry in story]
    settled = ["execution.resolved"] if ended.first != ended.last else []
    told = [kind for kind in kinds if kind != "action.reviewed"]
    assert told == ["action.requested", "execution.started", "execution.finished", *settled], kinds
    [finished] = [entry for entry in story if entry.kind == "execution.finished"]
    assert finished.facts["recovered"] is killed
    assert ended.first in (ended.last, "unknown")
    if settled:
        assert story[-1].facts["method"] == "probe"


def check_repeated(bench: Bench, write: Write, asked: Asked, action: str, ended: Ended) -> None:
    """Ask for the same again. What is there stays once; what is not can be asked for anew, and is there once then."""
    if ended.last == "unknown":
        answer = bench.ask(write.tool, asked.arguments).envelope
        assert answer["action_id"] == action, answer
        bench.execute()
        assert asked.look(action).effects == ended.effects
        bench.resolve(action, happened=ended.effects > 0)
        return
    if ended.last == "part":
        return  # the assistant was told what is there; to ask for the rest is another request
    answer = bench.ask(write.tool, asked.arguments).envelope
    if ended.last == "done":
        assert answer["action_id"] == action or answer["status"] == "denied", answer
        bench.execute()
        assert asked.look(action) == Seen(1, whole=True, clean=False)
        return
    again = str(answer["action_id"])
    assert again != action
    if answer["status"] == "pending":
        review(bench.gate, again)
    bench.execute()
    assert told(bench, again) == "done", bench.ask("get_action", {"action_id": again}).envelope
    assert asked.look(again) == Seen(1, whole=True, clean=False)


class Kept:
    """A bench that cells share; after one that failed on it, the next gets another. Its ledger is verified."""

    def __init__(self, systems: Callable[[], AbstractContextManager[System]], folders: Folders) -> None:
        self._systems, self._folders = systems, folders
        self._stack = ExitStack()
        self._bench: Bench | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._stack:
            if self._bench is not None:
                self._bench.close()

    @contextmanager
    def use(self) -> Iterator[Bench]:
        """Give the bench away for one cell."""
        if self._bench is None:
            self._stack.close()
            self._bench = bench(self._folders.mktemp("home"), self._stack.enter_context(self._systems()))
        kept, self._bench = self._bench, None
        yield kept
        self._bench = kept


class Folders(Protocol):
    """What makes folders for tests: pytest's `TempPathFactory`."""

    def mktemp(self, basename: str) -> Path:
        """Make a folder."""
