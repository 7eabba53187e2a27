"""A repository on the emulated GitHub as the forge's tests see it: our forge on one side, others on the other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from keyturn.connectors.forge.github import GitHubForge, Settings, build
from tests.bed.emulator import Emulator, Repository
from tests.bed.faults import FaultProxy
from tests.bed.forge import forge
from tests.bed.manners import Manners
from tests.bed.recorder import Answer, Next, Request
from tests.connectors.forge.repository import FILES
from tests.connectors.surroundings import world_at

MODES = {"src/run.sh": "100755"}


@dataclass(slots=True)
class LastHeads:
    """A layer: a closed pull request keeps the head that it had (emulate: the one of the day it was opened)."""

    heads: dict[tuple[str, int], str] = field(default_factory=dict)

    async def __call__(self, request: Request, onward: Next) -> Answer:
        """Remember the heads of open pull requests, and tell those of closed ones."""
        said = await onward(request)
        if not re.fullmatch(r"/repos/[^/]+/[^/]+/pulls(/\d+)?", request.path) or not 200 <= said.status < 300:
            return said
        document = said.json()
        for pull in document if isinstance(document, list) else [document]:
            self._correct(pull)
        return replace(said, body=json.dumps(document).encode())

    def _correct(self, pull: dict[str, Any]) -> None:
        key = pull["base"]["repo"]["full_name"], pull["number"]
        if pull["state"] == "open":
            self.heads[key] = pull["head"]["sha"]
        elif not pull.get("merged_at"):
            pull["head"]["sha"] = self.heads.get(key, pull["head"]["sha"])


@dataclass(frozen=True, slots=True)
class World:
    """The repository, the proxy in front of the emulator, and a home whose `forge.shop` is this repository."""

    repository: Repository
    proxy: FaultProxy
    manners: Manners
    home: Path

    @property
    def emulator(self) -> Emulator:
        """The emulator behind the proxy."""
        return self.repository.emulator

    def settings(self, **other: Any) -> Settings:
        """Return what `keyturn.toml` would say, with ada's token unless told otherwise."""
        told: dict[str, Any] = {
            "url": self.proxy.url,
            "repository": self.repository.full_name,
            "private": True,
            "pause": 0.0,
            "deadline": 20,
        }
        if "app" not in other:
            told["credential"] = "env:TOKEN"
        return Settings(**(told | other))

    def forge(self, name: str = "shop", *, who: str = "ada", **other: Any) -> GitHubForge:
        """Return a forge of its own."""
        token = self.emulator.tokens.get(who, who)
        return build(name, self.settings(**other), world_at(self.home, {"TOKEN": token}))

    def app(self, key: Path, number: int, **other: Any) -> GitHubForge:
        """Return a forge that is an App."""
        return self.forge(app={"id": number, "key": f"file:{key}", **other})

    def commit(self, branch: str, files: Mapping[str, bytes | None]) -> str:
        """Put a commit on a branch, as other people do."""
        for path in files:  # git removes a folder that a file takes the place of
            files = {**dict.fromkeys(name for name in self.files(branch) if name.startswith(f"{path}/")), **files}
        return self.repository.push(branch, files, modes=MODES)

    def files(self, branch: str) -> dict[str, bytes]:
        """Return the files of a branch."""
        return self.repository.files(branch)

    def rewind(self, branch: str) -> str:
        """Replace a branch by an unrelated history with the same files."""
        head = self.repository.head(branch)
        tree = self.repository.ask("GET", f"git/commits/{head}")["tree"]["sha"]
        wished = {"message": "another beginning", "tree": tree, "parents": []}
        orphan: str = self.repository.ask("POST", "git/commits", wished)["sha"]
        self.repository.rewind(branch, orphan)
        return orphan

    def head(self, branch: str) -> str | None:
        """Return where a branch is."""
        with suppress(AssertionError):
            return self.repository.head(branch)
        return None

    def refs(self, prefix: str = "keyturn/") -> dict[str, str]:
        """Return the refs below a prefix, named without `refs/`."""
        found = self.repository.ask("GET", f"git/matching-refs/{prefix}")
        return {ref["ref"].removeprefix("refs/"): ref["object"]["sha"] for ref in found}

    def merge(self, number: int) -> None:
        """Merge a pull request as a person does."""
        self.repository.ask("PATCH", f"pulls/{number}", {"draft": False})
        self.repository.merge(number)


@contextmanager
def world_of(emulator: Emulator, home: Path) -> Iterator[World]:
    """Make a repository that begins as the contract says, behind GitHub's manners."""
    with forge(emulator, LastHeads()) as hub:
        repository = hub.emulator.repository({})
        repository.push("main", FILES, "Begin", modes=MODES)
        yield World(repository, hub.proxy, hub.manners, home)
