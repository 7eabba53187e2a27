"""A founded home with real samples, people with real keys, and hands that ask, sign, execute and look."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import jsonschema

from keyturn.assembly.build import become_executor, news_of, open_gateway
from keyturn.assembly.founding import Order, found_home
from keyturn.assembly.home import Home
from keyturn.assembly.outside import entropy, environment, moment
from keyturn.assembly.starter import NewPrincipal, NewReviewer
from keyturn.fold.state import State
from keyturn.gateway.acts import ActDraft, draft_activation, read_candidate, submit_act
from keyturn.gateway.call import call
from keyturn.gateway.callers import authenticate
from keyturn.gateway.core import Gateway
from keyturn.gateway.envelope import Answer
from keyturn.gateway.executor import Executor
from keyturn.gateway.incoming import Incoming
from keyturn.gateway.review import Reviewed, draft_review, submit_review
from keyturn.gateway.wait import Report
from keyturn.ledger.writer import Ledger, Surroundings
from keyturn.log.entry import Entry
from keyturn.model.outcome import Outcome, Probe, Succeeded
from keyturn.model.plan import Plan
from keyturn.model.principal import Caller
from keyturn.model.time import Moment
from keyturn.model.tool import ActionRef, Earlier, GovernedTool
from keyturn.sshsig.signing import sign
from tests.gateway.hands import drain
from tests.sshsig.keys import make_key, public_key

SCHEMAS = Path(__file__).parents[2] / "tool_schemas"
ENVELOPE = jsonschema.Draft202012Validator(json.loads((SCHEMAS / "envelope.v1.json").read_text()))
PEOPLE = ("alice", "carol", "bob")

PULL_REQUEST: dict[str, Any] = {
    "repository": "shop",
    "base": "main",
    "title": "Raise the timeout",
    "files": [{"path": "app/settings.py", "edits": [{"old": "TIMEOUT_SECONDS = 30", "new": "TIMEOUT_SECONDS = 60"}]}],
}
STAGING: dict[str, Any] = {"deployment": "web", "environment": "staging", "to": "previous"}
PRODUCTION: dict[str, Any] = {**STAGING, "environment": "production"}


@dataclass(frozen=True)
class Founded:
    """A home as `init` leaves it, to be copied, with the tokens and keys of everybody in it."""

    folder: Path
    tokens: Mapping[str, str]
    keys: Mapping[str, Path]


def found(folder: Path) -> Founded:
    """Found a home: claude (whose owner is bob) and codex (nobody's) ask; alice, carol and bob review."""
    people = folder / "keys"
    people.mkdir()
    keys = {name: make_key(people, comment=name) for name in (*PEOPLE, "mallory")}
    new = found_home(
        Order(
            folder=folder / "home",
            principals=[NewPrincipal("claude", owner="bob"), NewPrincipal("codex")],
            reviewers=[NewReviewer(name, public_key(keys[name])) for name in PEOPLE],
        )
    )
    return Founded(new.home.folder, new.tokens, keys)


@dataclass
class Clock:
    """The real clocks, moved on by hand: `run` lets time pass, `step` sets the wall clock alone."""

    passed: timedelta = timedelta()
    stepped: timedelta = timedelta()

    def __call__(self) -> Moment:
        now = moment()
        up = now.up + self.passed // timedelta(microseconds=1)
        return Moment(wall=now.wall + self.passed + self.stepped, boot=now.boot, up=up)

    def run(self, **time: float) -> None:
        self.passed += timedelta(**time)

    def step(self, **time: float) -> None:
        self.stepped += timedelta(**time)


class World:
    """One home in a test. `executing` says whether permitted calls find a worker (one that runs right here)."""

    def __init__(self, folder: Path, founded: Founded) -> None:
        shutil.copytree(founded.folder, folder, symlinks=True)
        self.home = Home(folder)
        self.keys = founded.keys
        self.tokens = founded.tokens
        self.clock = Clock()
        self.executing = True
        self.whole = True  # the derived tables are: results that write nothing find their receipt there
        self.gate = self.open()
        self.executor: Executor = become_executor(self.home)

    def open(self, program: str = "tests") -> Gateway:
        """A further gateway on the same home, as another process would have."""
        gate = open_gateway(self.home, program)
        gate.ledger.close()
        outside = Surroundings(self.clock, entropy, program)
        ledger = Ledger(self.home.place, State, outside)
        return replace(gate, ledger=ledger, news=news_of(self.home, ledger), start_worker=self._worker)

    def close(self) -> None:
        self.gate.close()
        self.executor.lock.release()

    def with_tool(self, tool: GovernedTool) -> None:
        """Put a simulator in the place of a tool."""
        self.gate = replace(self.gate, governed={**self.gate.governed, tool.name: tool})

    # --- asking ---

    def caller(self, principal: str = "claude", client: str = "tests") -> Caller:
        return authenticate(self.gate, self.tokens[principal], transport="stdio", client=client)

    def call(self, tool: str, principal: str = "claude", /, **arguments: Any) -> Answer:
        """Make a call as an assistant does, and hold its envelope against the schema."""
        return anyio.run(self.calling, tool, arguments, principal)

    async def calling(
        self, tool: str, arguments: object, principal: str = "claude", report: Report | None = None
    ) -> Answer:
        size = len(json.dumps(arguments, default=str))
        answer = await call(self.gate, self.caller(principal), Incoming(tool, arguments, size), report)
        ENVELOPE.validate(answer.envelope)
        assert answer.receipt is not None or not self.whole
        return answer

    def held(self, principal: str = "claude", **changes: Any) -> str:
        """Ask for a pull request, which is held; return the action's id."""
        answer = self.call("open_pull_request", principal, **{**PULL_REQUEST, **changes})
        assert answer.envelope["status"] == "pending"
        return str(answer.envelope["action_id"])

    def comment(self, text: str, **more: Any) -> Answer:
        return self.call("update_ticket", ticket="OPS-1", comment=text, **more)

    # --- people ---

    def review(
        self, action_id: str, who: str = "alice", verdict: str = "approve", reason: str = "fine", **more: str
    ) -> Reviewed:
        """Draft, sign with the person's real key, and submit."""
        draft = draft_review(self.gate, action_id, reviewer=who, verdict=verdict, reason=reason, **more)
        return submit_review(self.gate, draft, self.sign(draft.to_sign, who))

    def approve(self, action_id: str, who: str = "alice") -> Reviewed:
        return self.review(action_id, who)

    def sign(self, message: bytes, who: str, namespace: str = "keyturn.review.v1") -> bytes:
        return sign(message, key=self.keys[who], namespace=namespace, environment=environment())

    def act(self, draft: ActDraft, who: str = "alice") -> Entry:
        return submit_act(self.gate.ledger, draft, self.sign(draft.to_sign, who, "keyturn.act.v1"))

    def draft_policy(self, *changes: tuple[str, str], by: str = "alice") -> ActDraft:
        """Edit `policy.toml` and draft its activation."""
        path = self.home.folder / "policy.toml"
        text = path.read_text()
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        path.write_text(text)
        return draft_activation(self.gate.ledger, read_candidate(self.home.policy_files(), self.gate.catalog), by)

    def activate(self, *changes: tuple[str, str]) -> Entry:
        """Edit the policy and put it in force, signed by alice."""
        return self.act(self.draft_policy(*changes))

    # --- executing ---

    def drain(self) -> None:
        """Settle and execute all that is ready."""
        anyio.run(drain, self.gate, self.executor, self.home.place.run)

    def _worker(self) -> None:
        if not self.executing:
            raise OSError("no worker can be started here")
        self.drain()

    # --- looking ---

    def envelope(self, action_id: str, principal: str = "claude") -> dict[str, Any]:
        return dict(self.call("get_action", principal, action_id=action_id).envelope)

    def status(self, action_id: str) -> str:
        return str(self.envelope(action_id)["status"])

    def entries(self, kind: str = "") -> list[Entry]:
        found: list[Entry] = self.gate.ledger.look(lambda view: view.entries(0))
        return [entry for entry in found if entry.kind.startswith(kind)]

    def kinds(self) -> list[str]:
        return [entry.kind for entry in self.entries()]

    def payload(self, entry: Entry, name: str) -> bytes:
        found = self.gate.ledger.look(lambda view: view.payload(entry, name))
        assert found is not None
        return found

    @property
    def ticket(self) -> str:
        return (self.home.folder / "samples/tickets/OPS-1.md").read_text()

    def live(self, where: str) -> str:
        return (self.home.folder / f"samples/web/{where}/current").readlink().name

    def tamper(self, *statements: str | tuple[str, Sequence[object]]) -> None:
        """Change the ledger's file by hand, triggers dropped first and put back after."""
        with closing(sqlite3.connect(self.home.place.database, isolation_level=None, timeout=10)) as db:
            triggers = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
            db.execute("BEGIN IMMEDIATE")
            for name, _ in triggers:
                db.execute(f"DROP TRIGGER {name}")
            for statement in statements:
                sql, values = (statement, ()) if isinstance(statement, str) else statement
                assert db.execute(sql, values).rowcount > 0
            for _, sql in triggers:
                db.execute(sql)
            db.execute("COMMIT")

    @contextmanager
    def ledger_away(self) -> Iterator[None]:
        """Make the ledger's lock impossible to take for the block, at once and not after seconds."""
        lock, aside = self.home.place.lock, self.home.place.lock.with_name("aside")
        lock.rename(aside)
        lock.symlink_to("nowhere")
        try:
            yield
        finally:
            lock.unlink()
            aside.rename(lock)


@dataclass
class Simulator:
    """A governed tool around a real one: plans as it does, and does at the other steps what a test says."""

    real: GovernedTool
    executes: Callable[[Plan, ActionRef], Outcome | Awaitable[Outcome]] | None = None
    probes: Callable[[Plan, ActionRef], Probe] | None = None
    plans: Callable[[Plan], Plan] | None = None
    effects: list[str] = field(default_factory=list)
    probed: list[str] = field(default_factory=list)
    name: str = ""

    def __post_init__(self) -> None:
        self.name = self.real.name

    async def plan(self, arguments: Any, earlier: Earlier) -> Plan:
        made = await self.real.plan(arguments, earlier)
        return made if self.plans is None else self.plans(made)

    async def execute(self, plan: Plan, action: ActionRef) -> Outcome:
        self.effects.append(action.action)
        if self.executes is None:
            return Succeeded({})
        outcome = self.executes(plan, action)
        return await outcome if isinstance(outcome, Awaitable) else outcome

    async def probe(self, plan: Plan, action: ActionRef) -> Probe:
        self.probed.append(action.action)
        return await self.real.probe(plan, action) if self.probes is None else self.probes(plan, action)


def result(answer: Answer) -> Any:
    """What a call brought, to look into."""
    return answer.envelope["result"]


def raises(error: Exception) -> Callable[..., Any]:
    """A step that fails."""

    def fail(*_: object) -> Any:
        raise error

    return fail


def files_under(folder: Path) -> bytes:
    """Every byte of every file in a folder, file names included."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]
    return b"\0".join(str(path).encode() + b"\0" + path.read_bytes() for path in paths)
