"""GitHub as `emulate` plays it: a program of its own on loopback, with people, an App and repositories to use up.

`emulate` 0.12.2 keeps everything in memory and starts in half a second. What it does: users, organisations, tokens,
GitHub Apps (JWT, installations, tokens narrowed to repositories and permissions, 403 where they do not suffice), git
data (blobs, trees, commits and refs with true object ids; a ref that is not a fast-forward: 422), contents, pull
requests, reviews, issues, labels, comments, checks, branch protection, webhooks signed with a secret, `Link` headers
of pages.

What it does not do, so that nothing here proves it:

- no GraphQL at all: `createCommitOnBranch` and `revertPullRequest` cannot be called; no deployments API; no statuses
  (`/commits/…/status` is 404: checks are check runs only); no rulesets
- no secondary rate limits, no `retry-after`; 5000 requests an hour to each token are counted and the next is 403
- no ETags, no conditional requests, no media types: `accept` and `x-github-api-version` are not looked at
- `X-GitHub-Delivery` of an App's webhook is a time, not an id; a webhook that fails is not sent again
- the files of a pull request (`pulls/N/files`) are invented, its counts of lines are nought
- a private repository that a token cannot see answers 403, not 404
- anybody with a token may write issues, comments and pull requests of a public repository; a collaborator with "read"
  may edit a private one's. Scopes of classic tokens mean nothing.
- an App's JWT may be valid for years and needs no `iat`; its `iss` may not be the client id
- an installation's own token asks `GET /installation/repositories` in vain (404)
- a field `permissions` of a repository is always full for whoever asks

What it does otherwise than GitHub and `tests.bed.manners` corrects: doubled pull requests, missing branches, unknown
and reading tokens, moved heads, merges. Use `Emulator.url` for other people's doings and a proxy with manners
(`tests.bed.forge`) for our connector.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count, cycle
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import yaml
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.bed.node import EMULATE, entry, require
from tests.bed.programs import Program, program
from tests.canaries.marks import MARK

ORGANISATION = "shop-co"
FULL = {
    "metadata": "read",
    "contents": "write",
    "pull_requests": "write",
    "issues": "write",
    "checks": "write",
    "statuses": "read",
    "administration": "read",
}
NARROW = {"metadata": "read", "contents": "read"}
APP, NARROW_APP = 4242, 4343
PURSES = 300
"""Sets of tokens, one for each test."""
INSTALLATION, OTHER_INSTALLATION, NARROW_INSTALLATION = 7001, 7002, 7003

FILES: Mapping[str, bytes] = {
    "README.md": b"# shop\n\nSells things.\n",
    "src/app.py": b"LIMIT = 10\n\n\ndef run() -> int:\n    return LIMIT\n",
    "deploy/prod.toml": b'replicas = 3\nimage = "shop:41"\n',
}
"""What a new repository's branch `main` holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Emulator:
    """A running emulator: its address, who may speak to it, and what other people do there."""

    url: str
    tokens: Mapping[str, str]
    app_id: int
    pem: Path
    narrow_app_id: int
    narrow_pem: Path
    program: Program
    client: httpx2.Client
    _numbers: Iterator[int]
    _purses: Iterator[Mapping[str, str]]

    def again(self) -> Emulator:
        """Return the same emulator with tokens that nobody used up: each is good for 5000 requests an hour."""
        return replace(self, tokens=next(self._purses))

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        return "127.0.0.1", self.program.port

    @property
    def installation(self) -> int:
        """The installation of the App on the organisation: every repository, all the permissions in `FULL`."""
        return INSTALLATION

    @property
    def other_installation(self) -> int:
        """The installation of the same App on ada's own account: none of the organisation's repositories."""
        return OTHER_INSTALLATION

    @property
    def narrow_installation(self) -> int:
        """The installation of the second App on the organisation: it may only read contents and metadata."""
        return NARROW_INSTALLATION

    def ask(self, method: str, path: str, body: object = None, *, who: str = "ada") -> Any:
        """Do something as a person; returns the document of the answer, AssertionError on anything but success."""
        headers = {"authorization": f"Bearer {self.tokens[who]}", "accept": "application/vnd.github+json"}
        told = self.client.request(method, path, headers=headers, json=body)
        assert told.is_success, f"{method} {path}: {told.status_code} {told.text}"
        return told.json() if told.content else None

    def repository(self, files: Mapping[str, bytes] = FILES, *, private: bool = True) -> Repository:
        """Make a repository of the organisation that nobody else uses, with these files on `main`."""
        name = f"shop-{next(self._numbers)}"
        wished = {"name": name, "private": private, "auto_init": True, "description": "made by a test"}
        self.ask("POST", f"/orgs/{ORGANISATION}/repos", wished)
        for login, permission in (("carol", "push"), ("bob", "pull")):
            self.ask("PUT", f"/repos/{ORGANISATION}/{name}/collaborators/{login}", {"permission": permission})
        made = Repository(self, ORGANISATION, name)
        if files:
            made.push("main", files, "Begin")
        return made


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository and what other people do in it; all of it goes straight to the emulator, as ada unless told."""

    emulator: Emulator
    owner: str
    name: str

    @property
    def full_name(self) -> str:
        """OWNER/NAME."""
        return f"{self.owner}/{self.name}"

    def ask(self, method: str, path: str = "", body: object = None, *, who: str = "ada") -> Any:
        """Ask below `/repos/OWNER/NAME`."""
        return self.emulator.ask(method, f"/repos/{self.full_name}{'/' if path else ''}{path}", body, who=who)

    def head(self, branch: str = "main") -> str:
        """Return the commit a branch is at."""
        sha: str = self.ask("GET", f"git/ref/heads/{quote(branch)}")["object"]["sha"]
        return sha

    def branches(self) -> dict[str, str]:
        """Return every branch and its commit."""
        return {branch["name"]: branch["commit"]["sha"] for branch in self.ask("GET", "branches?per_page=100")}

    def branch(self, name: str, at: str = "main") -> str:
        """Make a branch at another one's commit; returns the commit."""
        sha = self.head(at)
        self.ask("POST", "git/refs", {"ref": f"refs/heads/{name}", "sha": sha})
        return sha

    def push(
        self,
        branch: str,
        files: Mapping[str, bytes | None],
        message: str = "Somebody else's work",
        *,
        modes: Mapping[str, str] | None = None,
        who: str = "ada",
    ) -> str:
        """Add a commit to a branch that exists (None removes a file); returns its id."""
        parent = self.head(branch)
        base = self.ask("GET", f"git/commits/{parent}")["tree"]["sha"]
        tree = [
            {"path": path, "mode": (modes or {}).get(path, "100644"), "type": "blob", "sha": self._blob(data, who)}
            for path, data in files.items()
        ]
        made = self.ask("POST", "git/trees", {"base_tree": base, "tree": tree}, who=who)["sha"]
        wished = {"message": message, "tree": made, "parents": [parent]}
        commit: str = self.ask("POST", "git/commits", wished, who=who)["sha"]
        self.ask("PATCH", f"git/refs/heads/{quote(branch)}", {"sha": commit}, who=who)
        return commit

    def rewind(self, branch: str, commit: str) -> None:
        """Force a branch to another commit."""
        self.ask("PATCH", f"git/refs/heads/{quote(branch)}", {"sha": commit, "force": True})

    def delete(self, branch: str) -> None:
        """Delete a branch."""
        self.ask("DELETE", f"git/refs/heads/{quote(branch)}")

    def files(self, at: str = "main") -> dict[str, bytes]:
        """Return every file of a branch (or commit) with its content."""
        commit = at if len(at) == 40 else self.head(at)
        tree = self.ask("GET", f"git/commits/{commit}")["tree"]["sha"]
        found = self.ask("GET", f"git/trees/{tree}?recursive=1")["tree"]
        return {entry["path"]: self.content(entry["sha"]) for entry in found if entry["type"] == "blob"}

    def content(self, blob: str) -> bytes:
        """Return the bytes of a blob."""
        return base64.b64decode(self.ask("GET", f"git/blobs/{blob}")["content"])

    def log(self, branch: str = "main") -> list[Any]:
        """Return the commits of a branch by first parents, newest first, as `git/commits/…` tells them."""
        found, sha = [], self.head(branch)
        while sha:
            found.append(self.ask("GET", f"git/commits/{sha}"))
            sha = next((parent["sha"] for parent in found[-1]["parents"]), "")
        return found

    def pulls(self, state: str = "all") -> list[Any]:
        """Return the pull requests."""
        found: list[Any] = self.ask("GET", f"pulls?state={state}&per_page=100")
        return found

    def pull(self, number: int) -> Any:
        """Return one pull request, as the emulator alone tells it."""
        return self.ask("GET", f"pulls/{number}")

    def open_pull(self, head: str, base: str = "main", *, title: str = "Somebody's", draft: bool = False) -> int:
        """Open a pull request; returns its number."""
        wished = {"title": title, "head": head, "base": base, "body": "By a person.", "draft": draft}
        number: int = self.ask("POST", "pulls", wished)["number"]
        return number

    def close(self, number: int) -> None:
        """Close a pull request."""
        self.ask("PATCH", f"pulls/{number}", {"state": "closed"})

    def merge(self, number: int) -> str:
        """Merge a pull request as a person; returns the commit."""
        sha: str = self.ask("PUT", f"pulls/{number}/merge", {})["sha"]
        return sha

    def review(self, number: int, event: str = "APPROVE", *, who: str = "carol", body: str = "seen") -> None:
        """Review a pull request: APPROVE, REQUEST_CHANGES or COMMENT."""
        head = self.head(self.pull(number)["head"]["ref"])
        self.ask("POST", f"pulls/{number}/reviews", {"event": event, "body": body, "commit_id": head}, who=who)

    def check_run(self, sha: str, name: str = "ci", conclusion: str | None = "success") -> int:
        """Report a check of a commit; without a conclusion it is still running. Returns its id."""
        state = {"status": "in_progress"} if conclusion is None else {"status": "completed", "conclusion": conclusion}
        number: int = self.ask("POST", "check-runs", {"name": name, "head_sha": sha, **state})["id"]
        return number

    def protect(self, branch: str = "main", *, checks: tuple[str, ...] = (), reviews: int = 0) -> None:
        """Protect a branch: checks that must have passed, reviews that must approve."""
        wished: dict[str, Any] = {"enforce_admins": True, "restrictions": None}
        wished["required_status_checks"] = {"strict": False, "contexts": list(checks)} if checks else None
        wished["required_pull_request_reviews"] = {"required_approving_review_count": reviews} if reviews else None
        self.ask("PUT", f"branches/{quote(branch)}/protection", wished)

    def issue(self, title: str = "Broken", body: str = "It is.", labels: tuple[str, ...] = ()) -> int:
        """Open an issue (labels are made where they lack); returns its number."""
        present = {label["name"] for label in self.ask("GET", "labels?per_page=100")}
        for label in set(labels) - present:
            self.ask("POST", "labels", {"name": label, "color": "ededed"})
        number: int = self.ask("POST", "issues", {"title": title, "body": body, "labels": list(labels)})["number"]
        return number

    def issues(self) -> list[Any]:
        """Return all issues that are not pull requests."""
        found = self.ask("GET", "issues?state=all&per_page=100")
        return [issue for issue in found if "pull_request" not in issue]

    def read_issue(self, number: int) -> Any:
        """Return one issue."""
        return self.ask("GET", f"issues/{number}")

    def edit_issue(self, number: int, **fields: object) -> Any:
        """Edit an issue as a person: title, body, state, labels, assignees …"""
        return self.ask("PATCH", f"issues/{number}", fields)

    def comment(self, number: int, body: str, *, who: str = "carol") -> int:
        """Comment on an issue or pull request; returns the comment's id."""
        made: int = self.ask("POST", f"issues/{number}/comments", {"body": body}, who=who)["id"]
        return made

    def comments(self, number: int) -> list[str]:
        """Return the texts of an issue's comments."""
        return [comment["body"] for comment in self.ask("GET", f"issues/{number}/comments?per_page=100")]

    def watch(self, url: str, secret: str, *events: str) -> int:
        """Register a webhook; returns its id."""
        config = {"url": url, "secret": secret, "content_type": "json"}
        wished = {"name": "web", "active": True, "events": list(events), "config": config}
        made: int = self.ask("POST", "hooks", wished)["id"]
        return made

    def _blob(self, data: bytes | None, who: str) -> str | None:
        if data is None:
            return None
        wished = {"content": base64.b64encode(data).decode(), "encoding": "base64"}
        sha: str = self.ask("POST", "git/blobs", wished, who=who)["sha"]
        return sha


@contextmanager
def emulator(folder: Path) -> Iterator[Emulator]:
    """Run an emulator as long as the block lasts; `folder` gets its seed, its keys and what it writes."""
    node = require(EMULATE)
    purses = [_purse() for _ in range(PURSES)]
    pem, narrow_pem = _key(folder / "app.pem"), _key(folder / "narrow.pem")
    seed = folder / "seed.yaml"
    seed.write_text(yaml.safe_dump(_seed(purses, pem, narrow_pem)), encoding="utf-8")
    command = [str(node), str(entry(EMULATE)), "start", "--host", "127.0.0.1", "-s", "github", "--seed", str(seed)]
    marker = secrets.token_hex(6)
    seed.write_text(seed.read_text(encoding="utf-8").replace("MARKER", marker), encoding="utf-8")

    def ours(port: int) -> bool:
        try:
            return httpx2.get(f"http://127.0.0.1:{port}/users/probe-{marker}", trust_env=False).status_code == 200
        except httpx2.TransportError:
            return False

    with (
        program(lambda port: [*command, "-p", str(port)], ours, said=folder / "emulate.log") as running,
        httpx2.Client(base_url=f"http://127.0.0.1:{running.port}", trust_env=False) as client,
    ):
        yield Emulator(
            url=f"http://127.0.0.1:{running.port}",
            tokens=purses[0],
            app_id=APP,
            pem=pem,
            narrow_app_id=NARROW_APP,
            narrow_pem=narrow_pem,
            program=running,
            client=client,
            _numbers=count(1),
            _purses=cycle(purses[1:]),
        )


def _purse() -> dict[str, str]:
    return {
        "ada": f"ghp_{MARK}{secrets.token_hex(14)}",
        "carol": f"github_pat_{MARK}{secrets.token_hex(20)}",
        "bob": f"github_pat_{MARK}{secrets.token_hex(20)}",
    }


def _seed(purses: list[dict[str, str]], pem: Path, narrow_pem: Path) -> dict[str, Any]:
    people = [{"login": name, "name": name.title(), "email": f"{name}@shop.test"} for name in purses[0]]
    owners = [(token, name) for purse in purses for name, token in purse.items()]
    app = {"app_id": APP, "slug": "keyturn-bed", "name": "Keyturn bed", "permissions": FULL, "events": []}
    narrow = {"app_id": NARROW_APP, "slug": "narrow-bed", "name": "Narrow bed", "permissions": NARROW, "events": []}
    everywhere = {"account": ORGANISATION, "repository_selection": "all"}
    return {
        "tokens": {token: {"login": name, "scopes": ["repo", "user"]} for token, name in owners},
        "github": {
            "users": [*people, {"login": "probe-MARKER"}],
            "orgs": [{"login": ORGANISATION, "members": [{"login": "ada", "role": "admin"}]}],
            "repos": [{"owner": "ada", "name": "notes", "private": True}],
            "apps": [
                app
                | {
                    "private_key": pem.read_text(encoding="ascii"),
                    "installations": [
                        everywhere | {"installation_id": INSTALLATION},
                        {"installation_id": OTHER_INSTALLATION, "account": "ada", "repository_selection": "all"},
                    ],
                },
                narrow
                | {
                    "private_key": narrow_pem.read_text(encoding="ascii"),
                    "installations": [everywhere | {"installation_id": NARROW_INSTALLATION}],
                },
            ],
        },
    }


def _key(path: Path) -> Path:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    path.touch(mode=0o600)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    return path
