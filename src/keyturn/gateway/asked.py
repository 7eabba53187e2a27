"""What the policy judges: of a call that comes in, and once more of the entry that recorded one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keyturn.fold.standing import Token
from keyturn.gateway.desk import Look
from keyturn.gateway.incoming import Call
from keyturn.gateway.payloads import read_arguments, read_plan
from keyturn.log.entry import Entry
from keyturn.log.kinds import REQUESTS
from keyturn.model.contract import Contract
from keyturn.model.decision import Request
from keyturn.model.plan import Plan

_NO_EFFECTS: Mapping[str, int] = {"calls": 1, "files_changed": 0, "lines_changed": 0, "recipients": 0}


def request_of(call: Call, plan: Plan | None = None) -> Request:
    """Return what the policy judges; before planning, what depends on the plan is left open."""
    return Request(
        principal=call.caller.principal,
        token_scopes=call.caller.scopes,
        tool=call.contract.tool,
        arguments=call.plain,
        **({} if plan is None else _planned(plan)),
    )


def recorded_request(
    view: Look, entry: Entry, tokens: Mapping[str, Token], contracts: Mapping[str, Contract]
) -> Request:
    """Return what the policy judged at the entry of a request or of a read, with the tokens of that time.

    `contracts` say which tools select an environment. Raises `LedgerError` where its plan was erased.
    """
    planned = _planned(read_plan(view, entry)) if entry.kind in REQUESTS else _located(entry, contracts)
    return Request(
        principal=entry.text("principal"),
        token_scopes=_scopes(entry, tokens),
        tool=entry.text("tool"),
        arguments=read_arguments(view, entry),
        **planned,
    )


def _planned(plan: Plan) -> dict[str, Any]:
    return {
        "target": plan.target,
        "environment": plan.environment,
        "view": plan.view,
        "effects": {"calls": 1, **plan.effects.to_json()},
        "diff": plan.diff,
    }


def _located(entry: Entry, contracts: Mapping[str, Contract]) -> dict[str, Any]:
    """Return what there was of a read's plan, which is not kept.

    Where the tool selects an environment, the target lay in that one: another would have been refused.
    """
    contract = contracts.get(entry.text("tool"))
    taken: Any = {} if contract is None else contract.input["properties"]
    environment = entry.text("environment") if "environment" in taken else None
    return {"target": entry.text("target"), "environment": environment, "view": {}, "effects": _NO_EFFECTS}


def _scopes(entry: Entry, tokens: Mapping[str, Token]) -> frozenset[str] | None:
    """Return what the token of an entry is restricted to; None where nothing restricts it, or a person asked.

    A token that nobody issued may do nothing.
    """
    named = entry.optional_text("token")
    if named is None:
        return None
    scopes = tokens[named].scopes if named in tokens else ()
    return None if scopes is None else frozenset(scopes)
