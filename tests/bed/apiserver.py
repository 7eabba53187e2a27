"""A small Kubernetes API server over a `Cluster`: a layer of the proxy that answers by itself.

kmock answers as an API server does, but it merges whatever it is sent: no resource versions, no conflicts, no
selectors, no dry run, no generations (`test_kubernetes.py` shows it). So the state is kept here, as the API
conventions of Kubernetes describe it, and kmock serves as the stage on which real kubectl is watched. kubectl works
with this server as well: get, rollout history, undo, status, pause, resume, set image (over TLS: kubectl sends no
token over plain HTTP).

What is played: discovery; GET, LIST (label selectors, `metadata.name`, limit and continue), PUT (409 where the
resource version is not the present one), PATCH (JSON patch: 422 where a `test` fails; merge; strategic merge as far
as lists of named things go), POST of self-reviews; `dryRun=All`; one resource version for all; a write that changes
nothing bumps nothing; `generation` counts changes of `spec`; users by bearer token or client certificate with what
they may do (401, 403). The deployment controller is not played by time: `ApiServer.controller` says when it acts
(`SETTLE`: at once after each write; `IDLE`: when a test calls `observe`, `progress`, `settle`; or one step for each
time that the deployment is read).

What is not: watches (answered by what is there, then ended), server-side apply, other kinds, the subresources
`status` and `scale`, admission but for `ApiServer.admission`, defaulting of fields, validation but for what a patch
needs.
"""

from __future__ import annotations

import copy
import json
import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote

import jsonpatch
import jsonpointer

from tests.bed.cluster import NOW, Cluster, Json
from tests.bed.recorder import Answer, Next, Request, answer

SETTLE, IDLE = "settle", "idle"


@dataclass(frozen=True, slots=True)
class User:
    """Who asks: name, and what is allowed as `VERB RESOURCE` (`patch deployments`); None is everything."""

    name: str
    allowed: frozenset[str] | None = None

    def may(self, verb: str, resource: str) -> bool:
        """Say whether the user may do this."""
        return self.allowed is None or f"{verb} {resource}" in self.allowed


READER = frozenset(f"{verb} {kind}" for verb in ("get", "list") for kind in ("deployments", "replicasets", "pods"))
"""What a role that only reads may do."""


@dataclass(frozen=True, slots=True)
class Write:
    """A change that was kept: verb, kind, name."""

    verb: str
    kind: str
    name: str


class Refused(Exception):
    """An error in the API server's words (`Status` of meta/v1)."""

    def __init__(self, status: int, reason: str, message: str, **details: object) -> None:
        super().__init__(message)
        self.answer = answer(
            status,
            {
                "kind": "Status",
                "apiVersion": "v1",
                "metadata": {},
                "status": "Failure",
                "message": message,
                "reason": reason,
                "details": details,
                "code": status,
            },
        )


@dataclass(slots=True)
class ApiServer:
    """The layer: who may ask what, and what was written; `steps` are done one by one as a deployment is read."""

    cluster: Cluster = field(default_factory=Cluster)
    tokens: dict[str, User] = field(default_factory=dict)
    certificates: dict[str, User] = field(default_factory=dict)
    anonymous: User | None = None
    controller: str = SETTLE
    admission: Callable[[Json], Json] | None = None
    steps: deque[Callable[[], object]] = field(default_factory=deque)
    writes: list[Write] = field(default_factory=list)

    async def __call__(self, request: Request, onward: Next) -> Answer:
        """Answer as an API server."""
        try:
            return self._answer(request)
        except Refused as refused:
            return refused.answer

    def _answer(self, request: Request) -> Answer:
        user = self._user(request)
        path, query = unquote(request.path), {key: values[0] for key, values in parse_qs(request.query).items()}
        told = _DISCOVERY.get(path.rstrip("/") or "/")
        if told is not None and request.method == "GET":
            return answer(200, told)
        review = re.fullmatch(r"/apis/(authorization|authentication)\.k8s\.io/v1/(self\w+)", path)
        if review is not None and request.method == "POST":
            return answer(201, _review(review[2], user, request.json()))
        found = re.fullmatch(r"/(?:api/v1|apis/apps/v1)(?:/namespaces/([^/]+))?(?:/([a-z]+))?(?:/([^/]+))?", path)
        if found is None:
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        namespace, resource, name = found[1] or "", found[2] or "namespaces", found[3]
        if resource == "namespaces":
            return self._namespace(user, namespace)
        verb = _verb(request.method, name)
        _allow(user, verb, resource, namespace)
        match verb:
            case "list":
                return self._list(resource, namespace, query)
            case "get":
                return answer(200, self._read(resource, namespace, name))
            case "update" | "patch":
                return self._change(verb, (resource, namespace, name), request, query)
            case _:
                raise Refused(405, "MethodNotAllowed", "the server does not allow this method here")

    def _user(self, request: Request) -> User:
        token = (request.header("authorization") or "").removeprefix("Bearer ")
        found = self.tokens.get(token) or self.certificates.get(request.peer)
        if found is None and not token and not request.peer:
            found = self.anonymous
        if found is None:
            raise Refused(401, "Unauthorized", "Unauthorized")
        return found

    def _namespace(self, user: User, namespace: str) -> Answer:
        _allow(user, "get", "namespaces", namespace)
        if namespace not in {place for _, place, _ in self.cluster.objects}:
            raise Refused(404, "NotFound", f'namespaces "{namespace}" not found', name=namespace, kind="namespaces")
        metadata = {"name": namespace, "uid": "0", "resourceVersion": "1", "creationTimestamp": NOW}
        return answer(
            200, {"kind": "Namespace", "apiVersion": "v1", "metadata": metadata, "status": {"phase": "Active"}}
        )

    def _read(self, resource: str, namespace: str, name: str) -> Json:
        kind = _KINDS.get(resource, resource)
        if kind == "Deployment" and self.steps:
            self.steps.popleft()()
        found = self.cluster.objects.get((kind, namespace, name))
        if found is None:
            details = {"name": name, "group": "apps", "kind": resource}
            raise Refused(404, "NotFound", f'{resource}.apps "{name}" not found', **details)
        return found

    def _list(self, resource: str, namespace: str, query: Mapping[str, str]) -> Answer:
        kind = _KINDS.get(resource, resource)
        items = [
            {key: value for key, value in found.items() if key not in ("kind", "apiVersion")}
            for (of, place, _), found in sorted(self.cluster.objects.items())
            if of == kind
            and place == (namespace or place)
            and selected(found["metadata"].get("labels", {}), query.get("labelSelector", ""))
            and query.get("fieldSelector", "") in ("", f"metadata.name={found['metadata']['name']}")
        ]
        start, limit = int(query.get("continue") or 0), int(query.get("limit") or 0)
        metadata: Json = {"resourceVersion": str(self.cluster.last)}
        if limit and start + limit < len(items):
            metadata |= {"continue": str(start + limit), "remainingItemCount": len(items) - start - limit}
        group = "v1" if resource in ("pods", "events") else "apps/v1"
        page = items[start : start + limit if limit else None]
        if query.get("watch") in ("true", "1"):
            events = [{"type": "ADDED", "object": item | {"kind": kind, "apiVersion": group}} for item in page]
            return Answer(
                200, (("content-type", "application/json"),), b"".join(json.dumps(e).encode() + b"\n" for e in events)
            )
        return answer(200, {"kind": f"{kind}List", "apiVersion": group, "metadata": metadata, "items": page})

    def _change(self, verb: str, place: tuple[str, str, str], request: Request, query: Mapping[str, str]) -> Answer:
        resource, namespace, name = place
        kind = _KINDS.get(resource, resource)
        present = copy.deepcopy(self._read(resource, namespace, name))
        if query.get("dryRun", "All") != "All":
            raise Refused(400, "BadRequest", 'Invalid value: dryRun: Unsupported value: supported values: "All"')
        wanted = request.json() if verb == "update" else _patched(present, request)
        if not isinstance(wanted, dict) or wanted.get("metadata", {}).get("name") != name:
            raise Refused(422, "Invalid", f'{kind}.apps "{name}" is invalid: metadata.name: field is immutable')
        version = wanted["metadata"].get("resourceVersion") or present["metadata"]["resourceVersion"]
        if version != present["metadata"]["resourceVersion"]:
            said = "the object has been modified; please apply your changes to the latest version and try again"
            details = {"name": name, "group": "apps", "kind": resource}
            raise Refused(
                409, "Conflict", f'Operation cannot be fulfilled on {resource}.apps "{name}": {said}', **details
            )
        if self.admission is not None:
            wanted = self.admission(copy.deepcopy(wanted))
        wanted["status"], wanted["metadata"]["namespace"] = present.get("status", {}), namespace
        dry = query.get("dryRun") == "All"
        made = self.cluster.store(wanted, kind, keep=not dry)
        if not dry:
            self.writes.append(Write(verb, kind, name))
            if self.controller == SETTLE and kind == "Deployment" and not made["spec"].get("paused"):
                self.cluster.settle(name, namespace=namespace)
        return answer(200, made)


_KINDS = {"deployments": "Deployment", "replicasets": "ReplicaSet", "pods": "Pod", "events": "Event"}


def _verb(method: str, name: str | None) -> str:
    if method == "GET":
        return "get" if name else "list"
    return {"PUT": "update", "PATCH": "patch", "POST": "create", "DELETE": "delete"}.get(method, method.lower())


def _allow(user: User, verb: str, resource: str, namespace: str) -> None:
    if not user.may(verb, resource):
        group = "" if resource in ("namespaces", "pods", "events") else "apps"
        full = f"{resource}.{group}".rstrip(".")
        raise Refused(
            403,
            "Forbidden",
            f'{full} is forbidden: User "{user.name}" cannot {verb} resource "{resource}" in API group "{group}" '
            f'in the namespace "{namespace}"',
            group=group,
            kind=resource,
        )


def _patched(present: Json, request: Request) -> Any:
    kind = (request.header("content-type") or "").partition(";")[0]
    try:
        patch = request.json()
    except json.JSONDecodeError as error:
        raise Refused(400, "BadRequest", f"error decoding patch: {error}") from error
    match kind:
        case "application/json-patch+json":
            try:
                return jsonpatch.apply_patch(present, patch)
            except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException) as error:
                said = "the server rejected our request due to an error in our request"
                raise Refused(422, "Invalid", said) from error
        case "application/merge-patch+json":
            return _merged(present, patch, named=False)
        case "application/strategic-merge-patch+json":
            return _merged(present, patch, named=True)
        case _:
            raise Refused(415, "UnsupportedMediaType", f"the body of the request was in an unknown format: {kind}")


def _merged(present: Any, patch: Any, *, named: bool) -> Any:
    """Merge as RFC 7396 does; `named`: lists of things with names by their names, as Kubernetes' strategic merge
    does."""
    if isinstance(patch, list) and named and patch and all(isinstance(i, dict) and "name" in i for i in patch):
        there = {item["name"]: item for item in present or []}
        for item in patch:
            there[item["name"]] = _merged(there.get(item["name"], {}), item, named=True)
        return list(there.values())
    if not isinstance(patch, dict):
        return patch
    made = dict(present) if isinstance(present, dict) else {}
    for key, value in patch.items():
        if key.startswith("$"):
            continue  # strategic merge's own directives ($setElementOrder): order does not matter here
        if value is None:
            made.pop(key, None)
        else:
            made[key] = _merged(made.get(key), value, named=named)
    return made


def selected(labels: Mapping[str, str], selector: str) -> bool:
    """Say whether labels fit a selector: `a=b`, `a==b`, `a!=b`, `a`, `!a`, `a in (b,c)`, `a notin (b,c)`."""
    return all(_fits(labels, part.strip()) for part in re.split(r",(?![^(]*\))", selector) if part.strip())


def _fits(labels: Mapping[str, str], part: str) -> bool:
    several = re.fullmatch(r"(\S+) (in|notin) \(([^)]*)\)", part)
    if several is not None:
        among = labels.get(several[1]) in {value.strip() for value in several[3].split(",")}
        return among == (several[2] == "in")
    one = re.fullmatch(r"([^!=\s]+)\s*(==|=|!=)\s*(\S*)", part)
    if one is not None:
        return (labels.get(one[1]) == one[3]) == (one[2] != "!=")
    return part.removeprefix("!") not in labels if part.startswith("!") else part in labels


def _review(kind: str, user: User, asked: Json) -> Json:
    made = {key: asked.get(key) for key in ("apiVersion", "kind")} | {"metadata": {}, "spec": asked.get("spec", {})}
    match kind:
        case "selfsubjectaccessreviews":
            wished = asked["spec"]["resourceAttributes"]
            return made | {"status": {"allowed": user.may(wished["verb"], wished["resource"])}}
        case "selfsubjectreviews":
            return made | {"status": {"userInfo": {"username": user.name, "groups": ["system:authenticated"]}}}
        case _:
            pairs = sorted(user.allowed) if user.allowed is not None else ["* *"]
            rules = [{"verbs": [v], "apiGroups": ["*"], "resources": [r]} for v, r in (p.split() for p in pairs)]
            return made | {"status": {"resourceRules": rules, "nonResourceRules": [], "incomplete": False}}


def _served(version: str, **kinds: tuple[str, str]) -> Json:
    verbs = ["get", "list", "watch", "patch", "update"]
    resources = [
        {
            "name": name,
            "singularName": kind.lower(),
            "namespaced": True,
            "kind": kind,
            "verbs": verbs,
            "shortNames": [short],
        }
        for name, (kind, short) in kinds.items()
    ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources}


_APPS = {"groupVersion": "apps/v1", "version": "v1"}
_DISCOVERY: Mapping[str, Json] = {
    "/version": {
        "major": "1",
        "minor": "31",
        "gitVersion": "v1.31.0-testbed",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": NOW,
        "goVersion": "go1",
        "compiler": "gc",
        "platform": "linux/amd64",
    },
    "/api": {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []},
    "/apis": {
        "kind": "APIGroupList",
        "apiVersion": "v1",
        "groups": [{"name": "apps", "versions": [_APPS], "preferredVersion": _APPS}],
    },
    "/api/v1": _served("v1", pods=("Pod", "po"), events=("Event", "ev")),
    "/apis/apps/v1": _served("apps/v1", deployments=("Deployment", "deploy"), replicasets=("ReplicaSet", "rs")),
}
