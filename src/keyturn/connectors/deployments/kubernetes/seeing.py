"""Reads one environment of a deployment: the Deployment, its revisions, and the marks on all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from keyturn.canon import Json
from keyturn.connectors.deployments import PREVIOUS, Revision, Snapshot, Switch
from keyturn.connectors.deployments.kubernetes.health import told
from keyturn.connectors.deployments.kubernetes.marks import OURS, Mark, Marks, read_marks
from keyturn.connectors.deployments.kubernetes.objects import (
    KEPT_BY_THE_DEPLOYMENT,
    Kept,
    Live,
    deployment_in,
    digest_of,
    replica_sets_in,
)
from keyturn.connectors.deployments.kubernetes.owners import owner_of
from keyturn.connectors.kubernetes import Cluster, segment
from keyturn.model.errors import ConnectorError
from keyturn.model.text import visible
from keyturn.model.time import action_time, format_timestamp


@dataclass(frozen=True)
class Seen:
    """One environment as it was read. Where something was read of several objects, the Deployment came first."""

    place: str
    live: Live
    sets: tuple[Kept, ...]
    marks: Marks

    @cached_property
    def current(self) -> Kept | None:
        """The revision that runs or is being rolled out; None while the controller has made no ReplicaSet of it.

        As the controller itself finds it: the oldest ReplicaSet with the very template (FindNewReplicaSet in
        Kubernetes' pkg/controller/deployment/util). The number on the Deployment follows later.
        """
        wanted = digest_of(self.live.template)
        same = [one for one in self.sets if digest_of(one.template) == wanted]
        return min(same, key=lambda one: (one.created, one.name)) if same else None

    @property
    def previous(self) -> Kept | None:
        """The revision that `kubectl rollout undo` goes back to: the highest beside the current one."""
        return next((one for one in self.sets if one is not self.current), None)

    def revision(self, number: str) -> Kept | None:
        """Return the ReplicaSet of a revision, or None. Two of one number are refused: neither can be meant."""
        found = [one for one in self.sets if str(one.revision) == number]
        if len(found) > 1:
            raise ConnectorError(f"{self.place}: two ReplicaSets say that they are revision {number}")
        return found[0] if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One Deployment in one namespace of one cluster; `place` names it in messages."""

    place: str
    cluster: Cluster = field(repr=False)
    namespace: str | None
    name: str

    @property
    def space(self) -> str:
        """The namespace, from the way to the cluster where the settings name none. Raises `ConnectorError`."""
        space = self.namespace or self.cluster.way.namespace()
        if space is None:
            raise ConnectorError(f"{self.place}: no namespace: name one here or in the kubeconfig's context")
        return space

    @property
    def sets_path(self) -> str:
        """The path of the namespace's ReplicaSets."""
        return f"/apis/apps/v1/namespaces/{segment(self.space)}/replicasets"

    @property
    def path(self) -> str:
        """The path of the Deployment."""
        return f"/apis/apps/v1/namespaces/{segment(self.space)}/deployments/{segment(self.name)}"

    @property
    def location(self) -> str:
        """The address that identifies it. Raises `ConnectorError` where the cluster's cannot be told."""
        return self.cluster.way.server() + self.path

    async def live(self) -> Live | None:
        """Read the Deployment alone; None where it is not there."""
        found = await self.cluster.find(self.path)
        return None if found is None else self.read(found)

    def read(self, value: Mapping[str, Any]) -> Live:
        """Read what a server sent as this Deployment. Raises `ConnectorError` (unknown where it answers a change)."""
        live = deployment_in(self.place, value)
        if value.get("kind", "Deployment") != "Deployment" or live.name != self.name:
            raise ConnectorError(f"{self.place}: what came back is another object")
        return live

    async def seen(self) -> Seen | None:
        """Read all of it; None where the Deployment is not there."""
        live = await self.live()
        if live is None:
            return None
        sets = replica_sets_in(self.place, await self.cluster.listed(self.sets_path, live.selector), live.uid)
        return Seen(
            self.place, live, sets, read_marks(self.place, [live.annotations, *(one.annotations for one in sets)])
        )

    async def there(self) -> Seen:
        """Read all of it, refused where it is not there."""
        seen = await self.seen()
        if seen is None:
            raise ConnectorError(f"{self.place}: there is no Deployment {self.name} in namespace {self.space}")
        return seen


def settled(seen: Seen) -> Kept:
    """Return the current revision of a Deployment that can be planned on. Raises `ConnectorError`."""
    current = seen.current
    if current is None or not seen.live.rollout.observed:
        raise taking_up(seen)
    return current


def taking_up(seen: Seen) -> ConnectorError:
    """Return the error of a Deployment whose live revision has no number yet."""
    return ConnectorError(
        f"{seen.place}: the cluster is still taking up a change; ask again", kind="retry", retry_after=5
    )


def resolved(seen: Seen, current: Kept, to: str) -> Kept:
    """Return the revision that `to` means. Raises `ConnectorError` where it is not there or nothing would change."""
    target = seen.previous if to == PREVIOUS else seen.revision(to)
    if target is None:
        missing = "was none before the current one" if to == PREVIOUS else f"is no revision {visible(to)}"
        numbers = ", ".join(str(one.revision) for one in seen.sets)
        raise ConnectorError(f"{seen.place}: there {missing}; kept are: {numbers}")
    if target is current or digest_of(target.template) == digest_of(current.template):
        raise ConnectorError(f"{seen.place}: revision {target.revision} is live already: nothing to do")
    return target


def foreign(annotations: Mapping[str, str]) -> dict[str, str]:
    """Return the annotations that a rollback replaces: neither the controller's and kubectl's own, nor ours."""
    return {name: text for name, text in annotations.items() if name not in KEPT_BY_THE_DEPLOYMENT | OURS}


def shown(template: Mapping[str, Any], annotations: Mapping[str, str]) -> dict[str, Any]:
    """Return the part of a Deployment that a rollback replaces, as reviewers see it."""
    return {"metadata": {"annotations": foreign(annotations)}, "spec": {"template": template}}


def images_of(template: Mapping[str, Any]) -> dict[str, str]:
    """Return the images by container, those that run first included."""
    spec = template.get("spec")
    found: dict[str, str] = {}
    for kind in ("initContainers", "containers"):
        containers = spec.get(kind) if isinstance(spec, Mapping) else None
        for one in containers if isinstance(containers, list) else []:
            if isinstance(one, Mapping):
                found[str(one.get("name"))] = visible(str(one.get("image", "")))
    return found


def snapshot_of(environment: str, seen: Seen) -> Snapshot:
    """Return what runs and what could. Raises `ConnectorError` while the cluster is taking up a change."""
    current = seen.current
    if current is None:
        raise taking_up(seen)
    previous, owner = seen.previous, owner_of(seen.live)
    oldest_first = sorted(seen.sets, key=lambda one: one.revision)
    return Snapshot(
        environment=environment,
        current=str(current.revision),
        previous=None if previous is None else str(previous.revision),
        revisions=tuple(
            Revision(
                version=str(one.revision),
                live_at=_since(seen.marks, one)[1],
                images=tuple(images_of(one.template).values()),
            )
            for one in seen.sets
        ),
        history=tuple(
            _switch(seen.marks, one, before) for one, before in zip(oldest_first, [None, *oldest_first], strict=False)
        ),
        health=told(seen.live),
        owner=None if owner is None else owner.name,
    )


def replicas_of(live: Live) -> dict[str, Json]:
    """Return the numbers of replicas as results hold them."""
    return {"wanted": live.rollout.wanted, "updated": live.rollout.updated, "available": live.rollout.available}


def _since(marks: Marks, kept: Kept) -> tuple[Mark | None, str | None]:
    """Return when a revision last became live, and by which action.

    A ReplicaSet that was never rolled back to went live when it was made. Of another it is known only where its last
    return was an action's.
    """
    if not kept.was:
        return None, kept.created or None
    mark = next((mark for mark in marks.done if mark.to == str(kept.was[-1])), None)
    return mark, None if mark is None else format_timestamp(action_time(mark.action))


def _switch(marks: Marks, kept: Kept, before: Kept | None) -> Switch:
    mark, at = _since(marks, kept)
    return Switch(
        new=str(kept.revision),
        old=None if before is None else str(before.revision),
        principal="not known" if mark is None else mark.by,
        at=at or "not known",
        action=None if mark is None else mark.action,
    )
