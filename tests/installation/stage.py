"""Follows the page on installing under an account of its own, word for word, and tells as JSON what became of it.

Run as root in mount and process namespaces of its own (`unshare`): accounts, folders and services exist in there
alone, and are gone with it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from tests.docs.pages import ROOT, Page
from tests.installation.terminal import Said, Shell

PAGE = Page(ROOT / "docs/how-to/install-under-its-own-account.md")
COPIED = ("/etc", "/usr/local/bin")  # what the page adds to
EMPTY = ("/home", "/opt", "/run", "/var/lib")
CLONED = ("src", "docs", "tool_schemas", "pyproject.toml", "README.md", "LICENSE", "policy.toml", "keyturn.toml")
CHANGE = {
    "repository": "shop",
    "base": "main",
    "title": "Raise the timeout",
    "files": [{"path": "app/settings.py", "edits": [{"old": "TIMEOUT_SECONDS = 30", "new": "TIMEOUT_SECONDS = 60"}]}],
}


def blocks() -> Iterator[tuple[str, list[str]]]:
    """Yield whose shell each block of the page is for, and its lines."""
    for block in PAGE.blocks:
        if block.language == "sh":
            first, *lines = block.text.splitlines()
            yield first.removeprefix("# "), lines


def set_the_stage() -> None:
    """Put throw-away copies in the place of the folders that the page changes."""
    run("mount", "--make-rprivate", "/")
    kept = Path("/mnt")
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(kept))
    for place in COPIED:
        copy = kept / place.replace("/", "_")
        shutil.copytree(place, copy, symlinks=True)
        run("mount", "--bind", str(copy), place)
    for place in EMPTY:
        run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", place)
    clone = Path("/opt/clone")
    clone.mkdir(mode=0o700)
    for name in CLONED:
        here = ROOT / name
        (shutil.copytree if here.is_dir() else shutil.copy)(here, clone / name)
    Path("/opt/root").mkdir(mode=0o700)
    stand_in = Path("/usr/local/bin/systemctl")
    stand_in.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m tests.installation.systemd "$@"\n')
    stand_in.chmod(0o755)


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


class Play:
    """The page being followed: three shells, and what was said in them."""

    def __init__(self) -> None:
        self.said: list[dict[str, Any]] = []
        self.token = ""
        self.action = ""
        self.start: list[str] = []
        self._shells: dict[str, Shell] = {}

    def follow(self) -> None:
        """Type every line of the page; between two of them the assistant asks, as the page says."""
        for who, lines in blocks():
            for line in lines:
                if line.startswith("runuser -u keyturn -- keyturn inbox"):
                    self.action = anyio.run(self.ask)
                self._type(who, line)
        self._type("root", "systemctl stop keyturn")

    async def ask(self) -> str:
        """Have the assistant open a pull request, through what its client is told to start, in both eras."""
        async with self._client("legacy") as client:
            names = {tool.name for tool in (await client.list_tools()).tools}
        async with self._client("auto") as client:
            result = await client.call_tool("open_pull_request", CHANGE)
        envelope: Any = result.structured_content
        self.said.append({"who": "assistant", "tools": sorted(names), "envelope": envelope})
        return str(envelope["action_id"])

    def _client(self, mode: Any) -> Client:
        as_claude = ["--reuid=claude", "--regid=claude", "--init-groups", "--reset-env"]
        parameters = StdioServerParameters(command="setpriv", args=[*as_claude, *self.start])
        return Client(stdio_client(parameters), mode=mode, read_timeout_seconds=60)

    def _type(self, who: str, line: str) -> None:
        answers: list[tuple[str, str | Callable[[str], str]]] = []
        if line.startswith("ssh-keygen"):
            prompts = ("save the key", "Enter passphrase", "same passphrase")
            answers = [(prompt, "\n") for prompt in prompts]
        if line.endswith("--key -"):
            answers = [("^printf .* -f KEY$", self._signed_by_alice)]
        pasted = ("cat", f"{self.token}\n\x04") if "cat >" in line else None
        said = self._shell(who).type(line.replace("ID", self.action or "ID"), answers, pasted)
        self.said.append({"who": who, "line": line, "code": said.code, "text": said.text})
        self._notice(line, said)

    def _signed_by_alice(self, command: str) -> str:
        """Run what was printed in her shell, with her key, and return what would be pasted."""
        said = self._shell("alice").type(command.replace("KEY", "~/.ssh/id_ed25519")).text
        return f"{said[said.index('-----BEGIN') :]}\n"

    def _notice(self, line: str, said: Said) -> None:
        """Take over what a person would copy from the screen."""
        if " keyturn init " in line:
            self.token = next(word for word in said.text.split() if word.startswith("kt_"))
        if line.startswith("keyturn client-config"):
            server = json.loads(said.text[: said.text.rindex("}") + 1])["mcpServers"]["keyturn"]
            self.start = [server["command"], *server["args"]]

    def _shell(self, who: str) -> Shell:
        if who not in self._shells:
            environment = {
                **{name: value for name, value in os.environ.items() if name not in {"KEYTURN_HOME", "VIRTUAL_ENV"}},
                "HOME": "/opt/root",
                "TERM": "xterm",
                "UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR", str(Path.home() / ".cache/uv")),
                "PYENV_ROOT": str(Path.home() / ".pyenv"),
                "PATH": f"/usr/local/bin:{os.environ['PATH']}",
            }
            self._shells[who] = Shell(
                None if who == "root" else who, environment, "/opt/clone" if who == "root" else "/"
            )
        return self._shells[who]


if __name__ == "__main__":
    set_the_stage()
    play = Play()
    try:
        play.follow()
    finally:
        sys.stdout.write(json.dumps(play.said))
