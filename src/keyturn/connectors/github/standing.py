"""Looks who we are on GitHub, and what we may do with a repository's code: what a forge's check begins with."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from keyturn.connectors.checking import Finding
from keyturn.connectors.github import GitHub, said
from keyturn.connectors.github.authority import Installation
from keyturn.connectors.http import Answer, Door
from keyturn.model.errors import ConfigurationError, ConnectorError
from keyturn.model.text import visible

SOON = timedelta(days=14)
"""How long before its end a token is spoken of."""

_REFUSALS = frozenset({401, 403, 404})
_RANK = {"read": 1, "write": 2, "admin": 3}
_EXPIRY = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (UTC|[+-]\d{4})", re.ASCII)
_COUNT = re.compile(r"[0-9]{1,12}", re.ASCII)
_MEND = "docs/how-to/use-github.md says which"


@dataclass(frozen=True, slots=True)
class Standing:
    """What was found, and the repository as GitHub describes it; None where it cannot be read."""

    findings: tuple[Finding, ...]
    repository: Mapping[str, Any] | None = None


async def standing(hub: GitHub, needed: Mapping[str, str]) -> Standing:
    """Look by reads alone. `needed` are permissions by name, `contents` → `write`. Raises nothing."""
    found: list[Finding] = []
    try:
        proof = hub.proof
        if isinstance(proof, Installation):
            found += await _app(proof, hub.repository, needed)
            if any(finding.level == "wrong" for finding in found):
                return Standing(tuple(found))
        answer = await _asked(hub.door, f"/repos/{hub.repository}")
        if isinstance(answer, Finding):
            return Standing((*found, answer))
        if answer.status in _REFUSALS:
            return Standing((*found, _refused(hub, answer)))
        repository = _described(answer.json())
        if isinstance(repository, Finding):
            return Standing((*found, repository))
        if not isinstance(proof, Installation):
            found += await _token(hub, answer, repository)
        found += [*_repository(hub, repository), *_rate(answer)]
        return Standing(tuple(found), repository)
    except (ConnectorError, ConfigurationError) as error:
        return Standing((*found, _unreachable(str(error))))


async def may_read(hub: GitHub, what: str, path: str, permission: str) -> Finding:
    """Try one read that a tool needs; `what` names it, `permission` is what GitHub calls the permission for it."""
    answer = await hub.get(path, params={"per_page": "1"}, expected=_REFUSALS)
    if answer.status in _REFUSALS:
        advice = f"give the credential the repository permission {permission}: read"
        return Finding("wrong", f"{what} cannot be read ({said(answer)})", advice)
    return Finding("ok", f"{what} can be read")


async def _asked(door: Door, path: str) -> Answer | Finding:
    """Read, telling refusals of GitHub from a server that is not reached or is not GitHub."""
    try:
        return await door.read(path)
    except ConnectorError as error:
        words = str(error)
    try:
        return await door.read(path, expected=_REFUSALS)
    except ConnectorError:
        return _unreachable(words)


def _unreachable(words: str) -> Finding:
    lowered = words.lower()
    if "certificate" in lowered:
        advice = "see that the server's certificate is in force, and that `ca` names who signed it, if it is your own"
    elif "access_tokens" in lowered:
        advice = "see that the App is installed on this repository, and that it was granted the permissions needed"
    elif "json" in lowered:
        advice = "see that `url` is the API's own: https://api.github.com, or https://HOST/api/v3 of your own server"
    else:
        advice = "see that `url` is right, and that this machine reaches it (`proxy`, name server, firewall)"
    return Finding("wrong", words, advice)


# an App


async def _app(proof: Installation, repository: str, needed: Mapping[str, str]) -> list[Finding]:
    """Look at the App and its installation. https://docs.github.com/en/rest/apps/apps"""
    answer = await _asked(proof.door, "/app")
    if isinstance(answer, Finding):
        return [answer]
    if answer.status in _REFUSALS:
        advice = "see that `app.id` and the private key belong together, and that this machine's clock is right"
        return [Finding("wrong", f"GitHub does not know the App by this key: {said(answer)}", advice)]
    slug = visible(_text(answer.json(), "slug"))
    where = f"/repos/{repository}/installation" if proof.number is None else f"/app/installations/{proof.number}"
    installed = await proof.door.read(where, expected=_REFUSALS)
    if installed.status in _REFUSALS:
        advice = f"install it: github.com/apps/{slug}/installations/new, and choose this repository"
        number = "" if proof.number is None else f" (installation {proof.number})"
        return [Finding("wrong", f"the App {slug} is not installed on {repository}{number}", advice)]
    described = installed.json()
    if not isinstance(described, Mapping):
        return [_unreachable("what answers is no GitHub: no JSON that describes an installation came back")]
    who = Finding("ok", f"we are the App {slug}, shown as {slug}[bot]; tokens last an hour")
    return [who, *_installation(described, needed)]


def _text(value: Any, name: str) -> str:
    return str(value.get(name)) if isinstance(value, Mapping) else ""


def _installation(described: Mapping[str, Any], needed: Mapping[str, str]) -> Iterator[Finding]:
    told = described.get("permissions")
    granted = told if isinstance(told, Mapping) else {}
    if described.get("suspended_at"):
        yield Finding("wrong", "the App's installation is suspended", "an owner of the account can end that")
    lacking = [f"{name}: {level}" for name, level in needed.items() if not _covers(granted.get(name), level)]
    if lacking:
        advice = "add them in the App's settings (Permissions & events), then accept them where it is installed"
        yield Finding("wrong", f"the App lacks permissions: {', '.join(lacking)}", advice)
    else:
        narrowed = ", ".join(f"{name}: {level}" for name, level in needed.items())
        yield Finding("ok", f"tokens are narrowed to this repository and to {narrowed}")


def _covers(granted: object, needed: str) -> bool:
    return _RANK.get(str(granted), 0) >= _RANK[needed]


# a token


async def _token(hub: GitHub, answer: Answer, repository: Mapping[str, Any]) -> list[Finding]:
    login = visible(await hub.login())
    scopes = answer.headers.get("x-oauth-scopes")
    kind = "a fine-grained token" if scopes is None else "a classic token"
    found = [Finding("ok", f"we are {login}, by {kind}"), *_expiry(answer)]
    if scopes is not None:
        found += _scopes({scope.strip() for scope in scopes.split(",")}, private=bool(repository.get("private")))
    rights = repository.get("permissions")
    if not isinstance(rights, Mapping) or not rights.get("push"):
        advice = f"let {login} write to the repository, and give the token write permissions ({_MEND})"
        found.append(Finding("wrong", f"{login} may only read {hub.repository} with this token", advice))
    elif scopes is None:
        found.append(
            Finding(
                "note",
                "GitHub does not tell what a fine-grained token may write before something is written",
                f"see that it has the write permissions of the tools in use ({_MEND}); without, GitHub refuses them",
            )
        )
    return found


def _scopes(scopes: set[str], *, private: bool) -> Iterator[Finding]:
    """https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/scopes-for-oauth-apps"""
    if not scopes & ({"repo"} if private else {"repo", "public_repo"}):
        wanted = "repo" if private else "public_repo"
        yield Finding(
            "wrong", f"the token lacks the scope {wanted}, without which it only reads", f"give it {wanted}"
        )
    yield Finding(
        "note",
        "a classic token reaches every repository of its person",
        "an App, or a fine-grained token for this repository alone, does less harm when it leaks",
    )


def _expiry(answer: Answer) -> Iterator[Finding]:
    """Tell when the token ends, by GitHub's own clock.

    https://docs.github.com/en/rest/authentication/authenticating-to-the-rest-api
    """
    text = answer.headers.get("github-authentication-token-expiration")
    if text is None:
        return
    ends, now = _moment(text), _date(answer)
    if ends is None or now is None:
        yield Finding("note", f"the token ends on {visible(text)}")
    elif ends - now < SOON:
        yield Finding(
            "note", f"the token ends on {visible(text)}, soon", "make a new one, and put it where it is read"
        )
    else:
        yield Finding("ok", f"the token ends on {visible(text)}")


def _moment(text: str) -> datetime | None:
    """Read `2026-12-31 00:00:00 UTC` or `… +0100`."""
    parts = _EXPIRY.fullmatch(text)
    if parts is None:
        return None
    zone = "+0000" if parts[2] == "UTC" else parts[2]
    try:
        return datetime.fromisoformat(f"{parts[1]}{zone}")
    except ValueError:
        return None


def _date(answer: Answer) -> datetime | None:
    try:
        found = parsedate_to_datetime(answer.headers.get("date", ""))
    except (ValueError, OverflowError):
        return None
    return found if found.tzinfo else None


# the repository


def _refused(hub: GitHub, answer: Answer) -> Finding:
    words = said(answer)
    match answer.status:
        case 401:
            advice = "make a new token, and put it where `credential` says; it may have ended or been revoked"
            return Finding("wrong", f"GitHub does not accept the credential: {words}", advice)
        case 403:
            advice = "see the token's permissions, and whether the organisation asks for approval or single sign-on"
            return Finding("wrong", f"GitHub does not let us read {hub.repository}: {words}", advice)
    advice = "see that `repository` is spelt right, and that the credential was given this repository"
    return Finding("wrong", f"GitHub shows no repository {hub.repository} to this credential", advice)


def _described(value: Any) -> Mapping[str, Any] | Finding:
    if isinstance(value, Mapping) and isinstance(value.get("full_name"), str):
        return value
    return _unreachable("what answers is no GitHub: no JSON that describes a repository came back")


def _repository(hub: GitHub, repository: Mapping[str, Any]) -> Iterator[Finding]:
    name = visible(str(repository["full_name"]))
    if name.casefold() != hub.repository.casefold():
        yield Finding(
            "wrong",
            f"{hub.repository} is called {name} now; reads are redirected there, changes are refused",
            f'repository = "{name}"',
        )
    else:
        sort = "private" if repository.get("private") else "public"
        yield Finding(
            "ok", f"{name} can be read; it is {sort}, its default branch {repository.get('default_branch')}"
        )
    for state in ("archived", "disabled"):
        if repository.get(state):
            yield Finding("wrong", f"{name} is {state}: nothing can be changed in it", "name another repository")


def _rate(answer: Answer) -> Iterator[Finding]:
    """https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api"""
    left, limit = answer.headers.get("x-ratelimit-remaining", ""), answer.headers.get("x-ratelimit-limit", "")
    if _COUNT.fullmatch(left) and _COUNT.fullmatch(limit):
        low = int(left) * 10 < int(limit)
        advice = "somebody uses the same credential a lot; give Keyturn one of its own" if low else ""
        yield Finding("note" if low else "ok", f"{left} of {limit} requests are left this hour", advice)
