"""API descriptions of others, prepared so that a validating mock refuses what the API would refuse.

As they are, they let much pass. GitHub's: a schema that may be null but has no type switches the check of a whole
body off; bodies are optional; objects take any field; `application/vnd.github+json` is not among the media types. So,
in the prepared copy, each body of the operations is inlined, required, typed and closed, and the media type is added.
Kubernetes': the body of every PATCH is an object, which a JSON patch (an array, RFC 6902) is not; the prepared copy
is written as OpenAPI 3, where a body depends on its media type, and holds the operations that are used.
Nothing here makes a description wider than it was, but for what is named above.
"""

from __future__ import annotations

import copy
import json
import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

METHODS = ("get", "post", "put", "patch", "delete")
MEDIA_TYPE = "application/vnd.github+json"

Json = dict[str, Any]
Operations = Collection[tuple[str, str]]
"""Methods in upper case, with paths as the description writes them."""

_REPO = "/repos/{owner}/{repo}"
GITHUB: Operations = (
    ("GET", "/app"),
    ("GET", "/app/installations"),
    ("GET", "/app/installations/{installation_id}"),
    ("POST", "/app/installations/{installation_id}/access_tokens"),
    ("GET", "/installation/repositories"),
    ("GET", "/user"),
    ("GET", "/rate_limit"),
    ("GET", "/search/issues"),
    ("GET", _REPO),
    ("GET", _REPO + "/installation"),
    ("GET", _REPO + "/collaborators/{username}/permission"),
    ("GET", _REPO + "/branches/{branch}"),
    ("GET", _REPO + "/branches/{branch}/protection"),
    ("GET", _REPO + "/rules/branches/{branch}"),
    ("GET", _REPO + "/git/ref/{ref}"),
    ("GET", _REPO + "/git/matching-refs/{ref}"),
    ("POST", _REPO + "/git/refs"),
    ("PATCH", _REPO + "/git/refs/{ref}"),
    ("DELETE", _REPO + "/git/refs/{ref}"),
    ("GET", _REPO + "/git/blobs/{file_sha}"),
    ("POST", _REPO + "/git/blobs"),
    ("GET", _REPO + "/git/trees/{tree_sha}"),
    ("POST", _REPO + "/git/trees"),
    ("GET", _REPO + "/git/commits/{commit_sha}"),
    ("POST", _REPO + "/git/commits"),
    ("GET", _REPO + "/contents/{path}"),
    ("GET", _REPO + "/commits"),
    ("GET", _REPO + "/commits/{ref}"),
    ("GET", _REPO + "/commits/{ref}/check-runs"),
    ("GET", _REPO + "/commits/{ref}/status"),
    ("GET", _REPO + "/compare/{basehead}"),
    ("GET", _REPO + "/pulls"),
    ("POST", _REPO + "/pulls"),
    ("GET", _REPO + "/pulls/{pull_number}"),
    ("PATCH", _REPO + "/pulls/{pull_number}"),
    ("PUT", _REPO + "/pulls/{pull_number}/merge"),
    ("GET", _REPO + "/pulls/{pull_number}/commits"),
    ("GET", _REPO + "/pulls/{pull_number}/files"),
    ("GET", _REPO + "/pulls/{pull_number}/reviews"),
    ("GET", _REPO + "/pulls/{pull_number}/requested_reviewers"),
    ("POST", _REPO + "/pulls/{pull_number}/requested_reviewers"),
    ("GET", _REPO + "/issues"),
    ("POST", _REPO + "/issues"),
    ("GET", _REPO + "/issues/{issue_number}"),
    ("PATCH", _REPO + "/issues/{issue_number}"),
    ("GET", _REPO + "/issues/{issue_number}/comments"),
    ("POST", _REPO + "/issues/{issue_number}/comments"),
    ("GET", _REPO + "/issues/comments/{comment_id}"),
    ("PATCH", _REPO + "/issues/comments/{comment_id}"),
    ("DELETE", _REPO + "/issues/comments/{comment_id}"),
    ("GET", _REPO + "/issues/{issue_number}/events"),
    ("GET", _REPO + "/issues/{issue_number}/timeline"),
    ("GET", _REPO + "/issues/{issue_number}/labels"),
    ("GET", _REPO + "/labels"),
    ("GET", _REPO + "/labels/{name}"),
    ("GET", _REPO + "/subscribers"),
    ("GET", "/repos/{owner}/{repo}/assignees"),
)
"""The operations of GitHub that our connector may use; one that is not here is an objection of the validator."""

_APPS = "/apis/apps/v1/namespaces/{namespace}"
KUBERNETES: Operations = (
    ("GET", "/version/"),
    ("GET", _APPS + "/deployments"),
    ("GET", _APPS + "/deployments/{name}"),
    ("PUT", _APPS + "/deployments/{name}"),
    ("PATCH", _APPS + "/deployments/{name}"),
    ("GET", _APPS + "/replicasets"),
    ("GET", _APPS + "/replicasets/{name}"),
    ("GET", "/api/v1/namespaces/{name}"),
    ("GET", "/api/v1/namespaces/{namespace}/pods"),
    ("GET", "/api/v1/namespaces/{namespace}/events"),
    ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"),
    ("POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"),
    ("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews"),
)
"""The operations of Kubernetes that our connector may use."""


def specs() -> Path | None:
    """Return the folder with Kubernetes' description (`KEYTURN_SPECS`), or None where it is not at hand."""
    named = os.environ.get("KEYTURN_SPECS")
    folder = Path(named) if named else None
    return folder if folder is not None and (folder / "k8s-swagger.json").is_file() else None


def prepare_github(document: Json, operations: Operations | None = None) -> Json:
    """Return GitHub's description for a validating mock; with `operations`, those only (it starts much faster).

    With all of them, what is answered is left out: they serve for probing what is accepted.
    """
    made = copy.deepcopy(document)
    if operations is not None:
        _keep(made, operations)
    for _, _, operation in each(made):
        body = operation.get("requestBody")
        if body is not None and "application/json" in body.get("content", {}):
            content = body["content"]["application/json"]
            content["schema"] = closed(_inlined(content["schema"], made, ()))
            body["required"] = True
        if operations is None:
            operation["responses"] = {"200": {"description": "", "content": {"application/json": {"schema": {}}}}}
        for response in operation["responses"].values():
            _add_media_type(response)
    for response in made["components"].get("responses", {}).values():
        _add_media_type(response)
    return _pruned(made)


def each(document: Json) -> Iterator[tuple[str, str, Json]]:
    """Go through the operations: method in upper case, path, description."""
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield method.upper(), path, item[method]


def bodies(document: Json) -> list[tuple[str, str]]:
    """Return the operations that take a JSON body (of any kind of JSON)."""
    found = []
    for method, path, operation in each(document):
        if any("json" in kind for kind in operation.get("requestBody", {}).get("content", {})):
            found.append((method, path))
    return found


def _keep(document: Json, operations: Operations) -> None:
    wanted = set(operations)
    absent = wanted - {(method, path) for method, path, _ in each(document)}
    assert not absent, f"the description knows no such operations: {sorted(absent)}"
    for path in list(document["paths"]):
        item = document["paths"][path]
        for method in METHODS:
            if method in item and (method.upper(), path) not in wanted:
                del item[method]
        if not any(method in item for method in METHODS):
            del document["paths"][path]


def _pruned(document: Json) -> Json:
    """Leave out webhooks and what no operation leads to: most of what a mock spends its start on."""
    document.pop("x-webhooks", None)
    reached: set[str] = set()
    waiting: list[Any] = [document["paths"]]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            reference = part.get("$ref")
            if isinstance(reference, str) and reference not in reached:
                reached.add(reference)
                waiting.append(_found(document, reference))
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)
    for kind, parts in document["components"].items():
        document["components"][kind] = {
            name: part for name, part in parts.items() if f"#/components/{kind}/{name}" in reached
        }
    return document


def _add_media_type(response: Json) -> None:
    content = response.get("content", {})
    if "application/json" in content:
        content[MEDIA_TYPE] = content["application/json"]


def _inlined(schema: Any, document: Json, within: tuple[str, ...]) -> Any:
    """Write each reference out; one that leads back into itself is left as it is."""
    if isinstance(schema, list):
        return [_inlined(item, document, within) for item in schema]
    if not isinstance(schema, dict):
        return schema
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference not in within:
        return _inlined(_found(document, reference), document, (*within, reference))
    return {key: _inlined(value, document, within) for key, value in schema.items()}


def _found(document: Json, reference: str) -> Any:
    place: Any = document
    for step in reference.removeprefix("#/").split("/"):
        place = place[step.replace("~1", "/").replace("~0", "~")]
    return place


_BRANCHES = ("oneOf", "anyOf", "allOf")


def closed(schema: Any) -> Any:
    """Return a schema whose objects take no field that is not named, and whose nullable parts have types.

    Objects that say themselves what else they take are left alone, as are those composed with `allOf`: closing one
    part would refuse the fields of the other.
    """
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _closed_part(key, value) for key, value in schema.items()}
    made = _typed(made)
    branches = [branch for key in _BRANCHES for branch in schema.get(key, [])]
    named = any("properties" in branch for branch in branches if isinstance(branch, dict))
    if "properties" in made and "additionalProperties" not in made and "allOf" not in made:
        made.setdefault("type", "object")
        if not named:
            made["additionalProperties"] = False
        else:
            made |= {key: schema[key] for key in _BRANCHES if key in schema}  # as they were: open
            known: Json = {name: {} for branch in branches for name in branch.get("properties", {})}
            made |= {"properties": known | made["properties"], "additionalProperties": False}
    return made


def _closed_part(key: str, value: Any) -> Any:
    match key:
        case "properties":
            return {name: closed(part) for name, part in value.items()}
        case "items" | "oneOf" | "anyOf" | "additionalProperties":
            return closed(value)
        case _:
            return value


def _typed(schema: Json) -> Json:
    """Give a nullable schema without a type the type its other words imply."""
    if schema.get("nullable") is not True or "type" in schema:
        return schema
    for key in ("oneOf", "anyOf"):
        if key in schema:
            rest = {name: value for name, value in schema.items() if name != "nullable"}
            return rest | {
                key: [branch | {"nullable": True} if "type" in branch else branch for branch in schema[key]]
            }
    kind = "object" if "properties" in schema else "array" if "items" in schema else "string"
    return schema | {"type": kind}


def prepare_kubernetes(document: Json, operations: Operations = KUBERNETES) -> Json:
    """Return the operations of Kubernetes' description (Swagger 2) as OpenAPI 3, closed, JSON patches being
    arrays."""
    made: Json = {"openapi": "3.0.3", "info": document["info"], "paths": {}, "components": {"schemas": {}}}
    for name, schema in document["definitions"].items():
        made["components"]["schemas"][name] = _closed_definition(_moved(schema))
    times = made["components"]["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"]["properties"]
    times["creationTimestamp"] = {"type": "string", "nullable": True}
    made["components"]["schemas"]["JsonPatch"] = json_patch("io.k8s.api.core.v1.PodTemplateSpec")
    wanted = set(operations)
    for path, item in document["paths"].items():
        for method in METHODS:
            if (method.upper(), path) in wanted:
                shared = item.get("parameters", [])
                made["paths"].setdefault(path, {})[method] = _operation(document, item[method], shared)
                wanted.discard((method.upper(), path))
    assert not wanted, f"the description knows no such operations: {sorted(wanted)}"
    return _pruned(made)


def json_patch(template: str) -> Json:
    """Return the schema of a JSON patch (RFC 6902); the value of `/spec/template` must be a pod template."""
    step: Json = {
        "type": "object",
        "required": ["op", "path"],
        "additionalProperties": False,
        "properties": {
            "op": {"type": "string", "enum": ["add", "remove", "replace", "move", "copy", "test"]},
            "path": {"type": "string", "pattern": "^/"},
            "from": {"type": "string", "pattern": "^/"},
            "value": {},
        },
    }
    pod = {"properties": {"path": {"enum": ["/spec/template"]}, "value": {"$ref": _component(template)}}}
    other = {"properties": {"path": {"not": {"enum": ["/spec/template"]}}}}
    return {"type": "array", "items": {"allOf": [step, {"oneOf": [pod, other]}]}}


def _operation(document: Json, described: Json, shared: list[Json]) -> Json:
    parameters, body = [], None
    for raw in [*shared, *described.get("parameters", [])]:
        parameter = _found(document, raw["$ref"]) if "$ref" in raw else raw
        if parameter["in"] == "body":
            body = _moved(parameter["schema"])
        else:
            schema = {key: parameter[key] for key in ("type", "enum") if key in parameter}
            parameters.append({key: parameter[key] for key in ("name", "in", "required") if key in parameter})
            parameters[-1] |= {"schema": schema} | ({"required": True} if parameter["in"] == "path" else {})
    made: Json = {"parameters": parameters, "responses": _responses(described)}
    if body is not None:
        patch = any("patch" in kind for kind in described.get("consumes", []))
        content = {"application/json-patch+json": {"schema": {"$ref": _component("JsonPatch")}}}
        plain = {"application/json": {"schema": body}}
        made["requestBody"] = {"required": True, "content": content if patch else plain}
    return made


def _responses(described: Json) -> Json:
    made = {}
    for status, response in described["responses"].items():
        content = {"application/json": {"schema": _moved(response["schema"])}} if "schema" in response else {}
        made[status] = {"description": response.get("description", ""), "content": content}
    return made


def _closed_definition(schema: Json) -> Json:
    if "properties" in schema and "additionalProperties" not in schema:
        return {**schema, "additionalProperties": False}
    return schema


def _component(name: str) -> str:
    return f"#/components/schemas/{name}"


def _moved(schema: Any) -> Any:
    """Write references as OpenAPI 3 does; leave out Kubernetes' own words (`x-…`)."""
    if isinstance(schema, list):
        return [_moved(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _moved(value) for key, value in schema.items() if not key.startswith("x-")}
    if "$ref" in made and isinstance(made["$ref"], str):
        made["$ref"] = re.sub("^#/definitions/", "#/components/schemas/", made["$ref"])
    return made


def read(path: Path) -> Json:
    """Read a description."""
    document: Json = json.loads(path.read_text(encoding="utf-8"))
    return document


def templates(document: Json) -> Mapping[tuple[str, str], frozenset[str]]:
    """Return the operations with the names of the query parameters each takes."""
    found = {}
    for method, path, operation in each(document):
        names = set()
        for raw in [*document["paths"][path].get("parameters", []), *operation.get("parameters", [])]:
            parameter = _found(document, raw["$ref"]) if "$ref" in raw else raw
            if parameter["in"] == "query":
                names.add(parameter["name"])
        found[method, path] = frozenset(names)
    return found
