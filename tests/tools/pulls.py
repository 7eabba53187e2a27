"""Calls the pull request tools as the gateway does: plans are stored and read back, earlier actions looked up."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import anyio

from keyturn import canon
from keyturn.connectors.forge import Forge
from keyturn.model.outcome import Failed, Outcome, Probe, Succeeded
from keyturn.model.plan import Plan, plan_from_json
from keyturn.model.tool import ActionRef, EarlierAction, GovernedTool
from keyturn.tools import open_pull_request
from keyturn.tools.arguments import models

FILES = [
    {"path": "src/app.py", "edits": [{"old": "print('shop')", "new": "print('hello')"}]},
    {"path": "docs/ä.md", "content": "new\n"},
    {"path": "src/run.sh", "delete": True},
]


def nothing(action_id: str) -> EarlierAction | None:
    return None


def planned(tool: GovernedTool, arguments: Mapping[str, object], earlier: Any = nothing) -> Plan:
    return anyio.run(tool.plan, models()[tool.name].model_validate(arguments), earlier)


def stored(plan: Plan) -> Plan:
    """Return the plan as it comes back from its payload."""
    return plan_from_json(json.loads(canon.encode(plan.to_json())), plan.diff)


def execute(tool: GovernedTool, plan: Plan, ref: ActionRef) -> Outcome:
    return anyio.run(tool.execute, stored(plan), ref)


def probe(tool: GovernedTool, plan: Plan, ref: ActionRef) -> Probe:
    return anyio.run(tool.probe, stored(plan), ref)


def opened(forge: Forge, ref: ActionRef) -> tuple[Plan, Succeeded]:
    """Open a pull request as an assistant does."""
    tool = open_pull_request.TOOL({"shop": forge})
    plan = planned(tool, {"repository": "shop", "base": "main", "title": "Say hello", "files": FILES})
    outcome = execute(tool, plan, ref)
    assert isinstance(outcome, Succeeded)
    return plan, outcome


def remember(plan: Plan, ref: ActionRef, status: str = "succeeded") -> Any:
    """Return what looks up the one earlier action that there is."""
    known = EarlierAction(action=ref.action, tool=plan.tool, status=status, plan=stored(plan), result={})
    return lambda action_id: known if action_id == known.action else None


def forge_part(plan: Plan, part: str, change: Mapping[str, Any]) -> Plan:
    """Return the plan with something else in one of its mappings."""
    parts: Any = {part: {**getattr(plan, part), **change}}
    return replace(plan, **parts)


def says_something_else(outcome: Outcome, *named: str) -> bool:
    said = f"the plan does something else than it shows ({', '.join(named)} would be different); nothing was done"
    return outcome == Failed(said)
