"""Tools about oneself: what a caller may do, and what became of its own actions."""

from __future__ import annotations

from collections.abc import Mapping

from keyturn.canon import Json
from keyturn.gateway.core import Gateway, Look
from keyturn.gateway.envelope import Answer, answer, build, describe_denied, envelope_of
from keyturn.gateway.finding import find_state
from keyturn.gateway.releasing import waits_for_a_hand
from keyturn.gateway.review import Actor, cancel
from keyturn.gateway.starting import call_worker
from keyturn.gateway.threads import on_ledger
from keyturn.gateway.wait import Report, wait_for
from keyturn.model.decision import Reason
from keyturn.model.errors import Refused
from keyturn.model.principal import Caller
from keyturn.model.time import format_timestamp
from keyturn.policy import LimitState, Policy, limits_for


async def about(
    gate: Gateway, caller: Caller, tool: str, arguments: Mapping[str, Json], report: Report | None
) -> Answer:
    """Answer a tool about oneself, but not `undo_action`. Only `cancel_action` writes an entry."""
    try:
        match tool:
            case "get_permissions":
                return await on_ledger(_permissions, gate, caller)
            case "get_action":
                return await _get_action(gate, caller, arguments, report)
            case "list_actions":
                return await on_ledger(_list_actions, gate, caller, arguments)
            case "cancel_action":
                return await on_ledger(_cancel_action, gate, caller, arguments)
    except Refused as refused:
        return await on_ledger(answer_refused, gate, caller, tool, refused)
    raise LookupError(f"no handler for {tool}")


async def _get_action(gate: Gateway, caller: Caller, arguments: Mapping[str, Json], report: Report | None) -> Answer:
    action_id, seconds = str(arguments["action_id"]), arguments["wait_seconds"]
    if denied := await on_ledger(_denied_before, gate, caller, action_id):
        return denied
    state = await wait_for(gate, action_id, 0, principal=caller.principal)
    by_hand = await on_ledger(gate.ledger.look, lambda view: waits_for_a_hand(view, action_id))
    if state == "approved" and not by_hand:
        await call_worker(gate)
    await wait_for(gate, action_id, _number(seconds), report, caller.principal)

    def look(view: Look) -> Answer:
        return answer(view, find_state(view, action_id, caller.principal)[0])

    return await on_ledger(gate.ledger.look, look)


def _denied_before(gate: Gateway, caller: Caller, action_id: str) -> Answer | None:
    """A refusal has an id of its own: tell it again."""

    def look(view: Look) -> Answer | None:
        history = view.history(action_id)
        if (
            len(history) != 1
            or history[0].kind != "action.denied"
            or history[0].facts["principal"] != caller.principal
        ):
            return None
        return Answer(describe_denied(view, history[0]), is_error=True, receipt=history[0])

    return gate.ledger.look(look)


def _permissions(gate: Gateway, caller: Caller) -> Answer:
    def look(view: Look) -> Answer:
        policy = gate.policies.in_force(view)
        principal = policy.principals[caller.principal]
        tools = sorted(policy.visible_tools(principal.name, caller.scopes))
        result: dict[str, Json] = {
            "principal": principal.name,
            "display": principal.display,
            "owner": principal.owner,
            "scopes": sorted(principal.scopes if caller.scopes is None else principal.scopes & caller.scopes),
            "tools": [_tool(gate, policy, principal.name, tool) for tool in tools],
            "limits": [_limit(state) for state in limits_for(policy, principal.name, view.state.usage, view.now)],
            "suspended": _suspended(view, principal.name),
            "policy": policy.digest,
        }
        envelope = build(
            tool="get_permissions",
            status="succeeded",
            message="What you may call, under which rules, and what is left of your limits.",
            result=result,
        )
        return Answer(envelope, is_error=False, receipt=view.newest_of(caller.principal))

    return gate.ledger.look(look)


def _suspended(view: Look, principal: str) -> list[Json]:
    """Return what an operator has stopped, other principals' affairs left out."""
    there = view.state.suspensions.present()
    mine = [one for one in there if one.scope.type != "principal" or one.scope.name == principal]
    return [{"scope": str(one.scope), "mode": one.mode} for one in mine]


def _tool(gate: Gateway, policy: Policy, principal: str, tool: str) -> dict[str, Json]:
    contract = gate.catalog.contracts[tool]
    rules = [grant.id for grant in policy.grants_for(principal, tool)]
    return {"tool": tool, "kind": contract.kind, "scope": contract.scope, "rules": rules}


def _limit(state: LimitState) -> dict[str, Json]:
    return {
        "rule": state.rule,
        "unit": state.unit,
        "allowed": state.allowed,
        "used": state.used,
        "per": state.per,
        "resets_at": None if state.resets_at is None else format_timestamp(state.resets_at),
    }


LOOKED_THROUGH = 300  # newest actions looked through for those in a wanted state: the ledger waits meanwhile


def _list_actions(gate: Gateway, caller: Caller, arguments: Mapping[str, Json]) -> Answer:
    wanted, limit = arguments.get("status"), arguments["limit"]

    def look(view: Look) -> Answer:
        entries = view.requests(principal=caller.principal, limit=LOOKED_THROUGH if wanted else _number(limit))
        listed = (envelope_of(view, entry) for entry in entries)
        chosen = [item for item in listed if wanted is None or item["status"] == wanted][: _number(limit)]
        rows = [{name: item[name] for name in _ROW} for item in chosen]
        envelope = build(
            tool="list_actions",
            status="succeeded",
            message=f"{len(rows)} of your actions, newest first.",
            result={"actions": rows},
        )
        return Answer(envelope, is_error=False, receipt=view.newest_of(caller.principal))

    return gate.ledger.look(look)


_ROW = ("action_id", "tool", "status", "target", "environment", "plan_summary", "reviews", "expires_at")


def _cancel_action(gate: Gateway, caller: Caller, arguments: Mapping[str, Json]) -> Answer:
    action_id = str(arguments["action_id"])
    cancel(gate, action_id, Actor("principal", caller.principal), str(arguments.get("reason") or ""))
    return gate.ledger.look(lambda view: answer(view, find_state(view, action_id, caller.principal)[0]))


def answer_refused(gate: Gateway, caller: Caller, tool: str, refused: Refused) -> Answer:
    """Tell a caller why a tool about oneself does nothing; that is not recorded."""

    def look(view: Look) -> Answer:
        envelope = build(
            tool=tool, status="denied", message=str(refused), reasons=(Reason(refused.code, str(refused)),)
        )
        return Answer(envelope, is_error=True, receipt=view.newest_of(caller.principal))

    return gate.ledger.look(look)


def _number(value: Json) -> int:
    return value if isinstance(value, int) else 0
