"""What `check` finds out about a repository on GitHub, and that it says what mends it."""

from __future__ import annotations

import os
from pathlib import Path

import anyio
import pytest

from keyturn.connectors.checking import Finding
from keyturn.connectors.forge.github import GitHubForge
from tests.bed.faults import Deed, DoneBut, Fault, Instead
from tests.bed.faults import refusal as says
from tests.bed.recorder import Proxy, answer
from tests.bed.tls import Authority
from tests.connectors.forge.github.world import World


def found(forge: GitHubForge) -> tuple[Finding, ...]:
    return anyio.run(forge.check)


def wrong(forge: GitHubForge) -> list[tuple[str, str]]:
    return [(finding.text, finding.advice) for finding in found(forge) if finding.level == "wrong"]


def texts(forge: GitHubForge) -> str:
    return "\n".join(f"{finding.level}: {finding.text}" for finding in found(forge))


def test_a_classic_token_in_order(world: World) -> None:
    said = texts(world.forge())
    assert "wrong" not in said
    assert "ok: we are ada, by a classic token" in said
    assert "note: a classic token reaches every repository" in said
    assert f"ok: {world.repository.full_name} can be read; it is private, its default branch main" in said
    assert "requests are left this hour" in said
    assert "note: draft pull requests in private repositories need a paid plan" in said
    assert "note: branch main is not protected on GitHub" in said


def test_an_app_in_order(world: World) -> None:
    said = texts(world.app(world.emulator.pem, world.emulator.app_id))
    assert "wrong" not in said
    assert "ok: we are the App keyturn-bed, shown as keyturn-bed[bot]; tokens last an hour" in said
    assert "ok: tokens are narrowed to this repository and to checks: read, contents: write" in said


def test_a_fine_grained_token_cannot_be_asked_what_it_may_write(world: World) -> None:
    said = texts(world.forge(who="carol"))
    assert "ok: we are carol, by a fine-grained token" in said
    assert "note: GitHub does not tell what a fine-grained token may write" in said


def test_a_protected_branch_is_told(world: World) -> None:
    world.repository.protect(reviews=1)
    assert "ok: branch main is protected on GitHub too" in texts(world.forge())


def test_looking_changes_nothing(world: World) -> None:
    found(world.forge())
    found(world.app(world.emulator.pem, world.emulator.app_id))
    assert [exchange.path for exchange in world.proxy.seen.changes()] == [
        f"/app/installations/{world.emulator.installation}/access_tokens"
    ]


def test_a_wrong_token(world: World) -> None:
    token = "ghp_" + "x" * 36
    problems = wrong(world.forge(who=token))
    assert problems == [
        (
            "GitHub does not accept the credential: Bad credentials",
            "make a new token, and put it where `credential` says; it may have ended or been revoked",
        )
    ]
    assert token not in repr(found(world.forge(who=token)))


def test_a_token_that_may_only_read(world: World) -> None:
    [(text, advice)] = wrong(world.forge(who="bob"))
    assert text == f"bob may only read {world.repository.full_name} with this token"
    assert "write permissions" in advice


def test_a_token_without_the_scope(world: World) -> None:
    world.manners.scopes = {world.emulator.tokens["ada"]: "read:org"}
    [(text, advice)] = wrong(world.forge())
    assert (text, advice) == ("the token lacks the scope repo, without which it only reads", "give it repo")


def test_an_app_that_lacks_permissions(world: World) -> None:
    app = world.app(
        world.emulator.narrow_pem, world.emulator.narrow_app_id, installation=world.emulator.narrow_installation
    )
    [(text, advice)] = wrong(app)
    lacking = "checks: read, contents: write, pull_requests: write, statuses: read"
    assert text == f"the App lacks permissions: {lacking}"
    assert "accept them where it is installed" in advice


def test_an_app_with_the_key_of_another(world: World) -> None:
    [(text, advice)] = wrong(world.app(world.emulator.narrow_pem, world.emulator.app_id))
    assert text.startswith("GitHub does not know the App by this key")
    assert "belong together" in advice


def test_an_app_that_is_not_installed(world: World) -> None:
    [(text, advice)] = wrong(world.app(world.emulator.pem, world.emulator.app_id, installation=9))
    assert text == f"the App keyturn-bed is not installed on {world.repository.full_name} (installation 9)"
    assert "github.com/apps/keyturn-bed/installations/new" in advice


def test_an_app_that_was_installed_for_other_repositories(world: World) -> None:
    number = world.emulator.other_installation
    [(text, advice)] = wrong(world.app(world.emulator.pem, world.emulator.app_id, installation=number))
    assert "repositories requested are not accessible" in text
    assert "installed on this repository" in advice


def test_a_key_that_is_none(world: World, tmp_path: Path) -> None:
    key = tmp_path / "app.pem"
    key.write_text("-----BEGIN RSA PRIVATE KEY-----\ncanary\n-----END RSA PRIVATE KEY-----\n")
    os.chmod(key, 0o600)  # noqa: PTH101 - as the page says to do it
    problems = wrong(world.app(key, world.emulator.app_id))
    assert "forge.shop.app.key: not the RSA private key" in problems[0][0]
    assert "canary" not in repr(problems)


def test_a_repository_that_is_not_there(world: World) -> None:
    [(text, advice)] = wrong(world.forge(repository="shop-co/none"))
    assert text == "GitHub shows no repository shop-co/none to this credential"
    assert "spelt right" in advice


@pytest.mark.parametrize(
    ("deed", "text", "advice"),
    [
        (Instead(answer(200, {"hello": "world"})), "what answers is no GitHub", "https://HOST/api/v3"),
        (DoneBut(answer(200)), "is no JSON", "https://HOST/api/v3"),
        (Instead(says(403, "Resource protected by organization SAML enforcement.")), "SAML", "single sign-on"),
    ],
)
def test_an_answer_of_something_else(world: World, deed: Deed, text: str, advice: str) -> None:
    world.proxy.faults.set(Fault("GET", r"/repos/[^/]+/[^/]+", deed, nth=0))
    [(said, mends)] = wrong(world.forge())
    assert text in said
    assert advice in mends


def test_a_server_that_is_not_there(world: World) -> None:
    [(text, advice)] = wrong(world.forge(url="http://127.0.0.1:1"))
    assert "127.0.0.1" in text
    assert "`url` is right" in advice


def test_a_repository_that_got_another_name_or_rests(world: World) -> None:
    told = world.repository.ask("GET")
    renamed = answer(200, told | {"full_name": "shop-co/store", "archived": True, "permissions": {"push": True}})
    world.proxy.faults.set(Fault("GET", r"/repos/[^/]+/[^/]+", Instead(renamed), nth=0))
    problems = dict(wrong(world.forge()))
    assert problems[f"{world.repository.full_name} is called shop-co/store now; reads are redirected there, "
                    "changes are refused"] == 'repository = "shop-co/store"'  # fmt: skip
    assert "shop-co/store is archived: nothing can be changed in it" in problems


def test_a_branch_called_keyturn_is_in_the_way(world: World) -> None:
    world.repository.branch("keyturn")
    assert ("a branch called keyturn stands where keyturn/… has to go", "rename that branch") in wrong(world.forge())


def test_what_may_not_be_read_is_named_with_its_permission(world: World) -> None:
    refusal = Instead(says(403, "Resource not accessible by personal access token"))
    world.proxy.faults.set(Fault("GET", r".*/check-runs", refusal, nth=0))
    [(text, advice)] = wrong(world.forge(who="carol"))
    assert text == "checks cannot be read (Resource not accessible by personal access token)"
    assert advice == "give the credential the repository permission checks: read"


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        (
            {"github_authentication_token_expiration": "2026-12-01 00:00:00 UTC"},
            "note: the token ends on 2026-12-01 00:00:00 UTC, soon",
        ),
        (
            {"github_authentication_token_expiration": "2027-12-01 00:00:00 +0100"},
            "ok: the token ends on 2027-12-01 00:00:00 +0100",
        ),
        ({"github_authentication_token_expiration": "soon"}, "note: the token ends on soon"),
        (
            {"x_ratelimit_remaining": "12", "x_ratelimit_limit": "5000"},
            "note: 12 of 5000 requests are left this hour",
        ),
        (
            {
                "date": f"Sat, 21 Nov {'9' * 20} 17:00:00 GMT",
                "github_authentication_token_expiration": "2027-12-01 00:00:00 UTC",
            },
            "note: the token ends on 2027-12-01 00:00:00 UTC",
        ),
        (
            {"x_ratelimit_remaining": "9" * 5000, "x_ratelimit_limit": "9" * 5000},
            "ok: pull requests can be read",
        ),
    ],
)
def test_what_the_headers_tell(world: World, headers: dict[str, str], text: str) -> None:
    told = world.repository.ask("GET")
    said = Instead(answer(200, told, **{"date": "Sat, 21 Nov 2026 17:00:00 GMT", **headers}))
    world.proxy.faults.set(Fault("GET", r"/repos/[^/]+/[^/]+", said, nth=0))
    assert text in texts(world.forge(who="carol"))


def test_a_certificate_that_has_expired(world: World, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with Proxy(world.emulator.address, server_tls=authority.expired().server()) as proxy:
        [(text, advice)] = wrong(world.forge(url=proxy.url, ca=str(authority.bundle)))
    assert "its certificate has expired" in text
    assert advice.startswith("see that the server's certificate is in force")


def test_a_certificate_of_ones_own_authority_is_trusted(world: World, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with Proxy(world.emulator.address, server_tls=authority.good().server()) as proxy:
        forge = world.forge(url=proxy.url, ca=str(authority.bundle))
        assert anyio.run(forge.snapshot, "main", ["README.md"]).commit == world.head("main")
        [(text, _)] = wrong(world.forge(url=proxy.url))
    assert "certificate" in text
