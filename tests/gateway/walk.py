"""A walk at random through all that assistants, people, the clock and dying processes can do, on a real home.

Each step is drawn from a seed, and what it leaves is held against what must always be so, by entries read one by one.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random
from typing import Any

import anyio

from keyturn import canon
from keyturn.approvals.action import status
from keyturn.fold.state import State
from keyturn.fold.suspensions import READ_ONLY, SUSPENDED, Scope
from keyturn.gateway.acts import TokenGrant, draft_resolution, draft_token, revoke_token
from keyturn.gateway.call import UnknownTool, visible_contracts
from keyturn.gateway.claim import Claimed, claim_ready
from keyturn.gateway.core import Gateway
from keyturn.gateway.envelope import Answer
from keyturn.gateway.execute import execute
from keyturn.gateway.executor import Executor
from keyturn.gateway.incoming import Incoming
from keyturn.gateway.recover import reprobe
from keyturn.gateway.recoveries import draft_clock
from keyturn.gateway.releasing import draft_release
from keyturn.gateway.review import Actor, cancel
from keyturn.gateway.submit import decide, make_plan, screened_out
from keyturn.gateway.suspensions import draft_lift, set_suspension, suspensions_now
from keyturn.gateway.sweep import catch_up
from keyturn.gateway.undoing import draft_undo, submit_undo
from keyturn.ledger.transaction import View
from keyturn.log.entry import Entry
from keyturn.model.errors import ConfigurationError, ConnectorError, Refused
from keyturn.model.outcome import CannotTell, Outcome, Probe, Succeeded
from keyturn.model.plan import Plan
from keyturn.model.tool import ActionRef, Earlier, GovernedTool
from keyturn.verifier import verify_ledger
from tests.gateway.hands import drain, read_call
from tests.gateway.world import PEOPLE, PRODUCTION, PULL_REQUEST, STAGING, World
from tests.policy.freezes.calendars import calendar, event, freeze

GOVERNED = ("open_pull_request", "rollback_deployment", "update_ticket")
COMMENTS = "assistants comment on tickets"
HOUR = timedelta(hours=1)
OPERATOR = Actor("account", "root")
_TAIL = "# A forbid beats every grant."
_COMMENTS = 'where = { "arguments.status" = { exists = false } }'
_FOUR_HOURS = 'from = ["group:sre"], expires = "4h"'
_LATER = ', escalate = [{ after = "2h", to = ["carol"] }]'
_PRICE = """[tools.update_ticket]
cost = 5
runtime = "60s"
[[limits]]
id = "purse"
limits = ["20 cost per hour"]
"""
_OUTCOMES = """[degrade]
on_unknown_outcomes = { over = 0, mode = "read-only", environments = ["staging"] }
on_incident = { mode = "suspended" }
"""
_LAG = """[degrade]
on_anchor_lag = { over = "6h", mode = "suspended", environments = ["production", "staging"] }
"""
_FREEZES = ({"effect": '"deny"'}, {"effect": '"hold"', "approval": '{ quorum = 1, from = ["carol"] }'})
_FATES = (*("goes well",) * 4, "is lost before", "is lost after", "is refused", "conflicts")
_TRACKER = '[environments.tracker]\ntargets = ["tickets:ops/*"]'

CHANGES: Mapping[str, tuple[str, str]] = {
    "two must agree": ("quorum = 1", "quorum = 2"),
    "two comments": ('limits = ["50 calls per hour"]', 'limits = ["2 calls per hour"]'),
    "comments are gone": (_COMMENTS, 'where = { environment = "staging" }'),
    "rollbacks by hand": ('id = "staging rolls', 'execute = "manual"\nid = "staging rolls'),
    "the shop is elsewhere": ('"deployments:web/production", "forge:shop/*"]', '"deployments:web/production"]'),
    "the tracker is production": (_TRACKER, _TRACKER.replace("tracker", "desk")),
    "carol answers for claude": ('owner = "bob"', 'owner = "carol"'),
    "a price": (_TAIL, _PRICE + _TAIL),
    "one outcome is enough": (_TAIL, _OUTCOMES + _TAIL),
    "an anchor a day": (_TAIL, _LAG + _TAIL),
    "one at a time": (_TAIL, f'[queue]\nper_principal = 1\ntotal = 2\npatience = "1s"\n{_TAIL}'),
    "it escalates": (_FOUR_HOURS, _FOUR_HOURS.replace('"group:sre"', '"alice"') + _LATER),
    "one pending": ('"5 pending"', '"1 pending"'),
}  # fmt: skip
"""What a policy may say otherwise; several of them, of which none is about the same line, make one policy."""


@dataclass
class Fated:
    """A governed tool on a line that may fail, as the walk it belongs to says."""

    walk: Walk
    real: GovernedTool
    name: str

    async def plan(self, arguments: Any, earlier: Earlier) -> Plan:
        return await self.real.plan(arguments, earlier)

    async def execute(self, plan: Plan, action: ActionRef) -> Outcome:
        assert self.walk.has_begun(action.action)
        fate = self.walk.fate
        match fate:
            case "is refused":
                raise ConnectorError("no")
            case "conflicts":
                raise ConnectorError("it moved", kind="conflict")
            case "is lost before":
                raise ConnectorError("the line was cut", kind="unknown")
        outcome = await self.real.execute(plan, action)
        if isinstance(outcome, Succeeded):
            self.walk.effects[action.action] += 1
        if fate == "is lost after":
            raise ConnectorError("the line was cut", kind="unknown")
        return outcome

    async def probe(self, plan: Plan, action: ActionRef) -> Probe:
        if self.walk.fate == "is lost after":
            return CannotTell("nobody answers")
        return await self.real.probe(plan, action)


@dataclass
class Walk:
    """One walk: the home, several processes on it, and what has been done in the world.

    It begins with the change of policy `theme` in force and comes back to it, and asks for `favourite` most; both are
    drawn unless given.
    """

    world: World
    chance: Random
    theme: str = ""
    favourite: str = ""
    gates: list[Gateway] = field(default_factory=list)
    effects: Counter[str] = field(default_factory=Counter)
    seen: int = 0
    limit: int = 50
    trace: list[str] = field(default_factory=list)
    taken: dict[str, tuple[str, datetime]] = field(default_factory=dict)
    running: dict[str, str] = field(default_factory=dict)
    fate: str = "goes well"

    def __post_init__(self) -> None:
        # Each walk has what it comes back to: what is rare among everything happens often in one of them.
        self.theme = self.theme or self.chance.choice(sorted(CHANGES))
        self.favourite = self.favourite or self.chance.choice(GOVERNED)
        self.base = (self.world.home.folder / "policy.toml").read_text()
        self.gates = [self._fated(self.world.gate), self._fated(self.world.open("second"))]
        self._put_in_force(self.base.replace(*CHANGES[self.theme]))

    def close(self) -> None:
        for gate in self.gates[1:]:
            gate.close()
        self.world.gate = self.gates[0]

    # --- what is done -----------------------------------------------------------------------------------------

    def step(self) -> None:
        """Do one thing, as one of the processes; a refusal is an answer too."""
        self.world.gate = self.chance.choice(self.gates)
        self.world.executing = self.chance.random() < 0.5
        self.fate = self.chance.choice(
            ("goes well",) * 4 + ("is lost before", "is lost after", "is refused", "conflicts")
        )
        stopped = self.world.gate.ledger.look(lambda view: view.reading.fault or view.state.suspensions.present())
        deed = Walk.go_on if stopped and self.chance.random() < 0.3 else self.chance.choice(self._DEEDS)
        self.trace.append(deed.__name__)
        try:
            deed(self)
        except Refused as refused:
            self.trace[-1] += f" ({refused.code})"
        except UnknownTool:
            self.trace[-1] += " (unknown tool)"
        except ConfigurationError:
            self.trace[-1] += " (no policy)"
        self.hold()

    def ask(self) -> None:
        tool, arguments = self._request()
        principal = self.chance.choice(("claude", "codex"))
        self.world.call(tool, principal, **arguments)

    def ask_where_it_runs(self) -> None:
        """Ask a process that executes: what may begin at once is claimed with its request; it may die then."""
        tool, arguments = self._request()
        caller = self.world.caller()
        here = Executor(self.world.executor.instance, self.world.executor.lock)
        here.crew = Any  # type: ignore[assignment]  # nothing is begun in it: this hand executes
        gate = replace(self.world.gate, executor=here)
        contracts = {contract.tool: contract for contract in visible_contracts(gate, caller)}
        if tool not in contracts or tool not in gate.governed:
            return
        taken = read_call(gate, caller, contracts[tool], Incoming(tool, arguments, 60))
        if isinstance(taken, Answer) or screened_out(gate, taken) is not None:
            return
        planned = anyio.run(make_plan, gate, taken)
        decision = planned if isinstance(planned, Answer) else decide(gate, taken, planned)
        if isinstance(decision, Claimed) and self.chance.random() < 0.6:
            anyio.run(execute, gate, here, decision)

    def review(self) -> None:
        if (action := self._open("pending", "approved")) is not None:
            verdict = "approve" if self.chance.random() < 0.8 else "reject"
            self.world.review(action, self.chance.choice(PEOPLE), verdict)

    def review_late(self) -> None:
        """Sign, let something happen, and hand the review in."""
        if (action := self._open("pending")) is not None:
            self.world.clock.run(minutes=self.chance.choice((0, 30, 59, 60)))
            self.world.review(action, "alice")

    def cancel(self) -> None:
        if (action := self._open("pending", "approved", "running")) is not None:
            who = Actor("principal", "claude") if self.chance.random() < 0.5 else OPERATOR
            cancel(self.world.gate, action, who, "not needed")

    def undo(self) -> None:
        if (action := self._any()) is not None:
            self.world.call("undo_action", self.chance.choice(("claude", "codex")), action_id=action, reason="no")

    def undo_by_a_person(self) -> None:
        if (action := self._any()) is not None:
            drafted = anyio.run(lambda: draft_undo(self.world.gate, action, reason="no", by="carol"))
            if not isinstance(drafted, Answer):
                signature = self.world.sign(drafted.to_sign, "carol", "keyturn.act.v1")
                anyio.run(submit_undo, self.world.gate, drafted, signature)

    def release(self) -> None:
        if (action := self._open("pending", "approved", "running")) is not None:
            self.world.act(draft_release(self.world.gate, action, by="alice"))

    def activate(self) -> None:
        names = self.chance.sample(sorted(CHANGES), self.chance.randint(0, 2))
        if self.chance.random() < 0.5:
            names.append(self.theme)
        text = self.base
        for old, new in (CHANGES[name] for name in names):
            text = text.replace(old, new)
        if text.count("[degrade]") > 1:
            return
        if self.chance.random() < 0.3:
            now = self.world.clock().wall
            begin, end = (f":{now + timedelta(hours=hours):%Y%m%dT%H%M%SZ}" for hours in (-1, 3))
            (self.world.home.folder / "z.ics").write_text(calendar(event(begin, end)))
            text += freeze("z", "z.ics", **self.chance.choice(_FREEZES))
        self._put_in_force(text)
        self.trace[-1] += f" {names}"

    def suspend(self) -> None:
        mode = self.chance.choice((READ_ONLY, SUSPENDED))
        set_suspension(self.world.gate.ledger, self._scope(), mode=mode, by=OPERATOR, reason="")

    def go_on(self) -> None:
        """Be the operator who ends what stops everything."""
        for halt in self.world.gate.ledger.look(suspensions_now):
            self._lift(halt.suspension.scope)
        if self.world.gate.ledger.look(lambda view: view.reading.fault):
            self.sign_for_the_clock()

    def another_token(self) -> None:
        revoke_token(self.world.gate.ledger, "codex", OPERATOR)
        if self.chance.random() < 0.9:
            self._issue()

    def resolve(self) -> None:
        if (action := self._open("unknown")) is not None:
            happened = self.effects[action] > 0
            self.world.act(draft_resolution(self.world.gate, action, happened=happened, reason="seen", by="alice"))

    def let_time_pass(self) -> None:
        self.world.clock.run(minutes=self.chance.choice((1, 10, 59, 60, 61, 119, 240)))

    def set_the_clock(self) -> None:
        if self.chance.random() < 0.3:
            self.world.clock.step(minutes=self.chance.choice((-90, -20, 20)))

    def sign_for_the_clock(self) -> None:
        self.world.act(draft_clock(self.world.gate, reason="I looked at it", by="alice"))

    def claim_and_die(self) -> None:
        """Be a process that dies at a step: with an intent, with an effect nobody recorded."""
        victim = Executor(secrets.token_hex(16), self.world.executor.lock)
        for claimed in claim_ready(self.world.gate, victim, self.chance.choice((1, None))):
            if self.chance.random() < 0.5:
                tool = self.world.gate.governed[claimed.action.tool]
                try:
                    anyio.run(tool.execute, claimed.plan, claimed.reference)
                except ConnectorError:
                    continue

    def die_in_a_transaction(self) -> None:
        def job(tx: Any) -> None:
            catch_up(self.world.gate, tx)
            raise Refused("killed", "in the middle")

        self.world.gate.ledger.transact(job)

    def work(self) -> None:
        anyio.run(drain, self.world.gate, self.world.executor, self.world.home.place.run)

    def ask_again(self) -> None:
        anyio.run(reprobe, self.world.gate)

    def begin_anew(self) -> None:
        """Another process on the home, which starts from a snapshot, in the place of one that dies."""
        self.gates[1].close()
        self.gates[1] = self._fated(self.world.open("another"))

    _DEEDS: tuple[Callable[[Walk], None], ...] = (
        *(ask,) * 16, *(ask_where_it_runs,) * 10, *(review,) * 8, *(work,) * 6, *(undo,) * 3, *(claim_and_die,) * 3,
        *(activate,) * 2, *(let_time_pass,) * 2, undo_by_a_person, review_late, cancel, release, suspend,
        another_token, resolve, set_the_clock, die_in_a_transaction, ask_again, begin_anew,
    )  # fmt: skip

    # --- what must always be so -------------------------------------------------------------------------------

    def hold(self) -> None:
        """Hold what was written since, and where the processes stand, against what must be so."""
        entries = self.gates[0].ledger.look(lambda view: view.entries(self.seen))
        for entry in entries:
            self._take(entry)
        self.seen += len(entries)
        assert all(count == 1 for count in self.effects.values()), self.effects
        first, second = (gate.ledger.look(lambda view: view.state.to_json()) for gate in self.gates)
        assert first == second

    def _take(self, entry: Entry) -> None:
        facts: Any = entry.facts
        match entry.kind:
            case "action.requested" | "action.undoing" if facts["tool"] == "update_ticket":
                if facts["decision"] != "shadow":
                    self.taken[str(entry.action)] = (str(facts["principal"]), entry.at)
                taken = (taken for action, taken in self.taken.items() if action not in self._rejected())
                used = sum(who == facts["principal"] and entry.at - at < HOUR for who, at in taken)
                assert COMMENTS not in facts["rules"] or used <= self.limit, self.taken
            case "action.cancelled" | "action.expired" | "action.stale":
                assert entry.action not in self.effects
                self.taken.pop(str(entry.action), None)
            case "execution.started":
                target = self._target(entry)
                assert target not in self.running.values()
                self.running[str(entry.action)] = target
            case "execution.finished" | "execution.resolved":
                self.running.pop(str(entry.action), None)
                if facts["effect"] is False:
                    self.taken.pop(str(entry.action), None)
                assert facts["effect"] is not False or not self.effects[str(entry.action)]
            case "policy.activated":
                text = (self.world.home.folder / "policy.toml").read_text()
                self.limit = 2 if "2 calls per hour" in text else 50

    def _rejected(self) -> set[str]:
        def look(view: View[State]) -> set[str]:
            return {id_ for id_, action in view.state.actions.items() if status(action, view.now) == "rejected"}

        return self.gates[0].ledger.look(look)

    def _target(self, entry: Entry) -> str:
        def look(view: View[State]) -> str:
            return view.state.actions[str(entry.action)].target

        return self.gates[0].ledger.look(look)

    def end(self) -> None:
        """Let everybody do what they can: nothing is stuck, and the ledger can be proved."""
        self.world.gate = self.gates[0]
        self.fate = "goes well"
        self.world.clock.stepped = timedelta()
        with suppress(Refused):  # it was right
            self.sign_for_the_clock()
        with suppress(Refused):  # it is in force already
            self._put_in_force(self.base)
        for halt in self.world.gate.ledger.look(suspensions_now):
            self._lift(halt.suspension.scope)
        self.work()
        self.ask_again()
        assert self.world.gate.ledger.look(self._stuck) == []
        self.world.clock.run(days=2)
        self.world.gate.ledger.transact(lambda tx: catch_up(self.world.gate, tx))
        assert self._states() == {}
        self.hold()
        report = verify_ledger(self.world.home.place.database)
        assert (report.verdict, report.first_bad) == ("PASS-UNANCHORED", None)

    def _stuck(self, view: View[State]) -> list[tuple[str, str]]:
        """What waits for nobody and does not go on."""
        return [
            (action.id, state)
            for action, state in view.state.open_actions(view.now)
            if state != "pending" and not (state == "approved" and action.waits_for_a_hand)
        ]

    # --- parts ------------------------------------------------------------------------------------------------

    def _fated(self, gate: Gateway) -> Gateway:
        return replace(gate, governed={name: Fated(self, tool, name) for name, tool in gate.governed.items()})

    def has_begun(self, action: str) -> bool:
        """Whether the intent of an action is in the ledger."""
        return self.gates[0].ledger.look(lambda view: view.state.actions[action].started is not None)

    def _request(self) -> tuple[str, dict[str, Any]]:
        number = self.chance.randint(1, 9)
        comment: dict[str, Any] = {"comment": f"Number {number}.", "repeat": number == 1}
        asked: tuple[tuple[str, dict[str, Any]], ...] = (
            ("update_ticket", {"ticket": "OPS-1", **comment}),
            ("update_ticket", {"ticket": "OPS-2", **comment}),
            ("update_ticket", {"ticket": "OPS-2", "status": self.chance.choice(("open", "closed"))}),
            ("open_pull_request", {**PULL_REQUEST, "title": f"Number {number}"}),
            ("rollback_deployment", STAGING),
            ("rollback_deployment", PRODUCTION),
            ("get_ticket", {"ticket": "OPS-1"}),
        )
        favourite = [one for one in asked if one[0] == self.favourite]
        return self.chance.choice(favourite if self.chance.random() < 0.7 else asked)

    def _put_in_force(self, text: str) -> None:
        (self.world.home.folder / "policy.toml").write_text(text)
        self.world.activate()

    def _scope(self) -> Scope:
        return self.chance.choice(
            (
                Scope("all"),
                Scope("principal", "claude"),
                Scope("tool", "update_ticket"),
                Scope("environment", "staging"),
            )
        )

    def _lift(self, scope: Scope) -> None:
        self.world.act(draft_lift(self.world.gate, scope, reason="over", by="alice"))

    def _issue(self) -> None:
        secret = f"kt_{secrets.token_urlsafe(32)}"
        made = TokenGrant(
            token=canon.sha256(secret.encode()),
            principal="codex",
            transports=("stdio",),
            scopes=None,
            expires_at=self.world.clock().wall + timedelta(days=30),
        )
        self.world.act(draft_token(self.world.gate.ledger, self.world.gate.policies, made, "alice"))
        self.world.tokens = {**self.world.tokens, "codex": secret}

    def _states(self) -> dict[str, str]:
        return self.world.gate.ledger.look(
            lambda view: {a.id: state for a, state in view.state.open_actions(view.now)}
        )

    def _open(self, *states: str) -> str | None:
        found = [action for action, state in self._states().items() if state in states]
        return self.chance.choice(found) if found else None

    def _any(self) -> str | None:
        known = self.world.gate.ledger.look(lambda view: list(view.state.actions))
        return self.chance.choice(known) if known else None
