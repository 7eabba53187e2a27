"""Looks at a repository's issues: who we are there, what we may do, what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keyturn.connectors.checking import Finding
from keyturn.connectors.github import GitHub
from keyturn.model.errors import ConnectorError

_WRITE = 'needs the permission "Issues: read and write" on the repository'


async def look(github: GitHub) -> tuple[Finding, ...]:
    """Return what there is to say, by reads alone; after what makes all else fail, nothing else is looked at."""
    found: list[Finding] = []
    try:
        found.append(Finding("ok", f"{github.door.host}: we are {await github.login()}"))
        granted = await github.permissions()
        if granted is not None:
            found.append(_granted(granted))
        if found[-1].level != "wrong":  # no token is to be had for what an App was not granted
            repository = await _repository(github)
            found += _state(github, repository)
            found += [_rights(github, repository)] if granted is None else []
            found += await _reading(github)
    except ConnectorError as error:
        found.append(_failed(str(error), error.kind))
    return tuple(found)


async def _repository(github: GitHub) -> Mapping[str, Any]:
    answer = await github.get("", expected=frozenset({301, 404}))
    told = answer.json() if answer.status == 200 else None
    if answer.status == 301:
        raise ConnectorError(f"{github.repository} has another name now")
    if not isinstance(told, dict):
        raise ConnectorError(f"{github.repository} is not there, or this credential does not reach it")
    return told


def _state(github: GitHub, repository: Mapping[str, Any]) -> list[Finding]:
    found = []
    if repository.get("archived") is True:
        text = f"{github.repository} is archived: nothing can be written there"
        found.append(Finding("wrong", text, "unarchive it, or point to another repository"))
    if repository.get("has_issues") is False:
        text = f"issues are switched off in {github.repository}"
        found.append(Finding("wrong", text, "switch them on in the repository's settings, under Features"))
    return found or [Finding("ok", f"{github.repository}: issues are switched on")]


def _granted(granted: Mapping[str, str]) -> Finding:
    level = granted.get("issues", "none")
    if level == "write":
        return Finding("ok", "the App's installation may write issues")
    text = f'the App\'s installation was granted "issues": {level}'
    return Finding("wrong", text, f"the App {_WRITE}; whoever owns the installation accepts the change")


def _rights(github: GitHub, repository: Mapping[str, Any]) -> Finding:
    """Judge what GitHub says of the account; of a fine-grained token's own permissions it says nothing."""
    rights = repository.get("permissions")
    if not isinstance(rights, Mapping):
        return Finding("note", "GitHub does not say what this token may do", f"it {_WRITE}")
    if not any(rights.get(name) is True for name in ("admin", "maintain", "push", "triage")):
        text = f"this account may only read {github.repository}"
        return Finding("wrong", text, f"give it the role Triage or Write; a fine-grained token {_WRITE}")
    text = "the account may write; GitHub does not tell whether a fine-grained token of it may"
    return Finding("note", text, f"such a token {_WRITE}")


async def _reading(github: GitHub) -> list[Finding]:
    listed = await github.get("/issues", params={"per_page": "1"}, expected=frozenset({403, 404, 410}))
    if listed.status != 200:
        return [Finding("wrong", f"issues of {github.repository} cannot be read ({listed.status})", f"it {_WRITE}")]
    watchers = await github.get("/subscribers", params={"per_page": "1"}, expected=frozenset({403, 404}))
    if watchers.status != 200:
        text = f"who watches {github.repository} cannot be seen ({watchers.status}): recipients are counted too low"
        return [Finding("note", text, 'the permission "Metadata: read" shows them')]
    return []


def _failed(words: str, kind: str) -> Finding:
    if "answered 401" in words:
        advice = "make a new token, or give the App's own key; then `keyturn connector check` again"
    elif "/access_tokens" in words:
        advice = f"the App {_WRITE}, and is to be installed there: look at the App's settings and its installation"
    elif kind == "retry":
        advice = "look whether the url is right, the host can be reached and its certificate is good"
    else:
        advice = "look at url, repository and credential"
    return Finding("wrong", words, advice)
