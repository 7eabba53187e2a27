"""GitHub for the matrix: one emulated repository for all cells, each with a base branch or an issue of its own."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from tests.bed.emulator import Emulator, Repository
from tests.bed.faults import FaultProxy, echo
from tests.bed.manners import Manners
from tests.bed.recorder import Answer, Request
from tests.connectors.forge.github.world import LastHeads
from tests.faults.matrix.bench import Asked, Bench, Seen, Write
from tests.faults.matrix.troubles import HTTP

PATH = "src/app.py"
BEFORE, AFTER, LATER = b"LIMIT = 10\n", b"LIMIT = 20\n", b"LIMIT = 30\n"
CELLS = 8
"""Cells that one set of tokens serves: each token is good for 5000 requests an hour."""


@dataclass(slots=True)
class GitHub:
    """The emulator behind faults and manners."""

    emulator: Emulator
    proxy: FaultProxy
    manners: Manners
    others: Repository
    begun: str
    _cells: Iterator[int] = field(default_factory=count)

    def wiring(self) -> str:
        """Return the forge and the tracker, both this repository."""
        where = f'kind = "github"\nurl = "{self.proxy.url}"\nrepository = "{self.others.full_name}"\n'
        rest = 'credential = "file:token"\nprivate = true\npause = 0.0\n'
        return f"[forge.shop]\n{where}{rest}\n[tickets.ops]\n{where}{rest}"

    def token(self) -> str:
        """Return ada's token."""
        return self.others.emulator.tokens["ada"]

    def lie(self, request: Request) -> Answer:
        """Answer as if it were done."""
        if request.method == "DELETE":
            return Answer(204)
        return echo(201 if request.method == "POST" else 200, merged=True)(request)

    def change(self) -> None:
        """Do nothing: what others change is tried elsewhere."""

    def cell(self, bench: Bench) -> int:
        """Begin a cell; return its number."""
        number = next(self._cells)
        self.proxy.seen.forget()
        self.proxy.reached.forget()
        if number % CELLS == CELLS - 1:
            self.others = replace(self.others, emulator=self.emulator.again())
            self.manners.known |= set(self.others.emulator.tokens.values())
            (bench.place.folder / "token").write_text(self.token(), encoding="ascii")
        return number

    def base(self, bench: Bench) -> str:
        """Return a branch like `main`, of this cell alone."""
        name = f"base-{self.cell(bench)}"
        self.others.ask("POST", "git/refs", {"ref": f"refs/heads/{name}", "sha": self.begun})
        return name

    # looking

    def content(self, commit: str) -> bytes:
        """Return the file at a commit."""
        told = self.others.ask("GET", f"contents/{PATH}?ref={commit}")
        return base64.b64decode(told["content"])

    def refs(self, prefix: str) -> dict[str, str]:
        """Return branches and other refs below a prefix."""
        found = self.others.ask("GET", f"git/matching-refs/{prefix}")
        return {ref["ref"].removeprefix("refs/"): ref["object"]["sha"] for ref in found}

    def commit(self, sha: str) -> Any:
        """Return a commit."""
        return self.others.ask("GET", f"git/commits/{sha}")

    def line(self, branch: str, since: str) -> list[Any]:
        """Return the commits of a branch by first parents, newest first, down to one that is left out."""
        found, sha = [], self.refs(f"heads/{branch}").get(f"heads/{branch}", since)
        while sha != since:
            found.append(self.commit(sha))
            sha = found[-1]["parents"][0]["sha"]
        return found

    def pulls(self, base: str) -> list[Any]:
        """Return the pull requests to a branch."""
        found: list[Any] = self.others.ask("GET", f"pulls?state=all&base={base}&per_page=100")
        return [pull for pull in found if pull["base"]["ref"] == base]

    def opened(self, base: str, action: str, content: bytes) -> Seen:
        """Look what there is of a pull request that an action opened to a branch of its own."""
        pulls, branch = self.pulls(base), self.refs(f"heads/keyturn/{action}")
        head = branch.get(f"heads/keyturn/{action}")
        whole = (
            [(pull["state"], pull["draft"], pull["head"]["ref"]) for pull in pulls]
            == [("open", True, f"keyturn/{action}")]
            and head is not None
            and said_by(self.commit(head)["message"], action)
            and self.content(head) == content
        )
        return Seen(max(len(pulls), len(branch)), whole, clean=not pulls and not branch)


def said_by(message: str, action: str) -> bool:
    """Say whether a commit's message names the action."""
    return f"Keyturn-Action: {action}" in message.splitlines()


def files(content: bytes) -> list[dict[str, str]]:
    """Return the files of a call: the one file, written whole."""
    return [{"path": PATH, "content": content.decode()}]


def opening(github: GitHub, bench: Bench) -> Asked:
    base = github.base(bench)
    arguments = {"repository": "shop", "base": base, "title": "Raise the limit", "files": files(AFTER)}
    return Asked(arguments, lambda action: github.opened(base, action, AFTER))


def opening_with_binary(github: GitHub, bench: Bench) -> Asked:
    """Besides, put a file there that is no text: it is written as a blob first."""
    asked = opening(github, bench)
    logo = {"path": "logo.bin", "content": base64.b64encode(b"\xff\0").decode(), "encoding": "base64"}
    return Asked({**asked.arguments, "files": [*asked.arguments["files"], logo]}, asked.look)


def opened(github: GitHub, bench: Bench) -> tuple[str, str]:
    """Have a pull request opened; return the action and the commit its branch is at."""
    action = bench.done("open_pull_request", opening(github, bench).arguments)
    return action, github.refs(f"heads/keyturn/{action}")[f"heads/keyturn/{action}"]


def updating(github: GitHub, bench: Bench) -> Asked:
    first, head = opened(github, bench)

    def look(action: str) -> Seen:
        line = github.line(f"keyturn/{first}", head)
        whole = [said_by(commit["message"], action) for commit in line] == [True] and github.content(
            line[0]["sha"]
        ) == LATER
        return Seen(len(line), whole, clean=not line)

    return Asked({"action_id": first, "files": files(LATER)}, look)


def closing(github: GitHub, bench: Bench) -> Asked:
    first, head = opened(github, bench)
    name = f"heads/keyturn/{first}"
    [number] = [pull["number"] for pull in github.others.pulls() if pull["head"]["ref"] == f"keyturn/{first}"]

    def look(action: str) -> Seen:
        state, branch = github.others.pull(number)["state"], github.refs(name)
        gone, closed = not branch, state == "closed"
        clean = (state, branch) == ("open", {name: head})
        return Seen(int(gone or closed), whole=gone and closed, clean=clean)

    return Asked({"action_id": first}, look)


def proposed(github: GitHub, bench: Bench) -> tuple[str, int]:
    """Have a person open a pull request; return its base and its number."""
    base = github.base(bench)
    feature = f"feature-of-{base}"
    github.others.ask("POST", "git/refs", {"ref": f"refs/heads/{feature}", "sha": github.begun})
    github.others.push(feature, {PATH: AFTER}, "Raise the limit")
    return base, github.others.open_pull(feature, base, title="Raise the limit")


def merging(github: GitHub, bench: Bench) -> Asked:
    base, number = proposed(github, bench)

    def look(action: str) -> Seen:
        line = github.line(base, github.begun)
        whole = [said_by(commit["message"], action) for commit in line] == [True] and github.content(
            line[0]["sha"]
        ) == AFTER
        return Seen(len(line), whole, clean=not line)

    return Asked({"repository": "shop", "number": number}, look)


def reverting(github: GitHub, bench: Bench) -> Asked:
    base, number = proposed(github, bench)
    github.others.merge(number)
    there = len(github.pulls(base))
    assert there == 1

    def look(action: str) -> Seen:
        seen = github.opened(base, action, BEFORE)
        branch = github.refs(f"heads/keyturn/{action}")
        pulls = [pull for pull in github.pulls(base) if pull["number"] != number]
        whole = [(pull["state"], pull["head"]["ref"]) for pull in pulls] == [
            ("open", f"keyturn/{action}")
        ] and github.content(branch[f"heads/keyturn/{action}"]) == BEFORE
        return Seen(max(len(pulls), len(branch)), whole, clean=not pulls and not seen.effects - there)

    return Asked({"repository": "shop", "number": number}, look)


def commenting(github: GitHub, bench: Bench) -> Asked:
    github.cell(bench)
    number = github.others.issue()

    def look(action: str) -> Seen:
        comments = github.others.comments(number)
        whole = [f"keyturn/{action}" in text and "Seen too." in text for text in comments] == [True]
        return Seen(len(comments), whole, clean=not comments)

    return Asked({"ticket": str(number), "comment": "Seen too."}, look)


def setting(github: GitHub, bench: Bench) -> Asked:
    github.cell(bench)
    number = github.others.issue()

    def look(action: str) -> Seen:
        comments, state = github.others.comments(number), github.others.read_issue(number)["state"]
        events = github.others.ask("GET", f"issues/{number}/events?per_page=100")
        closings = sum(event["event"] == "closed" for event in events)
        whole = (len(comments), closings, state) == (1, 1, "closed")
        return Seen(max(len(comments), closings), whole, clean=not comments and not closings and state == "open")

    return Asked({"ticket": str(number), "status": "closed", "comment": "Seen too."}, look)


def creating(github: GitHub, bench: Bench) -> Asked:
    title = f"Checkout is slow {github.cell(bench)}"

    def look(action: str) -> Seen:
        issues = [issue for issue in github.others.issues() if issue["title"] == title]
        whole = [f"keyturn/{action}" in issue["body"] for issue in issues] == [True]
        return Seen(len(issues), whole, clean=not issues)

    return Asked({"title": title, "body": "Nine seconds."}, look)


FEW = {
    words: HTTP[words]
    for words in (
        "never arrives, however often it is sent",
        "arrives when nobody waits for it any more",
        "arrives twice, the second answer is told",
        "is done, its answer is lost",
        "is done, its answer is garbage",
        "is done, and the process dies",
        "arrives after the process died and all was settled",
        "is answered 422",
        "is answered 500",
        "is answered with success, and not done",
    )
}
"""The faults of reverting, whose requests are those of opening."""


def _ref(nth: int) -> tuple[str, str, int]:
    return "POST", r".*/git/refs", nth


_TREE, _COMMIT = ("POST", r".*/git/trees", 1), ("POST", r".*/git/commits", 1)
_OPENING = {
    "tree": _TREE,
    "commit": _COMMIT,
    "marker": _ref(1),
    "branch": _ref(2),
    "pull request": ("POST", r".*/pulls", 1),
}

WRITES: dict[str, Write] = {
    "open a pull request": Write(
        "open_pull_request", {"blob": ("POST", r".*/git/blobs", 1), **_OPENING}, opening_with_binary
    ),
    "update a pull request": Write(
        "update_pull_request",
        {
            "tree": _TREE,
            "commit": _COMMIT,
            "marker": _ref(1),
            "turn": _ref(2),
            "branch": ("PATCH", r".*/git/refs/heads/.*", 1),
        },
        updating,
    ),
    "close a pull request": Write(
        "close_pull_request",
        {
            "commit": _COMMIT,
            "marker": _ref(1),
            "turn": _ref(2),
            "closing": ("PATCH", r".*/pulls/\d+", 1),
            "branch": ("DELETE", r".*/git/refs/heads/.*", 1),
        },
        closing,
    ),
    "merge a pull request": Write(
        "merge_pull_request",
        {"commit": _COMMIT, "marker": _ref(1), "merge": ("PUT", r".*/pulls/\d+/merge", 1)},
        merging,
    ),
    "revert a pull request": Write("revert_pull_request", _OPENING, reverting, FEW),
    "comment on a ticket": Write("update_ticket", {"comment": ("POST", r".*/issues/\d+/comments", 1)}, commenting),
    "set a ticket's status": Write(
        "update_ticket",
        {"comment": ("POST", r".*/issues/\d+/comments", 1), "status": ("PATCH", r".*/issues/\d+", 1)},
        setting,
    ),
    "create a ticket": Write("create_ticket", {"issue": ("POST", r".*/issues", 1)}, creating),
}


@contextmanager
def github_of(emulator: Emulator) -> Iterator[GitHub]:
    """Put faults and GitHub's manners before an emulator, with a repository behind them."""
    fresh = emulator.again()
    others = fresh.repository({PATH: BEFORE, "README.md": b"# shop\n"})
    manners = Manners(known=set(fresh.tokens.values()), scopes={})
    with FaultProxy(emulator.url, inner=(LastHeads(), manners)) as proxy:
        yield GitHub(emulator, proxy, manners, others, others.head())
