"""A home whose gate really ran, the ledger it left, and a thief who holds its entry key."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio

from keyturn import canon
from keyturn.assembly.build import become_executor, open_gateway, read_own_catalog
from keyturn.assembly.founding import Order, found_home
from keyturn.assembly.home import Home
from keyturn.assembly.outside import moment
from keyturn.assembly.starter import starter_folder
from keyturn.canon import Json
from keyturn.contracts import Catalog, read_catalog
from keyturn.fold.state import State, resolution_digest, token_digest
from keyturn.fold.undoing import undo_digest
from keyturn.gateway.acts import append_policy, read_candidate
from keyturn.gateway.call import call, visible_contracts
from keyturn.gateway.callers import authenticate
from keyturn.gateway.core import Gateway
from keyturn.gateway.execute import finish
from keyturn.gateway.executor import Executor
from keyturn.gateway.incoming import Call, Incoming
from keyturn.gateway.reading import read
from keyturn.gateway.review import Actor, cancel, draft_review, submit_review
from keyturn.gateway.sweep import sweep
from keyturn.gateway.undoing import UndoDraft, draft_undo, submit_undo
from keyturn.ledger.keys import ENTRY_KEY, LOG_KEY, SigningKey, load_key
from keyturn.ledger.writer import Ledger, Surroundings
from keyturn.log.commitment import commit
from keyturn.log.entry import Entry, leaf_hash, read_entry, write_body
from keyturn.log.envelope import ENTRY_TYPE, pae
from keyturn.log.kinds import REQUESTS
from keyturn.model.outcome import Unknown
from keyturn.model.time import Moment, format_timestamp, parse_timestamp
from keyturn.policy import pin
from keyturn.sshsig import verify
from keyturn.sshsig.signing import sign
from keyturn.verifier import Report, verify_ledger
from tests.gateway.hands import claim_next, drain, read_call, submit
from tests.sshsig import keys

REVIEW = "keyturn.review.v1"
ACT = "keyturn.act.v1"

_SCOPES = '["pr:write", "deploy:rollback", "deploy:read", "ticket:write", "ticket:read"]'
_RULES = """
[environments.production]
targets = ["deployments:web/production", "forge:shop/*"]
[environments.staging]
targets = ["deployments:web/staging"]
[environments.tracker]
targets = ["tickets:ops/*"]
[[grants]]
id = "comments"
principals = ["claude"]
tool = "update_ticket"
where = { "arguments.status" = { exists = false } }
limits = ["10 calls per hour"]
[[grants]]
id = "status"
principals = ["claude"]
tool = "update_ticket"
where = { "arguments.status" = { exists = true } }
approval = { quorum = 1, from = ["group:sre"], expires = "1d" }
[[grants]]
id = "staging"
principals = ["claude"]
tool = "rollback_deployment"
where = { environment = "staging" }
[[grants]]
id = "production"
principals = ["claude"]
tool = "rollback_deployment"
where = { environment = "production" }
approval = { quorum = 2, from = ["group:sre"], expires = "4h" }
[[grants]]
id = "pull requests"
principals = ["claude"]
tool = "open_pull_request"
approval = { quorum = 1, from = ["dave"], keys = "hardware", expires = "1d" }
[[grants]]
id = "tickets"
principals = ["claude"]
tool = "get_ticket"
limits = ["100 calls per hour"]
[[grants]]
id = "trial"
principals = ["tester"]
tool = "update_ticket"
mode = "shadow"
[[forbids]]
id = "secrets"
tool = "open_pull_request"
where = { "plan.files[*].path" = { glob = ".github/**" } }
"""


@dataclass
class Clock:
    """A clock that goes on by a second with each look, and further when told."""

    at: Moment

    def __call__(self) -> Moment:
        self.run(1)
        return self.at

    def run(self, seconds: int) -> None:
        """Let time pass."""
        self.at = Moment(self.at.wall + timedelta(seconds=seconds), self.at.boot, self.at.up + seconds * 1_000_000)

    def reboot(self) -> None:
        self.at = Moment(self.at.wall, "another-boot", 5_000_000)


@dataclass
class People:
    """Everybody with a key: files by name, and dave's token."""

    files: dict[str, Path]
    token: keys.HardwareKey

    def line(self, name: str) -> str:
        return self.token.public_line.rsplit(" ", 1)[0] if name == "dave" else keys.public_key(self.files[name]).line

    def sign(self, name: str, statement: Mapping[str, Json], namespace: str) -> bytes:
        return sign(canon.encode(statement), key=self.files[name], namespace=namespace, environment=os.environ)


@dataclass
class World:
    """A closed home: its ledger file, what auditors pin, and where the interesting entries stand."""

    database: Path
    verifier: str
    people: People
    entry_key: SigningKey
    log_key: SigningKey
    catalog: Catalog
    actions: dict[str, str] = field(default_factory=dict)

    def copied(self, folder: Path) -> World:
        shutil.copy(self.database, folder / "ledger.db")
        return dataclasses.replace(self, database=folder / "ledger.db")

    def verify(self, **options: Any) -> Report:
        return verify_ledger(self.database, **options)


def make_people(folder: Path) -> People:
    folder.mkdir()
    files = {name: keys.make_key(folder) for name in ("alice", "bob", "carol", "mallory")}
    return People(files, keys.HardwareKey())


def policy_text(people: People, catalog: Catalog, extra: str = "") -> str:
    """A policy with an owner, four reviewers, a quorum of two, a hardware rule and a shadow."""
    text = f'version = 1\n[principals.claude]\nowner = "bob"\nscopes = {_SCOPES}\n'
    text += f"[principals.tester]\nscopes = {_SCOPES}\n"
    for name in ("alice", "bob", "carol", "dave"):
        text += f'[reviewers.{name}]\nkeys = ["{people.line(name)}"]\ngroups = ["sre"]\n'
    return pin(text.replace('groups = ["sre"]\n[environments', "[environments") + _RULES + extra, catalog.contracts)


def build(folder: Path) -> World:
    """Found a home, let its gate do one of everything, and close it."""
    people = make_people(folder / "people")
    home = Home(folder / "home")
    home.folder.mkdir()
    catalog = read_catalog(starter_folder() / "tool_schemas")
    (home.folder / "policy.toml").write_text(policy_text(people, catalog))
    new = found_home(Order(folder=home.folder))
    clock = Clock(moment())
    gate = open_gateway(home, "tests")
    gate.ledger.close()
    ledger = Ledger(home.place, State, Surroundings(clock, os.urandom, "tests"))
    gate = dataclasses.replace(gate, ledger=ledger, start_worker=lambda: None)
    executor = become_executor(home)
    world = World(
        database=home.place.database,
        verifier=new.verifier,
        people=people,
        entry_key=load_key(home.place.keys / ENTRY_KEY),
        log_key=load_key(home.place.keys / LOG_KEY),
        catalog=read_own_catalog(home),
    )
    story = Story(gate, executor, home, clock, new.tokens, world)
    anyio.run(story.tell)
    ledger.close()
    executor.lock.release()
    return world


@dataclass
class Story:
    """What happened in the home."""

    gate: Gateway
    executor: Executor
    home: Home
    clock: Clock
    tokens: dict[str, str]
    world: World

    async def tell(self) -> None:
        await self.ask("get_ticket", ticket="OPS-1")
        await self.ask("update_ticket", "commented", ticket="OPS-1", comment="looking")
        await self.ask("rollback_deployment", "staging", deployment="web", environment="staging", to="previous")
        await self.work()
        await self.ask("update_ticket", "reviewed", ticket="OPS-1", status="resolved")
        self.review("reviewed", "alice", "approve")
        await self.ask("rollback_deployment", "two", deployment="web", environment="production", to="previous")
        self.review("two", "alice", "approve")
        self.review("two", "carol", "approve")
        await self.work()
        await self.undo("reviewed")
        await self.ask("update_ticket", "rejected", ticket="OPS-1", status="open")
        self.review("rejected", "carol", "reject")
        await self.ask("update_ticket", "cancelled", ticket="OPS-2", status="resolved")
        cancel(self.gate, self.world.actions["cancelled"], Actor("principal", "claude"), "not needed")
        await self.ask("update_ticket", "expired", ticket="OPS-2", status="resolved", comment="late")
        self.clock.run(2 * 86400)
        self.gate.ledger.transact(sweep)
        await self.ask("update_ticket", "shadow", by="tester", ticket="OPS-1", comment="what if")
        await self.ask("open_pull_request", "denied", **_pull(".github/workflows/x.yml"))
        self.clock.reboot()
        await self.unknowns()
        self.activate('[[limits]]\nid = "more"\nlimits = ["500 calls per day"]\n')
        self.issue()
        await self.open_ends()

    async def undo(self, name: str) -> None:
        """Have an action undone, by its assistant and then by alice; neither comes to anything."""
        caller, done = authenticate(self.gate, self.tokens["claude"], transport="stdio"), self.world.actions[name]
        answer = await call(self.gate, caller, Incoming("undo_action", {"action_id": done}, 60))
        self.world.actions["undo"] = str(answer.envelope["action_id"])
        cancel(self.gate, self.world.actions["undo"], Actor("principal", "claude"), "I ask somebody else")
        draft = await draft_undo(self.gate, done, reason="It was not.", by="alice")
        assert isinstance(draft, UndoDraft)
        signature = self.world.people.sign("alice", draft.statement.to_json(), ACT)
        answer = await submit_undo(self.gate, draft, signature)
        self.world.actions["signed undo"] = str(answer.envelope["action_id"])
        cancel(self.gate, self.world.actions["signed undo"], Actor("account", "root"), "not now")

    async def unknowns(self) -> None:
        """Two outcomes nobody knew: one settled by a person, one left open."""
        for name in ("resolved", "unknown"):
            await self.ask("update_ticket", name, ticket="OPS-2", comment=f"this is {name}")
            self.claim()
            action = self.world.actions[name]
            self.gate.ledger.transact(
                lambda tx, action=action: finish(  # type: ignore[misc]  # the action of this round
                    tx, action, Unknown("no answer"), self.executor.instance, recovered=False
                )
            )
            if name == "resolved":
                self.resolve(action)

    async def open_ends(self) -> None:
        """What is still open at the end: approved, waiting in three ways, and begun."""
        await self.ask("rollback_deployment", "begun", deployment="web", environment="staging", to="2.4.0")
        self.claim()
        await self.ask("update_ticket", "approved", ticket="OPS-1", status="open", comment="ready")
        self.review("approved", "alice", "approve")
        await self.ask("update_ticket", "permitted", ticket="OPS-2", comment="not yet run")
        await self.ask("update_ticket", "waiting", ticket="OPS-1", status="open", comment="waits")
        await self.ask("rollback_deployment", "quorum", deployment="web", environment="production", to="2.4.0")
        await self.ask("open_pull_request", "hardware", **_pull("app/settings.py"))

    async def ask(self, tool: str, name: str = "", by: str = "claude", **arguments: Any) -> None:
        caller = authenticate(self.gate, self.tokens[by], transport="stdio")
        contract = next(item for item in visible_contracts(self.gate, caller) if item.tool == tool)
        asked = read_call(self.gate, caller, contract, Incoming(tool, arguments, len(json.dumps(arguments))))
        assert isinstance(asked, Call)
        answer = await (read if contract.kind == "read" else submit)(self.gate, asked)
        if name:
            self.world.actions[name] = str(answer.envelope["action_id"])

    async def work(self) -> None:
        await drain(self.gate, self.executor, self.home.place.run)

    def claim(self) -> None:
        assert claim_next(self.gate, self.executor.instance) is not None

    def review(self, action: str, reviewer: str, verdict: str) -> None:
        draft = draft_review(
            self.gate, self.world.actions[action], reviewer=reviewer, verdict=verdict, reason="I looked"
        )
        file = self.world.people.files[reviewer]
        submit_review(self.gate, draft, sign(draft.to_sign, key=file, namespace=REVIEW, environment=os.environ))

    def act(self, verb: str, obj: str, digest: str) -> dict[str, Json]:
        def look(view: Any) -> dict[str, Json]:
            return statement_of(
                log=view.head.verifier.origin,
                after=view.state.policy.seq,
                verb=verb,
                object=obj,
                digest=digest,
                by="alice",
                at=format_timestamp(view.now),
            )

        statement = self.gate.ledger.look(look)
        return {"statement": statement, "signature": b64(self.world.people.sign("alice", statement, ACT))}

    def activate(self, extra: str) -> None:
        text = policy_text(self.world.people, self.world.catalog, extra)
        candidate = read_candidate({"policy.toml": text}, self.world.catalog)
        force = self.gate.ledger.look(lambda view: view.state.policy)
        assert force is not None
        act = self.act("policy.activate", force.digest, candidate.policy.digest)
        self.gate.ledger.transact(lambda tx: append_policy(tx, candidate, previous=force.digest, act=act))

    def issue(self) -> None:
        facts = token_facts("spare", self.clock.at.wall + timedelta(days=1))
        act = self.act("token.issue", "claude", token_digest(facts))
        self.gate.ledger.transact(lambda tx: tx.append("token.issued", {**facts, "act": act}))
        revoked = {"token": facts["token"], "by": {"type": "account", "name": "root"}}
        self.gate.ledger.transact(lambda tx: tx.append("token.revoked", revoked))

    def resolve(self, action: str) -> None:
        words, salt = canon.encode("I looked it up"), bytes(32)
        digest = self.gate.ledger.look(lambda view: view.state.actions[action].digest)
        content = resolution_digest(digest, "succeeded", commit(salt, "resolve.reason", words))
        act = self.act("action.resolve", action, content)
        facts: dict[str, Json] = {"outcome": "succeeded", "effect": True, "method": "operator", "act": act}
        data, salts = {"resolve.reason": words}, {"resolve.reason": salt}
        self.gate.ledger.transact(
            lambda tx: tx.append("execution.resolved", facts, action=action, data=data, salts=salts)
        )


def _pull(path: str) -> dict[str, Any]:
    return {
        "repository": "shop",
        "base": "main",
        "title": "A change",
        "files": [{"path": path, "content": "TIMEOUT_SECONDS = 60\n"}],
    }


def token_facts(secret: str, expires_at: datetime) -> dict[str, Any]:
    return {
        "token": canon.sha256(secret.encode()),
        "principal": "claude",
        "transports": ["stdio"],
        "scopes": None,
        "expires_at": format_timestamp(expires_at),
    }


def statement_of(**fields: Json) -> dict[str, Json]:
    return {"type": "keyturn.act/v1", **fields}


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


@contextmanager
def raw(database: Path) -> Iterator[sqlite3.Connection]:
    """A connection that knows nothing of the ledger's rules; a rollback journal keeps it to one file."""
    with closing(sqlite3.connect(database, isolation_level=None)) as db:
        yield db
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def tamper(database: Path, *statements: str | tuple[str, Sequence[object]]) -> None:
    """Change the file by hand with its triggers out of the way; the schema is as before afterwards."""
    with raw(database) as db:
        triggers = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            db.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            sql, values = (statement, ()) if isinstance(statement, str) else statement
            assert db.execute(sql, values).rowcount != 0
        for _, sql in triggers:
            db.execute(sql)


def entries(database: Path) -> list[Entry]:
    with raw(database) as db:
        return [read_entry(body, sig) for body, sig in db.execute("SELECT body, sig FROM entry ORDER BY seq")]


@dataclass
class Thief:
    """Holds the entry key and appends whatever it likes, properly linked and signed."""

    world: World
    key: SigningKey = field(init=False)

    def __post_init__(self) -> None:
        self.key = self.world.entry_key

    @property
    def all(self) -> list[Entry]:
        return entries(self.world.database)

    def find(self, kind: str, name: str) -> Entry:
        """The newest entry of a kind about one of the story's actions."""
        action = self.world.actions[name]
        return next(entry for entry in reversed(self.all) if entry.kind == kind and entry.action == action)

    def append(
        self,
        kind: str,
        facts: Mapping[str, Any],
        *,
        action: str | None = None,
        data: Mapping[str, bytes] | None = None,
        commitments: Mapping[str, str] | None = None,
        **frame: Json,
    ) -> Entry:
        """Append one entry; `frame` overrides what the frame says."""
        last = self.all[-1]
        salts = {name: bytes([7]) * 32 for name in data or {}}
        promised = {name: commit(salts[name], name, value) for name, value in (data or {}).items()}
        fields: dict[str, Json] = {
            "v": 1,
            "log": last.log,
            "seq": last.seq + 1,
            "prev": last.leaf,
            "ts": format_timestamp(last.at + timedelta(seconds=1)),
            "boot": last.boot,
            "up": last.up + 1_000_000,
            "kid": self.key.public.kid,
            "kind": kind,
            **frame,
        }
        body = write_body(fields, facts, {**promised, **(commitments or {})}, action)
        self.insert(body)
        with raw(self.world.database) as db:
            for name, value in (data or {}).items():
                db.execute("INSERT INTO payload VALUES (?, ?, ?, ?)", (last.seq + 1, name, salts[name], value))
        return read_entry(body, b"")

    def insert(self, body: bytes) -> None:
        seq = len(self.all)
        signature = self.key.sign(pae(ENTRY_TYPE, body))
        with raw(self.world.database) as db:
            row = (seq, body, signature, bytes.fromhex(leaf_hash(body)))
            db.execute("INSERT INTO entry VALUES (?, ?, ?, ?)", row)

    def review(self, name: str, reviewer: str, signer: str | None = None, **changes: Any) -> Entry:
        """Append a review of one of the story's actions, signed by a key file; `changes` go into the statement."""
        namespace, after = changes.pop("namespace", REVIEW), changes.pop("after", timedelta(seconds=1))
        statement = self.statement(name, reviewer, **changes)
        signature = self.world.people.sign(signer or reviewer, statement, namespace)
        return self.reviewed(name, statement, signature, after=after)

    def statement(self, name: str, reviewer: str, **changes: Any) -> dict[str, Any]:
        request = next(e for e in self.all if e.kind in REQUESTS and e.action == self.world.actions[name])
        last = self.all[-1]
        return {
            "type": "keyturn.review/v1",
            "log": request.log,
            "action": request.action,
            "digest": request.digest,
            "verdict": "approve",
            "reviewer": reviewer,
            "reason": commit(bytes([7]) * 32, "review.reason", b'"yes"'),
            "at": format_timestamp(last.at),
            **changes,
        }

    def reviewed(
        self, name: str, statement: dict[str, Any], signature: bytes, after: timedelta = timedelta(seconds=1)
    ) -> Entry:
        signer = verify(canon.encode(statement), signature, _namespace(signature))
        facts = {
            "reviewer": statement["reviewer"],
            "verdict": statement["verdict"],
            "key": signer.key.fingerprint,
            "statement": statement,
            "signature": b64(signature),
        }
        action = self.world.actions[name]
        ts = format_timestamp(self.all[-1].at + after)
        return self.append("action.reviewed", facts, action=action, data={"review.reason": b'"yes"'}, ts=ts)

    def start(self, name: str, **changes: Any) -> Entry:
        """Append the intent of one of the story's actions, counting every review there is."""
        action = self.world.actions[name]
        reviews = [e.seq for e in self.all if e.kind == "action.reviewed" and e.action == action]
        ts = changes.pop("ts", format_timestamp(self.all[-1].at + timedelta(seconds=1)))
        facts = {"instance": "1" * 32, "reviews": reviews, "policy": self.force, **changes}
        return self.append("execution.started", facts, action=action, ts=ts)

    def finish(self, name: str, **changes: Any) -> Entry:
        facts = {"instance": "1" * 32, "outcome": "succeeded", "effect": True, "recovered": False, **changes}
        return self.append("execution.finished", facts, action=self.world.actions[name])

    def finish_begun(self, after: timedelta = timedelta(seconds=1)) -> Entry:
        """Append the honest outcome of the action that was begun."""
        instance = self.find("execution.started", "begun").text("instance")
        facts = {"instance": instance, "outcome": "succeeded", "effect": True, "recovered": False}
        return self.append(
            "execution.finished", facts, action=self.id("begun"), ts=format_timestamp(self.all[-1].at + after)
        )

    def resolve(self, name: str, **changes: Any) -> Entry:
        facts = {"outcome": "succeeded", "effect": True, "method": "probe", "act": None, **changes}
        return self.append("execution.resolved", facts, action=self.id(name))

    def id(self, name: str) -> str:
        return self.world.actions[name]

    @property
    def force(self) -> str:
        """Digest of the policy in force."""
        return next(e for e in reversed(self.all) if e.kind == "policy.activated").text("policy")

    def plan_of(self, name: str) -> dict[str, Any]:
        return dict(canon.decode_object(self.payloads_of(self.find("action.requested", name).seq)["plan"]))

    def payloads_of(self, seq: int) -> dict[str, bytes]:
        with raw(self.world.database) as db:
            return dict(db.execute("SELECT field, data FROM payload WHERE seq = ?", (seq,)))

    def request(self, name: str, data: Mapping[str, bytes] | None = None, **changes: Any) -> Entry:
        """Append a request like one of the story's, with other facts; a fresh action of the right time."""
        return self._like(self.find("action.requested", name), data, **changes)

    def undo(self, name: str = "undo", data: Mapping[str, bytes] | None = None, **changes: Any) -> Entry:
        """Append an undo like one of the story's, with other facts; what alice signed is signed anew."""
        like = self.find("action.undoing", name)
        payloads = {**self.payloads_of(like.seq), **(data or {})}
        tool, undone = changes.get("tool", like.text("tool")), {**like.facts["undoes"], **changes.pop("undone", {})}  # type: ignore[dict-item]
        if like.facts["act"] is not None and "act" not in changes:
            changes["act"] = self.act_undoing(undone, tool, payloads, **changes.pop("said", {}))
        return self._like(like, payloads, **{"undoes": undone, **changes})

    def act_undoing(
        self, undone: Mapping[str, Any], tool: str, payloads: Mapping[str, bytes], signer: str = "alice", **said: Any
    ) -> dict[str, Json]:
        """Sign an undo; the payloads get the salts that `append` gives them."""
        data = {name: commit(bytes([7]) * 32, name, value) for name, value in payloads.items()}
        statement = statement_of(
            **{
                "log": self.all[0].log,
                "after": max(entry.seq for entry in self.all if entry.kind == "policy.activated"),
                "verb": "action.undo",
                "object": undone["action"],
                "digest": undo_digest(undone["digest"], tool, data),
                "by": "alice",
                "at": format_timestamp(self.all[-1].at),
                **said,
            }
        )
        return {"statement": statement, "signature": b64(self.world.people.sign(signer, statement, ACT))}

    def _like(self, like: Entry, data: Mapping[str, bytes] | None, **changes: Any) -> Entry:
        at = changes.pop("at", self.all[-1].at + timedelta(seconds=1))
        action = new_id(at)
        self.world.actions = {**self.world.actions, "forged": action}
        facts = dict(like.facts)
        span = parse_timestamp(like.text("expires_at")) - like.at
        facts |= {"expires_at": format_timestamp(at + span), "policy": self.force, **changes}
        return self.append(
            like.kind,
            facts,
            action=action,
            data={**self.payloads_of(like.seq), **(data or {})},
            ts=format_timestamp(at),
        )


def _namespace(signature: bytes) -> str:
    return ACT if ACT.encode() in signature else REVIEW


def new_id(at: datetime) -> str:
    milliseconds = (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    digits = f"{milliseconds:012x}70008{os.urandom(7).hex()}0"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:32]))
