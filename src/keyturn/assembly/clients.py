"""What to paste into an MCP client so that it starts Keyturn: one snippet per client, never with a token in it."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from keyturn.canon import Json

if TYPE_CHECKING:  # the verb's choices come from here: naming them must not load a ledger
    from keyturn.assembly.home import Home

SERVER = "keyturn"
TOKEN = "KEYTURN_TOKEN"  # noqa: S105 - the name of a variable


@dataclass(frozen=True, slots=True, kw_only=True)
class Snippet:
    """Text to paste, where it goes, and what to do besides."""

    text: str
    place: str
    then: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How a client starts what serves it, for one principal.

    token_file   where the token lies; None when the client's own configuration holds it
    """

    command: str
    arguments: tuple[str, ...]
    principal: str
    token_file: Path | None = None

    @property
    def warning(self) -> str | None:
        """What is wrong with pasting this start: uvx runs programs from a cache that uv empties. None: nothing."""
        parts = Path(self.command).parts
        cached = any(
            name == "uv" and follows.startswith(("archive-v", "environments-v", "builds-v"))
            for name, follows in pairwise(parts)
        )
        if not cached:
            return None
        return (
            f"{self.command} lies in uv's cache, which may be emptied at any time; install Keyturn for good with "
            "`uv tool install keyturn`, then run this again"
        )

    @property
    def blank(self) -> str:
        """What stands where the token goes."""
        return f"paste the token of {self.principal} here"


def start_of(home: Home, principal: str, token_file: Path | None = None) -> Start:
    """Return how the server of `home` is started: by this installation's own script, found without PATH."""
    return _start(("--home", str(home.folder), "serve"), principal, token_file)


def bridge_to(target: str, principal: str, token_file: Path | None = None) -> Start:
    """Return how a bridge to a server elsewhere is started; `target` is what `keyturn connect` takes."""
    return _start(("connect", target), principal, token_file)


def _start(verb: tuple[str, ...], principal: str, token_file: Path | None) -> Start:
    script = Path(sys.executable).parent / "keyturn"
    command = (str(script),) if script.is_file() else (sys.executable, "-m", "keyturn")
    where = () if token_file is None else ("--token-file", str(token_file))
    return Start(
        command=command[0], arguments=(*command[1:], *verb, *where), principal=principal, token_file=token_file
    )


def snippet_for(client: str, start: Start) -> Snippet:
    """Return the snippet of one of `CLIENTS`. Raises `KeyError` for another name."""
    return _SNIPPETS[client](start)


def _claude_code(start: Start) -> Snippet:
    return Snippet(
        text=_json({"mcpServers": {SERVER: _stdio(start)}}),
        place=".mcp.json in the folder you work in, or the same key in ~/.claude.json for every folder",
        then="Then `claude mcp list` shows whether it starts."
        + _unless_in_file(
            start,
            " Keep a file with a token in it out of version control; to do without, write "
            f'"${{{TOKEN}}}" in its place and export the variable before you start claude.',
        ),
    )


def _claude_desktop(start: Start) -> Snippet:
    server = {name: value for name, value in _stdio(start).items() if name != "type"}
    return Snippet(
        text=_json({"mcpServers": {SERVER: server}}),
        place="claude_desktop_config.json (Settings, Developer, Edit Config), which is in "
        "~/Library/Application Support/Claude on macOS and %APPDATA%\\Claude on Windows",
        then="Then quit Claude Desktop and start it again.",
    )


def _vscode(start: Start) -> Snippet:
    asked: Json = {
        "type": "promptString",
        "id": "keyturn-token",
        "description": f"Keyturn: the token of {start.principal}",
        "password": True,
    }
    server: Json = _stdio(start)
    value: dict[str, Json] = {"servers": {SERVER: server}}
    if start.token_file is None:
        value = {"inputs": [asked], "servers": {SERVER: _stdio(start) | {"env": {TOKEN: "${input:keyturn-token}"}}}}
    return Snippet(
        text=_json(value),
        place=".vscode/mcp.json in your workspace, or the file that the command “MCP: Open User Configuration” opens",
        then=_unless_in_file(
            start, "VS Code asks for the token the first time it starts the server, and keeps it in its secret store."
        ),
    )


def _cursor(start: Start) -> Snippet:
    return Snippet(
        text=_json({"mcpServers": {SERVER: _stdio(start)}}),
        place=".cursor/mcp.json in your project, or ~/.cursor/mcp.json for all of them",
        then=_unless_in_file(
            start,
            f'To keep the token out of the file, write "${{env:{TOKEN}}}" in its place and export the variable.',
        ),
    )


def _inspector(start: Start) -> Snippet:
    server = shlex.join([start.command, *start.arguments])
    variable = _unless_in_file(start, f'-e {TOKEN}="${TOKEN}" ')
    return Snippet(
        text=f"npx @modelcontextprotocol/inspector {variable}-- {server}\n",
        place="a terminal",
        then=_unless_in_file(
            start,
            f"Before it, read the token of {start.principal} into the variable: "
            f"read -rs {TOKEN} (paste, Enter); so it stays out of the shell's history.",
        ),
    )


def _unless_in_file(start: Start, text: str) -> str:
    """Return what is said of a token only where the client itself holds it."""
    return text if start.token_file is None else ""


_SNIPPETS: Mapping[str, Callable[[Start], Snippet]] = {
    "claude-code": _claude_code,
    "claude-desktop": _claude_desktop,
    "vscode": _vscode,
    "cursor": _cursor,
    "inspector": _inspector,
}

CLIENTS = tuple(_SNIPPETS)
"""The clients there is a snippet for."""


def _stdio(start: Start) -> dict[str, Json]:
    server: dict[str, Json] = {"type": "stdio", "command": start.command, "args": list(start.arguments)}
    return server if start.token_file is not None else server | {"env": {TOKEN: start.blank}}


def _json(value: Mapping[str, Json]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
