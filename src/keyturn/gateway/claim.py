"""Claiming: turning an approved action into a durable intent, once, by one executor.

At claim an action must be allowed by the policy it was reviewed under (its own obligations are met) and by the
policy in force, with its own reservation left out of usage. The reviews' signatures are verified again from their
entries: neither the database nor the server's keys can make one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from keyturn.approvals.action import Action
from keyturn.canon import Json
from keyturn.fold.recovery import Restoration
from keyturn.fold.signatures import check_act
from keyturn.fold.story import StoryError, tell
from keyturn.fold.undoing import act_of
from keyturn.gateway.core import Gateway, Job, Look, PolicyShelf
from keyturn.gateway.executor import Executor
from keyturn.gateway.payloads import read_plan, read_value
from keyturn.gateway.rejudging import frozen_action, judge_again
from keyturn.gateway.releasing import release_fallen
from keyturn.gateway.suspensions import suspended_action
from keyturn.gateway.sweep import sweep
from keyturn.gateway.tightening import tighten
from keyturn.gateway.voiding import void
from keyturn.log.entry import Entry
from keyturn.model.decision import Hold, Permit, Reason
from keyturn.model.errors import LedgerError, Refused
from keyturn.model.plan import Plan
from keyturn.model.tool import ActionRef

_MOST_VOIDED = 50  # actions that become stale in one transaction


@dataclass(frozen=True, slots=True)
class Claimed:
    """An action whose intent is durable under this executor's name: exactly this plan is to be executed.

    `entries` are its entries so far, and `reasons` those of its decision, where this process has written them all in
    one transaction. `before` is the number of its intent where an anchor has to have that before the effect.
    """

    action: Action
    plan: Plan
    reference: ActionRef
    entries: tuple[Entry, ...] = ()
    reasons: tuple[Reason, ...] = ()
    before: int | None = None


def claim_ready(gate: Gateway, executor: Executor, most: int | None = None) -> list[Claimed]:
    """Claim the oldest actions that may run now, as many as there is room for (at most `most`), in one transaction.

    Two executors never get the same. Actions that may not run any more become stale on the way, in each transaction
    `_MOST_VOIDED` at most: others want the ledger too.
    """
    while True:
        with taking(executor) as taken:
            claimed = gate.ledger.transact(lambda tx: _claim(gate, tx, taken, most))
        if claimed is not None:
            return claimed


class Taken:
    """The actions that one transaction counts as running here; all are given back when it fails."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self.ids: list[str] = []

    def take(self, action_id: str) -> bool:
        """Count one as running, if there is room."""
        if not self.executor.take(action_id):
            return False
        self.ids.append(action_id)
        return True


@contextmanager
def taking(executor: Executor) -> Iterator[Taken]:
    """Take actions inside the transaction of the block."""
    taken = Taken(executor)
    try:
        yield taken
    except BaseException:
        # Where a commit failed and its entries are on the disk all the same, recovery finds intents nobody runs.
        for action_id in taken.ids:
            executor.give_back(action_id)
        raise


def claimable(gate: Gateway, view: Look) -> list[Action]:
    """Return the approved actions this process could run, oldest first, one per target."""
    return list(_next_in_line(gate, view, set()))


def _next_in_line(gate: Gateway, view: Look, targets: set[str]) -> Iterator[Action]:
    """Yield what `claimable` returns; `targets` are those where something goes first. One that is taken out is free.

    Whoever finds that an action may not run after all takes its target out, for the next one on it.
    """
    if view.reading.fault is not None:
        return
    opened = list(view.state.open_actions(view.now))
    targets |= {action.target for action, state in opened if state == "running"}
    for action, state in opened:
        if state == "approved" and action.target not in targets and _may_begin(gate, view, action):
            targets.add(action.target)
            yield action


def _somebody_first(gate: Gateway, view: Look, target: str) -> bool:
    """Say whether an earlier action runs on the target or is about to: they run one at a time and in order."""
    return any(
        state == "running" or (state == "approved" and _may_begin(gate, view, earlier))
        for earlier, state in view.state.open_on(target, view.now)
    )


def _may_begin(gate: Gateway, view: Look, action: Action) -> bool:
    """A process claims only what its own tools and back ends reach, and nothing that waits for a person.

    An operator may have suspended it, or may have yet to sign for its execution, and what it is about may be frozen.
    """
    if not gate.reaches(action) or action.waits_for_a_hand or suspended_action(view, action) is not None:
        return False
    try:
        policy = gate.policies.in_force(view)
    except LedgerError:
        return True  # whoever claims it meets the same, and says so
    return frozen_action(policy, view, action) is None


def _claim(gate: Gateway, tx: Job, taken: Taken, most: int | None) -> list[Claimed] | None:
    """Claim what may run, or write what changes that and return None: look again with that written.

    What becomes stale gives room in its limits and its target to others at once: each is judged with those before it
    left out, and so none becomes stale that would have had room. After one that begins, none does: look again.
    """
    if sweep(tx) or tighten(gate, tx) is not None:
        return None
    claimed: list[Claimed] = []
    voided: list[str] = []
    targets: set[str] = set()
    for action in _next_in_line(gate, tx, targets):
        if len(claimed) == most or len(voided) == _MOST_VOIDED:
            break
        judged = objections(gate.policies, tx, action, voided)
        if isinstance(judged, tuple):
            if claimed:
                break
            void(tx, action, judged)
            voided.append(action.id)
            targets.remove(action.target)
            continue
        if not taken.take(action.id):
            break
        claimed.append(_start(gate, tx, action, taken.executor.instance, judged))
    return None if voided and not claimed else claimed


def _start(gate: Gateway, tx: Job, action: Action, instance: str, decision: Permit | Hold) -> Claimed:
    """Append the intent. An anchor precedes the effect where a grant that lets it through, then or now, asks so."""
    request = tx.entry(action.seq)
    must = gate.policies.in_force(tx).anchors_before(action.rules, decision.rules)
    started = _append_start(gate, tx, action, instance)
    reference = ActionRef(
        action=action.id, principal=action.principal, reason=str(read_value(tx, request, "reason") or "")
    )
    return Claimed(action, read_plan(tx, request), reference, before=started.seq if must else None)


def _append_start(gate: Gateway, tx: Job, action: Action, instance: str) -> Entry:
    facts: dict[str, Json] = {
        "instance": instance,
        "reviews": [review.seq for review in action.reviews],
        "policy": gate.policies.in_force(tx).digest,
    }
    return tx.append("execution.started", facts, action=action.id)


def start_permitted(gate: Gateway, tx: Job, action: Action, planned: Planned, taken: Taken) -> Claimed | None:
    """Claim an action in the transaction that permits it, or return None: then it stays approved for a later claim.

    The policy in force has judged it a moment ago, on this fold; its token and contract too. What is left to ask is
    whether it may begin here and now, and whether its request says what its plan does.
    """
    if not _may_begin(gate, tx, action) or tx.reading.fault is not None or _differing(action, planned.plan):
        return None
    if _somebody_first(gate, tx, action.target):
        taken.executor.pass_over()
        return None
    if not taken.take(action.id):
        return None
    started = _append_start(gate, tx, action, taken.executor.instance)
    reference = ActionRef(action=action.id, principal=action.principal, reason=planned.reason)
    must = gate.policies.in_force(tx).anchors_before(action.rules)
    before = started.seq if must else None
    return Claimed(action, planned.plan, reference, (*planned.entries, started), planned.reasons, before)


@dataclass(frozen=True, slots=True)
class Planned:
    """What the transaction that permits an action has at hand.

    entries   the entry `action.requested`, and those that stand with it
    reason    why the assistant asks, in its own words; `reasons` those of the decision
    """

    entries: tuple[Entry, ...]
    plan: Plan
    reason: str
    reasons: tuple[Reason, ...]


def objections(
    policies: PolicyShelf, view: Look, action: Action, gone: Sequence[str] = ()
) -> tuple[Reason, ...] | Permit | Hold:
    """Return why an approved action may not run after all, or what the policy in force says that lets it.

    `gone` are actions that this transaction ends.
    """
    entries = [view.entry(seq) for seq in _told_in(action)]
    found = (
        _story_differs(action, entries, view.state.restored)
        or _plan_differs(view, action, entries[0])
        or _token_revoked(view, entries[0])
        or _act_fallen(view, entries[0])
        or release_fallen(view, action)
        or _contract_moved(view, action)
    )
    return (found,) if found else judge_again(policies.in_force(view), view, action, entries[0], gone)


def _told_in(action: Action) -> list[int]:
    """Return where the entries of an action that has not begun stand, in order."""
    signed = () if action.released is None else (action.released.seq,)
    return sorted((action.seq, *action.beside, *(review.seq for review in action.reviews), *signed))


def _story_differs(action: Action, entries: Sequence[Entry], restored: Restoration | None) -> Reason | None:
    """Tell the story again from the entries themselves, every review's signature included."""
    try:
        told = tell(entries, restored)
    except StoryError:
        told = None
    return None if told == action else Reason("story", "the action's entries do not tell what this process believed")


def _plan_differs(view: Look, action: Action, request: Entry) -> Reason | None:
    """Compare what limits, policy and reviewers go by in the request's facts with the plan that would be executed."""
    differing = _differing(action, read_plan(view, request))
    if not differing:
        return None
    return Reason("story", f"the request says something else than its plan ({', '.join(differing)})")


def _differing(action: Action, plan: Plan) -> list[str]:
    recorded = {
        "tool": (action.tool, plan.tool),
        "target": (action.target, plan.target),
        "backend": (action.backend, plan.backend.to_json()),
        "effects": (action.effects, {"calls": 1, **plan.effects.to_json()}),
        "environment": (action.environment, plan.environment or action.environment),
    }
    return [name for name, (told, meant) in recorded.items() if told != meant]


def _token_revoked(view: Look, request: Entry) -> Reason | None:
    if (named := request.optional_text("token")) is None:
        return None  # a person asked for it, by signature
    token = view.state.tokens.get(named)
    if token is None or token.revoked_at is not None:
        return Reason("token_revoked", "the token the request was made with has been revoked")
    return None


def _act_fallen(view: Look, request: Entry) -> Reason | None:
    """Verify the act of a person who asked once more from the entry, by a key that still counts."""
    act: Any = request.facts.get("act")
    if act is None:
        return None
    after = act["statement"]["after"]
    known = view.state.policy.reviewers if view.state.policy else {}
    signed_under = view.entry(after) if after < request.seq else request
    if signed_under.kind != "policy.activated" or signed_under.facts["policy"] != request.facts["policy"]:
        return Reason("act", "it was asked for by an act under another policy than the one it was decided by")
    try:
        check_act(act, act_of(request), log=request.log, after=after, reviewers=known, now=request.at)
    except Refused as error:
        return Reason("act", f"the signed act that asked for it does not count: {error}")
    return None


def _contract_moved(view: Look, action: Action) -> Reason | None:
    published = view.state.catalog.contracts if view.state.catalog else {}
    if published.get(action.tool) != action.contract:
        return Reason("contract_moved", f"the contract of {action.tool} is another one now than when it was asked")
    return None
