"""Which rules and sections of a policy read otherwise, each with what differs in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields

from keyturn.policy.difference.change import Change
from keyturn.policy.difference.sections import degrade_texts, risk_texts
from keyturn.policy.difference.wording import differing
from keyturn.policy.guard import PolicyGuard
from keyturn.policy.policy import Policy
from keyturn.policy.queue import Queue
from keyturn.policy.shown import shown

_RULES = (("grants", "grant"), ("forbids", "forbid"), ("budgets", "limit"), ("freezes", "freeze"))
_NAMED = (
    ("principals", "principal"),
    ("people", "person"),
    ("reviewers", "reviewer"),
    ("environments", "environment"),
    ("lanes", "lane"),
    ("prices", "price of the tool"),
)
_WORDS = {
    "guard": "who must sign for the next policy",
    "cases": "the policy's tests",
    "degrade": "what tightens by itself ([degrade])",
    "queue": "how much may be under way at once ([queue])",
    "risk": "how risk is scored ([risk])",
}
_SILENT = frozenset({"anchored", "digest", "contracts", "by_call", "by_head", "by_place", "by_tool", "lint"})


def texts(old: Policy, new: Policy, calendars: frozenset[str]) -> Iterator[Change]:
    """Yield every rule and section that reads otherwise; `calendars` are paths that differ."""
    for name, word in _RULES:
        before, after = ({rule.id: rule for rule in getattr(side, name)} for side in (old, new))
        yield from _compared(word, before, after, calendars)
    for name, word in _NAMED:
        yield from _compared(word, getattr(old, name), getattr(new, name), calendars)
    told = {*_SILENT, *(name for name, _ in (*_RULES, *_NAMED))}
    for field in fields(Policy):
        was, now = getattr(old, field.name), getattr(new, field.name)
        if field.name not in told and was != now:
            for text in _section(field.name, old, new):
                yield Change(kind="changes", who="", text=f"{_WORDS.get(field.name, field.name)}: {text}")


def _section(name: str, old: Policy, new: Policy) -> Iterator[str]:
    """Yield what differs in a section that is no list of rules."""
    was, now = getattr(old, name), getattr(new, name)
    match was, now:
        case (PolicyGuard(), PolicyGuard()) | (Queue(), Queue()):
            yield "; ".join(differing(was, now))
        case _ if name == "risk":
            if told := "; ".join(risk_texts(old.risk, new.risk)):
                yield told
        case _ if name == "degrade":
            yield from degrade_texts(old.degrade, new.degrade)
        case None, _:
            yield "is new"
        case _, None:
            yield "is not said any more"
        case _:
            yield "differs"


def _compared(
    word: str, old: Mapping[str, object], new: Mapping[str, object], calendars: frozenset[str]
) -> Iterator[Change]:
    for name in sorted({*old, *new}):
        before, after = old.get(name), new.get(name)
        if before is None or after is None:
            text = f"{word} {shown(name)} is {'gone' if after is None else 'new'}"
            yield Change(kind="changes", who="", text=text, rules=(name,))
        elif told := list(differing(before, after, calendars)):
            text = f"{word} {shown(name)}: {'; '.join(told)}"
            yield Change(kind="changes", who="", text=text, rules=(name,))
