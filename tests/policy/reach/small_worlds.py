"""Policies over a world so small that every request can be tried."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from hypothesis import strategies as st

from keyturn.canon import Json
from keyturn.model.decision import Decision, Request
from keyturn.policy import Policy, Usage, evaluate
from tests.policy.world import NOW, forbid, grant, policy, request

SETTLED = [
    'environment = "staging"',
    'environment = ["staging", "production"]',
    'environment = { not = "staging" }',
    '"arguments.flag" = { glob = "a*" }',
    '"arguments.flag" = { glob = ["?", "b*"] }',
    '"arguments.flag" = { not = { glob = "a?" } }',
    '"arguments.flag" = { glob = "A*", ignore_case = true }',
    '"arguments.flag" = { not = "ab" }',
    '"arguments.flag" = ["ab", "b"]',
    '"arguments.flag" = { exists = false }',
    '"arguments.flag" = { exists = true }',
    '"arguments.level" = "low"',
    '"arguments.level" = { not = "low" }',
    '"arguments.percent" = { min = 3, max = 50 }',
    '"arguments.percent" = { min = 51 }',
    '"arguments.percent" = { not = { min = 3 } }',
    '"arguments.percent" = [1, 3]',
    '"arguments.percent" = { exists = true }',
    '"arguments.force" = false',
    '"arguments.force" = true',
    '"arguments.owners" = { some = "ann" }',
    '"arguments.owners" = { some = { not = "ann" } }',
    '"arguments.owners" = { not = { some = "bob" } }',
    '"arguments.owners[*]" = ["ann", "bob"]',
    '"arguments.owners[*]" = { not = { glob = "b*" } }',
    '"arguments.rules[*].segment" = "x"',
    '"arguments.rules[*].percent" = { max = 5 }',
    '"arguments.rules[*].segment" = { some = "y" }',
    '"arguments.rules[*].tags[*].key" = { glob = "k*" }',
    '"arguments.meta.ticket" = { glob = "T-*" }',
    '"principal.owner" = { not = "carol" }',
    '"principal.groups" = { some = "assistants" }',
    'target = { glob = "flags:*/dark" }',
    'target = { not = "flags:staging/dark" }',
    'tool = ["set_flag"]',
]
ATOMS = [
    '"arguments.flag" = { regex = "[a-z]+" }',
    '"plan.replicas" = 3',
    '"plan.files[*].path" = { glob = "docs/**" }',
    '"plan.lines_changed" = { max = 10 }',
    '"time.hour" = { max = 12 }',
    '"time.hour" = { min = 12 }',
]
APPROVAL = '{ quorum = 1, from = ["group:sre"] }'
PRINCIPALS = ("claude", "codex", "lone")
ENVIRONMENTS = ("staging", "production")

_RULES: list[Json] = [
    {"segment": "x", "percent": 1},
    {"segment": "y", "percent": 9},
    {"percent": None},
    {"segment": "x", "tags": [{"key": "k1"}]},
    {"segment": "x", "percent": 3, "tags": [{"key": "k1"}, {"key": "z"}, {}]},
]
VALUES: Mapping[str, Sequence[Json]] = {
    "flag": ["ab", "a", "b", "ba", "AB", "", "zz", None],
    "level": ["low", "high", None],
    "percent": [0, 1, 3, 50, 51, 99, None],
    "force": [True, False, None],
    "owners": [[], ["ann"], ["ann", "bob"], ["bob"], ["zoe", "ann"], ["zoe"], None],
    "rules": [[], *([rule] for rule in _RULES), [_RULES[0], _RULES[1]], [_RULES[0], _RULES[3]], None],
    "meta": [{}, {"ticket": "T-1"}, {"ticket": "x"}, None],
}
TARGETS = ("flags:staging/dark", "flags:staging/a", "flags:production/dark", "flags:nowhere/dark")
VIEWS: Sequence[Mapping[str, Json]] = [
    {},
    {"replicas": 3},
    {"replicas": 4},
    {"files": [{"path": "docs/a"}]},
    {"files": "x"},
]


def where(conditions: Sequence[str]) -> str:
    return "{ " + ", ".join(conditions) + " }"


def wheres(conditions: Sequence[str], most: int = 3) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(conditions), max_size=most, unique_by=lambda text: text.split(" = ")[0]).map(
        where
    )


@st.composite
def a_grant(draw: st.DrawFn, name: str, conditions: Sequence[str]) -> str:
    more = {"where": draw(wheres(conditions))}
    if draw(st.booleans()):
        more["approval"] = APPROVAL
    if draw(st.integers(0, 5)) == 0:
        more["mode"] = '"shadow"'
    who = draw(st.sampled_from(['["claude", "lone"]', '["group:assistants"]', '["claude"]']))
    return grant(name, "set_flag", who, **more)


@st.composite
def a_forbid(draw: st.DrawFn, name: str, conditions: Sequence[str]) -> str:
    more = {"tool": '"set_flag"', "where": draw(wheres(conditions, 2))}
    if draw(st.integers(0, 5)) == 0:
        more["mode"] = '"shadow"'
    if draw(st.booleans()):
        more["principals"] = draw(st.sampled_from(['["claude"]', '["group:assistants"]']))
    return forbid(name, **more)


@dataclass(frozen=True)
class Text:
    """Rules as texts, so that some can be left out or changed."""

    rules: tuple[str, ...]

    def read(self) -> Policy:
        return policy(*self.rules)

    def requests(self, principal: str) -> Iterator[Request]:
        """Yield every request that the rules could tell apart."""
        return requests("".join(self.rules), principal)


@st.composite
def some_rules(draw: st.DrawFn, conditions: Sequence[str] = SETTLED, grants: int = 4, forbids: int = 2) -> Text:
    """Rules that ask about at most two arguments, so that their values can all be tried together."""
    chosen = draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=2, unique=True))
    conditions = [
        one for one in conditions if "arguments." not in one or any(f"arguments.{n}" in one for n in chosen)
    ]
    found = [draw(a_grant(f"g{n}", conditions)) for n in range(draw(st.integers(1, grants)))]
    found += [draw(a_forbid(f"f{n}", conditions)) for n in range(draw(st.integers(0, forbids)))]
    return Text(tuple(found))


def requests(text: str, principal: str) -> Iterator[Request]:
    """Yield every request of the principal that rules of this text could tell apart; contracts take all of them."""
    named = [name for name in VALUES if re.search(rf"arguments\.{name}\b", text)]
    views = VIEWS if "plan.files" in text else VIEWS[:3] if "plan.replicas" in text else VIEWS[:1]
    counts: list[Mapping[str, int]] = [{"lines_changed": 5}, {"lines_changed": 15}, {}] if "lines" in text else [{}]
    for target, view, effects in product(TARGETS, views, counts):
        for chosen in product(*(VALUES[name] for name in named)):
            given = {name: value for name, value in zip(named, chosen, strict=True) if value is not None}
            yield request(principal, arguments=given, target=target, view=view, effects=effects)


def judged(rules: Policy, asked: Request) -> Decision:
    return evaluate(rules, asked, Usage(), NOW)
