"""The main job as a newcomer does it: the commands as printed, a plain client, a person's key, the auditor's word."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from tests.server.clients import MODES, assistant
from tests.server.home import Place
from tests.sshsig.keys import environment, make_key

pytestmark = pytest.mark.anyio
FILES = [{"path": "app/settings.py", "edits": [{"old": "RETRIES = 3", "new": "RETRIES = 5"}]}]


async def run(folder: Path, *command: str) -> str:
    """Run a program as a person would; it must succeed."""

    def finish() -> str:
        done = subprocess.run(command, env=environment(folder), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return await anyio.to_thread.run_sync(finish)


async def test_a_pull_request_goes_from_a_client_through_a_person_into_git(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    key, folder = make_key(tmp_path / "keys"), tmp_path / "home"
    keyturn = (sys.executable, "-m", "keyturn")
    made: dict[str, Any] = json.loads(
        await run(
            tmp_path,
            *keyturn,
            "init",
            str(folder),
            "--principal",
            "claude",
            "--reviewer",
            f"alice={key}.pub",
            "--json",
        )
    )
    place = Place(Path(made["home"]), made["tokens"]["claude"], key)
    samples = made["samples"]
    git = ("git", "-C", samples["repository_path"])
    base = await run(tmp_path, *git, "rev-parse", samples["base"])
    for mode in MODES:
        async with assistant(place, mode) as claude:
            held = await claude.call(
                "open_pull_request",
                repository=samples["repository"],
                base=samples["base"],
                title=f"Retry more, {mode}",
                files=FILES,
            )
            assert held["status"] == "pending"
            action = held["action_id"]
            say = ("approve", action, "-m", "ok", "--key", str(key), "--as", "alice")
            await run(tmp_path, *keyturn, "--home", str(folder), *say)
            done = await claude.call("get_action", action_id=action, wait_seconds=45)
            assert done["status"] == "succeeded"
        log = await run(tmp_path, *git, "log", "--format=%H", f"keyturn/{action}")
        assert log.split() == [done["result"]["commit"], base.strip()]
        assert await run(tmp_path, *git, "rev-parse", samples["base"]) == base
    verdict = json.loads(await run(tmp_path, *keyturn, "--home", str(folder), "audit", "verify", "--json"))
    assert verdict["first_bad"] is None
    await anyio.to_thread.run_sync(place.end_workers)
