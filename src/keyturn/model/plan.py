"""What would happen: the plan of one action, with what reviewers see and what execution compares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from keyturn.canon import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """The identity of one configured back end; never holds a secret.

    `location` is a URL or a real path. An action planned against one identity never runs against another.
    """

    port: str
    name: str
    kind: str
    location: str
    account: str = ""

    def to_json(self) -> dict[str, Json]:
        """Return the identity as written into entries."""
        return {
            "port": self.port,
            "name": self.name,
            "kind": self.kind,
            "location": self.location,
            "account": self.account,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """What limits and budgets count for one action, beside the call itself."""

    files_changed: int = 0
    lines_changed: int = 0
    recipients: int = 0

    def to_json(self) -> dict[str, Json]:
        """Return the counts by their budget names."""
        return {
            "files_changed": self.files_changed,
            "lines_changed": self.lines_changed,
            "recipients": self.recipients,
        }


OWN_ACTION: Mapping[str, Json] = {"from": "action"}
"""Stands in an inverse's arguments for the id of the action that is undone: planning does not know it yet."""


def from_result(name: str) -> dict[str, Json]:
    """Return what stands in an inverse's arguments for the value that the action's result has under `name`."""
    return {"from": "result", "name": name}


@dataclass(frozen=True, slots=True, kw_only=True)
class Inverse:
    """How to undo: a sentence, and the governed call that does it where one exists.

    A value of `arguments` may be `OWN_ACTION` or `from_result(…)`: it is filled in when the action is undone.
    """

    summary: str
    tool: str | None = None
    arguments: Mapping[str, Json] = field(default_factory=dict)

    def to_json(self) -> dict[str, Json]:
        """Return the inverse as the plan payload keeps it."""
        return {"summary": self.summary, "tool": self.tool, "arguments": self.arguments}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One action worked out by reads alone.

    target      `<port>:<name in keyturn.toml>/<object>`, from which the policy computes the environment
    environment the environment an argument selected, or None; it must agree with the computed one
    diff        the complete unified diff shown to reviewers ("" where the effect is no text change)
    view        what conditions see as `plan.*`, e.g. {"files": [{"path": …, "status": …}]}
    facts       reviewed facts: what the effect and the diff depend on; compared again at execution
    guard       wire guard as seen at planning, for the record: execution reads it afresh and swaps on that
    change      whatever else execution needs, complete: execution reads nothing from the arguments
    """

    tool: str
    target: str
    backend: Backend
    summary: str
    environment: str | None = None
    diff: str = ""
    effects: Effects = field(default_factory=Effects)
    view: Mapping[str, Json] = field(default_factory=dict)
    facts: Mapping[str, Json] = field(default_factory=dict)
    guard: Mapping[str, Json] = field(default_factory=dict)
    change: Mapping[str, Json] = field(default_factory=dict)
    inverse: Inverse | None = None

    def to_json(self) -> dict[str, Json]:
        """Return the plan as its payload keeps it (the diff is a payload of its own)."""
        return {
            "tool": self.tool,
            "target": self.target,
            "backend": self.backend.to_json(),
            "summary": self.summary,
            "environment": self.environment,
            "effects": self.effects.to_json(),
            "view": self.view,
            "facts": self.facts,
            "guard": self.guard,
            "change": self.change,
            "inverse": self.inverse.to_json() if self.inverse else None,
        }


def plan_from_json(value: Mapping[str, object], diff: str) -> Plan:
    """Rebuild a plan from its payload; the payload's commitment was checked by who read it."""
    parts = dict(value)
    inverse = parts.pop("inverse")
    backend = parts.pop("backend")
    effects = parts.pop("effects")
    return Plan(
        backend=Backend(**backend),  # type: ignore[arg-type]  # written by to_json, read under its commitment
        effects=Effects(**effects),  # type: ignore[arg-type]  # as above
        inverse=Inverse(**inverse) if inverse else None,  # type: ignore[arg-type]  # as above
        diff=diff,
        **parts,  # type: ignore[arg-type]  # as above
    )
