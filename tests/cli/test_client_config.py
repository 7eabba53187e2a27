"""`keyturn client-config` and `keyturn version`."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from keyturn.assembly.clients import CLIENTS
from keyturn.log.kinds import FORMAT
from tests.cli.operator import Operator, lines, tell


def start(operator: Operator) -> tuple[str, list[str]]:
    return str(Path(sys.executable).with_name("keyturn")), ["--home", str(operator.home), "serve"]


@pytest.mark.parametrize("client", ["claude-code", "claude-desktop", "cursor"])
def test_json_clients_start_this_homes_server_by_absolute_paths(operator: Operator, client: str) -> None:
    said = operator.tell("client-config", client)
    server: dict[str, Any] = json.loads(said.out)["mcpServers"]["keyturn"]
    assert (server["command"], server["args"]) == start(operator)
    assert server["env"] == {"KEYTURN_TOKEN": "paste the token of claude here"}
    assert server.get("type") == (None if client == "claude-desktop" else "stdio")
    assert "Paste it into" in said.err


def test_vscode_asks_for_the_token_itself(operator: Operator) -> None:
    config = json.loads(operator.tell("client-config", "vscode").out)
    server = config["servers"]["keyturn"]
    assert (server["command"], server["args"]) == start(operator)
    assert server["env"] == {"KEYTURN_TOKEN": f"${{input:{config['inputs'][0]['id']}}}"}
    assert config["inputs"][0]["password"] is True


def test_the_inspector_is_a_command_line_that_holds_no_token(operator: Operator) -> None:
    said = operator.tell("client-config", "inspector")
    command, arguments = start(operator)
    assert shlex.split(said.out)[-4:] == [command, *arguments]
    assert '-e KEYTURN_TOKEN="$KEYTURN_TOKEN" --' in said.out


@pytest.mark.parametrize("client", CLIENTS)
def test_no_snippet_ever_holds_a_token(operator: Operator, client: str) -> None:
    said = operator.tell("client-config", client, "--json")
    assert said.json["client"] == client
    assert operator.token not in said.out
    assert "kt_" not in said.out


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_of_a_server_elsewhere_is_told_of_the_bridge_and_where_the_token_lies(
    client: str, tmp_path: Path
) -> None:
    where = ("--connect", "unix:/run/keyturn/mcp.sock", "--token-file", tmp_path / "token")
    said = tell("--home", tmp_path, "client-config", client, *where)
    assert said.code == 0
    for word in ("connect", "unix:/run/keyturn/mcp.sock", str(tmp_path / "token")):
        assert word in said.out
    assert "KEYTURN_TOKEN" not in said.out + said.err
    assert "inputs" not in said.out
    assert "KEYTURN_TOKEN" in tell("client-config", client, *where[:2]).out


def test_the_token_is_named_by_its_principal(operator: Operator) -> None:
    assert "the token of claude" in operator.tell("client-config", "cursor", "--principal", "claude").out
    assert operator.tell("client-config", "cursor", "--principal", "nobody").transcript == lines(
        "! keyturn: the policy in force has no principal 'nobody'; it has: claude", code=5
    )
    assert operator.tell("client-config", "emacs").code == 2


def test_with_several_assistants_the_token_is_the_clients_own(operator: Operator) -> None:
    operator.edit("[people.bob]", "[principals.other]\n\n[people.bob]")
    assert operator.activate().code == 0
    assert "the token of your assistant" in operator.tell("client-config", "cursor").out


def test_a_folder_that_is_no_home_is_said(tmp_path: Path) -> None:
    assert tell("--home", tmp_path, "client-config", "cursor").code == 1


def test_version_names_program_and_format() -> None:
    assert tell("version").out.startswith("keyturn 0.")
    assert tell("version", "--json").json["format"] == FORMAT
    assert set(tell("version", "--json=version").json) == {"version"}


def test_version_loads_neither_rooms_nor_libraries() -> None:
    program = "import sys; sys.argv = ['keyturn', 'version']\ntry:\n from keyturn.cli import main; main()\nfinally:\n"
    heavy = " print([m for m in ('rich', 'pydantic', 'sqlite3', 'cryptography', 'mcp', 'anyio') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program + heavy], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stdout.splitlines()[-1] == "[]"
