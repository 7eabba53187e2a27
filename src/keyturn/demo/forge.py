"""The pull-request part of the demo on a forge: a real repository behind an API, in place of one on this machine."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from mcp import Client

from keyturn.assembly.outside import environment
from keyturn.demo.chapters import approve, found, outcome, prove, told
from keyturn.demo.stage import Stage, StageError, ask
from keyturn.demo.story import Story
from keyturn.model.errors import ConfigurationError

TOKEN = "KEYTURN_FORGE_TOKEN"  # noqa: S105 - the name of a variable
PATH = "keyturn-demo.txt"

_SECTION = re.compile(r"^\[forge\.shop\].*?(?=^\[)", re.MULTILINE | re.DOTALL)
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}")


@dataclass(frozen=True, slots=True)
class Forge:
    """A repository on a forge that speaks GitHub's API; `private` allows an address of this machine or network."""

    url: str
    repository: str
    private: bool

    def __post_init__(self) -> None:
        """Refuse what would not be one line of settings. Raises `ConfigurationError`."""
        if not re.fullmatch(r"https?://[^\s\"\\]{1,500}", self.url):
            raise ConfigurationError(f"--forge {self.url[:100]}: must be a URL, such as https://api.github.com")
        if not _REPOSITORY.fullmatch(self.repository):
            raise ConfigurationError(f"--repository {self.repository[:100]}: must be OWNER/NAME")
        if not environment().get(TOKEN):
            raise ConfigurationError(f"${TOKEN} is not set: put a token there that may write to {self.repository}")


async def tell_on(forge: Forge, story: Story, folder: Path | None = None) -> None:
    """Tell how a pull request comes about on `forge`. Raises whatever ends the story early."""
    stage = story.stage = _pointed(found(story, folder), forge)
    _checked(story, stage)
    step = story.begin("The assistant's MCP client starts `keyturn serve`")
    async with stage.connected() as client:
        names = sorted(tool.name for tool in (await client.list_tools()).tools)
        step.judge("merge_pull_request" in names, ", ".join(names), instead=f"only {names}")
        story.end(step)
        await _opened(story, stage, client)
        await _undone(story, stage, client)
    prove(story, stage)


def _pointed(stage: Stage, forge: Forge) -> Stage:
    """Point the home's repository `shop` to the forge; the token stays in the environment."""
    lines = [
        "[forge.shop]",
        'kind = "github"',
        f'url = "{forge.url}"',
        f'repository = "{forge.repository}"',
        f'credential = "env:{TOKEN}"',
        *(["private = true"] if forge.private else []),
    ]
    path = stage.new.home.wiring
    path.write_text(_SECTION.sub(lambda _: "\n".join(lines) + "\n\n", path.read_text("utf-8"), count=1), "utf-8")
    return replace(stage, passed={TOKEN: environment()[TOKEN]})


def _checked(story: Story, stage: Stage) -> None:
    with story.step("The operator asks who Keyturn is on the forge, and what it may do there") as step:
        done = stage.operate("connector", "check", "shop")
        story.exhibit(done.stdout or done.stderr)
        step.judge(done.returncode == 0, "nothing is missing", instead=f"exit {done.returncode}")


async def _opened(story: Story, stage: Stage, client: Client) -> None:
    with story.step("It asks for a pull request; that is held for a person") as step:
        envelope = await ask(client, "open_pull_request", _PULL_REQUEST)
        held = envelope["status"] == "pending"
        step.judge(held, f"pending: {envelope['plan_summary']}", instead=told(envelope))
        if not held:
            raise StageError("without a held action there is nothing to review")
    story.action = action = str(envelope["action_id"])
    with story.step("A reviewer approves; the pull request is opened once, and read back") as step:
        approve(story, stage, action, "a file to show that it works")
        done = await outcome(client, action)
        pull = await ask(client, "get_pull_request", {"action_id": action})
        result, seen = done["result"] or {}, pull["result"] or {}
        step.judge(
            done["status"] == "succeeded" and seen.get("commit") == result.get("commit") is not None,
            f"Number {seen.get('number')} is {seen.get('state')}: {seen.get('url')}, branch keyturn/{action}.",
            instead=f"{told(done)} {told(pull)}",
        )


async def _undone(story: Story, stage: Stage, client: Client) -> None:
    with story.step("It asks to undo that; closing is an action of its own, reviewed and recorded") as step:
        envelope = await ask(client, "undo_action", {"action_id": story.action, "reason": "it was a demonstration"})
        if envelope["status"] == "pending":
            approve(story, stage, str(envelope["action_id"]), "leave nothing behind")
        done = await outcome(client, envelope["action_id"])
        step.judge(done["status"] == "succeeded", told(done))


_PULL_REQUEST = {
    "repository": "shop",
    "base": "main",
    "title": "Show how Keyturn opens pull requests",
    "body": "Opened by a demonstration, and closed by it again.",
    "files": [{"path": PATH, "content": "An assistant asked, a person agreed, and both can be proved.\n"}],
    "reason": "a demonstration",
}
