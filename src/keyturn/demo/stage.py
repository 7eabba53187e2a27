"""The stage of the demo: a fresh home, a reviewer's throw-away key, and the real programs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from keyturn.assembly.founding import NewHome, Order, found_home, read_public_key
from keyturn.assembly.outside import environment
from keyturn.assembly.starter import NewPrincipal, NewReviewer

REVIEWER = "alice"
ASSISTANT = "claude"
PATIENCE = 60  # seconds any one program may take


class StageError(Exception):
    """A program of the demo did not do what it must for the story to go on; the text says what was seen."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A founded home and the key of its one reviewer; `passed` are variables for the server beside its token."""

    new: NewHome
    key: Path
    passed: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def home(self) -> Path:
        """The folder of the home."""
        return self.new.home.folder

    @property
    def sample(self) -> Path:
        """The folder of the sample systems."""
        return self.home / "samples"

    def server_said(self) -> str:
        """Return what `keyturn serve` said to its operator so far, in one line."""
        return " ".join(self._server_log.read_text("utf-8").split()) if self._server_log.exists() else ""

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Client]:
        """Start `keyturn serve` with the assistant's token, and speak MCP with it over stdio."""
        given = {**self.passed, "KEYTURN_TOKEN": self.new.tokens[ASSISTANT]}
        server = StdioServerParameters(command=sys.executable, args=[*self._keyturn()[1:], "serve"], env=given)
        with self._server_log.open("w", encoding="utf-8") as log:
            async with Client(stdio_client(server, errlog=log), read_timeout_seconds=PATIENCE) as client:
                yield client

    def operate(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command line as the operator would, whatever it exits with. Raises `StageError`."""
        return run([*self._keyturn(), *arguments])

    def operate_json(self, *arguments: str) -> Any:
        """Run the command line with `--json` and return what it printed. Raises `StageError`."""
        done = self.operate(*arguments, "--json")
        try:
            return json.loads(done.stdout)
        except ValueError as error:
            said = done.stderr.strip() or done.stdout.strip() or "nothing"
            raise StageError(f"keyturn {' '.join(arguments)} exited {done.returncode} and said: {said}") from error

    def git(self, *arguments: str) -> str:
        """Ask git about the sample repository; returns what it said, good or bad. Raises `StageError`."""
        done = run(["git", "-C", str(self.sample / "shop.git"), *arguments])
        return (done.stdout if done.returncode == 0 else done.stderr).strip()

    def live(self, name: str) -> str:
        """Return the release that runs in an environment of the deployment `web`."""
        return self._current(name).readlink().name

    def deploy(self, name: str, release: str) -> None:
        """Deploy past Keyturn, on the real folder, as somebody's release script would."""
        link = self._current(name)
        link.unlink()
        link.symlink_to(f"releases/{release}")

    @property
    def _server_log(self) -> Path:
        return self.home.parent / "server.log"

    def _current(self, name: str) -> Path:
        return self.sample / "web" / name / "current"

    def _keyturn(self) -> tuple[str, ...]:
        return (sys.executable, "-P", "-m", "keyturn", "--home", str(self.home))


def set_up(folder: Path) -> Stage:
    """Make the reviewer's key and found the home in `folder`. Raises `StageError`, or what founding raises."""
    folder.mkdir(parents=True, exist_ok=True)
    key = folder / "reviewer-key"
    made = run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "demo reviewer", "-f", str(key)])
    if made.returncode:
        raise StageError(f"ssh-keygen exited {made.returncode}: {made.stderr.strip()}")
    order = Order(
        folder=folder / "home",
        principals=(NewPrincipal(ASSISTANT, owner="bob"),),
        reviewers=(NewReviewer(REVIEWER, read_public_key(Path(f"{key}.pub"))),),
    )
    return Stage(found_home(order), key)


async def ask(client: Client, tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Call a tool as an assistant would and return the envelope. Raises `StageError` when there is none."""
    result = await client.call_tool(tool, dict(arguments))
    envelope = result.structured_content
    if not isinstance(envelope, dict):
        raise StageError(f"{tool} answered without an envelope: {result.content}")
    return envelope


def run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a program to its end without a terminal. Raises `StageError` when it cannot start or takes too long."""
    # A caller's GIT_DIR, as in a hook, would lead git to another repository than the one that is named.
    surroundings = {name: value for name, value in environment().items() if not name.startswith("GIT_")}
    try:
        return subprocess.run(
            command,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=PATIENCE,
            env=surroundings,
        )
    except OSError as error:
        raise StageError(
            f"{command[0]} cannot be started ({error.strerror}): is it installed, and on PATH?"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise StageError(f"{' '.join(command)} took longer than {PATIENCE} seconds") from error
