"""Pull requests that are opened and followed up, in a repository here, on a git server and on GitHub."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.bed.emulator import Emulator
from tests.bed.git_http import git_http
from tests.bed.git_remote import GitRemote
from tests.races.hub import hub_of
from tests.races.remotes import Remote
from tests.races.stage import MOMENTS, Moment, Stage, meanwhile, reasons
from tests.races.turnstile import Turnstile

FILES: Mapping[str, bytes] = {
    "README.md": b"# Shop\n\nSells things.\n",
    "src/app.py": b"import os\n\nprint('shop')\n",
    "src/run.sh": b"#!/bin/sh\nexec true\n",
}
ASKED: Mapping[str, Any] = {
    "repository": "shop",
    "base": "main",
    "title": "Greet people",
    "files": [{"path": "src/app.py", "content": "print('hello')\n"}],
}
MORE: Mapping[str, Any] = {"files": [{"path": "src/more.py", "content": "print('more')\n"}]}
UNTOUCHED: Mapping[str, bytes | None] = {"other.txt": b"busy\n"}
TOUCHED: Mapping[str, bytes | None] = {"src/app.py": b"theirs\n"}
EVIL: Mapping[str, bytes | None] = {"evil.txt": b"nobody saw this\n"}


@dataclass(frozen=True, slots=True)
class Site:
    """A system with one repository: how others work in it, and how they step in while our push is on its way.

    `whole`: a branch can be made under the condition that another one has not moved.
    """

    wiring: Callable[[Stage], str]
    push: Callable[[str, Mapping[str, bytes | None]], str]
    head: Callable[[str], str | None]
    rewind: Callable[[str, str], None]
    files: Callable[[str], Mapping[str, bytes]]
    strike: Callable[[Callable[[], object]], None]
    strike_again: Callable[[Callable[[], object]], None]
    whole: bool = False


def _of_git(
    repository: GitRemote,
    wiring: Callable[[Stage], str],
    strike: Callable[[Callable[[], object]], None],
    *,
    whole: bool = False,
) -> Site:
    here = repository
    return Site(wiring, here.push, here.head, here.rewind, here.files, strike, strike, whole)


@pytest.fixture(params=["git", "git-remote", "github"])
def site(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    match request.param:
        case "git":
            here = GitRemote.made(tmp_path / "shop.git", FILES)
            turnstile = Turnstile.made(tmp_path / "turnstile")
            monkeypatch.setenv("PATH", f"{turnstile.folder}:{os.environ['PATH']}")
            yield _of_git(here, lambda _: f'kind = "git"\npath = "{here.path}"', turnstile.strike, whole=True)
        case "git-remote":
            with git_http(tmp_path / "git") as server:
                server.remote.push("main", {**FILES, "deploy/prod.toml": None})
                push = meanwhile(server.proxy, "POST", r".*/git-receive-pack")
                yield _of_git(server.remote, Remote(server).wiring, push)
        case _:
            emulator: Emulator = request.getfixturevalue("github_emulator")
            with hub_of(emulator, tmp_path) as hub:
                repository = hub.repository
                yield Site(
                    wiring=hub.wiring,
                    push=repository.push,
                    head=lambda branch: repository.branches().get(branch),
                    rewind=repository.rewind,
                    files=repository.files,
                    strike=meanwhile(hub.proxy, "POST", r".*/git/refs"),
                    strike_again=meanwhile(hub.proxy, "PATCH", r".*/git/refs/heads/keyturn/.*"),
                )


def opened(stage: Stage, site: Site) -> str:
    """Wire the home and ask for a pull request."""
    stage.wire(forge=site.wiring(stage))
    return stage.ask("open_pull_request", **ASKED)


def through(stage: Stage, site: Site, moment: Moment, deed: Callable[[], object], action: str) -> dict[str, Any]:
    return stage.through(moment, deed, site.strike, action)


def landed(site: Site, action: str) -> Mapping[str, bytes] | None:
    """Return the files of an action's branch; None where there is none."""
    branch = f"keyturn/{action}"
    return None if site.head(branch) is None else site.files(branch)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_base_that_moves_elsewhere_does_not_void_an_opening(stage: Stage, site: Site, moment: Moment) -> None:
    action = opened(stage, site)
    before = site.files("main")
    told = through(stage, site, moment, lambda: site.push("main", UNTOUCHED), action)
    assert told["status"] == "succeeded", told
    assert landed(site, action) == {**before, "src/app.py": b"print('hello')\n"}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_base_that_moves_in_a_touched_file_voids_an_opening(stage: Stage, site: Site, moment: Moment) -> None:
    action = opened(stage, site)
    before = site.files("main")
    told = through(stage, site, moment, lambda: site.push("main", TOUCHED), action)
    assert site.files("main")["src/app.py"] == b"theirs\n"
    if moment == "before the answer" and not site.whole:
        # Too late to stop: what stands on the branch is the reviewed commit on the reviewed base, and lands nowhere.
        assert told["status"] == "succeeded"
        assert landed(site, action) == {**before, "src/app.py": b"print('hello')\n"}
        return
    assert (told["status"], landed(site, action)) == ("stale", None)
    assert "src/app.py" in reasons(told)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_base_that_is_forced_away_and_back_is_what_was_reviewed(stage: Stage, site: Site, moment: Moment) -> None:
    action = opened(stage, site)
    before, head = site.files("main"), site.head("main")
    assert head is not None

    def aside() -> None:
        site.push("main", EVIL)
        site.rewind("main", head)

    assert through(stage, site, moment, aside, action)["status"] == "succeeded"
    assert landed(site, action) == {**before, "src/app.py": b"print('hello')\n"}


def followed_up(stage: Stage, site: Site) -> tuple[str, str]:
    """Have a pull request opened, and ask for another commit on its branch; returns both actions."""
    first = opened(stage, site)
    stage.world.approve(first)
    assert stage.run(first)["status"] == "succeeded"
    return first, stage.ask("update_pull_request", action_id=first, **MORE)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_branch_that_moves_takes_no_more_commits_of_ours(stage: Stage, site: Site, moment: Moment) -> None:
    first, action = followed_up(stage, site)
    branch = f"keyturn/{first}"
    told = stage.through(moment, lambda: site.push(branch, EVIL), site.strike_again, action)
    assert told["status"] == "stale", told
    found = landed(site, first)
    assert found is not None
    assert ("evil.txt" in found, "src/more.py" in found) == (True, False)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_branch_that_moves_is_not_thrown_away(stage: Stage, site: Site, moment: Moment) -> None:
    first = opened(stage, site)
    stage.world.approve(first)
    assert stage.run(first)["status"] == "succeeded"
    action = stage.ask("close_pull_request", action_id=first)
    branch = f"keyturn/{first}"
    told = stage.through(moment, lambda: site.push(branch, EVIL), site.strike, action)
    found = landed(site, first)
    assert told["status"] == "stale", told
    assert found is not None
    assert "evil.txt" in found
