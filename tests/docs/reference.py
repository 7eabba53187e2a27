"""Writes what the reference pages and the schemas beside them say of keys: `python -m tests.docs.reference`.

In a page, what stands between `<!-- keys: NAME -->` and `<!-- end -->` is a table made of what the code declares.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from keyturn.assembly.schemas import words, write_schemas
from keyturn.policy.schema import rules, sections
from keyturn.policy.schema.documents import top
from keyturn.policy.schema.keys import Key, Keys, Named
from tests.policy.world import CATALOG

FOLDER = Path(__file__).parents[2] / "docs/reference"
_REGION = re.compile(r"(<!-- keys: (?P<name>[\w-]+) -->\n\n).*?(\n<!-- end -->)", re.DOTALL)
_WORLD = (
    "version",
    "includes",
    "tests",
    "policy",
    "principals",
    "people",
    "reviewers",
    "environments",
    "lanes",
    "tools",
)
_CONTRACTS = tuple(contract for contract in CATALOG.values() if contract.tool != "set_flag")


def table(head: tuple[str, ...], body: Iterable[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [head, ("---",) * len(head), *body]
    return "".join(f"| {' | '.join(cells)} |\n".replace("|  |", "| |") for cells in lines)


def of_keys(keys: Keys) -> str:
    return table(("key", "meaning"), ((f"`{key.name}`", key.says) for key in keys.keys))


def of_words(said: Mapping[str, str], names: Iterable[str] = ()) -> str:
    shown = tuple(names) or tuple(name for name in said if "." not in name)
    return table(("key", "meaning"), ((f"`{name}`", said[name]) for name in shown))


def _of_section(key: Key) -> list[tuple[str, str, str]]:
    match key.shape:
        case Named(each=each, says=says):
            return [(f"`[{key.name}.NAME]`", "", says), *(("", f"`{inner.name}`", inner.says) for inner in each.keys)]
        case Keys(keys=inner_keys):
            return [(f"`[{key.name}]`", f"`{inner.name}`", inner.says) for inner in inner_keys]
        case _:
            return [("", f"`{key.name}`", key.says)]


def _world() -> str:
    keys = top(_CONTRACTS)
    brief = [row for name in _WORLD for row in _of_section(keys[name])[: 1 if name in ("lanes", "tools") else None]]
    return table(("section", "key", "meaning"), brief)


def _anchors() -> str:
    rows = [
        (f"`{name}`", f"`{kind}`", says)
        for (port, kind), said in words.BACK_ENDS.items()
        for name, says in said.items()
        if port == "anchors" and name not in ("kind", *_OF_ALL) and (kind, name) not in _AS_ELSEWHERE
    ]
    known = words.BACK_ENDS["anchors", "file"]
    kind = ("`kind`", "", '`"file"`, `"git"`, `"witness"` or `"rfc3161"`')
    return table(("key", "kind", "meaning"), [kind, *((f"`{name}`", "all", known[name]) for name in _OF_ALL), *rows])


_OF_ALL = ("every", "required")


_AS_ELSEWHERE = {
    ("git", name) for name in ("credential", "key", "agent", "known_hosts", "ca", "proxy", "private", "timeout")
}


def _timeouts() -> str:
    named = [(f"`{name}`", says) for name, says in words.TIMEOUTS.items()]
    return table(("key", "seconds"), [*named[:1], (words.ANY_TOOL, words.OF_TOOL), *named[1:]])


def _retention() -> str:
    return table(
        ("key", "meaning"), [("`default`", words.RETENTION["default"]), (words.ANY_ENVIRONMENT, words.OF_ENVIRONMENT)]
    )


def tables() -> dict[str, str]:
    """Every table, by the name it has in the pages."""
    return {
        "world": _world(),
        "lanes": of_keys(sections.lanes(_CONTRACTS)),
        "tools": of_keys(sections.PRICES),
        "grants": of_keys(rules.grants(_CONTRACTS)),
        "approval": of_keys(rules.APPROVAL),
        "risk": of_keys(sections.RISK),
        "thresholds": of_keys(rules.THRESHOLDS),
        "forbids": of_keys(rules.forbids(_CONTRACTS)),
        "limits": of_keys(rules.limits(_CONTRACTS)),
        "freezes": of_keys(rules.freezes(_CONTRACTS)),
        "queue": of_keys(sections.QUEUE),
        "degrade": of_keys(sections.DEGRADE),
        "cases": of_keys(sections.cases(_CONTRACTS)),
        "used": of_keys(sections.USED),
        "wiring": of_words(words.TOP, ("version", "name")),
        **{f"{port}-{kind}": of_words(said) for (port, kind), said in words.BACK_ENDS.items()},
        "anchors": _anchors(),
        "over-http": of_words(words.OVER_HTTP),
        "log": of_words(words.LOG),
        "http": of_words(words.HTTP),
        "notify": of_words(words.NOTIFY),
        "timeouts": _timeouts(),
        "retention": _retention(),
    }


def filled(page: str) -> str:
    """A page with every table as the code declares it. Raises `KeyError` for one that it does not know."""
    known = tables()
    return _REGION.sub(lambda found: f"{found[1]}{known[found['name']]}{found[3]}", page)


if __name__ == "__main__":
    write_schemas(FOLDER)
    for path in sorted(FOLDER.glob("*.md")):
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
