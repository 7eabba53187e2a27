"""Looks at one environment for an operator: who we are in the cluster, what we may do there, what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from keyturn.canon import Json
from keyturn.connectors.checking import Finding, Level
from keyturn.connectors.deployments.kubernetes.owners import instance_note, owner_of
from keyturn.connectors.deployments.kubernetes.seeing import Seen, Subject
from keyturn.model.errors import ConnectorError
from keyturn.model.text import visible

_WHO: Final = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
_MAY: Final = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_ROLE: Final = "give its role this verb: the how-to page on Kubernetes has the whole role"
_NEEDED: Final = (
    ("get", "deployments", "nothing can be read"),
    ("list", "replicasets", "no revision can be told"),
    ("patch", "deployments", "it is read-only here: get_deployment works, rollback_deployment does not"),
)
_ADVICE: Final = (
    (
        "answered 401",
        "the cluster does not accept the credential: make a new token (kubectl create token), log in again",
    ),
    ("certificate has expired", "whoever runs the cluster has to renew the certificate of its API server"),
    ("not trusted", "take the authority from the cluster (kubectl config view --raw --flatten) and name its file"),
    ("for another name", "name what stands in the certificate with tls-server-name (tls_server_name with url)"),
    (
        "ended the connection",
        "a client certificate may have expired: openssl x509 -noout -enddate tells; or there is no https",
    ),
    ("no TLS connection", "does the cluster ask for a client certificate, or does something else listen there?"),
    ("private address", "set private = true beside it, if the cluster is meant to be in your own network"),
    ("no JSON", "look at the address: an API server answers there, not a web page"),
    ("not as an API server", "look at the address and its path"),
    ("cannot be reached", "look at the address, and whether this machine may connect to it"),
    ("has no address", "look at the spelling of the host's name"),
    ("answered 403", "give the account the role of the how-to page on Kubernetes"),
)


async def look(subject: Subject) -> list[Finding]:
    """Return what was found. Changes nothing, and what is wrong is a finding."""
    found: list[Finding] = []
    try:
        await _server(subject, found)
        await _permissions(subject, found)
        found += _object(subject, await subject.seen())
    except ConnectorError as error:
        found.append(Finding("wrong", _short(subject, str(error)), _advice(str(error))))
    return found


async def _server(subject: Subject, found: list[Finding]) -> None:
    """Say where we are, and as whom. Clusters before 1.28, and strict ones, leave that open."""
    place, cluster = subject.place, subject.cluster
    version = await cluster.version()
    answer = await cluster.ask(_WHO, {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"})
    where = f"{place}: {cluster.way.server()} (Kubernetes {version or 'of no version'})"
    if answer is None:
        found.append(Finding("note", f"{where}; it does not tell who we are"))
        return
    name = _member(answer, "status", "userInfo").get("username")
    if not isinstance(name, str) or name == "system:anonymous":
        advice = "the credential is not taken for one: is the token whole, and of this cluster?"
        found.append(Finding("wrong", f"{where}: it takes us for nobody", advice))
        return
    found.append(Finding("ok", f"{where}, where we are {visible(name)}"))


async def _permissions(subject: Subject, found: list[Finding]) -> None:
    """Ask for each verb that is needed, and whether everything else is allowed as well."""
    missing = untold = False
    for verb, resource, consequence in _NEEDED:
        name = subject.name if resource == "deployments" else ""
        allowed = await _may(subject, {"verb": verb, "group": "apps", "resource": resource, "name": name})
        untold = untold or allowed is None
        if allowed is False:
            text = f"{subject.place}: may not {verb} {resource} in namespace {subject.space}: {consequence}"
            found.append(Finding("wrong", text, _ROLE))
            missing = True
    if untold:
        found.append(Finding("note", f"{subject.place}: the cluster does not tell this account what it may do"))
    elif not missing:
        text = f"{subject.place}: may get and patch the Deployment and list ReplicaSets in {subject.space}"
        found.append(Finding("ok", text))
    if await _may(subject, {"verb": "*", "group": "*", "resource": "*"}):
        text = f"{subject.place}: may do everything in namespace {subject.space}"
        found.append(Finding("note", text, "give Keyturn an account with the role of the how-to page, and no more"))


async def _may(subject: Subject, attributes: Mapping[str, Json]) -> bool | None:
    """Ask whether a verb is allowed; None where the cluster does not say.

    https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/self-subject-access-review-v1/
    """
    asked = {name: value for name, value in attributes.items() if value}
    answer = await subject.cluster.ask(
        _MAY,
        {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {**asked, "namespace": subject.space}},
        },
    )
    return None if answer is None else _member(answer, "status").get("allowed") is True


def _object(subject: Subject, seen: Seen | None) -> list[Finding]:
    place = subject.place
    if seen is None:
        text = f"{place}: there is no Deployment {subject.name} in namespace {subject.space}"
        return [Finding("wrong", text, "look at the names in keyturn.toml: kubectl get deployments -n NAMESPACE")]
    live = seen.live
    current = "not told yet" if seen.current is None else f"revision {seen.current.revision}"
    count = len(seen.sets)
    found = [Finding("ok", f"{place}: {current} is live; {count} revision{'' if count == 1 else 's'} kept")]
    owner, note = owner_of(live), instance_note(live)
    if owner is not None:
        words = "every rollback is refused" if owner.advice else "it is not told of rollbacks"
        level: Level = "wrong" if owner.advice else "note"
        found.append(Finding(level, f"{place}: {owner.name} manages it: {words}", owner.advice))
    if note is not None:
        found.append(Finding("note", f"{place}: {note[:1].lower()}{note[1:]}"))
    if live.paused:
        advice = f"kubectl rollout resume deployment/{subject.name}"
        found.append(Finding("wrong", f"{place}: its rollout is paused, so every rollback is refused", advice))
    if live.history == 0:
        advice = "set spec.revisionHistoryLimit to 2 or more"
        found.append(Finding("wrong", f"{place}: keeps no old revisions, so there is nothing to go back to", advice))
    return found


def _member(value: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    for name in names:
        inner = value.get(name)
        value = inner if isinstance(inner, Mapping) else {}
    return value


def _advice(text: str) -> str:
    return next((advice for words, advice in _ADVICE if words in text), "see the how-to page on Kubernetes")


def _short(subject: Subject, text: str) -> str:
    return text if subject.place in text else f"{subject.place}: {text}"
