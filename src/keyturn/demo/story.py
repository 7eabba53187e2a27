"""The story of the demo, step by step; each step checks what it claims."""

from __future__ import annotations

import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mcp import Client

from keyturn.assembly.outside import environment
from keyturn.demo.stage import REVIEWER, Stage, StageError, ask
from keyturn.ledger.copy import copy_ledger

Say = Callable[[str], None]


@dataclass(slots=True)
class Step:
    """One step: its name, whether it did what it claims, and what it saw."""

    name: str
    ok: bool = False
    detail: str = ""


@dataclass(slots=True)
class Story:
    """What the demo tells and what came of it. `say` gets every line as it happens."""

    stage: Stage
    say: Say
    steps: list[Step] = field(default_factory=list)
    verify: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Tell one step; it is ok only if it says so, and a step that cannot go on ends the story."""
        step = Step(name)
        self.steps.append(step)
        self.say(f"\n{len(self.steps)}. {name}")
        yield step
        self.say(f"   {'ok' if step.ok else 'NOT AS CLAIMED'}: {step.detail}")


async def tell(story: Story) -> None:
    """Tell the whole story. Raises `StageError` when a program fails in a way that leaves nothing to tell."""
    async with story.stage.client() as client:
        for chapter in _CHAPTERS:
            await chapter(story, client)
    _evidence(story)


async def _rolls_back_by_itself(story: Story, client: Client) -> None:
    with story.step("The assistant rolls staging back; the policy lets that run by itself") as step:
        envelope = await ask(
            client,
            "rollback_deployment",
            {"deployment": "web", "environment": "staging", "to": "previous", "reason": "errors since 2.4.0"},
        )
        live = _live(story, "staging")
        step.ok = envelope["status"] == "succeeded" and live == "2.3.1"
        step.detail = f"{envelope['status']}: staging now runs {live}"


async def _held_and_approved(story: Story, client: Client) -> None:
    with story.step("It asks for a pull request; that is held for a person") as step:
        envelope = await ask(client, "open_pull_request", _PULL_REQUEST)
        action = envelope["action_id"]
        step.ok = envelope["status"] == "pending"
        step.detail = f"{envelope['status']}: {envelope['plan_summary']}"
    with story.step("The operator looks at exactly what would happen") as step:
        diff = story.stage.operate("action", "diff", action).stdout
        for line in diff.strip().splitlines():
            story.say(f"      {line}")
        step.ok = "+TIMEOUT_SECONDS = 60" in diff
        step.detail = "the whole diff, from the plan that is bound to the approval"
    with story.step(f"{REVIEWER} approves with an SSH signature; the action runs once") as step:
        _approve(story, action, "the timeout is right")
        done = await ask(client, "get_action", {"action_id": action, "wait_seconds": 20})
        commit = _git(story, "log", "-1", "--format=%s", f"keyturn/{action}")
        base = _git(story, "log", "-1", "--format=%s", "main")
        step.ok = done["status"] == "succeeded" and commit == "Raise the timeout" and base == "First commit"
        step.detail = f"{done['status']}: branch keyturn/{action} is in the repository, main is untouched"


async def _forbidden(story: Story, client: Client) -> None:
    with story.step("It tries to change what runs with secrets; a forbid beats every grant") as step:
        files = [{"path": ".github/workflows/deploy.yml", "content": "on: push\n"}]
        envelope = await ask(client, "open_pull_request", {**_PULL_REQUEST, "title": "Speed up CI", "files": files})
        step.ok = envelope["status"] == "denied" and any(r["code"] == "forbidden" for r in envelope["reasons"])
        step.detail = envelope["message"]


async def _stale(story: Story, client: Client) -> None:
    with story.step("A production rollback is reviewed, but the world moves before it runs") as step:
        envelope = await ask(client, "rollback_deployment", _PRODUCTION)
        # Somebody else deploys, as a release script would: past Keyturn, on the real folder.
        link = story.stage.sample / "web" / "production" / "current"
        link.unlink()
        link.symlink_to("releases/2.2.0")
        _approve(story, envelope["action_id"], "roll it back")
        done = await ask(client, "get_action", {"action_id": envelope["action_id"], "wait_seconds": 20})
        step.ok = done["status"] == "stale" and _live(story, "production") == "2.2.0"
        step.detail = done["message"]


async def _limited(story: Story, client: Client) -> None:
    with story.step("It asks for production rollbacks again and again; a limit stops it") as step:
        link = story.stage.sample / "web" / "production" / "current"
        link.unlink()
        link.symlink_to("releases/2.4.0")
        last: dict[str, Any] = {}
        for _ in range(6):
            last = await ask(client, "rollback_deployment", {**_PRODUCTION, "repeat": True})
        step.ok = last["status"] == "denied" and any(r["code"] == "limit" for r in last["reasons"])
        step.detail = last["message"]


def _evidence(story: Story) -> None:
    with story.step("The ledger proves it all, from bytes and a public key") as step:
        story.verify = story.stage.operate_json("audit", "verify")
        step.ok = story.verify["verdict"] in {"PASS", "PASS-UNANCHORED"}
        step.detail = f"{story.verify['verdict']} over {story.verify['size']} entries"
    with story.step("One byte of a copy is flipped; the verifier names the entry") as step:
        copy = story.stage.home.parent / "flipped.db"
        _flip_a_byte(story, copy)
        key = ("--ledger", str(copy), "--key", story.stage.new.verifier)
        verdict = story.stage.operate_json("audit", "verify", *key)
        bad = verdict["first_bad"] or {}
        step.ok = verdict["verdict"] == "FAIL" and isinstance(bad.get("seq"), int)
        step.detail = f"{verdict['verdict']}: entry {bad.get('seq')}: {bad.get('reason')}"


def _flip_a_byte(story: Story, copy: Path) -> None:
    copy_ledger(story.stage.new.home.place, copy)
    data = bytearray(copy.read_bytes())
    at = data.find(b'"decision":"hold"')
    if at < 0:
        raise StageError("the copy of the ledger holds no held action")
    data[at + len(b'"decision":"')] ^= 0x01
    copy.write_bytes(data)


def _approve(story: Story, action: str, reason: str) -> None:
    who = ("--key", str(story.stage.key), "--as", REVIEWER)
    done = story.stage.operate("approve", action, "-m", reason, *who)
    if done.returncode:
        raise StageError(f"the approval was refused: {done.stderr.strip()}")
    for line in done.stdout.strip().splitlines():
        story.say(f"      {line}")


def _live(story: Story, name: str) -> str:
    return (story.stage.sample / "web" / name / "current").readlink().name


def _git(story: Story, *arguments: str) -> str:
    repository = story.stage.sample / "shop.git"
    done = subprocess.run(
        ["git", "-C", str(repository), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=dict(environment()),
    )
    return done.stdout.strip()


_PULL_REQUEST = {
    "repository": "shop",
    "base": "main",
    "title": "Raise the timeout",
    "body": "Checkout needs more than 30 s at noon.",
    "files": [
        {
            "path": "app/settings.py",
            "edits": [{"old": "TIMEOUT_SECONDS = 30", "new": "TIMEOUT_SECONDS = 60"}],
        }
    ],
    "reason": "OPS-1",
}
_PRODUCTION = {
    "deployment": "web",
    "environment": "production",
    "to": "2.3.1",
    "reason": "p95 is up fourfold, OPS-1",
}
_CHAPTERS: tuple[Callable[[Story, Client], Awaitable[None]], ...] = (
    _rolls_back_by_itself,
    _held_and_approved,
    _forbidden,
    _stale,
    _limited,
)
