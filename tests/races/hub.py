"""A repository on GitHub as the races see it: what people do there, and what stands there in the end."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.bed.emulator import Emulator, Repository
from tests.bed.faults import Fault, FaultProxy, Instead, Meanwhile
from tests.bed.recorder import Answer, Request, answer
from tests.connectors.forge.github.world import world_of
from tests.connectors.forge.repository import FILES
from tests.races.stage import Stage

WORK: Mapping[str, bytes | None] = {"src/app.py": b"print('hello')\n", "src/new.md": b"new\n"}
EVIL: Mapping[str, bytes | None] = {"evil.txt": b"nobody saw this\n"}
UNTOUCHED: Mapping[str, bytes | None] = {"other.txt": b"busy\n"}
TOUCHED: Mapping[str, bytes | None] = {"src/app.py": b"theirs\n"}
PUT = ("PUT", r".*/pulls/\d+/merge")


def with_work(*more: Mapping[str, bytes | None]) -> dict[str, bytes]:
    """Return the files of main with these changes made."""
    changed: dict[str, bytes | None] = dict(FILES)
    for files in more:
        changed |= files
    return {path: data for path, data in changed.items() if data is not None}


@dataclass(frozen=True, slots=True)
class Hub:
    """The repository, the proxy before it, and the token of ada, who is Keyturn there."""

    repository: Repository
    proxy: FaultProxy
    manners: Any

    @property
    def token(self) -> str:
        return self.repository.emulator.tokens["ada"]

    def wiring(self, stage: Stage, **more: str) -> str:
        """Return what a home says to act on this repository."""
        settings = {
            "kind": "github",
            "url": self.proxy.url,
            "repository": self.repository.full_name,
            "credential": stage.credential(self.token),
            **more,
        }
        lines = [f'{name} = "{text}"' for name, text in settings.items()]
        return "\n".join([*lines, "private = true", "pause = 0", "deadline = 20"])

    def propose(self, files: Mapping[str, bytes | None] = WORK, *, title: str = "Greet") -> int:
        """Have a person open a pull request from branch `work`; returns its number."""
        self.repository.branch("work")
        self.repository.push("work", files)
        return self.repository.open_pull("work", title=title)

    def push(self, branch: str, files: Mapping[str, bytes | None]) -> str:
        return self.repository.push(branch, files)

    def aside(self, branch: str, files: Mapping[str, bytes | None] = EVIL) -> None:
        """Force a branch to another commit, and back to the one it was at."""
        before = self.repository.head(branch)
        self.push(branch, files)
        self.repository.rewind(branch, before)

    def retarget(self, number: int, base: str = "release") -> None:
        """Let a pull request go to another branch, which begins at main."""
        self.repository.branch(base)
        self.repository.ask("PATCH", f"pulls/{number}", {"base": base})

    def withdraw(self, number: int) -> None:
        """Dismiss every approval of a pull request, as ada may."""
        for review in self.repository.ask("GET", f"pulls/{number}/reviews"):
            if review["state"] == "APPROVED":
                path = f"pulls/{number}/reviews/{review['id']}/dismissals"
                self.repository.ask("PUT", path, {"message": "too early", "event": "DISMISS"})

    def after_the_deed(self, deed: Callable[[], object]) -> Fault:
        """Return the fault by which others act after the merge, before its answer."""
        return Fault(*PUT, Meanwhile(deed, after=True))

    def replaced(self, *, proposing: bool = True) -> None:
        """Rename the repository and make another one under its name, as alike as others can make it."""
        ask, name = self.repository.emulator.ask, self.repository.full_name
        ask("PATCH", f"/repos/{name}", {"name": f"{self.repository.name}-old"})
        wished = {"name": self.repository.name, "private": True, "auto_init": True}
        ask("POST", f"/orgs/{self.repository.owner}/repos", wished)
        self.repository.push("main", {**FILES, "README.md": FILES["README.md"]}, "Another beginning")
        if proposing:
            self.propose()

    def twin_is_untouched(self) -> bool:
        """Say whether the repository that has the name now holds what was put there by people and nothing else."""
        ours = [
            ref["ref"]
            for prefix in ("keyturn/", "heads/keyturn/")
            for ref in self.repository.ask("GET", f"git/matching-refs/{prefix}")
        ]
        return not ours and not self.merges() and self.files() == FILES

    def files(self, branch: str = "main") -> dict[str, bytes]:
        return self.repository.files(branch)

    def merges(self, branch: str = "main") -> int:
        """Return how often something was merged into a branch."""
        return sum(len(commit["parents"]) == 2 for commit in self.repository.log(branch))

    def blends(self, theirs: bytes, blended: bytes) -> Callable[[Callable[[], object]], None]:
        """Arrange that GitHub merges as git does, line by line: others changed the same file at its far end.

        The emulator knows whole files only, so what GitHub would make of both is told here.
        """

        def strike(deed: Callable[[], object]) -> None:
            def blending(request: Request) -> Answer:
                deed()
                self.push("main", {"src/app.py": theirs})
                return self._blended(request, blended)

            self.proxy.faults.set(Fault(*PUT, Instead(blending)))

        return strike

    def _blended(self, request: Request, blended: bytes) -> Answer:
        ask, wished, number = self.repository.ask, request.json(), int(request.path.split("/")[-2])
        base, head = self.repository.head("main"), self.repository.head("work")
        sent = {"content": base64.b64encode(blended).decode(), "encoding": "base64"}
        entries = [
            {"path": path, "mode": "100644", "type": "blob", "sha": ask("POST", "git/blobs", told)["sha"]}
            for path, told in (
                ("src/app.py", sent),
                ("src/new.md", {"content": "new\n", "encoding": "utf-8"}),
            )
        ]
        root = ask("GET", f"git/commits/{base}")["tree"]["sha"]
        tree = ask("POST", "git/trees", {"base_tree": root, "tree": entries})["sha"]
        message = f"{wished['commit_title']}\n\n{wished['commit_message']}"
        made = ask("POST", "git/commits", {"message": message, "tree": tree, "parents": [base, head]})["sha"]
        ask("PATCH", "git/refs/heads/main", {"sha": made})
        closed = ask("PATCH", f"pulls/{number}", {"state": "closed"})
        self.manners.merged[self.repository.owner, self.repository.name, number] = {
            "state": "closed",
            "merged": True,
            "merged_at": closed["closed_at"],
            "merge_commit_sha": made,
            "merged_by": closed["user"],
            "head": closed["head"] | {"sha": head},
        }
        return answer(200, {"sha": made, "merged": True, "message": "Pull Request successfully merged"})


@contextmanager
def hub_of(emulator: Emulator, home: Path) -> Iterator[Hub]:
    """Make a repository for one test, behind GitHub's manners."""
    with world_of(emulator.again(), home) as made:
        yield Hub(made.repository, made.proxy, made.manners)


@pytest.fixture
def hub(github_emulator: Emulator, tmp_path: Path) -> Iterator[Hub]:
    with hub_of(github_emulator, tmp_path) as made:
        yield made
