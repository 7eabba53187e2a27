"""The emulator does what its module says, and does not what it says it does not."""

from __future__ import annotations

import time
from pathlib import Path

import httpx2
import jwt
import pytest

from tests.bed.asking import ask, closed
from tests.bed.emulator import FILES, Emulator, emulator
from tests.bed.node import EMULATE, missing

ABSENT = missing(EMULATE)
pytestmark = pytest.mark.skipif(ABSENT is not None, reason=ABSENT or "")


def app_token(emulator: Emulator, pem: Path, app: int) -> str:
    now = int(time.time())
    return jwt.encode({"iss": str(app), "iat": now - 10, "exp": now + 300}, pem.read_text(), algorithm="RS256")


def installation_token(emulator: Emulator, installation: int, **wished: object) -> httpx2.Response:
    narrow = installation == emulator.narrow_installation
    pem, app = (emulator.narrow_pem, emulator.narrow_app_id) if narrow else (emulator.pem, emulator.app_id)
    url = f"{emulator.url}/app/installations/{installation}/access_tokens"
    return ask("POST", url, app_token(emulator, pem, app), wished)


def test_it_answers_and_ends_with_its_block(tmp_path: Path) -> None:
    with emulator(tmp_path) as running:
        port = running.program.port
        assert ask("GET", f"{running.url}/user", running.tokens["carol"]).json()["login"] == "carol"
        assert running.program.took < 20
    assert running.program.process.poll() is not None
    assert closed(port)


def test_a_repository_holds_its_files_and_what_others_push(github_emulator: Emulator) -> None:
    shop = github_emulator.repository()
    assert shop.files() == {"README.md": FILES["README.md"], **FILES}
    shop.branch("release/1")
    pushed = shop.push("release/1", {"src/app.py": None, "run.sh": b"#!/bin/sh\n"}, modes={"run.sh": "100755"})
    assert shop.head("release/1") == pushed != shop.head()
    assert set(shop.files("release/1")) == {"README.md", "deploy/prod.toml", "run.sh"}
    assert shop.branches().keys() == {"main", "release/1"}
    assert [len(commit["parents"]) for commit in shop.log("release/1")] == [1, 1, 0]


def test_blobs_have_the_ids_that_git_gives_them(github_emulator: Emulator) -> None:
    shop = github_emulator.repository({})
    made = shop.ask("POST", "git/blobs", {"content": "hello\n", "encoding": "utf-8"})
    assert made["sha"] == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_a_ref_is_moved_forward_only(github_emulator: Emulator) -> None:
    shop = github_emulator.repository()
    before = shop.log()[1]["sha"]
    url = f"{github_emulator.url}/repos/{shop.full_name}/git/refs/heads/main"
    assert ask("PATCH", url, github_emulator.tokens["ada"], {"sha": before}).status_code == 422
    shop.rewind("main", before)
    assert shop.head() == before


def test_people_open_close_merge_review_and_comment(github_emulator: Emulator) -> None:
    shop = github_emulator.repository()
    shop.branch("idea")
    head = shop.push("idea", {"idea.txt": b"one\n"})
    first = shop.open_pull("idea", draft=True)
    shop.review(first, "REQUEST_CHANGES")
    shop.comment(first, "no")
    shop.close(first)
    second = shop.open_pull("idea")
    shop.check_run(head, "ci", None)
    merged = shop.merge(second)
    assert shop.head() == merged
    assert shop.files()["idea.txt"] == b"one\n"
    assert [(pull["number"], pull["state"]) for pull in shop.pulls()] == [(second, "closed"), (first, "closed")]
    assert shop.comments(first) == ["no"]
    assert shop.ask("GET", f"pulls/{first}/reviews")[0]["commit_id"] == head


def test_people_write_issues(github_emulator: Emulator) -> None:
    shop = github_emulator.repository()
    number = shop.issue("Slow", "It crawls.", ("bug", "ops"))
    shop.edit_issue(number, title="Very slow", state="closed")
    shop.comment(number, "fixed")
    told = shop.read_issue(number)
    assert (told["title"], told["state"], sorted(label["name"] for label in told["labels"])) == (
        "Very slow",
        "closed",
        ["bug", "ops"],
    )
    assert [issue["number"] for issue in shop.issues()] == [number]
    assert shop.comments(number) == ["fixed"]


def test_a_token_of_an_installation_reaches_one_repository_with_the_permissions_it_asked_for(
    github_emulator: Emulator,
) -> None:
    shop, other = github_emulator.repository(), github_emulator.repository()
    wished = {"contents": "write", "metadata": "read"}
    told = installation_token(
        github_emulator, github_emulator.installation, repositories=[shop.name], permissions=wished
    )
    assert told.status_code == 201
    token = told.json()["token"]
    assert token.startswith("ghs_")
    blob = {"content": "x", "encoding": "utf-8"}
    root = f"{github_emulator.url}/repos"
    assert ask("POST", f"{root}/{shop.full_name}/git/blobs", token, blob).status_code == 201
    assert ask("POST", f"{root}/{other.full_name}/git/blobs", token, blob).status_code == 403
    assert ask("POST", f"{root}/{shop.full_name}/issues", token, {"title": "t"}).status_code == 403


def test_an_installation_gives_no_more_than_it_was_granted(github_emulator: Emulator) -> None:
    shop = github_emulator.repository()
    narrow = github_emulator.narrow_installation
    wished = {"permissions": {"contents": "write"}}
    assert installation_token(github_emulator, narrow, **wished).status_code == 422
    token = installation_token(github_emulator, narrow).json()["token"]
    root = f"{github_emulator.url}/repos/{shop.full_name}"
    assert ask("GET", f"{root}/git/ref/heads/main", token).status_code == 200
    assert ask("POST", f"{root}/git/blobs", token, {"content": "x"}).status_code == 403


def test_a_repository_of_another_account_is_not_reached(github_emulator: Emulator) -> None:
    shop = github_emulator.repository()
    other = github_emulator.other_installation
    assert installation_token(github_emulator, other, repositories=[shop.name]).status_code == 422


def test_a_protected_branch_waits_for_its_checks(github_emulator: Emulator) -> None:
    shop = github_emulator.repository()
    shop.branch("idea")
    head = shop.push("idea", {"idea.txt": b"one\n"})
    number = shop.open_pull("idea")
    shop.protect("main", checks=("ci",))
    url = f"{github_emulator.url}/repos/{shop.full_name}/pulls/{number}/merge"
    assert ask("PUT", url, github_emulator.tokens["carol"], {}).status_code == 422
    shop.check_run(head)
    assert ask("PUT", url, github_emulator.tokens["carol"], {}).status_code == 200


def test_tokens_are_used_up_and_there_are_more(github_emulator: Emulator) -> None:
    one, other = github_emulator.again(), github_emulator.again()
    assert set(one.tokens.values()).isdisjoint(other.tokens.values())
    url = f"{github_emulator.url}/user"
    left = [int(ask("GET", url, one.tokens["bob"]).headers["x-ratelimit-remaining"]) for _ in (1, 2)]
    assert left == [4999, 4998]
    told = ask("GET", url, other.tokens["bob"])
    assert (told.headers["x-ratelimit-remaining"], told.json()["login"]) == ("4999", "bob")


def test_what_the_emulator_does_otherwise_than_github_is_still_so(github_emulator: Emulator) -> None:
    """When this fails, a newer emulator made a part of `manners` needless."""
    shop, ada = github_emulator.repository(), github_emulator.tokens["ada"]
    root = f"{github_emulator.url}/repos/{shop.full_name}"
    shop.branch("idea")
    head = shop.push("idea", {"idea.txt": b"one\n"})
    wished = {"title": "t", "head": "idea", "base": "main"}
    assert ask("GET", f"{github_emulator.url}/user", "nobody's").status_code == 200
    assert [ask("POST", f"{root}/pulls", ada, wished).status_code for _ in (1, 2)] == [201, 201]
    assert ask("POST", f"{root}/pulls", ada, wished | {"base": "nowhere"}).status_code == 201
    shop.push("idea", {"idea.txt": b"two\n"})
    assert shop.pull(1)["head"]["sha"] == head
    assert ask("PUT", f"{root}/pulls/1/merge", ada, {"sha": "0" * 40}).status_code == 422
    assert ask("POST", f"{github_emulator.url}/graphql", ada, {"query": "{viewer{login}}"}).status_code == 404
    assert ask("GET", f"{root}/commits/main/status", ada).status_code == 404
