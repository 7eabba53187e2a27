"""Reads a Deployment and its ReplicaSets as the API server sends them.

https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/deployment-v1/
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError

from keyturn.connectors.deployments.kubernetes.shapes import Deployment, ReplicaSet, Selector
from keyturn.model.errors import ConnectorError

REVISION: Final = "deployment.kubernetes.io/revision"
HISTORY: Final = "deployment.kubernetes.io/revision-history"
KEPT_BY_THE_DEPLOYMENT: Final = frozenset(
    {
        "kubectl.kubernetes.io/last-applied-configuration",
        REVISION,
        HISTORY,
        "deployment.kubernetes.io/desired-replicas",
        "deployment.kubernetes.io/max-replicas",
        "deprecated.deployment.rollback.to",
    }
)
"""Annotations that a rollback leaves as the Deployment has them; all others become those of the ReplicaSet.

`annotationsToSkip` in kubectl's pkg/polymorphichelpers/rollback.go.
"""
_HASH: Final = "pod-template-hash"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """How far a rollout is, as the controller says it (`Progressing`): its reason, and when that was said."""

    reason: str
    message: str
    updated: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """Numbers of replicas, and whether the controller has seen the newest specification."""

    observed: bool
    wanted: int
    existing: int
    updated: int
    available: int
    progressing: Condition | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """A Deployment as it was read.

    version      its `resourceVersion`, which every change of it moves
    template     the pod template it wants, without the label that the controller adds
    owners       controllers that it belongs to, as `kind/name`
    managers     who has written into it, by `managedFields`; None where the server does not say
    bare         whether it has no annotations at all
    history      how many old ReplicaSets are kept
    """

    name: str
    uid: str
    version: str
    generation: int
    template: Mapping[str, Any] = field(repr=False)
    annotations: Mapping[str, str] = field(repr=False)
    labels: Mapping[str, str] = field(repr=False)
    owners: tuple[str, ...]
    managers: frozenset[str] | None
    selector: str
    paused: bool
    strategy: str
    history: int
    bare: bool
    rollout: Rollout


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A ReplicaSet of the Deployment: one revision, or several that had the same template.

    `was` are the revisions it had before it was rolled back to, oldest first.
    """

    name: str
    revision: int
    was: tuple[int, ...]
    created: str
    template: Mapping[str, Any] = field(repr=False)
    annotations: Mapping[str, str] = field(repr=False)


def deployment_in(place: str, value: Mapping[str, Any]) -> Live:
    """Read a Deployment. Raises `ConnectorError` naming what is missing in it."""
    try:
        found = Deployment.model_validate(value)
    except ValidationError as error:
        problem = _said(error)
    else:
        return _live(found)
    raise ConnectorError(f"{place}: what came back is no Deployment ({problem})")


def replica_sets_in(place: str, values: list[Mapping[str, Any]], owner: str) -> tuple[Kept, ...]:
    """Read the ReplicaSets that belong to the Deployment with the uid `owner` and have a revision, newest first.

    Labels alone prove nothing: another Deployment's may carry the same. Raises `ConnectorError`.
    """
    sets = []
    for value in values:
        try:
            found = ReplicaSet.model_validate(value)
        except ValidationError as error:
            problem = _said(error)
        else:
            owners = {reference.uid for reference in found.metadata.owners or () if reference.controller}
            revision = _number((found.metadata.annotations or {}).get(REVISION))
            if owner in owners and revision is not None:
                sets.append(_kept(found, revision))
            continue
        raise ConnectorError(f"{place}: what came back holds no ReplicaSet ({problem})")
    return tuple(sorted(sets, key=lambda one: one.revision, reverse=True))


def digest_of(value: object) -> str:
    """Return a digest of a part of an object; members that are null count as absent, as they do in Kubernetes."""
    text = json.dumps(plain(value), sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _live(found: Deployment) -> Live:
    meta, spec, status = found.metadata, found.spec, found.status
    condition = next((one for one in status.conditions or () if one.type == "Progressing"), None)
    generation = meta.generation or 0
    return Live(
        name=meta.name,
        uid=meta.uid,
        version=meta.version,
        generation=generation,
        template=_without_hash(spec.template),
        annotations=meta.annotations or {},
        labels=meta.labels or {},
        owners=tuple(f"{owner.kind}/{owner.name}" for owner in meta.owners or () if owner.controller),
        managers=None if meta.managers is None else frozenset(one.manager for one in meta.managers),
        selector=_selector(spec.selector),
        paused=bool(spec.paused),
        strategy=_strategy(spec.strategy or {}),
        history=10 if spec.kept is None else spec.kept,
        bare=meta.annotations is None,
        rollout=Rollout(
            observed=(status.observed or 0) >= generation,
            wanted=1 if spec.replicas is None else spec.replicas,
            existing=status.replicas or 0,
            updated=status.updated or 0,
            available=status.available or 0,
            progressing=None
            if condition is None
            else Condition(reason=condition.reason, message=condition.message, updated=condition.updated),
        ),
    )


def _kept(found: ReplicaSet, revision: int) -> Kept:
    annotations = found.metadata.annotations or {}
    was = (_number(part.strip()) for part in annotations.get(HISTORY, "").split(","))
    return Kept(
        name=found.metadata.name,
        revision=revision,
        was=tuple(number for number in was if number is not None),
        created=found.metadata.created,
        template=_without_hash(found.spec.template),
        annotations=annotations,
    )


def _without_hash(template: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the label that the controller gives each ReplicaSet, without which templates can be compared."""
    template = plain(template)
    metadata = dict(template.get("metadata") or {})
    labels = {name: text for name, text in (metadata.get("labels") or {}).items() if name != _HASH}
    if "labels" in metadata:
        metadata["labels"] = labels
    return {**template, "metadata": metadata} if "metadata" in template else dict(template)


def plain(value: Any) -> Any:
    """Leave out members that are null: in Kubernetes they mean what leaving them out means."""
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items() if item is not None}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _selector(selector: Selector) -> str:
    """Write a selector as a query has it (https://kubernetes.io/docs/concepts/overview/working-with-objects/labels)."""
    parts = [f"{name}={text}" for name, text in sorted((selector.labels or {}).items())]
    for one in selector.expressions or ():
        values = ",".join(one.values or ())
        match one.operator:
            case "In" | "NotIn":
                parts.append(f"{one.key} {one.operator.lower()} ({values})")
            case "Exists":
                parts.append(one.key)
            case "DoesNotExist":
                parts.append(f"!{one.key}")
            case _:
                raise ConnectorError(f"the Deployment's selector has an unknown operator for {one.key!r}")
    if not parts:
        raise ConnectorError("the Deployment's selector is empty, so its ReplicaSets cannot be told")
    return ",".join(parts)


def _strategy(strategy: Mapping[str, Any]) -> str:
    kind = str(strategy.get("type") or "RollingUpdate")
    rolling = strategy.get("rollingUpdate")
    if kind != "RollingUpdate" or not isinstance(rolling, Mapping):
        return kind
    surge, gone = rolling.get("maxSurge", "25%"), rolling.get("maxUnavailable", "25%")
    return f"{kind} (at most {surge} more and {gone} fewer than wanted at a time)"


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) <= 18 else None


def _said(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()[:3])
