"""Founding a home: whole or not at all, and never over what is there."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from keyturn.assembly.boundary import SAME_ACCOUNT
from keyturn.assembly.build import check_consent, open_gateway
from keyturn.assembly.founding import (
    NewHome,
    Order,
    found_home,
    needs_reviewer,
    read_public_key,
    usual_reviewer,
)
from keyturn.assembly.home import Home
from keyturn.assembly.outside import account
from keyturn.assembly.starter import NewPrincipal, NewReviewer, starter_folder
from keyturn.contracts import read_catalog
from keyturn.gateway.callers import authenticate
from keyturn.model.contract import Contract
from keyturn.model.errors import ConfigurationError, Refused
from keyturn.policy import read_policy
from keyturn.verifier import verify_ledger
from tests.assembly.people import make_key, public

ROOT = Path(__file__).resolve().parents[2]


def refusal(order: Order) -> str:
    with pytest.raises(ConfigurationError) as caught:
        found_home(order)
    return str(caught.value)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_new_home_has_all_its_parts_and_its_log_verifies(order: Order) -> None:
    new = found_home(order)
    assert names(new.home.folder) == {
        ".gitignore", "keyturn.toml", "policy.toml", "samples", "state", "tool_schemas"
    }  # fmt: skip
    assert stat.S_IMODE(new.home.place.folder.stat().st_mode) == 0o700
    report = verify_ledger(new.home.place.database, pinned=new.verifier)
    assert (report.verdict, report.size) == ("PASS-UNANCHORED", 5)
    assert new.warnings == (SAME_ACCOUNT,)


def test_the_token_of_a_new_home_is_good_and_kept_nowhere(order: Order) -> None:
    new = found_home(order)
    gate = open_gateway(new.home, "test")
    try:
        check_consent(gate)
        assert authenticate(gate, new.tokens["claude"], transport="stdio").principal == "claude"
        with pytest.raises(Refused):
            authenticate(gate, new.tokens["claude"] + "x", transport="stdio")
    finally:
        gate.ledger.close()
    secret = new.tokens["claude"].encode()
    assert not [path for path in new.home.folder.rglob("*") if path.is_file() and secret in path.read_bytes()]


def test_the_samples_are_a_repository_releases_and_tickets(order: Order) -> None:
    samples = found_home(order).samples
    assert samples is not None
    told = samples.to_json()
    assert told == {
        "repository": "shop",
        "repository_path": str(order.folder / "samples" / "shop.git"),
        "base": "main",
        "deployment": "web",
        "environments": ["staging", "production"],
        "ticket": "OPS-1",
    }
    log = subprocess.run(
        ["git", "-C", str(samples.repository), "log", "--format=%s", "main"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert log.stdout == "First commit\n"
    assert (samples.folder / "web" / "staging" / "current" / "app.py").is_file()
    assert "Checkout is slow" in (samples.folder / "tickets" / "OPS-1.md").read_text(encoding="utf-8")


def test_without_principals_a_new_policy_has_one_that_nobody_answers_for(order: Order) -> None:
    new = found_home(replace(order, principals=()))
    assert list(new.tokens) == ["claude"]
    assert "principals.claude: no owner is set, so four eyes are not enforced for this assistant" in new.warnings


def test_a_bare_home_grants_nothing_and_has_no_samples(order: Order) -> None:
    new = found_home(replace(order, bare=True))
    assert new.samples is None
    assert "samples" not in names(new.home.folder)
    policy = read_policy(new.home.policy_files(), {})
    assert policy.grants == ()
    assert set(policy.reviewers) == {"alice"}


def test_names_with_dots_stay_one_name_and_several_keys_one_person(order: Order, tmp_path: Path) -> None:
    keys = [read_public_key(public(make_key(tmp_path, name))) for name in ("one", "two")]
    new = found_home(
        replace(
            order,
            principals=[NewPrincipal("claude.code", "bob.b@example.org"), NewPrincipal("other")],
            reviewers=[NewReviewer("alice.a", key) for key in keys],
        )
    )
    policy = read_policy(new.home.policy_files(), open_contracts(new))
    assert policy.principals["claude.code"].owner == "bob.b@example.org"
    assert policy.reviewers["alice.a"].keys == tuple(keys)
    assert set(new.tokens) == {"claude.code", "other"}


def open_contracts(new: NewHome) -> Mapping[str, Contract]:
    return read_catalog(new.home.schemas).contracts


@pytest.mark.parametrize("name", ["", "-x", "a b", "a\nb", "x" * 65, "\u0430lice", 'a"]', "../up"])
def test_what_is_no_name_is_refused_before_anything_is_written(order: Order, name: str) -> None:
    message = refusal(replace(order, principals=[NewPrincipal(name)]))
    assert message.startswith("the principal ")
    assert not order.folder.exists()


def test_every_wrong_name_is_told_at_once(order: Order) -> None:
    key = order.reviewers[0].key
    message = refusal(
        replace(order, principals=[NewPrincipal("a b", "c d")], reviewers=[NewReviewer("e f", key)])
    ).splitlines()
    assert [line.split(" is no name")[0] for line in message] == [
        "the principal 'a b'", "the owner 'c d'", "the reviewer 'e f'"
    ]  # fmt: skip


def test_nobody_is_named_twice(order: Order) -> None:
    twice = replace(order, principals=[*order.principals, *order.principals], reviewers=[*order.reviewers] * 2)
    assert refusal(twice).splitlines() == [
        "the principal claude is named twice",
        "the reviewer alice is named twice with the same key",
    ]
    assert not order.folder.exists()


def test_an_owner_who_alone_could_review_is_refused_and_nothing_stays(order: Order) -> None:
    assert "approval" in refusal(replace(order, principals=[NewPrincipal("claude", "alice")]))
    assert names(order.folder.parent) == set()


def test_a_new_policy_needs_a_reviewer(order: Order) -> None:
    assert "--reviewer NAME=KEY.pub" in refusal(replace(order, reviewers=()))
    assert names(order.folder.parent) == set()


def test_a_founded_home_is_not_founded_again(order: Order) -> None:
    new = found_home(order)
    before = new.home.place.database.read_bytes()
    assert refusal(order) == f"{order.folder}/state exists: this home was founded already"
    assert new.home.place.database.read_bytes() == before


def test_folders_on_the_way_are_made_and_taken_back(order: Order) -> None:
    deep = replace(order, folder=order.folder / "a" / "b")
    refusal(replace(deep, reviewers=()))
    assert not order.folder.exists()
    assert found_home(deep).home.founded


def test_files_that_are_there_are_kept_and_a_failure_takes_back_only_what_it_made(order: Order) -> None:
    order.folder.mkdir()
    (order.folder / "notes.txt").write_text("mine")
    (order.folder / "policy.toml").write_text("version = 2\n")
    assert "version" in refusal(order)
    assert names(order.folder) == {"notes.txt", "policy.toml"}
    (order.folder / "policy.toml").unlink()
    new = found_home(order)
    assert (order.folder / "notes.txt").read_text() == "mine"
    assert new.kept == ()


def test_an_empty_folder_one_stands_in_stays_the_same_folder(order: Order) -> None:
    order.folder.mkdir()
    before = order.folder.stat().st_ino
    found_home(order)
    assert order.folder.stat().st_ino == before


def test_a_copy_of_the_repository_becomes_a_home_and_keeps_its_files(order: Order) -> None:
    order.folder.mkdir()
    for name in ("policy.toml", "keyturn.toml"):
        shutil.copy(ROOT / name, order.folder)
    for name in ("tool_schemas", "policy.d", "policy_tests"):
        shutil.copytree(ROOT / name, order.folder / name)
    new = found_home(Order(folder=order.folder))
    assert new.kept == ("policy.toml", "keyturn.toml", "tool_schemas")
    assert list(new.tokens) == ["claude", "release-bot"]
    assert new.samples is not None
    assert (order.folder / "policy.toml").read_bytes() == (ROOT / "policy.toml").read_bytes()
    assert any("only example keys" in warning for warning in new.warnings)


def test_a_policy_that_is_there_must_hold_the_people_that_are_ordered(order: Order, tmp_path: Path) -> None:
    found_home(order)
    shutil.rmtree(order.folder / "state")
    other = read_public_key(public(make_key(tmp_path, "other")))
    asked = replace(
        order,
        principals=[NewPrincipal("claude", "carol"), NewPrincipal("dave")],
        reviewers=[NewReviewer("alice", other)],
    )
    assert refusal(asked).splitlines() == [
        "policy.toml is there already: set principals.claude.owner to carol in it",
        "policy.toml is there already and has no principal dave: add [principals.dave]",
        (
            "policy.toml is there already and does not list this key of alice: put it under [reviewers.alice] "
            f'as keys = ["{other.line}"]'
        ),
    ]
    assert found_home(order).kept == ("policy.toml", "keyturn.toml", "tool_schemas")
    assert not needs_reviewer(order.folder)


def test_a_wiring_without_the_samples_gets_none(order: Order) -> None:
    order.folder.mkdir()
    (order.folder / "keyturn.toml").write_text("version = 1\nname = 'acme'\n")
    new = found_home(order)
    assert new.samples is None
    assert new.verifier.startswith("acme/")


def test_a_file_is_no_place_for_a_home(order: Order) -> None:
    order.folder.write_text("a file")
    assert refusal(order) == f"{order.folder} is not a folder"
    assert "nothing was founded" in refusal(replace(order, folder=order.folder / "below"))


def test_a_folder_that_others_can_write_to_is_warned_about(order: Order) -> None:
    order.folder.mkdir()
    order.folder.chmod(0o777)
    assert any("chmod go-w" in warning for warning in found_home(order).warnings)


def test_two_foundings_of_one_folder_do_not_mix(order: Order) -> None:
    order.folder.mkdir()
    descriptor = os.open(order.folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        assert refusal(order) == f"another keyturn init is at work in {order.folder}"
    finally:
        os.close(descriptor)
    assert found_home(order).home.founded


# --- interrupted ----------------------------------------------------------------------------------------------

_FOUND = """
import sys
from pathlib import Path
from keyturn.assembly.founding import Order, found_home, read_public_key
from keyturn.assembly.starter import NewPrincipal, NewReviewer
folder, key = map(Path, sys.argv[1:])
found_home(Order(folder=folder, principals=[NewPrincipal("claude", "bob")],
                 reviewers=[NewReviewer("alice", read_public_key(key))]))
"""


def found_with_git(script: str, order: Order, alice: Path) -> subprocess.CompletedProcess[str]:
    """Found in a process of its own, where `git` (the last step before the ledger) is this shell script."""
    programs = order.folder.parent / "programs"
    programs.mkdir()
    (programs / "git").write_text(f"#!/bin/sh\n{script}\n")
    (programs / "git").chmod(0o755)
    return subprocess.run(
        [sys.executable, "-c", _FOUND, str(order.folder), str(public(alice))],
        env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_killed_in_the_middle_there_is_no_home_and_it_can_be_founded_again(order: Order, alice: Path) -> None:
    killed = found_with_git("kill -9 $PPID", order, alice)
    assert killed.returncode == -signal.SIGKILL
    assert not order.folder.exists()
    new = found_home(order)
    left = [path for path in order.folder.parent.iterdir() if path.name.startswith(".home.new-")]
    assert len(left) == 1
    assert f"{left[0]} was left by an init that was interrupted, and nothing reads it: remove it" in new.warnings


def test_killed_in_a_folder_that_was_there_what_stands_is_whole_and_it_can_go_on(order: Order, alice: Path) -> None:
    order.folder.mkdir()
    killed = found_with_git("kill -9 $PPID", order, alice)
    assert killed.returncode == -signal.SIGKILL
    assert not Home(order.folder).founded
    for name in ("keyturn.toml", "tool_schemas/open_pull_request.v1.json"):
        assert (order.folder / name).read_bytes() == (starter_folder() / name).read_bytes()
    new = found_home(order)
    assert new.kept == ("policy.toml", "keyturn.toml", "tool_schemas")
    assert len([warning for warning in new.warnings if "was left by an init" in warning]) == 1
    assert verify_ledger(new.home.place.database, pinned=new.verifier).verdict == "PASS-UNANCHORED"


def test_when_git_fails_nothing_stays(order: Order, alice: Path) -> None:
    failed = found_with_git("echo no room >&2; exit 128", order, alice)
    assert "git could not make the sample repository: no room" in failed.stderr
    assert names(order.folder.parent) == {"programs"}


def test_a_home_that_appears_meanwhile_is_left_alone(order: Order, alice: Path) -> None:
    there = order.folder / "mine"
    git = shutil.which("git")
    failed = found_with_git(f'mkdir -p {there.parent}; touch {there}; exec {git} "$@"', order, alice)
    assert f"{order.folder} has just been made by another program" in failed.stderr
    assert names(order.folder) == {"mine"}
    assert names(order.folder.parent) == {"programs", "home"}


# --- the usual reviewer ---------------------------------------------------------------------------------------


def test_the_usual_reviewer_is_the_account_with_its_first_usual_key(tmp_path: Path, alice: Path) -> None:
    shutil.copy(public(alice), tmp_path / "id_ed25519.pub")
    assert usual_reviewer(tmp_path) == NewReviewer(account(), read_public_key(public(alice)))


def test_without_any_key_one_is_told_how_to_make_or_name_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with pytest.raises(ConfigurationError) as caught:
        usual_reviewer(tmp_path)
    assert "ssh-keygen -t ed25519" in str(caught.value)
    assert "--reviewer NAME=KEY.pub" in str(caught.value)


def test_a_private_key_given_as_public_is_refused(alice: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_public_key(alice)
    assert "this is a private key" in str(caught.value)


def test_a_key_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_public_key(tmp_path / "none.pub")
    assert str(caught.value).startswith(
        f"{tmp_path}/none.pub: No such file or directory; make a key with `ssh-keygen"
    )
