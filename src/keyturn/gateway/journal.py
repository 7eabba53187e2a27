"""The log for people: entries chosen by what they are about, each told in one sentence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from keyturn.approvals.action import status
from keyturn.canon import Json
from keyturn.gateway.desk import Look
from keyturn.gateway.envelope import refusal_in_words
from keyturn.gateway.finding import find, find_beginning, find_entries
from keyturn.gateway.payloads import ERASED, read_value
from keyturn.log.entry import Entry
from keyturn.model.time import format_timestamp

CHUNK = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which entries are wanted; None asks for all.

    `principal` and `tool` take in the later entries of their actions. `status` is where an action stands now, or
    "denied"; `since` and `until` are times of entries, the first of them included.
    """

    limit: int
    kind: str | None = None
    principal: str | None = None
    tool: str | None = None
    action: str | None = None
    status: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def choose(view: Look, wanted: Wanted) -> list[Entry]:
    """Return the newest entries that are wanted, newest last."""
    about = _About(view)
    found: list[Entry] = []
    for entry in _backwards(view, wanted.action):
        if wanted.since is not None and entry.at < wanted.since:
            break  # times in a log do not go back
        if _is_wanted(wanted, entry, about):
            found.append(entry)
        if len(found) == wanted.limit:
            break
    return found[::-1]


def _is_wanted(wanted: Wanted, entry: Entry, about: _About) -> bool:
    """Tell whether an entry is wanted; what takes looking up is asked last."""
    if wanted.kind not in {None, entry.kind} or (wanted.until is not None and entry.at >= wanted.until):
        return False
    named = all(
        name is None or name == about.fact(entry, fact)
        for fact, name in (("principal", wanted.principal), ("tool", wanted.tool))
    )
    return named and (wanted.status is None or wanted.status == about.status(entry))


def row(view: Look, entry: Entry) -> dict[str, Json]:
    """Return one line of the log: place, time, kind, action, principal, and what happened in a sentence."""
    return {
        "seq": entry.seq,
        "at": format_timestamp(entry.at),
        "kind": entry.kind,
        "action": entry.action,
        "principal": _About(view).fact(entry, "principal"),
        "text": sentence(view, entry),
    }


def full(view: Look, entry: Entry) -> dict[str, Json]:
    """Return everything an entry says, its payloads opened; `digest` is its leaf hash."""
    return {
        **row(view, entry),
        "digest": entry.digest,
        "log": entry.log,
        "prev": entry.prev,
        "signed_by": entry.kid,
        "facts": dict(entry.facts),
        "payloads": {field: _opened(view, entry, field) for field in sorted(entry.data)},
    }


_OF_THE_LOG = frozenset(
    {"log.opened", "log.succeeds", "log.closed", "key.added", "key.revoked", "payload.erased", "payloads.pruned"}
)


def sentence(view: Look, entry: Entry) -> str:
    """Tell an entry in one sentence, with the words that people and systems gave."""
    facts: Mapping[str, Any] = entry.facts
    match entry.kind:
        case kind if kind in _OF_THE_LOG:
            return _about_log(entry, facts)
        case kind if kind.startswith(("policy.", "catalog.", "token.")):
            return _about_rules(view, entry, facts)
        case "read.served":
            return f"{facts['principal']} read {facts['target']} with {facts['tool']}"
        case "action.requested" | "action.undoing":
            return _about_request(view, entry, facts)
        case "action.denied":
            return f"{facts['principal']} may not call {refusal_in_words(view, entry)}"
        case "requests.throttled":
            return f"{facts['count']} more refusals of {facts['principal']} ({facts['code']})"
        case "suspension.set" | "suspension.lifted" | "freeze.overridden":
            return _about_suspension(view, entry, facts)
        case "recovery":
            return f"{_recovered(facts)}{_said(view, entry, 'reason')}"
        case "anchor.recorded":
            seen = "cosigned" if facts["type"] == "witness" else "keeps"
            return f"{facts['anchor']} ({facts['type']}) {seen} the checkpoint of {facts['size']} entries"
    return _about_action(view, entry, facts)


def _about_log(entry: Entry, facts: Mapping[str, Any]) -> str:
    match entry.kind:
        case "log.opened":
            return f"the log {entry.log} begins"
        case "key.added":
            return "a new entry key may sign"
        case "log.succeeds":
            return f"the log goes on from {facts['verifier']}, which ended with {facts['size']} entries"
        case "payloads.pruned" | "log.closed":
            return _about_end(facts)
    by = facts["act"]["statement"]["by"]
    if entry.kind == "key.revoked":
        return f"{by} ended the entry key {facts['revoked']}: {facts['reason']}"
    return f"{by} erased {facts['field']} of entry {facts['entry']}, on the ground of {facts['basis']}"


def _about_end(facts: Mapping[str, Any]) -> str:
    by = facts["act"]["statement"]["by"]
    if "before" in facts:
        where = "" if facts["environment"] is None else f" of {facts['environment']}"
        return f"{by} pruned the payloads{where} before entry {facts['before']}, on the ground of {facts['basis']}"
    after = f"{facts['successor']} goes on" if facts["successor"] else "no log goes on"
    return f"{by} closed the log: {after}"


def _about_request(view: Look, entry: Entry, facts: Mapping[str, Any]) -> str:
    undone = facts["undoes"]["action"] if "undoes" in facts else None
    what = f"{facts['tool']} on {facts['target']}" + (f", to undo {undone}" if undone else "")
    by = f"{facts['act']['statement']['by']}, for {facts['principal']}," if facts.get("act") else facts["principal"]
    return f"{by} asks for {what}: {_DECISIONS[facts['decision']]}{_said(view, entry, 'reason')}"


def _about_rules(view: Look, entry: Entry, facts: Mapping[str, Any]) -> str:
    signed = facts.get("act")
    by = f"{signed['statement']['by']} " if signed else ""
    match entry.kind:
        case "policy.guarded" | "policy.proposed" | "policy.endorsed":
            return _about_change(view, entry, facts)
        case "policy.activated":
            told = (
                f"activates the policy {facts['policy'][:19]}"
                if by
                else f"the first policy is {facts['policy'][:19]}"
            )
            return f"{by}{told}{_said(view, entry, 'reason')}"
        case "catalog.published":
            return f"{len(facts['contracts'])} contracts are published"
        case "token.issued":
            token = facts["token"].removeprefix("sha256:")[:12]
            told = f"issues the token {token}" if by else f"the token {token} is issued"
            return f"{by}{told} for {facts['principal']} until {facts['expires_at'][:10]}"
    return f"{_actor(facts)} revokes the token {facts['token'].removeprefix('sha256:')[:12]}"


def _about_change(view: Look, entry: Entry, facts: Mapping[str, Any]) -> str:
    match entry.kind:
        case "policy.guarded":
            return f"{facts['quorum']} of {', '.join(facts['reviewers'])} must sign for the next policy"
        case "policy.proposed":
            return f"{_actor(facts)} proposes the policy {facts['policy'][:19]}{_said(view, entry, 'reason')}"
    by = facts["act"]["statement"]["by"]
    return f"{by} endorses the policy {facts['policy'][:19]}{_said(view, entry, 'reason')}"


def _about_suspension(view: Look, entry: Entry, facts: Mapping[str, Any]) -> str:
    if entry.kind == "freeze.overridden":
        by, until = facts["act"]["statement"]["by"], facts["until"]
        return f"{by} sets the freeze {facts['freeze']} aside until {until}{_said(view, entry, 'reason')}"
    scope = "everything" if facts["scope"]["name"] is None else f"{facts['scope']['type']} {facts['scope']['name']}"
    if entry.kind == "suspension.lifted":
        return f"{facts['act']['statement']['by']} resumes {scope}{_said(view, entry, 'reason')}"
    did = "suspends" if facts["mode"] == "suspended" else "allows only reads of"
    return f"{_actor(facts)} {did} {scope}{_said(view, entry, 'reason')}"


def _recovered(facts: Mapping[str, Any]) -> str:
    by, missing = facts["act"]["statement"]["by"], facts["missing"]
    if facts["reason"] == "clock":
        return f"{by} says that the wall clock is right: {facts['clock']['wall']}"
    lost = "nothing is known to be missing" if missing is None else f"a ledger of {missing['size']} entries is lost"
    return f"{by} says that the ledger was restored from a copy: {lost}"


def _about_action(view: Look, entry: Entry, facts: Mapping[str, Any]) -> str:
    match entry.kind:
        case "action.reviewed":
            verdict = "approves" if facts["verdict"] == "approve" else "rejects"
            return f"{facts['reviewer']} {verdict}{_said(view, entry, 'review.reason')}"
        case "action.cancelled":
            return f"{_actor(facts)} cancels it{_said(view, entry, 'cancel.reason')}"
        case "action.expired":
            return "it has expired, which is a no"
        case "action.stale":
            return f"it is stale: {_listed(read_value(view, entry, 'stale.moved'))}"
        case "action.reserved" | "action.withheld" | "action.released":
            return _about_execution(entry, facts)
        case "execution.started":
            return "it begins to run"
        case "execution.finished":
            recovered = ", found out by another process" if facts["recovered"] else ""
            return f"it {_OUTCOMES[facts['outcome']]}{recovered}{_outcome(view, entry)}"
        case "execution.resolved":
            who = f"by {facts['act']['statement']['by']}" if facts["act"] else "by asking the system"
            return f"settled {who}: it {_OUTCOMES[facts['outcome']]}{_said(view, entry, 'resolve.reason')}"
    return entry.kind


def _about_execution(entry: Entry, facts: Mapping[str, Any]) -> str:
    match entry.kind:
        case "action.reserved":
            amounts = ", ".join(f"{amount} {unit}" for unit, amount in sorted(facts["amounts"].items()) if amount)
            return f"it takes {amounts} of the budgets"
        case "action.withheld":
            return f"nobody executes it before a person has signed for that ({'; '.join(facts['rules'])})"
    return f"{facts['act']['statement']['by']} signed for its execution"


_DECISIONS = {"permit": "permitted", "hold": "held for review", "shadow": "recorded only (shadow)"}
_OUTCOMES = {
    "succeeded": "succeeded",
    "failed": "failed",
    "stale": "did not run, for the world had moved",
    "unknown": "may or may not have happened",
    "shadowed": "was not executed (shadow)",
}


class _About:
    """Finds what an entry is about; asks for the beginning of each action, and where it stands, once."""

    def __init__(self, view: Look) -> None:
        self._view = view
        self._begun: dict[str, Entry | None] = {}
        self._standing: dict[str, str | None] = {}

    def fact(self, entry: Entry, name: str) -> str | None:
        """Return a fact of the entry, or of what its action begins with."""
        begin = entry if name in entry.facts else self._beginning(entry)
        value = begin.facts.get(name) if begin else None
        return value if isinstance(value, str) else None

    def status(self, entry: Entry) -> str | None:
        """Return where the entry's action stands now; None where it is of none."""
        begin = self._beginning(entry)
        if begin is None or begin.action is None:
            return None
        if begin.action not in self._standing:
            action = None if begin.kind == "action.denied" else find(self._view, begin.action)
            self._standing[begin.action] = "denied" if action is None else status(action, self._view.now)
        return self._standing[begin.action]

    def _beginning(self, entry: Entry) -> Entry | None:
        if entry.action is None:
            return None
        if entry.action not in self._begun:
            self._begun[entry.action] = find_beginning(self._view, entry.action)
        return self._begun[entry.action]


def _backwards(view: Look, action: str | None) -> Iterator[Entry]:
    if action is not None:
        yield from reversed(find_entries(view, action))
        return
    end = view.head.size
    while end > 0:
        first = max(0, end - CHUNK)
        yield from reversed(view.entries(first, end))
        end = first


def _opened(view: Look, entry: Entry, field: str) -> Json:
    if field == "diff":
        payload = view.payload(entry, field)
        return ERASED if payload is None else payload.decode("utf-8", errors="replace")
    return ERASED if view.erased(entry, field) else read_value(view, entry, field)


def _outcome(view: Look, entry: Entry) -> str:
    value = read_value(view, entry, "outcome") if "outcome" in entry.data else None
    if not isinstance(value, Mapping):
        return ""
    said = value.get("reason") or (_listed(value["moved"]) if value.get("moved") else "")
    return f": {said}" if said else ""


def _said(view: Look, entry: Entry, field: str) -> str:
    words = read_value(view, entry, field) if field in entry.data else None
    return f' ("{words}")' if words else ""


def _listed(value: Json) -> str:
    return "; ".join(str(item) for item in value) if isinstance(value, list) else str(value)


def _actor(facts: Mapping[str, Any]) -> str:
    return f"{facts['by']['type']} {facts['by']['name']}"
