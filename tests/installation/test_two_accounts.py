"""The page on installing under an account of its own, followed word for word with real accounts on this machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import ROOT

UNIT = ROOT / "docs/examples/keyturn.service"
PROGRAMS = ("useradd", "runuser", "setpriv", "unshare", "ssh-keygen", "uv", "git", "pgrep", "systemd-analyze")


def missing() -> str | None:
    """Say what keeps this machine from playing the page, or None."""
    if os.geteuid() != 0:
        return "only root can make accounts"
    absent = [name for name in PROGRAMS[:-1] if shutil.which(name) is None]
    if absent:
        return f"not installed: {', '.join(absent)}"
    if not Path("/usr/bin/python3").exists():
        return "there is no /usr/bin/python3, which other accounts could run"
    alone = subprocess.run(["unshare", "--mount", "--pid", "--fork", "--mount-proc", "true"], check=False)
    return "namespaces of its own are not allowed here" if alone.returncode else None


@pytest.fixture(scope="module")
def said() -> list[dict[str, Any]]:
    if (why := missing()) is not None:
        pytest.skip(why)
    alone = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
    done = subprocess.run(
        [*alone, sys.executable, "-m", "tests.installation.stage"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=170,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def line(said: list[dict[str, Any]], beginning: str) -> dict[str, Any]:
    [found] = [one for one in said if one.get("line", "").startswith(beginning)]
    return found


FAILING = ("ls /var/lib/keyturn", "keyturn --home /var/lib/keyturn inbox", "kill -0")


def test_every_line_of_the_page_works_but_those_it_says_fail(said: list[dict[str, Any]]) -> None:
    failed = [one["line"] for one in said if one.get("code")]
    assert [text for text in failed if not text.startswith(FAILING)] == [], said
    assert len(failed) == len(FAILING)


def test_the_assistants_account_reads_nothing_and_signals_nobody(said: list[dict[str, Any]]) -> None:
    assert "Permission denied" in line(said, FAILING[0])["text"]
    assert "Permission denied" in line(said, FAILING[1])["text"]
    assert "Operation not permitted" in line(said, FAILING[2])["text"]


def test_the_assistant_asks_and_is_told_that_people_have_to_agree(said: list[dict[str, Any]]) -> None:
    [asked] = [one for one in said if one["who"] == "assistant"]
    assert {"get_action", "open_pull_request"} <= set(asked["tools"])
    assert asked["envelope"]["status"] == "pending"


def test_alice_sees_all_of_it_signs_under_her_own_account_and_it_runs(said: list[dict[str, Any]]) -> None:
    assert "+TIMEOUT_SECONDS = 60" in line(said, "keyturn review ID.request.json --diff")["text"]
    assert "approved" in line(said, "runuser -u keyturn -- keyturn approve")["text"]
    assert "succeeded" in line(said, "runuser -u keyturn -- keyturn action wait")["text"]


def test_an_act_is_signed_by_hand_where_alices_key_is(said: list[dict[str, Any]]) -> None:
    assert "kt_" in line(said, "runuser -u keyturn -- keyturn token issue")["text"]


def test_the_doctor_finds_the_installation_well(said: list[dict[str, Any]]) -> None:
    text = line(said, "runuser -u keyturn -- keyturn doctor")["text"]
    assert "keyturn is Keyturn's own account" in text
    assert "0 to know, 0 to mend" in text


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False)


def test_the_unit_says_only_what_systemd_knows(tmp_path: Path) -> None:
    text = UNIT.read_text().replace("/opt/keyturn/bin/keyturn", "/bin/true")
    (tmp_path / "keyturn.service").write_text(text)
    done = analyze("verify", "--man=no", str(tmp_path / "keyturn.service"))
    ours = [said for said in (done.stdout + done.stderr).splitlines() if "keyturn.service" in said]
    assert ours == []


def test_the_unit_is_confined(tmp_path: Path) -> None:
    done = analyze("security", "--offline=true", "--threshold=15", str(UNIT))
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd-analyze cannot look at a unit that is not loaded")
    assert done.returncode == 0, done.stdout
