"""An API server of Kubernetes as far as our connector goes: objects with versions, patches, a controller, rights.

It stands in for what nobody can have on a plain machine. What it does is written from Kubernetes' own description and
sources, and held against `kubectl` by the tests beside it:

- every write moves `resourceVersion`; a change of the specification or the annotations moves `generation`;
- a JSON patch is applied whole or not at all; a failed `test` is answered with 422;
- `dryRun=All` goes through everything and keeps nothing;
- the controller finds the ReplicaSet of a template or makes one, renumbers it above all others, copies annotations.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote

from tests.bed.recorder import Answer, Next, Request, answer

TOKEN = "canary-cluster-token-5f2a"
SKIPPED = {
    "kubectl.kubernetes.io/last-applied-configuration",
    "deployment.kubernetes.io/revision",
    "deployment.kubernetes.io/revision-history",
    "deployment.kubernetes.io/desired-replicas",
    "deployment.kubernetes.io/max-replicas",
}
REVISION = "deployment.kubernetes.io/revision"
BASE = "/apis/apps/v1/namespaces/shop"
VERBS = ("get deployments", "patch deployments", "list replicasets")

Object = dict[str, Any]


@dataclass(slots=True)
class ApiServer:
    """A layer of the test bed's proxy that answers everything itself; `lock` guards its objects.

    controlled   whether the controller works at once after each write
    health       what becomes of a rollout: `whole` at once, `steps` (one replica per look), `stuck` for ever,
                 `failed` when the controller gives up
    may          verbs that the account has, `*` for all
    """

    deployment: Object
    sets: list[Object]
    controlled: bool = True
    health: str = "whole"
    may: set[str] = field(default_factory=lambda: set(VERBS))
    git_version: str = "v1.33.2"
    user: str | None = "system:serviceaccount:keyturn:keyturn"
    dry_runs: str = "kept out"
    mutate: bool = False
    strict: bool = False
    clock: int = 0
    version: int = 1000
    rollouts: list[str] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)
    tokens: set[str] = field(default_factory=lambda: {TOKEN})

    async def __call__(self, request: Request, onward: Next) -> Answer:
        """Answer a request."""
        with self.lock:
            return self._answer(request)

    def _answer(self, request: Request) -> Answer:
        token = (request.header("authorization") or "").removeprefix("Bearer ")
        if token not in self.tokens:
            return status(401, "Unauthorized", "Unauthorized")
        path, query = unquote(request.path), {name: texts[0] for name, texts in parse_qs(request.query).items()}
        name = self.deployment["metadata"]["name"] if self.deployment else "web"
        match request.method, path:
            case _, p if self.strict and (p == "/version" or "selfsubject" in p):
                return status(
                    403, "Forbidden", f"forbidden: User {self.user} cannot {request.method.lower()} path {p}"
                )
            case "GET", "/version":
                return answer(200, {"major": "1", "minor": "33", "gitVersion": self.git_version})
            case "GET", p if p == f"{BASE}/deployments/{name}":
                return self._allowed("get deployments") or self._get()
            case "GET", p if p.startswith(f"{BASE}/deployments/"):
                return self._allowed("get deployments") or _missing(p.rpartition("/")[2])
            case "GET", p if p == f"{BASE}/replicasets":
                return self._allowed("list replicasets") or self._list(query)
            case "PATCH", p if p == f"{BASE}/deployments/{name}":
                return self._allowed("patch deployments") or self._patch(request, query)
            case "GET", ("/api" | "/apis" | "/apis/apps/v1"):
                return discovery(path)
            case "POST", _:
                return self._reviewed(path, request.json())
        return Answer(404, (("content-type", "text/plain"),), b"404 page not found\n")

    def _allowed(self, verb: str) -> Answer | None:
        if verb in self.may or "*" in self.may:
            return None
        words = f'deployments.apps "web" is forbidden: User "{self.user}" cannot {verb} in API group "apps"'
        return status(403, "Forbidden", words)

    def _get(self) -> Answer:
        if not self.deployment:
            return _missing("web")
        self._advance()
        return answer(200, self.deployment)

    def _list(self, query: dict[str, str]) -> Answer:
        labels = dict(part.split("=") for part in re.findall(r"[\w./-]+=[\w./-]+", query.get("labelSelector", "")))
        fitting = [
            one for one in self.sets if labels.items() <= one["spec"]["template"]["metadata"]["labels"].items()
        ]
        start, limit = int(query.get("continue", "0")), int(query.get("limit", "500"))
        metadata = {"resourceVersion": str(self.version)}
        if start + limit < len(fitting):
            metadata["continue"] = str(start + limit)
        return answer(200, {"kind": "ReplicaSetList", "metadata": metadata, "items": fitting[start : start + limit]})

    def _patch(self, request: Request, query: dict[str, str]) -> Answer:
        if not self.deployment:
            return _missing("web")
        if request.header("content-type") != "application/json-patch+json":
            return status(415, "UnsupportedMediaType", "the body of the request was in an unknown format")
        dry = query.get("dryRun")
        if dry not in (None, "All"):
            return status(422, "Invalid", "dryRun: Unsupported value")
        if dry is not None and self.dry_runs == "refused":
            return status(400, "BadRequest", 'admission webhook "x.example" does not support dry run')
        made = copy.deepcopy(self.deployment)
        problem = apply_patch(made, request.json())
        if problem is not None:
            return problem
        if self.mutate:
            made["spec"]["template"]["metadata"].setdefault("annotations", {})["injected"] = "yes"
        if not made["spec"]["template"]["spec"]["containers"]:
            return status(422, "Invalid", "spec.template.spec.containers: Required value")
        made = self._stored(made)
        if dry is not None and self.dry_runs == "kept out":
            return answer(200, made)
        self.write(made)
        return answer(200, made)

    def _stored(self, made: Object) -> Object:
        """Do what the API server does to a changed object before it is kept."""
        old = self.deployment
        moved = made["spec"] != old["spec"] or made["metadata"].get("annotations") != old["metadata"].get(
            "annotations"
        )
        if moved:
            made["metadata"]["generation"] = old["metadata"]["generation"] + 1
        if made != old:
            made["metadata"]["resourceVersion"] = str(self.version + 1)
        return made

    def write(self, made: Object) -> None:
        """Keep a changed object, and let the controller work."""
        if made["spec"]["template"] != self.deployment["spec"]["template"]:
            self.rollouts.append(image(made["spec"]["template"]))
        self.version += 1
        made["metadata"]["resourceVersion"] = str(self.version)
        self.deployment = made
        if self.controlled:
            self.control()

    def control(self) -> None:
        """Do what the controller does: find or make the ReplicaSet, number it, copy annotations, count replicas."""
        meta, template = self.deployment["metadata"], self.deployment["spec"]["template"]
        new = self._set_of(template)
        fresh = new is None
        if new is None:
            new = self._made(template)
            self.sets.append(new)
        highest = max([number(one) for one in self.sets if one is not new], default=0) + 1
        notes = new["metadata"].setdefault("annotations", {})
        for name, text in (meta.get("annotations") or {}).items():
            if name not in SKIPPED:
                notes[name] = text
        if number(new) < highest:
            if not fresh:
                was = notes.get("deployment.kubernetes.io/revision-history")
                notes["deployment.kubernetes.io/revision-history"] = (
                    f"{was},{number(new)}" if was else str(number(new))
                )
            notes[REVISION] = str(highest)
            self.deployment["status"] |= self._begun()
        meta.setdefault("annotations", {})
        if meta["annotations"].get(REVISION) != notes[REVISION]:
            meta["annotations"] = {**meta["annotations"], REVISION: notes[REVISION]}
            meta["generation"] += 1
        self.deployment["status"]["observedGeneration"] = meta["generation"]
        self.version += 1
        meta["resourceVersion"] = str(self.version)

    def _begun(self) -> Object:
        wanted = self.deployment["spec"]["replicas"]
        counts = {"replicas": wanted, "updatedReplicas": 0, "availableReplicas": 0}
        return dict.fromkeys(counts, wanted) if self.health == "whole" else counts

    def _advance(self) -> None:
        """Let the rollout get on by one replica, or give up."""
        state, wanted = self.deployment["status"], self.deployment["spec"]["replicas"]
        if state.get("availableReplicas", 0) >= wanted or not self.controlled:
            return
        if self.health == "steps":
            state["updatedReplicas"] = state["availableReplicas"] = state["availableReplicas"] + 1
        elif self.health == "failed":
            self.clock += 1
            words = 'ReplicaSet "web-2" has timed out progressing.'
            self.condition("ProgressDeadlineExceeded", words, f"2026-11-21T10:00:{self.clock:02}Z")

    def condition(self, reason: str, message: str, at: str) -> None:
        """Say how the rollout gets on, as the controller does."""
        said = {"type": "Progressing", "status": "False", "reason": reason, "message": message, "lastUpdateTime": at}
        self.deployment["status"]["conditions"] = [said]

    def _set_of(self, template: Object) -> Object | None:
        same = [one for one in self.sets if _bare(one["spec"]["template"]) == _bare(template)]
        return min(same, key=lambda one: str(one["metadata"]["creationTimestamp"])) if same else None

    def _made(self, template: Object) -> Object:
        named = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:10]
        return replica_set(template, named, self.deployment["metadata"]["uid"], len(self.sets) + 1)

    def _told(self, path: str) -> Answer | None:
        return status(403, "Forbidden", f"User {self.user} cannot get path {path}") if self.strict else None

    def _reviewed(self, path: str, asked: Object) -> Answer:
        if path == "/apis/authentication.k8s.io/v1/selfsubjectreviews":
            return self._told(path) or self._who(asked)
        if path == "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews":
            return self._told(path) or self._may(asked)
        return Answer(404, (("content-type", "text/plain"),), b"404 page not found\n")

    def _who(self, asked: Object) -> Answer:
        if asked.get("kind") != "SelfSubjectReview":
            return status(400, "BadRequest", "not a SelfSubjectReview")
        if self.user is None:
            return Answer(404, (), b"404 page not found\n")
        return answer(201, asked | {"status": {"userInfo": {"username": self.user}}})

    def _may(self, asked: Object) -> Answer:
        wanted = asked["spec"]["resourceAttributes"]
        verb = f"{wanted['verb']} {wanted['resource']}"
        allowed = "*" in self.may or verb in self.may
        return answer(201, asked | {"status": {"allowed": allowed}})

    # What people and other programs do meanwhile.

    def deploy(self, tag: str) -> None:
        """Make another image live, as `kubectl set image` does; a template that was there before is found again."""
        with self.lock:
            made = copy.deepcopy(self.deployment)
            made["spec"]["template"] = template_of(tag)
            self.write(self._stored(made))

    def touch(self) -> None:
        """Write the status as controllers do all the time: the version moves, and nothing else."""
        with self.lock:
            self.version += 1
            if self.deployment:
                self.deployment["metadata"]["resourceVersion"] = str(self.version)

    def edit(self, **spec: Any) -> None:
        """Change the specification by hand."""
        with self.lock:
            made = copy.deepcopy(self.deployment)
            made["spec"] |= spec
            self.write(self._stored(made))

    def annotate(self, annotations: dict[str, str], *, replace: bool = False) -> None:
        """Write annotations, beside the others or in their place (as `kubectl replace` does)."""
        with self.lock:
            made = copy.deepcopy(self.deployment)
            before = {} if replace else made["metadata"].get("annotations", {})
            made["metadata"]["annotations"] = {**before, **annotations}
            self.write(self._stored(made))

    def labelled(self, **labels: str) -> None:
        """Write labels, as a tool does that owns the object; `__` stands for a slash and `_` for a dot."""
        with self.lock:
            named = {name.replace("__", "/").replace("_", "."): text for name, text in labels.items()}
            self.deployment["metadata"]["labels"] = {**self.deployment["metadata"].get("labels", {}), **named}
            self.touch()

    def set_of(self, tag: str) -> Object:
        """Return the ReplicaSet of an image."""
        return next(one for one in self.sets if image(one["spec"]["template"]) == tag)

    def marks(self, name: str) -> list[Any]:
        """Return what a mark of Keyturn on the Deployment holds."""
        with self.lock:
            text = self.deployment["metadata"].get("annotations", {}).get(name)
            return [] if text is None else list(json.loads(text)["newest"])


def discovery(path: str) -> Answer:
    """Say which kinds of objects there are, as far as kubectl asks before it does anything."""
    if path == "/api":
        return answer(200, {"kind": "APIVersions", "versions": ["v1"]})
    version = {"groupVersion": "apps/v1", "version": "v1"}
    if path == "/apis":
        group = {"name": "apps", "versions": [version], "preferredVersion": version}
        return answer(200, {"kind": "APIGroupList", "apiVersion": "v1", "groups": [group]})
    kinds = {"deployments": "Deployment", "replicasets": "ReplicaSet"}
    resources = [
        {
            "name": name,
            "singularName": kind.lower(),
            "namespaced": True,
            "kind": kind,
            "verbs": ["get", "list", "patch"],
        }
        for name, kind in kinds.items()
    ]
    return answer(200, {"kind": "APIResourceList", "groupVersion": "apps/v1", "resources": resources})


def apply_patch(target: Object, operations: Any) -> Answer | None:
    """Apply a JSON patch (RFC 6902) of the operations that are used; the refusal if it cannot be."""
    if not isinstance(operations, list):
        return status(400, "BadRequest", "json: cannot unmarshal object into Go value of type jsonpatch.Patch")
    for one in operations:
        *steps, last = [part.replace("~1", "/").replace("~0", "~") for part in one["path"].split("/")[1:]]
        place = target
        for step in steps:
            place = place[step]
        if one["op"] == "test":
            if place.get(last) != one["value"]:
                return status(422, "Invalid", "the server rejected our request due to an error in our request")
        elif one["op"] == "replace" and last not in place:
            return status(422, "Invalid", "the server rejected our request due to an error in our request")
        else:
            place[last] = copy.deepcopy(one["value"])
    return None


def status(code: int, reason: str, message: str, **details: Any) -> Answer:
    """Make a refusal as the API server words it."""
    said = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    return answer(code, {**said, "message": message, "reason": reason, "code": code, "details": details})


def _missing(name: str) -> Answer:
    return status(
        404, "NotFound", f'deployments.apps "{name}" not found', name=name, group="apps", kind="deployments"
    )


def image(template: Object) -> str:
    """Return the tag of the first image in a template."""
    return str(template["spec"]["containers"][0]["image"].partition(":")[2])


def number(replica_set: Object) -> int:
    """Return the revision of a ReplicaSet, 0 while it has none."""
    return int((replica_set["metadata"].get("annotations") or {}).get(REVISION, 0))


def _bare(template: Object) -> Object:
    bare = copy.deepcopy(template)
    bare["metadata"]["labels"].pop("pod-template-hash", None)
    bare["metadata"].pop("creationTimestamp", None)  # null or absent, which is the same
    return bare


def template_of(tag: str, value: str = "canary-env-value-77") -> Object:
    """Return a pod template that differs from others of its kind by its image alone."""
    return {
        "metadata": {"creationTimestamp": None, "labels": {"app": "web"}},
        "spec": {
            "containers": [
                {
                    "name": "web",
                    "image": f"registry.example/shop/web:{tag}",
                    "args": ["--port=8080"],
                    "env": [
                        {"name": "DB_PASSWORD", "value": value},
                        {"name": "DB_URL", "valueFrom": {"secretKeyRef": {"name": "db", "key": "url"}}},
                    ],
                    "resources": {"limits": {"cpu": "500m"}},
                }
            ],
            "restartPolicy": "Always",
            "securityContext": {},
        },
    }


def replica_set(template: Object, named: str, uid: str, day: int) -> Object:
    """Return a ReplicaSet of a template, owned by the Deployment with that uid."""
    held = copy.deepcopy(template)
    held["metadata"]["labels"]["pod-template-hash"] = named
    return {
        "kind": "ReplicaSet",
        "apiVersion": "apps/v1",
        "metadata": {
            "name": f"web-{named}",
            "namespace": "shop",
            "uid": f"uid-{named}",
            "resourceVersion": "900",
            "generation": 1,
            "creationTimestamp": f"2026-11-{day:02}T08:00:00Z",
            "labels": {"app": "web", "pod-template-hash": named},
            "annotations": {},
            "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": uid, "controller": True}
            ],
        },
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "web"}}, "template": held},
        "status": {"replicas": 0},
    }


def serving(*tags: str) -> ApiServer:
    """Return a server whose Deployment `web` in `shop` had these images, the last of them live."""
    first = template_of(tags[0])
    deployment = {
        "kind": "Deployment",
        "apiVersion": "apps/v1",
        "metadata": {
            "name": "web",
            "namespace": "shop",
            "uid": "5d7c1b60-0000-4000-8000-000000000001",
            "resourceVersion": "1000",
            "generation": 1,
            "creationTimestamp": "2026-11-01T08:00:00Z",
            "labels": {"app": "web"},
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": '{"password":"canary-applied-31"}'},
            "managedFields": [{"manager": "kubectl-client-side-apply", "operation": "Update"}],
        },
        "spec": {
            "replicas": 6,
            "selector": {"matchLabels": {"app": "web"}},
            "template": first,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "revisionHistoryLimit": 10,
            "progressDeadlineSeconds": 600,
        },
        "status": {"observedGeneration": 1, "replicas": 6, "updatedReplicas": 6, "availableReplicas": 6},
    }
    server = ApiServer(deployment, [])
    server.control()
    for tag in tags[1:]:
        server.deploy(tag)
    server.rollouts.clear()
    return server
