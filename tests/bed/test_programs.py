"""Servers start, are reported when they do not, and leave nothing behind."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from tests.bed import node
from tests.bed.asking import closed
from tests.bed.programs import DidNotStart, free_port, program, wait_until

SERVER = """
import http.server, subprocess, sys
child = subprocess.Popen(["sleep", "600"])
print("child", child.pid, flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.BaseHTTPRequestHandler).serve_forever()
"""


def listens(port: int) -> bool:
    return not closed(port)


def alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][:1]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_program_runs_for_its_block_and_takes_its_children_along(tmp_path: Path) -> None:
    with program(lambda port: [sys.executable, "-c", SERVER, str(port)], listens, said=tmp_path / "log") as running:
        child = int((tmp_path / "log").read_text().split()[1])
        assert alive(child)
        assert os.getpgid(child) == running.process.pid
    assert closed(running.port)
    wait_until(lambda: not alive(child), within=10, what="the child is gone")


def test_a_program_that_ends_is_reported_with_what_it_said(tmp_path: Path) -> None:
    with (
        pytest.raises(DidNotStart, match="no such luck"),
        program(lambda port: [sys.executable, "-c", "exit('no such luck')"], listens, said=tmp_path / "log"),
    ):
        pytest.fail("it did not start")


def test_a_program_that_never_answers_is_ended(tmp_path: Path) -> None:
    with (
        pytest.raises(DidNotStart, match="answers"),
        program(lambda port: ["sleep", "600"], listens, said=tmp_path / "log", within=0.2),
    ):
        pytest.fail("it did not start")


def test_a_port_that_was_taken_meanwhile_is_tried_again(tmp_path: Path) -> None:
    ports: list[int] = []
    children = tmp_path / "children"

    def command(port: int) -> list[str]:
        ports.append(port)
        server = SERVER.replace("flush=True", f"file=open({str(children)!r}, 'a'), flush=True")
        return [sys.executable, "-c", server, str(taken if ports[0] == port else port)]

    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        with program(command, listens, said=tmp_path / "log") as running:
            assert running.port != ports[0]
    left = [int(line.split()[1]) for line in children.read_text().splitlines()]
    assert len(left) == 2
    wait_until(lambda: not any(alive(child) for child in left), within=10, what="no child is left")


def test_a_free_port_is_free() -> None:
    assert closed(free_port())


def test_what_lacks_is_named_with_the_way_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYTURN_NODE", str(tmp_path))
    described = tmp_path / "node_modules/emulate/package.json"
    described.parent.mkdir(parents=True)
    (described.parent / "dist").mkdir()
    (described.parent / "dist/index.js").touch()
    described.write_text('{"version": "0.1.0"}')
    reason = node.missing(node.EMULATE, node.PRISM)
    assert reason is not None
    assert f"npm i --prefix {tmp_path} --ignore-scripts emulate@0.12.2 @stoplight/prism-cli@5.16.0" in reason
    with pytest.raises(pytest.skip.Exception, match=r"emulate@0\.12\.2"):
        node.require(node.EMULATE)
    described.write_text('{\n  "version": "0.12.2"\n}')
    assert node._has(node.EMULATE)
