"""The starter files of a new home: a policy of the package's own, and what the wheel or a checkout's root carries."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keyturn
from keyturn.model.errors import ConfigurationError
from keyturn.model.sshkey import PublicKey

PEOPLE_BEGIN = "# --- people "
PEOPLE_END = "# --- end of people "
SCOPES = ("pr:write", "pr:merge", "pr:read", "deploy:rollback", "deploy:read", "ticket:write", "ticket:read")

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_BARE_HEAD = """\
# Policy: who may do what, how often, and who must agree. Everything that no grant allows is refused.
# This file is a proposal. The policy in force is the one in the ledger: change this file, look at it with
# `keyturn policy check`, and put it in force with `keyturn policy activate -m REASON`.
# Completion in editors: run `keyturn schema --into schemas`, and begin with `#:schema ./schemas/policy.schema.json`.
version = 1

"""
_BARE_WIRING = """\
# Wiring: which systems Keyturn acts on, by name. Assistants only ever use these names.
# Paths are relative to this file.
# Completion in editors: run `keyturn schema --into schemas`, and begin with `#:schema ./schemas/keyturn.schema.json`.
version = 1
"""


@dataclass(frozen=True, slots=True)
class NewPrincipal:
    """An assistant to be named in a new home's policy; without an owner four eyes are not enforced for it."""

    name: str
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class NewReviewer:
    """A reviewer to be named in a new home's policy; named again, with one more key."""

    name: str
    key: PublicKey


def starter_folder() -> Path:
    """Return the folder that holds the starter `keyturn.toml` and `tool_schemas/`: in a checkout, its root."""
    package = Path(keyturn.__file__).parent
    for folder in (package / "starter", package.parents[1]):
        if (folder / "keyturn.toml").is_file() and (folder / "tool_schemas").is_dir():
            return folder
    raise ConfigurationError("this installation carries no starter files; reinstall keyturn")


def starter_policy(principals: Sequence[NewPrincipal], reviewers: Sequence[NewReviewer], *, bare: bool) -> str:
    """Return the text of a new home's policy: the starter's rules with these people in it, or no rules when bare.

    Raises `ConfigurationError` when somebody is named twice.
    """
    _check_once(principals, reviewers)
    people = _people(principals, reviewers)
    if bare:
        return _BARE_HEAD + people
    text = _starter_text()
    head, _, rest = text.partition(PEOPLE_BEGIN)
    _, _, rules = rest.partition(PEOPLE_END)
    return head + people + rules.partition("\n")[2]


def starter_wiring(*, bare: bool) -> str:
    """Return the text of a new home's wiring: the samples', or no systems when bare."""
    return _BARE_WIRING if bare else (starter_folder() / "keyturn.toml").read_text(encoding="utf-8")


def example_keys() -> frozenset[str]:
    """Return the public keys in the starter's own policy: examples, whose private halves nobody has."""
    reviewers = tomllib.loads(_starter_text()).get("reviewers", {})
    lines = [line for person in reviewers.values() for line in person["keys"]]
    return frozenset(PublicKey.parse(line).line for line in lines)


def _starter_text() -> str:
    return (Path(keyturn.__file__).parent / "starter" / "policy.toml").read_text(encoding="utf-8")


def _check_once(principals: Sequence[NewPrincipal], reviewers: Sequence[NewReviewer]) -> None:
    names = [item.name for item in principals]
    problems = [f"the principal {name} is named twice" for name in sorted({n for n in names if names.count(n) > 1})]
    pairs = [(item.name, item.key.line) for item in reviewers]
    twice = sorted({name for name, line in pairs if pairs.count((name, line)) > 1})
    problems += [f"the reviewer {name} is named twice with the same key" for name in twice]
    if problems:
        raise ConfigurationError(*problems)


def _people(principals: Sequence[NewPrincipal], reviewers: Sequence[NewReviewer]) -> str:
    parts = [_principal(item) for item in principals]
    parts += [_reviewer(name, [r.key for r in reviewers if r.name == name]) for name in _names(reviewers)]
    owners = {item.owner for item in principals if item.owner and item.owner not in _names(reviewers)}
    parts += [f"[people.{_key(owner)}]\n" for owner in sorted(owners)]
    return "\n".join(parts)


def _names(reviewers: Sequence[NewReviewer]) -> list[str]:
    return list(dict.fromkeys(item.name for item in reviewers))


def _principal(item: NewPrincipal) -> str:
    owner = f"owner = {_text(item.owner)}\n" if item.owner else ""
    return (
        f'[principals.{_key(item.name)}]\n{owner}groups = ["assistants"]\n'
        f"scopes = [{', '.join(_text(scope) for scope in SCOPES)}]\n"
    )


def _reviewer(name: str, keys: Sequence[PublicKey]) -> str:
    written = ", ".join(_text(f"{key.line} {key.comment}".strip()) for key in keys)
    return f'[reviewers.{_key(name)}]\nkeys = [{written}]\ngroups = ["sre"]\n'


def _key(name: str) -> str:
    """Return a name as a TOML key: one with a dot would else be a table in a table."""
    return name if _BARE_KEY.fullmatch(name) else _text(name)


def _text(value: str) -> str:
    """Return a TOML basic string; JSON's escapes are TOML's, as long as the text is printable."""
    return json.dumps(value, ensure_ascii=False)
