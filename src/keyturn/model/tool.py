"""What a tool is to the gateway: something that plans by reads alone and executes exactly that plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from keyturn.canon import Json
from keyturn.model.outcome import Outcome, Probe
from keyturn.model.plan import Plan


def _to_nobody(_: str) -> None:
    """Nobody listens to how far an effect is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionRef:
    """What an effect may say about the action it belongs to (its marker, its first line).

    `action` is the UUID; `principal` and `reason` go into the text that systems show to people. An effect that takes
    a while may tell `progress` in a few words how far it is, from any thread.
    """

    action: str
    principal: str
    reason: str = ""
    progress: Callable[[str], None] = field(default=_to_nobody, compare=False, repr=False)

    @property
    def marker(self) -> str:
        """The deterministic marker every back end leaves: `keyturn/<action id>`."""
        return f"keyturn/{self.action}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierAction:
    """What a tool may learn of an earlier action of the same principal that an argument names."""

    action: str
    tool: str
    status: str
    plan: Plan
    result: Mapping[str, Json]


class Earlier(Protocol):
    """Looks up earlier actions of the caller's own principal; None for others' and unknown ones alike."""

    def __call__(self, action_id: str) -> EarlierAction | None:
        """Return the action, or None."""
        ...


@runtime_checkable
class GovernedTool(Protocol):
    """A tool that changes something. Built by assembly with its ports; raises `ConnectorError` when they do."""

    name: str

    async def plan(self, arguments: Any, earlier: Earlier) -> Plan:
        """Work out the plan of typed `arguments`, reading only."""
        ...

    async def execute(self, plan: Plan, action: ActionRef) -> Outcome:
        """Probe the marker, compare the reviewed facts, apply with compare-and-swap, read back."""
        ...

    async def probe(self, plan: Plan, action: ActionRef) -> Probe:
        """Settle whether the effect of `action` happened."""
        ...


@runtime_checkable
class ReadTool(Protocol):
    """A tool that only reads."""

    name: str

    async def locate(self, arguments: Any, earlier: Earlier) -> Plan:
        """Return a plan that names target and back end, without reading more than that needs."""
        ...

    async def read(self, plan: Plan, arguments: Any) -> Mapping[str, Json]:
        """Return what the assistant is told."""
        ...
