"""A call as it comes in, and as it goes along the path: with typed arguments, its caller and its contract."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from keyturn.canon import Json
from keyturn.contracts.model import ArgumentModel
from keyturn.gateway.undone import SignedUndo, Undone
from keyturn.model.contract import Contract
from keyturn.model.plan import Plan
from keyturn.model.principal import Caller
from keyturn.policy import Policy


@dataclass(frozen=True, slots=True)
class Incoming:
    """A call as it came in: the tool's name, the arguments as decoded, and how many bytes they had."""

    tool: str
    arguments: object
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a governed or reading tool with typed arguments.

    `plain` are the arguments as JSON without `reason` and `repeat`; `size` their bytes as received. `undoes` is the
    action that the call takes back, if it does; `signed` the act of the person who asks for that.
    """

    caller: Caller
    contract: Contract
    arguments: ArgumentModel
    plain: Mapping[str, Json]
    size: int
    undoes: Undone | None = None
    signed: SignedUndo | None = None

    @property
    def reason(self) -> str:
        """Why the assistant asks, in its own words."""
        return str(getattr(self.arguments, "reason", ""))

    @property
    def repeat(self) -> bool:
        """Whether the caller wants it done again although it was just done."""
        return bool(getattr(self.arguments, "repeat", False))


def facts_of(call: Call, plan: Plan, policy: Policy, environment: str) -> dict[str, Json]:
    """Return what the entry of a call that the policy let in holds, whether it reads or acts."""
    return {
        "principal": call.caller.principal,
        "owner": policy.principals[call.caller.principal].owner,
        "token": call.caller.token,
        "transport": call.caller.transport,
        "tool": call.contract.tool,
        "contract": call.contract.label,
        "backend": plan.backend.to_json(),
        "target": plan.target,
        "environment": environment,
        "policy": policy.digest,
    }
