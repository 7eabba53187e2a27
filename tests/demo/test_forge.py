"""The demo on a forge: a real pull request behind an API, and what is said when it cannot come about."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.bed.forge import Forge


def run(*options: str, token: str | None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "KEYTURN_FORGE_TOKEN"}
    if token is not None:
        environment["KEYTURN_FORGE_TOKEN"] = token
    return subprocess.run(
        [sys.executable, "-m", "keyturn", "demo", *options],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def steps(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = json.loads(done.stdout)["steps"]
    return told


def test_a_pull_request_is_opened_and_closed_on_a_forge(github: Forge) -> None:
    repository, token = github.repository(), github.emulator.tokens["ada"]
    before = repository.branches()
    done = run("--forge", github.url, "--repository", repository.full_name, "--private", "--json", token=token)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(step["ok"] for step in steps(done))
    [pull] = repository.pulls()
    assert (pull["state"], pull["title"]) == ("closed", "Show how Keyturn opens pull requests")
    assert repository.branches() == before
    assert token not in done.stdout + done.stderr


def test_a_token_that_may_only_read_is_told_before_anything_is_asked(github: Forge) -> None:
    repository, token = github.repository(), github.emulator.tokens["bob"]
    done = run("--forge", github.url, "--repository", repository.full_name, "--private", "--json", token=token)
    assert done.returncode == 1
    refused = [step for step in steps(done) if not step["ok"]]
    assert refused[0]["name"].startswith("The operator asks who Keyturn is")
    assert repository.pulls() == []


@pytest.mark.parametrize(
    ("options", "token", "words"),
    [
        (("--forge", "https://forge.example"), "t", "--forge URL and --repository OWNER/NAME go together"),
        (("--repository", "a/b"), "t", "--forge URL and --repository OWNER/NAME go together"),
        (("--private",), "t", "--forge URL and --repository OWNER/NAME go together"),
        (("--forge", "forge.example", "--repository", "a/b"), "t", "must be a URL"),
        (("--forge", 'https://f.example"\nx', "--repository", "a/b"), "t", "must be a URL"),
        (("--forge", "https://forge.example", "--repository", 'a/b"'), "t", "must be OWNER/NAME"),
        (("--forge", "https://forge.example", "--repository", "a/b"), None, "KEYTURN_FORGE_TOKEN is not set"),
    ],
)
def test_what_is_missing_or_wrong_is_said_at_once(options: tuple[str, ...], token: str | None, words: str) -> None:
    done = run(*options, token=token)
    assert done.returncode == 2
    assert words in done.stderr
