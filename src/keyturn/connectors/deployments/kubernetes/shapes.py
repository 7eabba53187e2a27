"""The parts of Deployments and ReplicaSets that are read, as the API server spells them; all else is passed over.

https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

DEEPEST = 100
"""Containers within one another that a pod template may have; it has a tenth of that."""

_MODEL = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class Owner(BaseModel):
    """An entry of `metadata.ownerReferences`."""

    model_config = _MODEL

    kind: str
    name: str
    uid: str
    controller: bool = False


class Manager(BaseModel):
    """An entry of `metadata.managedFields`."""

    model_config = _MODEL

    manager: str = ""


class Meta(BaseModel):
    """`metadata`, as far as it is used."""

    model_config = _MODEL

    name: str
    uid: str = Field(min_length=1)
    version: str = Field(alias="resourceVersion", min_length=1)
    generation: int | None = None
    created: str = Field(default="", alias="creationTimestamp")
    annotations: dict[str, str] | None = None
    labels: dict[str, str] | None = None
    owners: tuple[Owner, ...] | None = Field(default=None, alias="ownerReferences")
    managers: tuple[Manager, ...] | None = Field(default=None, alias="managedFields")


class Requirement(BaseModel):
    """One of a selector's `matchExpressions`."""

    model_config = _MODEL

    key: str
    operator: str
    values: tuple[str, ...] | None = None


class Selector(BaseModel):
    """A label selector."""

    model_config = _MODEL

    labels: dict[str, str] | None = Field(default=None, alias="matchLabels")
    expressions: tuple[Requirement, ...] | None = Field(default=None, alias="matchExpressions")


def _labelled(template: dict[str, Any]) -> dict[str, Any]:
    metadata = template.get("metadata")
    fits = isinstance(metadata, dict | None) and isinstance((metadata or {}).get("labels"), dict | None)
    if not fits:
        raise ValueError("its metadata, and the labels there, have to be objects")
    if _deeper(template, DEEPEST):
        raise ValueError(f"it is nested deeper than {DEEPEST}")
    return template


def _deeper(value: object, most: int) -> bool:
    """Whether containers stand more than so many deep. Looked at level by level: what is too deep ends recursion."""
    level: list[object] = [value]
    for _ in range(most):
        inner = (item.values() if isinstance(item, dict) else item for item in level if isinstance(item, dict | list))
        level = [item for items in inner for item in items]
    return any(isinstance(item, dict | list) for item in level)


Template = Annotated[dict[str, Any], AfterValidator(_labelled)]
"""A pod template: taken as it is, but for where its labels stand."""


class DeploymentSpec(BaseModel):
    """A Deployment's `spec`."""

    model_config = _MODEL

    template: Template
    selector: Selector
    replicas: int | None = None
    paused: bool | None = None
    strategy: dict[str, Any] | None = None
    kept: int | None = Field(default=None, alias="revisionHistoryLimit")


class StatusCondition(BaseModel):
    """An entry of `status.conditions`."""

    model_config = _MODEL

    type: str
    status: str = ""
    reason: str = ""
    message: str = ""
    updated: str = Field(default="", alias="lastUpdateTime")


class DeploymentStatus(BaseModel):
    """A Deployment's `status`."""

    model_config = _MODEL

    observed: int | None = Field(default=None, alias="observedGeneration")
    replicas: int | None = None
    updated: int | None = Field(default=None, alias="updatedReplicas")
    available: int | None = Field(default=None, alias="availableReplicas")
    conditions: tuple[StatusCondition, ...] | None = None


class Deployment(BaseModel):
    """A Deployment."""

    model_config = _MODEL

    metadata: Meta
    spec: DeploymentSpec
    status: DeploymentStatus = DeploymentStatus()


class ReplicaSetSpec(BaseModel):
    """A ReplicaSet's `spec`."""

    model_config = _MODEL

    template: Template


class ReplicaSet(BaseModel):
    """A ReplicaSet."""

    model_config = _MODEL

    metadata: Meta
    spec: ReplicaSetSpec
