"""Lands what a plan proposes on a forge, and looks whether it landed: one way for all tools that propose changes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from keyturn.canon import Json
from keyturn.connectors.forge import Forge, Landed, Opening, Revision, declared
from keyturn.model.errors import ConnectorError
from keyturn.model.outcome import CannotHappen, CannotTell, Failed, Happened, Outcome, Probe, Stale, Succeeded
from keyturn.model.plan import Plan
from keyturn.model.tool import ActionRef

C = TypeVar("C", Opening, Revision)


@dataclass(frozen=True, slots=True)
class Landing(Generic[C]):
    """What a tool knows of its own plans.

    change        reads the change that a plan describes
    disagreement  says what a plan shows that its change, worked out again, does not; None when all of it follows
    result        tells what landed
    """

    change: Callable[[Plan], C]
    disagreement: Callable[[Plan, Forge, C], Awaitable[str | None]]
    result: Callable[[Plan, Landed], dict[str, Json]]

    async def execute(self, forges: Mapping[str, Forge], plan: Plan, action: ActionRef) -> Outcome:
        """Land the change once, if the reviewed facts still hold and the plan shows what it does."""
        forge = declared(forges, plan.backend.name, plan.backend)
        change = self.change(plan)
        objection = await self.disagreement(plan, forge, change)
        if objection is not None:
            return Failed(objection)
        answer = await forge.apply(change, action)
        return answer if isinstance(answer, Stale) else Succeeded(self.result(plan, answer))

    async def probe(self, forges: Mapping[str, Forge], plan: Plan, action: ActionRef) -> Probe:
        """Look for what landed; where it is not, make sure it cannot come."""
        try:
            forge = declared(forges, plan.backend.name, plan.backend)
            answer = await forge.probe(self.change(plan), action)
        except ConnectorError as error:
            return CannotTell(str(error))
        return answer if isinstance(answer, CannotHappen | CannotTell) else Happened(self.result(plan, answer))
