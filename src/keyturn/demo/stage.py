"""The stage of the demo: a fresh home, a reviewer's throw-away key, and the real programs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcp import Client, StdioServerParameters

from keyturn.assembly.founding import NewHome, Order, found_home, read_public_key
from keyturn.assembly.outside import environment
from keyturn.assembly.starter import NewPrincipal, NewReviewer

REVIEWER = "alice"
ASSISTANT = "claude"


@dataclass(frozen=True, slots=True)
class Stage:
    """A founded home and the key of its one reviewer."""

    new: NewHome
    key: Path

    @property
    def home(self) -> Path:
        """The folder of the home."""
        return self.new.home.folder

    @property
    def sample(self) -> Path:
        """The folder of the sample systems."""
        return self.home / "samples"

    def client(self) -> Client:
        """Return an MCP client that starts `keyturn serve` over stdio with the assistant's token."""
        command = [sys.executable, "-m", "keyturn", "--home", str(self.home), "serve"]
        token = {"KEYTURN_TOKEN": self.new.tokens[ASSISTANT]}
        return Client(StdioServerParameters(command=command[0], args=command[1:], env=token))

    def operate(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command line as the operator would."""
        command = [sys.executable, "-m", "keyturn", "--home", str(self.home), *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=60, env=dict(environment())
        )

    def operate_json(self, *arguments: str) -> Any:
        """Run the command line with `--json` and return what it printed."""
        done = self.operate(*arguments, "--json")
        if not done.stdout:
            raise StageError(f"keyturn {' '.join(arguments)} printed nothing: {done.stderr.strip()}")
        return json.loads(done.stdout)


class StageError(Exception):
    """A program of the demo did not do what it must for the story to go on."""


def set_up(folder: Path) -> Stage:
    """Make the reviewer's key and found the home in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    key = folder / "reviewer-key"
    made = subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "demo reviewer", "-f", str(key)],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env=dict(environment()),
    )
    if made.returncode:
        raise StageError(f"ssh-keygen could not make the reviewer's key: {made.stderr.strip()}")
    order = Order(
        folder=folder / "home",
        principals=(NewPrincipal(ASSISTANT, owner="bob"),),
        reviewers=(NewReviewer(REVIEWER, read_public_key(Path(f"{key}.pub"))),),
    )
    return Stage(found_home(order), key)


async def ask(client: Client, tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Call a tool as an assistant would and return the envelope."""
    result = await client.call_tool(tool, dict(arguments))
    envelope = result.structured_content
    if not isinstance(envelope, dict):
        raise StageError(f"{tool} answered without an envelope")
    return envelope
