"""The fold: the state that decisions read, made from entries alone.

Entries that add authority are verified here one by one: who signed them, and whether that person could. An entry
that contradicts the state stops the process that reads it: somebody with the entry key wrote it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, ClassVar, Self, TypeAlias, TypeVar

from keyturn import canon
from keyturn.approvals import life
from keyturn.approvals.action import Action, status
from keyturn.canon import Json
from keyturn.fold import values
from keyturn.fold.alarms import Watch
from keyturn.fold.ending import check_closing, check_succession, closing
from keyturn.fold.erasure import check_erasable, erasure
from keyturn.fold.freezes import override_of, overriding
from keyturn.fold.guarding import (
    Guard,
    Proposed,
    activation,
    check_endorsed,
    endorsed,
    endorsement,
    guard_of,
    proposed,
    waiting_with,
)
from keyturn.fold.key_changes import key_change
from keyturn.fold.outcomes import note_outcome
from keyturn.fold.pruning import check_prunable, pruning
from keyturn.fold.recovery import REASON, RECOVER, RESTORED, Restoration, check_recovery, recovery_digest
from keyturn.fold.releasing import release_of, settled
from keyturn.fold.remembered import Remembered
from keyturn.fold.signatures import Act, check_act
from keyturn.fold.standing import Anchored, CatalogInForce, PolicyInForce, Token
from keyturn.fold.story import StoryError, next_action
from keyturn.fold.submissions import count_submission
from keyturn.fold.suspensions import LIFT, POLICY, Suspension, Suspensions, lift_digest, read_scope
from keyturn.fold.undoing import UNDOING, Pairs, Undos, act_of, check_undone
from keyturn.log.entry import Entry
from keyturn.log.fold import FoldError
from keyturn.log.keys import parse_verifier
from keyturn.model.errors import Refused
from keyturn.model.time import parse_timestamp
from keyturn.policy.alarms import Alarms
from keyturn.policy.circumstances import Circumstances, Override
from keyturn.policy.usage import Usage

T = TypeVar("T")

DENIAL_WINDOW = timedelta(minutes=1)
FIRST_KEY = 1  # the entry of the first entry key, which comes with the log itself
_MOST_DENIALS = 64  # times kept per principal: far more than a minute may record
_TIDY_EVERY = 64  # entries

_Times: TypeAlias = list[tuple[str, list[datetime]]]
_Anchors: TypeAlias = list[tuple[str, Anchored]]


class State:
    """Everything decisions read. Changed by `apply` alone; owned by one ledger connection."""

    version = 9

    def __init__(self) -> None:
        self.policy: PolicyInForce | None = None
        self.guard: Guard | None = None
        self.proposals: dict[str, Proposed] = {}  # by digest
        self.catalog: CatalogInForce | None = None
        self.tokens: dict[str, Token] = {}
        self.suspensions = Suspensions()
        self.overrides: dict[str, Override] = {}  # by freeze
        self.restored: Restoration | None = None
        self.predecessor: str | None = None  # the verifier string of the log that this one goes on from
        self.anchored: dict[str, Anchored] = {}  # by anchor, as its last record says
        self.watch = Watch()
        self.usage = Usage()
        self.undos = Undos()
        self.denials: dict[str, deque[datetime]] = {}
        self._remembered = Remembered()
        self._founding = True
        self._newcomer: tuple[int, str] | None = None  # a key that was just added: its entry and itself in base64
        self._applied = 0

    @property
    def actions(self) -> dict[str, Action]:
        """Every action that is not over, and for an hour those that are, by id, in the order of their requests."""
        return self._remembered.actions

    @property
    def circumstances(self) -> Circumstances:
        """What decisions depend on besides usage."""
        return Circumstances(overrides=tuple(self.overrides.values()))

    def alarms(self) -> Alarms:
        """Return what is wrong at present, for a policy that tightens then."""
        return self.watch.alarms(self._remembered.unknown())

    @classmethod
    def empty(cls) -> Self:
        """Return the state before the first entry."""
        return cls()

    @property
    def founding(self) -> bool:
        """Whether nothing but founding entries is there: some of these go without a person's signature."""
        return self._founding

    def open_actions(self, now: datetime) -> Iterator[tuple[Action, str]]:
        """Return the actions that are pending, approved, running or unknown at `now`, with that state."""
        return self._remembered.open(now)

    def open_on(self, target: str, now: datetime) -> Iterator[tuple[Action, str]]:
        """Return what `open_actions` returns of one target."""
        return self._remembered.open_on(target, now)

    def overdue(self, now: datetime) -> list[Action]:
        """Return the actions that have expired by now and have no `action.expired` entry yet."""
        return self._remembered.overdue(now)

    def denials_since(self, principal: str, now: datetime) -> int:
        """Count the refusals recorded for a principal in the last minute."""
        return sum(now - at < DENIAL_WINDOW for at in self.denials.get(principal, ()))

    def apply(self, entry: Entry) -> None:
        """Take the next entry. Raises `FoldError` when it contradicts the state or cannot be reckoned with.

        Every field may be as its kind defines and the entry absurd all the same: times at the ends of the calendar,
        numbers no clock counts to.
        """
        try:
            self._check_newcomer(entry)
            self._HANDLERS[entry.kind](self, entry)
            self.watch.take(entry)
            self._applied += 1
            if self._applied % _TIDY_EVERY == 0:
                self._tidy(entry.at)
        except (StoryError, Refused, ValueError, OverflowError) as error:
            raise FoldError(f"entry {entry.seq} ({entry.kind}): {error}") from error

    def to_json(self) -> Json:
        """Return the whole state for a snapshot."""
        denials = [(principal, list(times)) for principal, times in self.denials.items()]
        value: dict[str, Json] = {
            **self.standing(),
            "actions": values.to_json(list(self.actions.values())),
            "usage": self.usage.to_json(),
            "undos": values.to_json(self.undos.pairs()),
            "anchored": values.to_json(list(self.anchored.items())),
            "watch": values.to_json(self.watch),
            "denials": values.to_json(denials),
            "applied": self._applied,
        }
        return value

    @classmethod
    def from_json(cls, value: Json) -> Self:
        """Rebuild a state from its snapshot."""
        fields: dict[str, Any] = dict(value) if isinstance(value, dict) else {}
        state = cls()
        state.policy = _optional(PolicyInForce, fields["policy"])
        state.guard = _optional(Guard, fields["guard"])
        state.proposals = {item.policy: item for item in values.from_json(list[Proposed], fields["proposals"])}
        state.catalog = _optional(CatalogInForce, fields["catalog"])
        state.tokens = {token.digest: token for token in values.from_json(list[Token], fields["tokens"])}
        state.suspensions = Suspensions(values.from_json(list[Suspension], fields["suspensions"]))
        state.overrides = {item.freeze: item for item in values.from_json(list[Override], fields["overrides"])}
        state.restored = _optional(Restoration, fields["restored"])
        text = _optional(str, fields["predecessor"])
        state.predecessor = None if text is None else str(parse_verifier(text))
        state._remembered = Remembered(values.from_json(list[Action], fields["actions"]))
        state.usage = Usage.from_json(fields["usage"])
        state.undos = Undos(values.from_json(Pairs, fields["undos"]))
        state.anchored = dict(values.from_json(_Anchors, fields["anchored"]))
        state.watch = values.from_json(Watch, fields["watch"])
        denials = values.from_json(_Times, fields["denials"])
        state.denials = {principal: deque(times, maxlen=_MOST_DENIALS) for principal, times in denials}
        state._founding = fields["founding"] is True
        state._newcomer = _optional(tuple[int, str], fields["newcomer"])
        state._applied = int(fields["applied"])
        return state

    def standing(self) -> dict[str, Json]:
        """Return what entries of the kinds `STANDING` made, and whether entries may still go without a signature."""
        return {
            "policy": values.to_json(self.policy),
            "guard": values.to_json(self.guard),
            "proposals": values.to_json(list(self.proposals.values())),
            "catalog": values.to_json(self.catalog),
            "tokens": values.to_json(list(self.tokens.values())),
            "suspensions": values.to_json(self.suspensions.present()),
            "overrides": values.to_json(list(self.overrides.values())),
            "restored": values.to_json(self.restored),
            "predecessor": self.predecessor,
            "founding": self._founding,
            "newcomer": values.to_json(self._newcomer),
        }

    @classmethod
    def standing_of(cls, entries: Iterable[Entry], size: int) -> dict[str, Json]:
        """Return `standing` after a log of `size` entries, of which `entries` are those that make it.

        What lies between them ends the founding, as any other entry does. Raises `FoldError`.
        """
        state = cls()
        for entry in entries:
            state._founding = state._founding and entry.seq == state._applied
            state.apply(entry)
        state._founding = state._founding and size == state._applied
        return state.standing()

    # --- one handler per kind ---------------------------------------------------------------------------------

    def _genesis(self, entry: Entry) -> None:
        """The chain has verified it; nothing here depends on it."""

    def _add_key(self, entry: Entry) -> None:
        if entry.seq != FIRST_KEY:
            self._newcomer = entry.seq, entry.text("key")

    def _revoke_key(self, entry: Entry) -> None:
        self._founding = False
        seq, key = self._newcomer or (-1, "")
        if seq + 1 != entry.seq:
            raise Refused("key_alone", "a key is revoked directly after the one that takes its place is added")
        self.check_act(entry.facts["act"], key_change(entry.facts, key), entry.log, entry.at)
        self._newcomer = None

    def _activate(self, entry: Entry) -> None:
        previous = self.policy
        if entry.facts["previous"] != (previous.digest if previous else None):
            raise Refused("other_policy", "it does not follow the policy in force")
        digest = entry.text("policy")
        by = None
        if previous is not None:
            by = self.check_act(entry.facts["act"], activation(previous.digest, digest), entry.log, entry.at)
            check_endorsed(digest, by, self.guard, self.proposals)
            self._founding = False
        elif not self._founding or entry.facts["act"] is not None:
            raise Refused("not_founding", "only the founding entries go without a signature")
        facts: dict[str, Any] = dict(entry.facts)
        reviewers = {name: tuple(lines) for name, lines in facts["reviewers"].items()}
        self.policy = PolicyInForce(digest=digest, seq=entry.seq, at=entry.at, reviewers=reviewers, by=by)
        self.overrides = {}  # they were signed for the freezes of the policy before
        self.guard, self.proposals = None, {}

    def _guard(self, entry: Entry) -> None:
        if self.guard is not None:
            raise Refused("guarded_twice", "what guards the policy in force was said already")
        self.guard = guard_of(entry, self.policy, self.catalog)

    def _propose(self, entry: Entry) -> None:
        self._founding = False
        self.proposals = waiting_with(proposed(entry, self.policy, self.proposals), self.proposals)

    def _endorse(self, entry: Entry) -> None:
        self._founding = False
        digest = entry.text("policy")
        force = self.policy.digest if self.policy else ""
        by = self.check_act(entry.facts["act"], endorsement(force, digest), entry.log, entry.at)
        self.proposals[digest] = endorsed(entry, by, self.guard, self.proposals)

    def _publish(self, entry: Entry) -> None:
        facts: dict[str, Any] = dict(entry.facts)
        self.catalog = CatalogInForce(digest=entry.text("catalog"), seq=entry.seq, contracts=facts["contracts"])

    def _issue(self, entry: Entry) -> None:
        facts: dict[str, Any] = dict(entry.facts)
        token = Token(
            digest=facts["token"],
            principal=facts["principal"],
            transports=tuple(facts["transports"]),
            scopes=None if facts["scopes"] is None else tuple(facts["scopes"]),
            expires_at=parse_timestamp(facts["expires_at"]),
            seq=entry.seq,
        )
        if token.digest in self.tokens:
            raise Refused("token_known", "this token was issued before")
        if facts["act"] is not None:
            expected = Act(verb="token.issue", object=token.principal, digest=token_digest(facts))
            self.check_act(facts["act"], expected, entry.log, entry.at)
            self._founding = False
        elif not self._founding:
            raise Refused("not_founding", "only the founding entries go without a signature")
        self.tokens[token.digest] = token

    def _revoke(self, entry: Entry) -> None:
        self._founding = False
        token = self.tokens.get(entry.text("token"))
        if token is None:
            raise Refused("token_unknown", "it revokes a token that was never issued")
        self.tokens[token.digest] = replace(token, revoked_at=token.revoked_at or entry.at)

    def _read(self, entry: Entry) -> None:
        self._founding = False
        self._check_policy(entry)
        facts: dict[str, Any] = dict(entry.facts)
        where = (facts["principal"], facts["tool"], facts["environment"])
        self.suspensions.check(entry, *where, governed=False)
        name = f"read-{entry.seq}"
        self.usage.reserve(
            name,
            at=entry.at,
            principal=facts["principal"],
            owner=facts["owner"],
            tool=facts["tool"],
            target=facts["target"],
            environment=facts["environment"],
            amounts={"calls": 1},
            pending=False,
        )
        self.usage.settle(name, release=False)

    def _request(self, entry: Entry) -> None:
        self._founding = False
        if entry.action in self.actions:
            raise Refused("requested_twice", f"action {entry.action} is requested twice")
        self._check_in_force(entry)
        action = next_action(None, entry)
        self._check_not_halted(entry, action)
        if action.decision != "shadow":
            self._reserve(action)
        count_submission(self.usage, entry)
        self._remembered.keep(action)

    def _undo(self, entry: Entry) -> None:
        facts: dict[str, Any] = dict(entry.facts)
        check_undone(entry, self.actions.get(facts["undoes"]["action"]))
        self._check_not_undone(facts["undoes"]["action"], entry.at)
        if facts["act"] is not None:
            self.check_act(facts["act"], act_of(entry), entry.log, entry.at)
        self._request(entry)
        self.undos.take(facts["principal"], facts["undoes"]["action"], entry.action or "")

    def _deny(self, entry: Entry) -> None:
        self._founding = False
        times = self.denials.setdefault(entry.text("principal"), deque(maxlen=_MOST_DENIALS))
        times.append(entry.at)
        count_submission(self.usage, entry)

    def _throttle(self, entry: Entry) -> None:
        self._founding = False
        count_submission(self.usage, entry)

    def _advance(self, entry: Entry) -> None:
        """Take any later entry of an action, and give back or keep what it took from the limits."""
        self._founding = False
        if entry.kind == "execution.started":
            self._check_start(entry)
        if entry.kind == "execution.resolved":
            self._check_resolution(entry)
        if entry.kind == "action.released":
            self._check_release(entry)
        action = next_action(self.actions.get(entry.action or ""), entry)
        self._take(action, entry.at)
        note_outcome(self.usage.history, action, entry)

    def _reserve_more(self, entry: Entry) -> None:
        self._founding = False
        action = next_action(self.actions.get(entry.action or ""), entry)
        self.usage.settle(action.id, release=True)
        self._reserve(action)
        self._remembered.keep(action)

    def _take(self, action: Action, at: datetime) -> None:
        self._remembered.keep(action)
        match status(action, at):
            case "pending":
                # A changed mind may have made it wait again: then it counts as waiting again.
                self.usage.settle(action.id, release=True)
                self._reserve(action)
            case "approved" | "running" | "unknown":
                self.usage.unpend(action.id)
            case "succeeded":
                self.usage.settle(action.id, release=False, settled=settled(action))
            case "failed":
                self.usage.settle(action.id, release=action.effect is False, settled=settled(action))
            case _:
                self.usage.settle(action.id, release=True, settled=settled(action))

    def _suspend(self, entry: Entry) -> None:
        self._founding = False
        self.suspensions.set(entry)

    def _lift(self, entry: Entry) -> None:
        self._founding = False
        facts: dict[str, Any] = dict(entry.facts)
        scope = read_scope(facts["scope"])
        present = self.suspensions.of(scope)
        if present is None:
            raise Refused("not_suspended", f"{scope} is not suspended")
        meant = lift_digest(present.digest, entry.data.get(REASON))
        self.check_act(facts["act"], Act(verb=LIFT, object=scope.subject, digest=meant), entry.log, entry.at)
        self.suspensions.lift(scope)
        if present.actor == POLICY:
            self.watch.lifted(present.by, entry, self._remembered.unknown(), since=present.seq)

    def _override(self, entry: Entry) -> None:
        self._founding = False
        expected = overriding(entry.facts, entry.data.get(REASON))
        by = self.check_act(entry.facts["act"], expected, entry.log, entry.at)
        override = override_of(entry, by)
        self.overrides.pop(override.freeze, None)
        self.overrides[override.freeze] = override

    def _recover(self, entry: Entry) -> None:
        self._founding = False
        check_recovery(entry)
        facts: dict[str, Any] = dict(entry.facts)
        meant = recovery_digest(facts, entry.data.get(REASON))
        self.check_act(facts["act"], Act(verb=RECOVER, object=facts["reason"], digest=meant), entry.log, entry.at)
        if facts["reason"] != RESTORED:
            return  # the chain holds clocks against it from here on
        self.restored = Restoration(entry.seq, entry.at)
        self.overrides = {}  # what is lost may have ended them
        self.proposals = {}  # what is lost may have activated, and so voided, what they were endorsed for
        for action, state in list(self.open_actions(entry.at)):
            if state in {"pending", "approved"}:
                self._take(life.restored(action, entry.at), entry.at)

    def _anchor(self, entry: Entry) -> None:
        self._founding = False
        size = entry.facts["size"]
        if not isinstance(size, int) or size > entry.seq:
            raise Refused("not_there", f"it records a checkpoint of {size} entries, more than there were")
        self.anchored[entry.text("anchor")] = Anchored(size, entry.at)

    def _erase(self, entry: Entry) -> None:
        self._founding = False
        check_erasable(entry.facts, entry.seq, (action for action, _ in self.open_actions(entry.at)))
        self.check_act(entry.facts["act"], erasure(entry.facts), entry.log, entry.at)

    def _prune(self, entry: Entry) -> None:
        self._founding = False
        check_prunable(entry.facts, entry.seq, (action for action, _ in self.open_actions(entry.at)))
        self.check_act(entry.facts["act"], pruning(entry.facts), entry.log, entry.at)

    def _close(self, entry: Entry) -> None:
        self._founding = False
        check_closing(entry.log, entry.facts, self.open_actions(entry.at))
        self.check_act(entry.facts["act"], closing(entry.log, entry.facts), entry.log, entry.at)

    def _succeed(self, entry: Entry) -> None:
        self.predecessor = check_succession(entry, founding=self._founding, before=self.predecessor)

    # --- parts of the handlers --------------------------------------------------------------------------------

    def _check_newcomer(self, entry: Entry) -> None:
        if self._newcomer is not None and entry.kind != "key.revoked":
            raise Refused("not_signed", f"no person signed for the key that entry {self._newcomer[0]} added")

    def check_act(self, act: Json, expected: Act, log: str, now: datetime) -> str:
        """Verify an operator's act against the policy in force; return who signed. Raises `Refused`."""
        if self.policy is None or not isinstance(act, dict):
            raise Refused("not_signed", "the act carries no signed statement")
        said = check_act(act, expected, log=log, after=self.policy.seq, reviewers=self.policy.reviewers, now=now)
        # What is lost held acts as well. Not `<=`: while a clock is wrong, time may stand still after the restore.
        if self.restored is not None and said.at < self.restored.at:
            raise Refused("before_the_restore", "the act was signed before the ledger was restored: sign it anew")
        return said.by

    def _check_policy(self, entry: Entry) -> PolicyInForce:
        if self.policy is None or entry.facts["policy"] != self.policy.digest:
            raise Refused("other_policy", "it was decided under a policy that is not in force")
        return self.policy

    def _check_in_force(self, entry: Entry) -> None:
        policy = self._check_policy(entry)
        contracts = self.catalog.contracts if self.catalog else {}
        if contracts.get(entry.text("tool")) != entry.facts["contract"]:
            raise Refused("other_contract", "its contract is not the published one")
        # Whoever writes entries must not choose whose keys may review them.
        facts: dict[str, Any] = dict(entry.facts)
        for name, lines in facts["reviewers"].items():
            if not set(lines) <= set(policy.reviewers.get(name, ())):
                raise Refused("other_reviewers", f"it lists keys of {name!r} that the policy in force does not")

    def _check_start(self, entry: Entry) -> None:
        self._check_policy(entry)
        action = self.actions.get(entry.action or "")
        if action is None:
            return  # its story says so
        self._check_not_halted(entry, action)
        if action.decision == "permit" and self.restored is not None and action.seq < self.restored.seq:
            raise Refused("restored", "it was permitted before the ledger was restored")
        if self.busy(action.target, entry.at, without=action.id):
            raise Refused("target_busy", f"another action is running on {action.target}")

    def _check_not_undone(self, undone: str, now: datetime) -> None:
        """An action is undone once; what failed at it, or was never done, may be tried anew."""
        before = self.actions.get(self.undos.of(undone) or "")
        if before is not None and (state := status(before, now)) in UNDOING:
            raise Refused("undone_twice", f"action {undone} is undone by {before.id} already, which is {state}")

    def _check_not_halted(self, entry: Entry, action: Action) -> None:
        self.suspensions.check(entry, action.principal, action.tool, action.environment, governed=True)

    def _check_resolution(self, entry: Entry) -> None:
        """An operator's word on an unknown outcome is signed; a probe's needs nobody."""
        by_operator = entry.facts["method"] == "operator"
        if by_operator != (entry.facts["act"] is not None):
            raise Refused("not_signed", "an operator's resolution carries a signed act, a probe's none")
        action = self.actions.get(entry.action or "")
        if by_operator and action is not None:
            content = resolution_digest(action.digest, entry.text("outcome"), entry.data.get("resolve.reason"))
            expected = Act(verb="action.resolve", object=action.id, digest=content)
            self.check_act(entry.facts["act"], expected, entry.log, entry.at)

    def _check_release(self, entry: Entry) -> None:
        action = self.actions.get(entry.action or "")
        if action is not None:
            self.check_act(entry.facts["act"], release_of(action), entry.log, entry.at)

    def busy(self, target: str, now: datetime, without: str = "") -> Action | None:
        """Return the action that is running on `target`, if one is: two never run at once."""
        return self._remembered.running_on(target, now, without)

    def _reserve(self, action: Action) -> None:
        self.usage.reserve(
            action.id,
            at=action.requested_at,
            principal=action.principal,
            owner=action.owner,
            tool=action.tool,
            target=action.target,
            environment=action.environment,
            amounts={**action.effects, **action.reserved},
            pending=action.decision == "hold",
        )

    def _tidy(self, now: datetime) -> None:
        """Give back what nobody will settle any more, and forget what is long over."""
        for action in self._remembered.rejected_by_time(now):
            self.usage.settle(action.id, release=True)
        self._remembered.forget(now)
        for principal, times in list(self.denials.items()):
            if now - times[-1] > DENIAL_WINDOW:
                del self.denials[principal]

    _HANDLERS: ClassVar[dict[str, Callable[[State, Entry], None]]] = {
        "log.opened": _genesis,
        "key.added": _add_key,
        "key.revoked": _revoke_key,
        "policy.activated": _activate,
        "policy.guarded": _guard,
        "policy.proposed": _propose,
        "policy.endorsed": _endorse,
        "catalog.published": _publish,
        "token.issued": _issue,
        "token.revoked": _revoke,
        "read.served": _read,
        "action.requested": _request,
        "action.undoing": _undo,
        "action.reserved": _reserve_more,
        "action.withheld": _advance,
        "action.released": _advance,
        "action.denied": _deny,
        "requests.throttled": _throttle,
        "action.reviewed": _advance,
        "action.cancelled": _advance,
        "action.expired": _advance,
        "action.stale": _advance,
        "execution.started": _advance,
        "execution.finished": _advance,
        "execution.resolved": _advance,
        "suspension.set": _suspend,
        "suspension.lifted": _lift,
        "freeze.overridden": _override,
        "recovery": _recover,
        "anchor.recorded": _anchor,
        "payload.erased": _erase,
        "payloads.pruned": _prune,
        "log.closed": _close,
        "log.succeeds": _succeed,
    }


def _optional(kind: type[T], value: Json) -> T | None:
    return None if value is None else values.from_json(kind, value)


def token_digest(facts: dict[str, Any]) -> str:
    """Return what an operator signs when issuing a token: the digest of all it grants."""
    granted = ("token", "principal", "transports", "scopes", "expires_at")
    return canon.digest({name: facts[name] for name in granted})


def resolution_digest(action: str, outcome: str, reason: str | None) -> str:
    """Return what an operator signs when settling an unknown outcome; `reason` is the commitment of the words."""
    return canon.digest({"action": action, "outcome": outcome, "reason": reason})
