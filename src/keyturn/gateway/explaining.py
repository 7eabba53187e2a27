"""Explains what a policy would say to a call nobody made: built as a real request, and nothing is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from keyturn.canon import Json
from keyturn.contracts import Catalog, RefusedArguments, parse_arguments
from keyturn.contracts.model import ArgumentModel
from keyturn.fold.state import State
from keyturn.fold.undoing import APART
from keyturn.gateway.asked import request_of
from keyturn.gateway.core import PolicyShelf
from keyturn.gateway.desk import Look
from keyturn.gateway.earlier import earlier_action
from keyturn.gateway.incoming import Call
from keyturn.ledger.writer import Reader
from keyturn.model.contract import Contract
from keyturn.model.decision import Request
from keyturn.model.errors import ConnectorError, Refused
from keyturn.model.plan import Plan
from keyturn.model.principal import Caller
from keyturn.model.tool import EarlierAction, GovernedTool, ReadTool
from keyturn.policy import Explanation, Policy, explain

UNPLANNED = "nothing was planned, so conditions on the plan cannot be judged: grants with one miss, forbids apply"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explainer:
    """What answering takes: contracts, tools to plan with, the ledger to read; and nothing that could sign."""

    reader: Reader[State]
    catalog: Catalog
    models: Mapping[str, type[ArgumentModel]]
    governed: Mapping[str, GovernedTool]
    reading: Mapping[str, ReadTool]
    policies: PolicyShelf


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A call to explain; with a `target` nothing is planned."""

    principal: str
    tool: str
    arguments: Mapping[str, Json]
    target: str | None = None
    environment: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question made into what a policy judges; `notes` say where it is not what a real call would be."""

    request: Request
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Explained:
    """What a policy says to a request made at `at`."""

    at: datetime
    explanation: Explanation


async def ask(explainer: Explainer, question: Question) -> Asked:
    """Build the request of a question, planning it by reads unless a target is given.

    Raises `Refused`: "not_found" for a tool that is not there; "usage" for one that no policy governs, for arguments
    its contract refuses, and for a call that cannot be planned.
    """
    contract = explainer.catalog.contracts.get(question.tool)
    if contract is None:
        known = ", ".join(sorted(explainer.catalog.contracts))
        raise Refused("not_found", f"there is no tool {question.tool!r}; there are: {known}")
    if contract.kind == "self":
        raise Refused("usage", f"{question.tool} is about the caller's own actions: every principal may call it")
    parsed = parse_arguments(contract, explainer.models[contract.tool], question.arguments)
    if question.target is not None:
        return _unplanned(question, question.target, parsed)
    if isinstance(parsed, RefusedArguments):
        raise Refused(
            "usage", f"{'; '.join(_why(parsed))} (or name the target with --target, and nothing is planned)"
        )
    plan = await _plan(explainer, contract, question.principal, parsed)
    request = request_of(_call(question, contract, parsed), plan)
    return Asked(request=replace(request, environment=question.environment or request.environment))


def answer(view: Look, policy: Policy, request: Request, times: Sequence[datetime] = ()) -> tuple[Explained, ...]:
    """Explain a request against what is used now, at each of `times`, or at the present."""
    usage, set_aside = view.state.usage, view.state.circumstances
    return tuple(Explained(at, explain(policy, request, usage, at, set_aside)) for at in times or (view.now,))


async def _plan(explainer: Explainer, contract: Contract, principal: str, arguments: ArgumentModel) -> Plan:
    def earlier(action_id: str) -> EarlierAction | None:
        return explainer.reader.look(lambda view: earlier_action(view, principal, action_id))

    try:
        if contract.kind == "governed":
            return await explainer.governed[contract.tool].plan(arguments, earlier)
        return await explainer.reading[contract.tool].locate(arguments, earlier)
    except ConnectorError as error:
        raise Refused("usage", f"it cannot be planned: {error}") from error


def _call(question: Question, contract: Contract, arguments: ArgumentModel) -> Call:
    caller = Caller(principal=question.principal, token="", transport="", scopes=None, client="")
    plain = {name: value for name, value in arguments.plain().items() if name not in APART}
    return Call(caller=caller, contract=contract, arguments=arguments, plain=plain, size=0)


def _unplanned(question: Question, target: str, parsed: ArgumentModel | RefusedArguments) -> Asked:
    given = question.arguments if isinstance(parsed, RefusedArguments) else parsed.plain()
    request = Request(
        principal=question.principal,
        token_scopes=None,
        tool=question.tool,
        arguments={name: value for name, value in given.items() if name not in APART},
        target=target,
        environment=question.environment,
        effects={"calls": 1},
    )
    refused = _why(parsed) if isinstance(parsed, RefusedArguments) else ()
    return Asked(request=request, notes=(UNPLANNED, *(f"a real call would be refused: {text}" for text in refused)))


def _why(refused: RefusedArguments) -> tuple[str, ...]:
    return tuple(reason.text for reason in refused.reasons)
