"""The state of a small Kubernetes: Deployments of apps/v1 and their ReplicaSets, and what others do to them.

One resource version for all, bumped by each write that changes something; `generation` counts changes of `spec`. The
deployment controller acts when a test says so (`observe`, `progress`, `stick`, `settle`), never by time: one
ReplicaSet for each template, the revision in its annotation, the old ones scaled down, the status counted.
"""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

REVISION = "deployment.kubernetes.io/revision"
HASH = "pod-template-hash"
NOW = "2026-11-21T12:00:00Z"


@dataclass(slots=True)
class Cluster:
    """Objects by kind, namespace and name; methods act as other people and as the deployment controller."""

    objects: dict[tuple[str, str, str], Json] = field(default_factory=dict)
    _versions: itertools.count[int] = field(default_factory=lambda: itertools.count(1000))
    last: int = 1000

    def deploy(
        self,
        name: str = "web",
        image: str = "shop:41",
        *,
        namespace: str = "prod",
        replicas: int = 2,
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
        container: Mapping[str, Any] | None = None,
    ) -> Json:
        """Create a deployment with one container and let the controller settle it: revision 1."""
        pod = {"containers": [{"name": "app", "image": image, **(container or {})}]}
        spec: Json = {
            "replicas": replicas,
            "revisionHistoryLimit": 10,
            "progressDeadlineSeconds": 600,
            "selector": {"matchLabels": {"app": name}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": pod},
        }
        metadata = {"labels": {"app": name, **(labels or {})}, "annotations": dict(annotations or {})}
        made = self._new("Deployment", namespace, name, {"metadata": metadata, "spec": spec})
        self.settle(name, namespace=namespace)
        return made

    def release(self, image: str, *, name: str = "web", namespace: str = "prod", cause: str | None = None) -> None:
        """Set another image as a person does, and let the controller settle it: the next revision."""

        def changed(deployment: Json) -> None:
            deployment["spec"]["template"]["spec"]["containers"][0]["image"] = image
            if cause is not None:
                deployment["metadata"].setdefault("annotations", {})["kubernetes.io/change-cause"] = cause

        self.edit(changed, name=name, namespace=namespace)
        self.settle(name, namespace=namespace)

    def edit(
        self, change: Callable[[Json], None], *, name: str = "web", namespace: str = "prod", kind: str = "Deployment"
    ) -> Json:
        """Change an object as somebody else does (labels, spec, paused …); the controller does nothing about it."""
        wanted = copy.deepcopy(self.objects[kind, namespace, name])
        change(wanted)
        return self.store(wanted, kind)

    def delete(self, name: str = "web", *, namespace: str = "prod", kind: str = "Deployment") -> None:
        """Delete an object."""
        del self.objects[kind, namespace, name]

    def deployment(self, name: str = "web", *, namespace: str = "prod") -> Json:
        """Return a copy of the deployment as it is."""
        return copy.deepcopy(self.objects["Deployment", namespace, name])

    def replicasets(self, name: str = "web", *, namespace: str = "prod") -> list[Json]:
        """Return copies of the deployment's ReplicaSets, by revision."""
        owned = [copy.deepcopy(rs) for rs in self._owned(self.objects["Deployment", namespace, name])]
        return sorted(owned, key=_revision)

    def image(self, name: str = "web", *, namespace: str = "prod") -> str:
        """Return the image of the first container in the deployment's template."""
        found: str = self.deployment(name, namespace=namespace)["spec"]["template"]["spec"]["containers"][0]["image"]
        return found

    def observe(self, name: str = "web", *, namespace: str = "prod") -> None:
        """Let the controller see the template: the ReplicaSet for it exists and has the newest revision."""
        deployment = self.deployment(name, namespace=namespace)
        template = deployment["spec"]["template"]
        others = [rs for rs in self._owned(deployment) if _plain(rs["spec"]["template"]) != template]
        newest = max((_revision(rs) for rs in self._owned(deployment)), default=0)
        present = next((rs for rs in self._owned(deployment) if rs not in others), None)
        if present is None:
            present = self._replicaset(deployment, newest + 1)
        elif _revision(present) != newest:
            changed = copy.deepcopy(present)
            marks = changed["metadata"]["annotations"]
            past = [mark for mark in marks.get(REVISION + "-history", "").split(",") if mark]
            marks[REVISION + "-history"] = ",".join([*past, marks[REVISION]])
            marks[REVISION] = str(newest + 1)
            present = self.store(changed, "ReplicaSet")
        deployment["metadata"].setdefault("annotations", {})[REVISION] = present["metadata"]["annotations"][REVISION]
        deployment.setdefault("status", {})["observedGeneration"] = deployment["metadata"]["generation"]
        self.store(deployment, "Deployment")

    def progress(
        self, available: int, *, updated: int | None = None, name: str = "web", namespace: str = "prod"
    ) -> None:
        """Let so many replicas of the present template be there: updated (by default the same), available."""
        self._counted(available, available if updated is None else updated, "ReplicaSetUpdated", name, namespace)

    def stick(self, name: str = "web", *, namespace: str = "prod") -> None:
        """Let the rollout exceed its deadline: no replica of the present template becomes available."""
        self._counted(0, 1, "ProgressDeadlineExceeded", name, namespace)

    def settle(self, name: str = "web", *, namespace: str = "prod") -> None:
        """Let the controller do all it has to: seen, and every replica updated and available."""
        self.observe(name, namespace=namespace)
        wanted = self.objects["Deployment", namespace, name]["spec"].get("replicas", 1)
        self._counted(wanted, wanted, "NewReplicaSetAvailable", name, namespace)

    def _counted(self, available: int, updated: int, reason: str, name: str, namespace: str) -> None:
        deployment = self.deployment(name, namespace=namespace)
        done = reason == "NewReplicaSetAvailable"
        wanted = deployment["spec"].get("replicas", 1)
        total = wanted if done else max(wanted, updated)
        progressing = "False" if reason == "ProgressDeadlineExceeded" else "True"
        deployment["status"] = {
            "observedGeneration": deployment.get("status", {}).get("observedGeneration", 0),
            "replicas": total,
            "updatedReplicas": updated,
            "readyReplicas": available,
            "availableReplicas": available,
            "unavailableReplicas": max(0, total - available),
            "conditions": [
                _condition("Available", "True" if available >= wanted else "False", "MinimumReplicas"),
                _condition("Progressing", progressing, reason),
            ],
        }
        self.store(deployment, "Deployment")
        template = deployment["spec"]["template"]
        for owned in list(self._owned(deployment)):
            changed = copy.deepcopy(owned)
            current = _plain(owned["spec"]["template"]) == template
            here = (updated if current else (0 if done else wanted)) if deployment["spec"].get("replicas", 1) else 0
            changed["spec"]["replicas"] = here
            changed["status"] = {"replicas": here, "readyReplicas": available if current else here}
            self.store(changed, "ReplicaSet")

    def _replicaset(self, deployment: Json, revision: int) -> Json:
        name, namespace = deployment["metadata"]["name"], deployment["metadata"]["namespace"]
        template = copy.deepcopy(deployment["spec"]["template"])
        short = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:10]
        template.setdefault("metadata", {}).setdefault("labels", {})[HASH] = short
        kept = {
            key: value
            for key, value in deployment["metadata"].get("annotations", {}).items()
            if key != "kubectl.kubernetes.io/last-applied-configuration"
        }
        owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name, "uid": deployment["metadata"]["uid"]}
        metadata = {
            "labels": template["metadata"]["labels"],
            "annotations": kept | {REVISION: str(revision)},
            "ownerReferences": [owner | {"controller": True, "blockOwnerDeletion": True}],
        }
        selector = {"matchLabels": deployment["spec"]["selector"]["matchLabels"] | {HASH: short}}
        spec = {"replicas": deployment["spec"].get("replicas", 1), "selector": selector, "template": template}
        return self._new("ReplicaSet", namespace, f"{name}-{short}", {"metadata": metadata, "spec": spec})

    def _owned(self, deployment: Json) -> list[Json]:
        uid = deployment["metadata"]["uid"]
        return [
            found
            for (kind, _, _), found in self.objects.items()
            if kind == "ReplicaSet" and any(o["uid"] == uid for o in found["metadata"].get("ownerReferences", []))
        ]

    def _new(self, kind: str, namespace: str, name: str, parts: Json) -> Json:
        uid = f"{hashlib.sha256(f'{kind}/{namespace}/{name}/{self.last}'.encode()).hexdigest()[:32]}"
        metadata = {
            "name": name,
            "namespace": namespace,
            "uid": f"{uid[:8]}-{uid[8:12]}-{uid[12:16]}-{uid[16:20]}-{uid[20:]}",
            "creationTimestamp": NOW,
            "generation": 1,
        }
        made = {"kind": kind, "apiVersion": "apps/v1", **parts, "metadata": metadata | parts["metadata"]}
        made["spec"]["template"] = defaulted(made["spec"]["template"])
        made.setdefault("status", {})
        self._bump(made)
        self.objects[kind, namespace, name] = made
        return copy.deepcopy(made)

    def store(self, wanted: Json, kind: str, *, keep: bool = True) -> Json:
        """Write an object: generation and resource version follow from what changed; not kept for a dry run."""
        key = kind, wanted["metadata"]["namespace"], wanted["metadata"]["name"]
        present = self.objects[key]
        for fixed in ("uid", "creationTimestamp", "generation", "resourceVersion"):
            wanted["metadata"][fixed] = present["metadata"][fixed]
        wanted["spec"]["template"] = defaulted(wanted["spec"]["template"])
        if wanted == present:
            return wanted
        if wanted["spec"] != present["spec"]:
            wanted["metadata"]["generation"] = present["metadata"]["generation"] + 1
        if keep:
            self._bump(wanted)
            self.objects[key] = wanted
        return copy.deepcopy(wanted)

    def _bump(self, changed: Json) -> None:
        self.last = next(self._versions)
        changed["metadata"]["resourceVersion"] = str(self.last)


def defaulted(template: Json) -> Json:
    """Return a pod template as an API server keeps it: with the defaults, and the empty things its types write
    out."""
    made = copy.deepcopy(template)
    made["metadata"] = {"creationTimestamp": None} | made.get("metadata", {})
    made["spec"] = {
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "securityContext": {},
        "schedulerName": "default-scheduler",
    } | made["spec"]
    usual = {
        "resources": {},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "IfNotPresent",
    }
    for kind in ("containers", "initContainers"):
        if kind in made["spec"]:
            made["spec"][kind] = [usual | container for container in made["spec"][kind]]
    return made


def _condition(kind: str, status: str, reason: str) -> Json:
    times = {"lastUpdateTime": NOW, "lastTransitionTime": NOW}
    return {"type": kind, "status": status, "reason": reason, "message": f"{kind}: {reason}", **times}


def _plain(template: Json) -> Json:
    made = copy.deepcopy(template)
    made.get("metadata", {}).get("labels", {}).pop(HASH, None)
    return made


def _revision(found: Json) -> int:
    return int(found["metadata"].get("annotations", {}).get(REVISION, 0))
