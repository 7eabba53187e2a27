"""Behind the proxy the emulator does what GitHub does where it alone does not."""

from __future__ import annotations

import hashlib
import hmac
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.bed.asking import ask
from tests.bed.emulator import Repository
from tests.bed.forge import Forge
from tests.bed.manners import MAKING
from tests.bed.node import EMULATE, missing
from tests.bed.programs import wait_until
from tests.bed.recorder import Answer, Next, Proxy, Request, answer
from tests.bed.test_emulator import installation_token

ABSENT = missing(EMULATE)
pytestmark = pytest.mark.skipif(ABSENT is not None, reason=ABSENT or "")


@pytest.fixture
def shop(github: Forge) -> Repository:
    made = github.repository()
    made.branch("idea")
    made.push("idea", {"idea.txt": b"one\n"})
    return made


def through(github: Forge, shop: Repository, method: str, path: str, body: object = None) -> httpx2.Response:
    return ask(method, f"{github.url}/repos/{shop.full_name}/{path}", github.emulator.tokens["carol"], body)


WISHED = {"title": "Idea", "head": "idea", "base": "main"}


def test_a_second_open_pull_request_of_a_branch_is_refused(github: Forge, shop: Repository) -> None:
    assert through(github, shop, "POST", "pulls", WISHED).status_code == 201
    again = through(github, shop, "POST", "pulls", WISHED | {"head": "shop-co:idea"})
    assert again.status_code == 422
    assert again.json()["errors"][0]["message"] == "A pull request already exists for shop-co:idea."
    shop.close(1)
    assert through(github, shop, "POST", "pulls", WISHED).status_code == 201
    assert len(shop.pulls("open")) == 1


def test_of_two_at_once_one_is_opened(github: Forge, shop: Repository) -> None:
    statuses: list[int] = []

    def opening() -> None:
        statuses.append(through(github, shop, "POST", "pulls", WISHED).status_code)

    both = [threading.Thread(target=opening) for _ in (1, 2)]
    for one in both:
        one.start()
    for one in both:
        one.join(20)
    assert sorted(statuses) == [201, 422]
    assert len(shop.pulls("open")) == 1


def test_what_nothing_happened_to_has_one_time_and_what_was_changed_two(github: Forge, shop: Repository) -> None:
    for number in range(1, 21):
        assert through(github, shop, "POST", "pulls", WISHED).status_code == 201
        told = through(github, shop, "GET", f"pulls/{number}").json()
        assert told["updated_at"] == told["created_at"]
        if number == 20:
            time.sleep(MAKING.total_seconds())
        shop.close(number)
    told = through(github, shop, "GET", "pulls/20").json()
    assert told["updated_at"] > told["created_at"]


@pytest.mark.parametrize("lacking", [{"head": "nowhere"}, {"base": "nowhere"}])
def test_a_pull_request_needs_its_branches(github: Forge, shop: Repository, lacking: dict[str, str]) -> None:
    told = through(github, shop, "POST", "pulls", WISHED | lacking)
    assert (told.status_code, told.json()["errors"][0]["field"]) == (422, *lacking)
    assert shop.branches().keys() == {"main", "idea"}


def test_unknown_tokens_are_refused_and_reading_ones_read(github: Forge, shop: Repository) -> None:
    url, bob = f"{github.url}/repos/{shop.full_name}", github.emulator.tokens["bob"]
    told = ask("GET", url, "ghp_nobodys")
    assert (told.status_code, told.json()["message"]) == (401, "Bad credentials")
    read = ask("GET", url, bob)
    assert (read.status_code, read.json()["permissions"]["push"]) == (200, False)
    wrote = ask("POST", f"{url}/issues", bob, {"title": "t"})
    assert (wrote.status_code, wrote.json()["message"]) == (
        403,
        "Resource not accessible by personal access token",
    )
    assert shop.issues() == []
    assert ask("GET", url, github.emulator.tokens["ada"]).headers["x-oauth-scopes"] == "repo, user"


def test_tokens_of_installations_are_known_once_they_were_given(github: Forge, shop: Repository) -> None:
    url = f"{github.url}/repos/{shop.full_name}/git/ref/heads/main"
    unseen = installation_token(github.emulator, github.emulator.installation).json()["token"]
    assert ask("GET", url, unseen).status_code == 401
    asked = next(iter(github.emulator.tokens.values()))
    assert asked not in str(github.seen.exchanges)


def test_the_head_of_an_open_pull_request_is_where_its_branch_is(github: Forge, shop: Repository) -> None:
    assert through(github, shop, "POST", "pulls", WISHED).status_code == 201
    moved = shop.push("idea", {"idea.txt": b"two\n"})
    assert through(github, shop, "GET", "pulls/1").json()["head"]["sha"] == moved
    assert through(github, shop, "GET", "pulls?state=open").json()[0]["head"]["sha"] == moved
    shop.delete("idea")
    assert through(github, shop, "GET", "pulls/1").status_code == 200


def test_a_merge_of_a_head_that_moved_is_refused(github: Forge, shop: Repository) -> None:
    opened = through(github, shop, "POST", "pulls", WISHED).json()["head"]["sha"]
    before = shop.head()
    moved = shop.push("idea", {"idea.txt": b"two\n"})
    refused = through(github, shop, "PUT", "pulls/1/merge", {"sha": opened})
    assert (refused.status_code, shop.head()) == (409, before)
    merged = through(github, shop, "PUT", "pulls/1/merge", {"sha": moved})
    assert merged.status_code == 200
    assert shop.files()["idea.txt"] == b"two\n"
    told = through(github, shop, "GET", "pulls/1").json()
    assert (told["merged"], told["state"], told["merge_commit_sha"]) == (True, "closed", shop.head())
    assert told["head"]["sha"] == moved
    assert through(github, shop, "GET", "pulls?state=open").json() == []
    assert through(github, shop, "PUT", "pulls/1/merge", {"sha": moved}).status_code == 405


def test_a_merge_keeps_what_the_base_got_meanwhile(github: Forge, shop: Repository) -> None:
    through(github, shop, "POST", "pulls", WISHED)
    theirs = shop.push("main", {"other.txt": b"theirs\n", "README.md": None})
    told = through(github, shop, "PUT", "pulls/1/merge", {"merge_method": "merge"})
    assert told.status_code == 200
    files = shop.files()
    assert (files["idea.txt"], files["other.txt"], "README.md" in files) == (b"one\n", b"theirs\n", False)
    assert theirs in [parent["sha"] for parent in shop.log()[0]["parents"]]


def test_a_squash_has_one_parent(github: Forge, shop: Repository) -> None:
    through(github, shop, "POST", "pulls", WISHED)
    shop.push("main", {"other.txt": b"theirs\n"})
    wished = {"merge_method": "squash", "commit_title": "Idea (#1)", "commit_message": "why"}
    assert through(github, shop, "PUT", "pulls/1/merge", wished).status_code == 200
    last = shop.log()[0]
    assert (len(last["parents"]), last["message"]) == (1, "Idea (#1)\n\nwhy")


def test_conflicts_and_drafts_are_not_merged(github: Forge, shop: Repository) -> None:
    through(github, shop, "POST", "pulls", WISHED | {"draft": True})
    assert through(github, shop, "GET", "pulls/1").json()["mergeable_state"] == "draft"
    assert through(github, shop, "PUT", "pulls/1/merge", {}).status_code == 405
    through(github, shop, "PATCH", "pulls/1", {"draft": False})
    assert through(github, shop, "GET", "pulls/1").json()["mergeable"] is True
    before = shop.push("main", {"idea.txt": b"mine\n"})
    assert through(github, shop, "GET", "pulls/1").json()["mergeable"] is False
    assert through(github, shop, "PUT", "pulls/1/merge", {}).status_code == 405
    assert shop.head() == before


def test_statuses_are_told_with_a_commit(github: Forge, shop: Repository) -> None:
    head = shop.head("idea")
    assert through(github, shop, "GET", f"commits/{head}/status").json()["state"] == "pending"
    github.manners.statuses[head] = [{"context": "ci", "state": "success", "description": None, "target_url": None}]
    assert through(github, shop, "GET", "commits/idea/status").json()["state"] == "success"
    assert through(github, shop, "GET", "commits/nowhere/status").status_code == 404


@pytest.fixture
def listener() -> Iterator[tuple[Proxy, list[Any]]]:
    got: list[Any] = []

    async def hearing(request: Request, onward: Next) -> Answer:
        got.append(request)
        return answer(204)

    with Proxy(("127.0.0.1", 9), layers=[hearing]) as proxy:
        yield proxy, got


def test_webhooks_are_signed(github: Forge, shop: Repository, listener: tuple[Proxy, list[Any]]) -> None:
    proxy, got = listener
    shop.watch(proxy.url, "s3cret", "pull_request")
    through(github, shop, "POST", "pulls", WISHED)
    wait_until(lambda: bool(got), within=10, what="the webhook")
    expected = "sha256=" + hmac.new(b"s3cret", got[0].body, hashlib.sha256).hexdigest()
    assert (got[0].header("x-hub-signature-256"), got[0].header("x-github-event")) == (expected, "pull_request")
