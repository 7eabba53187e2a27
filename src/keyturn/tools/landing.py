"""Brings about on a forge what a plan says, and looks whether it came about: one way for all tools that do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from keyturn.canon import Json
from keyturn.connectors.forge import Forge, declared
from keyturn.model.errors import ConnectorError
from keyturn.model.outcome import CannotHappen, CannotTell, Failed, Happened, Outcome, Probe, Stale, Succeeded
from keyturn.model.plan import Plan
from keyturn.model.tool import ActionRef

C = TypeVar("C")
A = TypeVar("A")

PREVIEW = "worked out by Keyturn"
"""What a plan's view says of where its preview comes from: no forge shows a change before it is made."""

Against: TypeAlias = Callable[[Plan, Forge, C, ActionRef], Awaitable[Failed | Stale | None]]
"""Works a plan out once more, and says what stands against it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Landing(Generic[C, A]):
    """What a tool knows of its own plans.

    change     reads the change that a plan describes
    objection  works the plan out once more: `Failed` where that shows something else, `Stale` where what was reviewed
               is not so any more, None when nothing stands against it
    land       brings the change about, once
    settle     looks whether it came about
    result     tells what came about
    shortfall  says how what came about is not what was reviewed; None where it is
    """

    change: Callable[[Plan], C]
    objection: Against[C]
    land: Callable[[Forge, C, ActionRef], Awaitable[A | Stale]]
    settle: Callable[[Forge, C, ActionRef], Awaitable[A | CannotHappen | CannotTell]]
    result: Callable[[Plan, A], dict[str, Json]]
    shortfall: Callable[[C, A], str | None] = lambda _change, _came: None

    async def execute(self, forges: Mapping[str, Forge], plan: Plan, action: ActionRef) -> Outcome:
        """Do it once, if the reviewed facts still hold and the plan shows what it does."""
        forge = declared(forges, plan.backend.name, plan.backend)
        change = self.change(plan)
        objection = await self.objection(plan, forge, change, action)
        if objection is not None:
            return objection
        answer = await self.land(forge, change, action)
        if isinstance(answer, Stale):
            return answer
        result, shortfall = self.result(plan, answer), self.shortfall(change, answer)
        return Succeeded(result) if shortfall is None else Failed(shortfall, effect=True, result=result)

    async def probe(self, forges: Mapping[str, Forge], plan: Plan, action: ActionRef) -> Probe:
        """Look for what came about; where nothing did, make sure that nothing can, if that can be."""
        try:
            forge = declared(forges, plan.backend.name, plan.backend)
            change = self.change(plan)
            answer = await self.settle(forge, change, action)
        except ConnectorError as error:
            return CannotTell(str(error))
        if isinstance(answer, CannotHappen | CannotTell):
            return answer
        return Happened(self.result(plan, answer), self.shortfall(change, answer))
