"""A small world for policy tests: keys, contracts, a policy text, requests."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keyturn.canon import Json
from keyturn.contracts import read_catalog
from keyturn.model.contract import Contract
from keyturn.model.decision import Request
from keyturn.model.errors import ConfigurationError
from keyturn.policy import Policy, Usage, read_policy

NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)  # a Monday
CATALOG: dict[str, Contract] = dict(read_catalog(Path(__file__).parents[2] / "tool_schemas").contracts)


def contract(tool: str, schema: Mapping[str, Json], kind: Any = "governed", scope: str = "odd:write") -> Contract:
    """A contract made up for a test."""
    return Contract(
        tool=tool,
        version=1,
        kind=kind,
        scope=scope,
        title=tool,
        description=tool,
        annotations={},
        input=schema,
        output={},
        duplicate_window=600,
        digest="sha256:" + hashlib.sha256(tool.encode()).hexdigest(),
    )


CATALOG["set_flag"] = contract(
    "set_flag",
    {
        "type": "object",
        "$defs": {"level": {"enum": ["low", "high"]}},
        "properties": {
            "flag": {"type": "string"},
            "level": {"$ref": "#/$defs/level"},
            "percent": {"type": "integer", "minimum": 0, "maximum": 100},
            "force": {"type": "boolean", "default": False},
            "owners": {"type": "array", "items": {"type": "string"}},
            "rules": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "segment": {"type": "string"},
                        "percent": {"type": ["integer", "null"]},
                        "tags": {
                            "type": "array",
                            "items": {"type": "object", "properties": {"key": {"type": "string"}}},
                        },
                    },
                },
            },
            "meta": {"type": "object", "properties": {"ticket": {"type": "string"}}},
            "free": {},
            "reason": {"type": "string"},
            "repeat": {"type": "boolean"},
        },
    },
)


def key(name: str) -> str:
    """An Ed25519 public key line that belongs to `name`."""
    return f"ssh-ed25519 {base64.b64encode(_field(b'ssh-ed25519') + _field(_point(name))).decode()} {name}"


def hardware_key(name: str) -> str:
    """A FIDO2 public key line that belongs to `name`."""
    kind = b"sk-ssh-ed25519@openssh.com"
    blob = _field(kind) + _field(_point(name)) + _field(b"ssh:")
    return f"{kind.decode()} {base64.b64encode(blob).decode()} {name}@token"


def _point(name: str) -> bytes:
    private = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())
    return private.public_key().public_bytes_raw()


def _field(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def label(tool: str) -> str:
    """The pin of a tool."""
    return CATALOG[tool].label


PEOPLE = f"""
version = 1

[principals.claude]
owner = "bob"
groups = ["assistants"]
scopes = ["pr:write", "deploy:rollback", "ticket:write", "ticket:read", "odd:write"]

[principals.codex]
owner = "carol"
groups = ["assistants"]
scopes = ["pr:write", "ticket:write", "odd:write"]

[principals.lone]
scopes = ["ticket:write", "odd:write"]

[people.bob]
display = "Bob"

[reviewers.alice]
keys = ["{key("alice")}", "{hardware_key("alice")}"]
groups = ["sre"]

[reviewers.carol]
keys = ["{key("carol")}"]
groups = ["sre"]

[reviewers.dave]
keys = ["{hardware_key("dave")}"]
groups = ["oncall"]

[environments.staging]
targets = ["deployments:web/staging", "forge:sandbox/*", "tickets:*/*", "flags:staging/**"]

[environments.production]
targets = ["deployments:web/production", "forge:shop/*", "flags:production/**"]
"""


def grant(
    name: str = "g", tool: str = "set_flag", principals: str = '["group:assistants", "lone"]', **more: str
) -> str:
    """One `[[grants]]`, pinned; `more` are further lines, already TOML."""
    lines = "\n".join(f"{key} = {value}" for key, value in more.items())
    about = f'principals = {principals}\ntool = "{tool}"\ncontract = "{label(tool)}"'
    return f'\n[[grants]]\nid = "{name}"\n{about}\n{lines}\n'


def forbid(name: str = "f", **more: str) -> str:
    """One `[[forbids]]`."""
    lines = "\n".join(f"{key} = {value}" for key, value in more.items())
    return f'\n[[forbids]]\nid = "{name}"\n{lines}\n'


def budget(name: str = "b", **more: str) -> str:
    """One `[[limits]]`."""
    lines = "\n".join(f"{key} = {value}" for key, value in more.items())
    return f'\n[[limits]]\nid = "{name}"\n{lines}\n'


def policy(*rules: str, people: str = PEOPLE) -> Policy:
    """The policy of these rules."""
    return read_policy({"policy.toml": people + "".join(rules)}, CATALOG)


def problems(*rules: str, people: str = PEOPLE) -> tuple[str, ...]:
    """The problems of a text that must not load."""
    with pytest.raises(ConfigurationError) as caught:
        policy(*rules, people=people)
    return caught.value.problems


def request(
    principal: str = "claude",
    *,
    tool: str = "set_flag",
    arguments: Mapping[str, Json] | None = None,
    target: str | None = "flags:staging/dark",
    environment: str | None = None,
    view: Mapping[str, Json] | None = None,
    effects: Mapping[str, int] | None = None,
    scopes: frozenset[str] | None = None,
) -> Request:
    """A planned request."""
    return Request(
        principal=principal,
        token_scopes=scopes,
        tool=tool,
        arguments=arguments or {},
        target=target,
        environment=environment,
        view=view if view is not None else {},
        effects=effects or {},
    )


def use(
    usage: Usage,
    action: str,
    at: datetime,
    amounts: Mapping[str, int] | None = None,
    *,
    principal: str = "claude",
    owner: str | None = "bob",
    tool: str = "set_flag",
    target: str = "flags:staging/dark",
    environment: str = "staging",
    pending: bool = False,
) -> None:
    """Reserve for an action."""
    usage.reserve(
        action,
        at,
        principal=principal,
        owner=owner,
        tool=tool,
        target=target,
        environment=environment,
        amounts=amounts or {"calls": 1},
        pending=pending,
    )
