"""Looks at a repository on GitHub for an operator: who we are, what we may do, what will be in the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from keyturn.connectors.checking import Finding
from keyturn.connectors.forge.github.answers import members, text_at
from keyturn.connectors.forge.github.reading import Reading
from keyturn.connectors.github import GitHub, segment
from keyturn.connectors.github.standing import may_read, standing
from keyturn.model.errors import ConnectorError

_METHODS = {"allow_merge_commit": "merge", "allow_squash_merge": "squash", "allow_rebase_merge": "rebase"}


async def look(hub: GitHub, needed: Mapping[str, str]) -> tuple[Finding, ...]:
    """Return what is found, by reads alone; never raises."""
    stands = await standing(hub, needed)
    if stands.repository is None:
        return stands.findings
    found = [*stands.findings, *_ways(stands.repository)]
    try:
        found += await _reads(hub, stands.repository)
    except ConnectorError as error:
        found.append(Finding("wrong", str(error), "try again; if it stays, see https://www.githubstatus.com"))
    return tuple(found)


def _ways(repository: Mapping[str, Any]) -> Iterator[Finding]:
    """Tell which merges and drafts the repository has."""
    methods = [method for setting, method in _METHODS.items() if repository.get(setting)]
    if methods:
        yield Finding("ok", f"pull requests are merged by {' or '.join(methods)}")
    if repository.get("private"):
        yield Finding(
            "note",
            "draft pull requests in private repositories need a paid plan, which GitHub does not tell",
            "if drafts are refused, ask for pull requests with draft = false",
        )


async def _reads(hub: GitHub, repository: Mapping[str, Any]) -> list[Finding]:
    reading = Reading(hub)
    branch = text_at(repository, "default_branch")
    head = await reading.branch(branch)
    if head is None:
        advice = "push a first commit, or give the credential the repository permission contents: read"
        return [Finding("wrong", f"branch {branch} cannot be read", advice)]
    found = [
        Finding("ok", f"branch {branch} can be read"),
        await may_read(hub, "pull requests", "/pulls", "pull_requests"),
        await may_read(hub, "checks", f"/commits/{head}/check-runs", "checks"),
        await may_read(hub, "commit statuses", f"/commits/{head}/status", "statuses"),
        await _protected(hub, branch),
    ]
    if await reading.branch("keyturn") is not None:
        found.append(
            Finding("wrong", "a branch called keyturn stands where keyturn/… has to go", "rename that branch")
        )
    return found


async def _protected(hub: GitHub, branch: str) -> Finding:
    """https://docs.github.com/en/rest/branches/branches#get-a-branch"""
    found = members((await hub.get(f"/branches/{segment(branch)}")).json())
    if found.get("protected") is True:
        return Finding("ok", f"branch {branch} is protected on GitHub too")
    return Finding(
        "note",
        f"branch {branch} is not protected on GitHub: whoever may write can push to it past Keyturn",
        "protect it, with required reviews and checks",
    )
