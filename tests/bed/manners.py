"""What GitHub does and the emulator does not: a layer of the proxy between our connector and `emulate`.

Each rule below was seen to be missing in emulate 0.12.2 (its own tests beside this file fail on the emulator alone)
and follows GitHub's REST documentation:

- a second open pull request for the same head and base: 422 "A pull request already exists for OWNER:BRANCH."
- a pull request whose head or base branch does not exist: 422 (emulate makes the branch)
- a token that is unknown: 401 "Bad credentials" (emulate takes it for its first user's)
- a token that may only read: 403 "Resource not accessible by personal access token" on every change
- a classic token's scopes are told in `x-oauth-scopes`
- `GET /user` with an installation's token: 403 "Resource not accessible by integration" (emulate answers with the
  installation's account)
- an open pull request's head is where its branch is now (emulate keeps the commit of the day it was opened)
- a pull request that nothing happened to since it was opened was last changed when it was made (emulate changes it
  once more while it makes it, and now and then the clock goes on between)
- `mergeable` and `mergeable_state` of one pull request are looked up (emulate: always true, "clean")
- `permissions` of a repository are those of the token that asks (emulate: all, for everybody)
- a commit's combined status exists (`statuses` holds what was reported; emulate knows check runs only)
- merging: 409 where `sha` is not the head's, 405 for drafts, closed ones and conflicts; what the base got meanwhile
  stays in the result (emulate answers 422, and takes the head's whole tree on the base of that day)

The merge is made here of the emulator's git data API, by whole files, with the client's own credentials, when the
branches moved since the pull request was opened; else the emulator makes it. A lock lets one request at a time
through, so what was looked up still holds when it is used.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, quote, unquote

from tests.bed.recorder import Answer, Next, Request, answer

DOCUMENTATION = "https://docs.github.com/rest"
MAKING = timedelta(milliseconds=20)
"""How long the emulator takes at most to make a pull request; nobody changes one as fast."""
_ROOT = r"/repos/([^/]+)/([^/]+)"

Tree = dict[str, tuple[str, str, str]]
"""Mode, type and object id of each path of a tree."""


def refused(status: int, message: str, *errors: Mapping[str, str]) -> Answer:
    """Make an error in GitHub's words."""
    said: dict[str, Any] = {"message": message, "documentation_url": DOCUMENTATION, "status": str(status)}
    return answer(status, said | ({"errors": list(errors)} if errors else {}))


@dataclass(slots=True)
class Manners:
    """The layer; `known` are the tokens that exist, `read_only` those of them that may change nothing."""

    known: set[str] = field(default_factory=set)
    read_only: Collection[str] = ()
    scopes: Mapping[str, str] = field(default_factory=dict)
    statuses: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    merged: dict[tuple[str, str, int], dict[str, Any]] = field(default_factory=dict)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def __call__(self, request: Request, onward: Next) -> Answer:
        """Answer as GitHub would."""
        async with self._turn:
            credential = (request.header("authorization") or "").partition(" ")[2]
            refusal = self._credential(request, credential)
            if refusal is not None:
                return refusal
            said = await self._routed(request, onward)
            if re.fullmatch(r"/app/installations/\d+/access_tokens", request.path) and said.status == 201:
                self.known.add(said.json()["token"])
            scopes = self.scopes.get(credential)
            return said if scopes is None else replace(said, headers=(*said.headers, ("x-oauth-scopes", scopes)))

    def _credential(self, request: Request, credential: str) -> Answer | None:
        if credential.startswith("eyJ") or not credential:
            return None
        if credential not in self.known:
            return refused(401, "Bad credentials")
        if credential in self.read_only and request.method not in ("GET", "HEAD"):
            return refused(403, "Resource not accessible by personal access token")
        if credential.startswith("ghs_") and request.path == "/user":
            return refused(403, "Resource not accessible by integration")
        return None

    async def _routed(self, request: Request, onward: Next) -> Answer:
        found = re.fullmatch(_ROOT + r"/pulls(?:/(\d+)(/merge)?)?", request.path)
        if found is None:
            return await self._elsewhere(request, onward)
        github = _GitHub(request, onward, found[1], found[2])
        number = int(found[3]) if found[3] else None
        match (request.method, number, found[4]):
            case ("POST", None, None):
                refusal = await _not_to_open(github, request)
                said = refusal or await onward(request)
            case ("PUT", int(), "/merge"):
                return await self._merge(github, request, onward, number)
            case ("PATCH", int(), None) if (github.owner, github.repository, number) in self.merged:
                said = refused(422, "Validation Failed", {"resource": "PullRequest", "code": "invalid"})
            case (_, _, None):
                said = await onward(request)
            case _:
                return await onward(request)
        return await self._today(github, request, said)

    async def _elsewhere(self, request: Request, onward: Next) -> Answer:
        status = re.fullmatch(_ROOT + r"/commits/(.+)/status", request.path)
        if status is not None and request.method == "GET":
            told = await _GitHub(request, onward, status[1], status[2]).get(f"commits/{status[3]}")
            return told if told.status != 200 else answer(200, self._status(told.json()["sha"]))
        said = await onward(request)
        reading = (request.header("authorization") or "").partition(" ")[2] in self.read_only
        if re.fullmatch(_ROOT, request.path) and said.status == 200 and reading:
            document = said.json()
            rights = dict.fromkeys(document.get("permissions", {}), False) | {"pull": True}
            return replace(said, body=json.dumps(document | {"permissions": rights}).encode())
        return said

    def _status(self, sha: str) -> dict[str, Any]:
        reported = self.statuses.get(sha, [])
        states = {status["state"] for status in reported}
        state = "failure" if states & {"failure", "error"} else "success" if states == {"success"} else "pending"
        return {"sha": sha, "state": state, "statuses": reported, "total_count": len(reported)}

    async def _today(self, github: _GitHub, request: Request, said: Answer) -> Answer:
        """Correct what is told of pull requests: heads that moved, merges that were made here."""
        if not 200 <= said.status < 300 or not said.body:
            return said
        document = said.json()
        several = document if isinstance(document, list) else [document]
        for pull in several:
            await self._correct(github, pull)
        if isinstance(document, list) and request.query:
            document = _still_wanted(document, parse_qs(request.query))
        return replace(said, body=json.dumps(document).encode())

    async def _correct(self, github: _GitHub, pull: dict[str, Any]) -> None:
        if _time(pull["updated_at"]) - _time(pull["created_at"]) < MAKING:
            pull["updated_at"] = pull["created_at"]
        merge = self.merged.get((github.owner, github.repository, pull["number"]))
        if merge is not None:
            pull.update(merge)
        elif pull["state"] == "open":
            head = await github.head(pull["head"]["ref"])
            if head is not None:
                pull["head"]["sha"] = head
            if head is not None and "mergeable" in pull:
                base = await github.head(pull["base"]["ref"])
                fits = base is not None and await _changes(github, head, base) is not None
                pull["mergeable"] = fits
                pull["mergeable_state"] = "draft" if pull.get("draft") else "clean" if fits else "dirty"

    async def _merge(self, github: _GitHub, request: Request, onward: Next, number: int) -> Answer:
        told = await github.get(f"pulls/{number}")
        if told.status != 200:
            return told
        pull = told.json()
        if pull["state"] != "open" or (github.owner, github.repository, number) in self.merged:
            return refused(405, "Pull Request is not mergeable")
        if pull.get("draft"):
            return refused(405, "Pull Request is still a draft")
        head, base = await github.head(pull["head"]["ref"]), await github.head(pull["base"]["ref"])
        if head is None or base is None:
            return refused(405, "Pull Request is not mergeable")
        if (request.json() or {}).get("sha", head) != head:
            return refused(409, "Head branch was modified. Review and try the merge again.")
        if (head, base) == (pull["head"]["sha"], pull["base"]["sha"]) and await github.above(base, head):
            return await onward(request)
        return await self._merge_here(github, request, pull, head, base)

    async def _merge_here(
        self, github: _GitHub, request: Request, pull: dict[str, Any], head: str, base: str
    ) -> Answer:
        wished = request.json() or {}
        changes = await _changes(github, head, base)
        if changes is None:
            return refused(405, "Merge conflict")
        tree = await _merged_tree(github, changes, base)
        if tree.status != 201:
            return tree
        title = wished.get("commit_title") or f"Merge pull request #{pull['number']} from {pull['head']['ref']}"
        parents = [base, head] if wished.get("merge_method", "merge") == "merge" else [base]
        message = f"{title}\n\n{wished['commit_message']}" if wished.get("commit_message") else title
        wished_commit = {"message": message, "tree": tree.json()["sha"], "parents": parents}
        commit = await github.send("POST", "git/commits", wished_commit)
        if commit.status != 201:
            return commit
        sha: str = commit.json()["sha"]
        moved = await github.send("PATCH", f"git/refs/heads/{quote(pull['base']['ref'])}", {"sha": sha})
        if moved.status != 200:
            return moved
        closed = (await github.send("PATCH", f"pulls/{pull['number']}", {"state": "closed"})).json()
        self.merged[github.owner, github.repository, pull["number"]] = {
            "state": "closed",
            "merged": True,
            "merged_at": closed["closed_at"],
            "merge_commit_sha": sha,
            "merged_by": closed["user"],
            "mergeable": None,
            "mergeable_state": "unknown",
            "head": pull["head"] | {"sha": head},
        }
        return answer(200, {"sha": sha, "merged": True, "message": "Pull Request successfully merged"})


@dataclass(frozen=True, slots=True)
class _GitHub:
    """The emulator as the client of one request sees it: with that client's credentials, about one repository."""

    request: Request
    onward: Next
    owner: str
    repository: str

    async def send(self, method: str, path: str, body: object = None) -> Answer:
        dropped = ("content-length", "content-type")
        headers = tuple((name, value) for name, value in self.request.headers if name not in dropped)
        sent = b"" if body is None else json.dumps(body).encode()
        kind = (("content-type", "application/json"),) if sent else ()
        return await self.onward(
            Request(method, f"/repos/{self.owner}/{self.repository}/{path}", headers + kind, sent)
        )

    async def get(self, path: str) -> Answer:
        return await self.send("GET", path)

    async def head(self, branch: str) -> str | None:
        told = await self.get(f"git/ref/heads/{quote(branch)}")
        return told.json()["object"]["sha"] if told.status == 200 else None

    async def tree(self, commit: str) -> Tree:
        found = (await self.get(f"git/commits/{commit}")).json()
        told = (await self.get(f"git/trees/{found['tree']['sha']}?recursive=1")).json()
        return {e["path"]: (e["mode"], e["type"], e["sha"]) for e in told["tree"] if e["type"] != "tree"}

    async def ancestors(self, commit: str) -> list[str]:
        """The commit and all before it, nearest first."""
        order, waiting = [], [commit]
        while waiting:
            current = waiting.pop(0)
            if current not in order:
                order.append(current)
                told = (await self.get(f"git/commits/{current}")).json()
                waiting += [parent["sha"] for parent in told["parents"]]
        return order

    async def above(self, below: str, commit: str) -> bool:
        return below in await self.ancestors(commit)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def _not_to_open(github: _GitHub, request: Request) -> Answer | None:
    """Refuse what GitHub would not open; None if it may be opened (or the emulator is to say why not)."""
    try:
        wished = request.json()
    except json.JSONDecodeError:
        return refused(400, "Problems parsing JSON")
    if not isinstance(wished, dict) or not all(isinstance(wished.get(name), str) for name in ("head", "base")):
        return None
    head = wished["head"].removeprefix(f"{github.owner}:")
    for name, branch in (("head", head), ("base", wished["base"])):
        if ":" not in branch and (await github.get(f"git/ref/heads/{quote(branch)}")).status == 404:
            error = {"resource": "PullRequest", "field": name, "code": "invalid"}
            return refused(422, "Validation Failed", error)
    label = f"{github.owner}:{head}"
    listed = await github.get(f"pulls?state=open&head={quote(label)}&base={quote(wished['base'])}")
    if listed.status != 200 or not listed.json():
        return None
    said = f"A pull request already exists for {label}."
    return refused(422, "Validation Failed", {"resource": "PullRequest", "code": "custom", "message": said})


async def _changes(github: _GitHub, head: str, base: str) -> list[dict[str, Any]] | None:
    """Tell what `head` adds to `base` by whole files over what they share; None where both changed one."""
    older = await github.ancestors(base)
    shared = next(commit for commit in await github.ancestors(head) if commit in older)
    common, ours, theirs = await github.tree(shared), await github.tree(base), await github.tree(head)
    entries = []
    for path in sorted(set(common) | set(theirs)):
        was, wanted, now = common.get(path), theirs.get(path), ours.get(path)
        if wanted in (was, now):
            continue
        if now != was:
            return None
        mode, kind, sha = wanted or (*(was or ("100644", "blob"))[:2], None)
        entries.append({"path": path, "mode": mode, "type": kind, "sha": sha})
    return entries


async def _merged_tree(github: _GitHub, entries: list[dict[str, Any]], base: str) -> Answer:
    """Write the tree of the base with these changes."""
    tree = (await github.get(f"git/commits/{base}")).json()["tree"]["sha"]
    if not entries:
        return answer(201, {"sha": tree})
    return await github.send("POST", "git/trees", {"base_tree": tree, "tree": entries})


def _still_wanted(pulls: list[dict[str, Any]], query: Mapping[str, list[str]]) -> list[dict[str, Any]]:
    state = unquote(query.get("state", ["open"])[0])
    return [pull for pull in pulls if state == "all" or pull["state"] == state]
