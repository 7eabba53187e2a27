"""The chapters of the demo; each step checks what it claims, on the real files and in the real ledger."""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from mcp import Client

from keyturn.demo.stage import ASSISTANT, REVIEWER, Stage, StageError, ask, set_up
from keyturn.demo.story import Story
from keyturn.ledger.copy import copy_ledger

Chapter = Callable[[Story, Stage, Client], Awaitable[None]]


async def tell(story: Story, folder: Path | None = None) -> None:
    """Tell the whole story on a home founded in `folder`, or in a temporary one. Raises whatever ends it early."""
    stage = found(story, folder)
    await converse(story, stage)
    _evidence(story, stage)


def found(story: Story, folder: Path | None) -> Stage:
    """Found a home in `folder`, or in a temporary one, as the first step."""
    with story.step(f"A home is founded; {REVIEWER} reviews, {ASSISTANT} is the assistant") as step:
        story.folder = (folder or Path(tempfile.mkdtemp(prefix="keyturn-demo-"))).resolve()
        story.stage = stage = set_up(story.folder)
        step.judge(True, f"policy, contracts, samples, a signed log and {REVIEWER}'s SSH key are in {story.folder}")
    return stage


async def converse(story: Story, stage: Stage) -> None:
    """Tell what an assistant and a person do with each other, over one connection."""
    step = story.begin("The assistant's MCP client starts `keyturn serve` and asks for its tools")
    async with stage.connected() as client:
        names = sorted(tool.name for tool in (await client.list_tools()).tools)
        step.judge("open_pull_request" in names, ", ".join(names), instead=f"only {names}")
        story.end(step)
        for chapter in _CHAPTERS:
            await chapter(story, stage, client)


async def _rolls_back_by_itself(story: Story, stage: Stage, client: Client) -> None:
    with story.step("It rolls staging back; the policy lets that run by itself") as step:
        envelope = await ask(client, "rollback_deployment", _STAGING)
        live = stage.live("staging")
        step.judge(
            envelope["status"] == "succeeded" and live == "2.3.1", f"{told(envelope)} Staging now runs {live}."
        )


async def _held_and_approved(story: Story, stage: Stage, client: Client) -> None:
    with story.step("It asks for a pull request; that is held for a person") as step:
        envelope = await ask(client, "open_pull_request", _PULL_REQUEST)
        step.judge(
            envelope["status"] == "pending",
            f"{envelope['status']}: {envelope['plan_summary']}",
            instead=told(envelope),
        )
    story.action = action = str(envelope["action_id"])
    with story.step("The operator looks at exactly what would happen") as step:
        shown = stage.operate("action", "diff", action)
        story.exhibit(shown.stdout)
        step.judge(
            "+TIMEOUT_SECONDS = 60" in shown.stdout.split("\n"),
            "this is the whole diff, out of the plan that an approval binds",
            instead=f"the diff does not raise the timeout; the command exited {shown.returncode}: {shown.stderr}",
        )
    with story.step(f"{REVIEWER} approves with an SSH signature; the action runs once") as step:
        approve(story, stage, action, "the timeout is right")
        done = await outcome(client, action)
        commits = stage.git("log", "--format=%s", f"keyturn/{action}")
        base = stage.git("log", "--format=%s", "main")
        step.judge(
            (done["status"], commits, base) == ("succeeded", "Raise the timeout\nFirst commit", "First commit"),
            f"{told(done)} Branch keyturn/{action} holds the commit; main is untouched.",
            instead=f"{told(done)} On its branch git sees: {commits!r}; on main: {base!r}.",
        )


async def _forbidden(story: Story, stage: Stage, client: Client) -> None:
    with story.step("It tries to change what runs with secrets; a forbid beats every grant") as step:
        files = [{"path": ".github/workflows/deploy.yml", "content": "on: push\n"}]
        envelope = await ask(client, "open_pull_request", {**_PULL_REQUEST, "title": "Speed up CI", "files": files})
        step.judge(_denied(envelope, "forbidden"), envelope["message"], instead=told(envelope))


async def _stale(story: Story, stage: Stage, client: Client) -> None:
    with story.step("A production rollback is reviewed, but the world moves before it runs") as step:
        envelope = await ask(client, "rollback_deployment", _PRODUCTION)
        stage.deploy("production", "2.2.0")
        story.note("Somebody else deploys 2.2.0, past Keyturn.")
        approve(story, stage, str(envelope["action_id"]), "roll it back")
        done = await outcome(client, envelope["action_id"])
        live = stage.live("production")
        step.judge(
            done["status"] == "stale" and live == "2.2.0",
            told(done),
            instead=f"{told(done)} Production now runs {live}.",
        )


async def _limited(story: Story, stage: Stage, client: Client) -> None:
    with story.step("It asks for production rollbacks again and again; a limit stops it") as step:
        stage.deploy("production", "2.4.0")
        last: dict[str, Any] = {}
        for _ in range(6):
            last = await ask(client, "rollback_deployment", {**_PRODUCTION, "repeat": True})
        step.judge(_denied(last, "limit"), last["message"], instead=told(last))


def prove(story: Story, stage: Stage) -> None:
    """Verify the ledger."""
    with story.step("The ledger proves it all, from bytes and a public key") as step:
        story.verify = verdict = stage.operate_json("audit", "verify")
        step.judge(
            verdict["verdict"] in {"PASS", "PASS-UNANCHORED"},
            f"{verdict['verdict']}, over {verdict['size']} entries",
            instead=f"{verdict['verdict']}: {_first_bad(verdict)}",
        )


def _evidence(story: Story, stage: Stage) -> None:
    prove(story, stage)
    with story.step("One byte of a copy is flipped; the verifier names the entry") as step:
        copy = stage.home.parent / "flipped.db"
        _flip_a_byte(stage, copy)
        verdict = stage.operate_json("audit", "verify", "--ledger", str(copy), "--key", stage.new.verifier)
        step.judge(
            verdict["verdict"] == "FAIL" and verdict["first_bad"] is not None,
            f"{verdict['verdict']}: {_first_bad(verdict)}",
        )


def _first_bad(verdict: dict[str, Any]) -> str:
    bad = verdict["first_bad"]
    return "no entry is named" if bad is None else f"entry {bad['seq']}: {bad['reason']}"


def _flip_a_byte(stage: Stage, copy: Path) -> None:
    copy_ledger(stage.new.home.place, copy)
    data = bytearray(copy.read_bytes())
    at = data.find(_HELD)
    if at < 0:
        raise StageError("the copy of the ledger holds no held action whose byte could be flipped")
    data[at + len(_HELD) - 1] ^= 0x01
    copy.write_bytes(data)


def approve(story: Story, stage: Stage, action: str, reason: str) -> None:
    """Approve an action as the reviewer does. Raises `StageError` when that does not count."""
    [said] = stage.operate_json("approve", action, "-m", reason, "--key", str(stage.key), "--as", REVIEWER)
    if said["error"] is not None:
        raise StageError(f"the approval does not count: {said['error']['message']}")
    story.note(
        f"{said['reviewer']} approves action {action}: “{reason}”. Signed is its digest, {said['digest']}. "
        f"It has {said['have']} of {said['need']} reviews and is {said['status']}."
    )


async def outcome(client: Client, action: object) -> dict[str, Any]:
    """Wait for what came of an action, as the assistant does."""
    return await ask(client, "get_action", {"action_id": action, "wait_seconds": 45})


def _denied(envelope: dict[str, Any], code: str) -> bool:
    return envelope["status"] == "denied" and any(reason["code"] == code for reason in envelope["reasons"])


def told(envelope: dict[str, Any]) -> str:
    """Return what the assistant was told."""
    return f"{envelope['status']}: {envelope['message']}"


_HELD = b'"decision":"h'
_STAGING = {"deployment": "web", "environment": "staging", "to": "previous", "reason": "errors since 2.4.0"}
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
_CHAPTERS: tuple[Chapter, ...] = (_rolls_back_by_itself, _held_and_approved, _forbidden, _stale, _limited)
