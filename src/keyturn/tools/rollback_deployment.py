"""Puts an earlier version of a deployment back in service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from keyturn.canon import Json
from keyturn.connectors.deployments import Deployments, Preview, Rollback, chosen, declared
from keyturn.model.agreement import disagreeing
from keyturn.model.errors import ConnectorError
from keyturn.model.outcome import CannotTell, Outcome, Probe, Stale
from keyturn.model.plan import Effects, Plan
from keyturn.model.tool import ActionRef, Earlier
from keyturn.tools.arguments.rollback_deployment import Arguments

MAX_FILES = 2000
"""Differing files listed in the plan's view; with more the list is left out, so that no rule judges half of it."""


class RollbackDeployment:
    """`rollback_deployment` on the deployments declared in the wiring."""

    name = "rollback_deployment"
    port = "deployments"

    def __init__(self, deployments: Mapping[str, Deployments]) -> None:
        self._deployments = deployments

    async def plan(self, arguments: Arguments, earlier: Earlier) -> Plan:
        """Work out the switch and what it changes; "previous" becomes a concrete version here.

        Reviewed facts come from the back end: the live version, the target and the digest of its files.
        """
        deployment = declared(self._deployments, arguments.deployment)
        environment = chosen(deployment, arguments.environment)
        return planned(deployment, await deployment.preview(environment, arguments.to))

    async def execute(self, plan: Plan, action: ActionRef) -> Outcome:
        """Switch once, if the reviewed facts still hold and the plan shows what it does, then check health."""
        deployment, rollback = declared(self._deployments, plan.backend.name), _rollback(plan)
        if deployment.backend(rollback.environment) != plan.backend:
            return Stale(_in_words(("backend",), rollback))
        outcome = await deployment.apply(rollback, action, partial(disagreement, plan, deployment))
        return Stale(_in_words(outcome.moved, rollback)) if isinstance(outcome, Stale) else outcome

    async def probe(self, plan: Plan, action: ActionRef) -> Probe:
        """Settle whether the switch was made; where it was not, make sure it cannot be any more."""
        try:
            deployment, rollback = declared(self._deployments, plan.backend.name), _rollback(plan)
            if deployment.backend(rollback.environment) != plan.backend:
                return CannotTell(f'deployment "{deployment.name}" is another one now than when this was planned')
            return await deployment.probe(rollback, action)
        except ConnectorError as error:
            return CannotTell(str(error))


def planned(deployment: Deployments, preview: Preview) -> Plan:
    """Return the plan of a rollback as previewed; notes and source of the preview are for reviewers and rules."""
    rollback, environment = preview.rollback, preview.rollback.environment
    return Plan(
        tool=RollbackDeployment.name,
        target=f"deployments:{deployment.name}/{environment}",
        backend=deployment.backend(environment),
        summary=_summary(deployment.name, preview),
        environment=environment,
        diff=preview.diff,
        effects=Effects(files_changed=len(preview.files), lines_changed=preview.added + preview.removed),
        view=_view(preview),
        facts=rollback.facts,
        guard=preview.guard,
        change={"environment": environment, "from": rollback.current, "to": rollback.target},
        inverse=deployment.inverse(rollback),
    )


def disagreement(plan: Plan, deployment: Deployments, preview: Preview) -> str | None:
    """Say what a plan shows that its own change, previewed again, does not; None when all of it follows."""
    return disagreeing(plan, planned(deployment, preview))


def _in_words(moved: Sequence[str], rollback: Rollback) -> tuple[str, ...]:
    """Say of each fact that differs what was reviewed."""
    words = {
        "backend": "the deployment is declared as another system than the one that was reviewed",
        "current": f"{rollback.environment} no longer runs {rollback.current}",
        "target": f"version {rollback.target} is not there any more",
        "manifest": f"version {rollback.target} does not hold what was reviewed",
        "manifest_from": f"version {rollback.current}, the live one, does not hold what it held at the review",
        "result": f"the system would make something else of version {rollback.target} than was reviewed",
        "uid": "the deployment was deleted, or deleted and made anew",
        "owner": "somebody else manages the deployment than at the review",
        "strategy": "a change would be rolled out in another way than at the review",
        "paused": "its rollout is paused",
    }
    return tuple(words.get(name, name) for name in moved)


def _rollback(plan: Plan) -> Rollback:
    return Rollback(
        environment=str(plan.change["environment"]),
        current=str(plan.change["from"]),
        target=str(plan.change["to"]),
        facts=plan.facts,
        location=plan.backend.location,
    )


def _summary(name: str, preview: Preview) -> str:
    rollback = preview.rollback
    files = "1 file differs" if len(preview.files) == 1 else f"{len(preview.files)} files differ"
    unshown = f", {preview.summarised} shown by digest only" if preview.summarised else ""
    return (
        f"Roll back {name} in {rollback.environment} from {rollback.current} to {rollback.target} ({files}{unshown})"
    )


def _view(preview: Preview) -> dict[str, Json]:
    view: dict[str, Json] = {
        "from": preview.rollback.current,
        "to": preview.rollback.target,
        "diff_complete": preview.summarised == 0,
        "preview": preview.source,
        "notes": list(preview.notes),
    }
    if len(preview.files) <= MAX_FILES:
        view["files"] = [{"path": change.path, "status": change.status} for change in preview.files]
    return view


TOOL = RollbackDeployment
