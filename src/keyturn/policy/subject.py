"""What conditions look at: one request with its caller, its plan as far as there is one, and the time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from keyturn.canon import Json
from keyturn.model.decision import Request
from keyturn.model.principal import Principal
from keyturn.model.risk import Risk
from keyturn.policy.conditions.result import Gap


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One request as conditions see it.

    target, environment, plan and risk are `Gap.UNPLANNED` while no plan is made. The plan holds the tool's view and
    the counts that limits use (`calls` excepted).
    """

    principal: Principal
    tool: str
    arguments: Mapping[str, Json]
    now: datetime
    target: str | Gap = Gap.UNPLANNED
    environment: str | Gap = Gap.UNPLANNED
    plan: Mapping[str, Json] | Gap = Gap.UNPLANNED
    risk: Risk | Gap = Gap.UNPLANNED


def unplanned(request: Request, principal: Principal, now: datetime) -> Subject:
    """Return the subject before planning; whatever the request says of a plan is left out."""
    return Subject(principal=principal, tool=request.tool, arguments=request.arguments, now=now)


def planned(
    request: Request, principal: Principal, environment: str, now: datetime, risk: Risk | None = None
) -> Subject:
    """Return the subject of a planned request.

    `environment` is the one computed from its target, `risk` its score: None where the policy does not ask for one.
    """
    return Subject(
        principal=principal,
        tool=request.tool,
        arguments=request.arguments,
        now=now,
        target=request.target or Gap.UNREADABLE,
        environment=environment,
        plan={**(request.view or {}), **request.effects},
        risk=Gap.UNREADABLE if risk is None else risk,
    )
