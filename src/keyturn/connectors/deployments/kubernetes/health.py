"""Says how far a rollout is, by the rules of `kubectl rollout status`.

kubectl's pkg/polymorphichelpers/rollout_status.go; the numbers are those of the Deployment's status.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from keyturn.connectors.deployments.kubernetes.objects import Live
from keyturn.model.text import visible

_TIMED_OUT: Final = "ProgressDeadlineExceeded"


@dataclass(frozen=True, slots=True)
class Health:
    """`passed`: all wanted replicas run the new template; `failed`: the controller gave up; else it is going on."""

    state: Literal["passed", "waiting", "failed"]
    words: str


def health_of(live: Live, before: str = "") -> Health:
    """Judge the live rollout.

    `before` is when the controller had last spoken before the change (`lastUpdateTime`). It leaves a failure standing
    until the new rollout gets on: words of that time are about the old rollout, not the new one.
    """
    rollout = live.rollout
    if not rollout.observed:
        return Health("waiting", "the cluster has not taken up the change yet")
    condition = rollout.progressing
    if condition is not None and condition.reason == _TIMED_OUT and condition.updated != before and not _whole(live):
        return Health("failed", visible(condition.message or "it made no progress within its deadline")[:300])
    if rollout.updated < rollout.wanted:
        return Health("waiting", f"{rollout.updated} of {rollout.wanted} replicas are replaced")
    if rollout.existing > rollout.updated:
        return Health("waiting", f"{rollout.existing - rollout.updated} old replicas have not ended yet")
    if rollout.available < rollout.updated:
        return Health("waiting", f"{rollout.available} of {rollout.wanted} replicas are available")
    return Health("passed", f"{rollout.available} of {rollout.wanted} replicas are available")


def told(live: Live) -> str:
    """Return the health in words for people who look at a deployment."""
    if live.paused:
        return "its rollout is paused"
    health = health_of(live)
    return {"passed": "", "waiting": "rolling out: ", "failed": "failed: "}[health.state] + health.words


def _whole(live: Live) -> bool:
    rollout = live.rollout
    return rollout.updated == rollout.existing == rollout.available == rollout.wanted
