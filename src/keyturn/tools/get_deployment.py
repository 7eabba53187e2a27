"""Reads what runs in one environment of a deployment, and what it can go back to."""

from __future__ import annotations

from collections.abc import Mapping

from keyturn.canon import Json
from keyturn.connectors.deployments import Deployments, chosen, declared
from keyturn.model.plan import Plan
from keyturn.model.text import visible
from keyturn.model.tool import Earlier
from keyturn.tools.arguments.get_deployment import Arguments

MAX_REVISIONS = 50
MAX_CHANGES = 20
"""Revisions and history lines told at once, newest first; their counts are always complete."""
MAX_IMAGES = 20
"""Container images told of one revision."""


class GetDeployment:
    """`get_deployment` on the deployments declared in the wiring."""

    name = "get_deployment"
    port = "deployments"

    def __init__(self, deployments: Mapping[str, Deployments]) -> None:
        self._deployments = deployments

    async def locate(self, arguments: Arguments, earlier: Earlier) -> Plan:
        """Name target and back end from the wiring alone."""
        deployment = declared(self._deployments, arguments.deployment)
        environment = chosen(deployment, arguments.environment)
        return Plan(
            tool=self.name,
            target=f"deployments:{deployment.name}/{environment}",
            backend=deployment.backend(environment),
            summary=f"Look at {deployment.name} in {environment}",
            environment=environment,
            change={"environment": environment},
        )

    async def read(self, plan: Plan, arguments: Arguments) -> Mapping[str, Json]:
        """Return the live and the previous version, health and owner, the revisions and the last switches."""
        deployment = declared(self._deployments, plan.backend.name)
        snapshot = await deployment.snapshot(str(plan.change["environment"]))
        return {
            "deployment": deployment.name,
            "environment": snapshot.environment,
            "current": snapshot.current,
            "previous": snapshot.previous,
            "health": _told(snapshot.health),
            "owner": _told(snapshot.owner),
            "revisions": [
                {
                    "version": revision.version,
                    "current": revision.version == snapshot.current,
                    "live_at": _told(revision.live_at),
                    "images": [_told(image) for image in revision.images[:MAX_IMAGES]],
                }
                for revision in snapshot.revisions[:MAX_REVISIONS]
            ],
            "revisions_count": len(snapshot.revisions),
            "changes": [
                {
                    "from": _told(switch.old),
                    "to": _told(switch.new),
                    "principal": _told(switch.principal),
                    "at": _told(switch.at),
                    "action": _told(switch.action),
                }
                for switch in snapshot.history[: -MAX_CHANGES - 1 : -1]
            ],
            "changes_count": len(snapshot.history),
        }


def _told(text: str | None) -> str | None:
    """Bound and clean what others wrote into a history."""
    return None if text is None else visible(text[:200])


TOOL = GetDeployment
