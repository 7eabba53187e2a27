"""Rules with `anchor = "before"` with real servers, workers and witnesses: cosigned first, or not done."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from keyturn.gateway.call import call
from keyturn.gateway.callers import authenticate
from keyturn.gateway.incoming import Incoming
from tests.cli.operator import Said
from tests.faults.world import nobody
from tests.server.home import SECONDS, Place, found, until
from tests.server.test_anchoring import declare, recorded, verb, verifier_of, witnessing
from tests.server.test_witness import KEYTURN, keyturn
from tests.server.web import site

COMMENTS = 'id = "assistants comment on tickets"'
STAGING = 'id = "staging rolls back by itself"'
BEFORE = '\nanchor = "before"'
HELLO: dict[str, Any] = {"ticket": "OPS-1", "comment": "Hello."}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = found(tmp_path / "one")
    yield place
    place.end_workers()


def required(place: Place, witness: tuple[str, str]) -> None:
    declare(place, {"w1": witness}, None, every="1h")
    with (place.folder / "keyturn.toml").open("a") as wiring:
        wiring.write("required = true\n")


def ask_first(place: Place) -> Said:
    policy = place.folder / "policy.toml"
    text = policy.read_text()
    for rule in (COMMENTS, STAGING):
        assert rule in text
        text = text.replace(rule, rule + BEFORE)
    policy.write_text(text)
    return activate(place)


def activate(place: Place) -> Said:
    return verb(place, "policy", "activate", "-m", "x", "--key", str(place.key))


def ticket(place: Place) -> str:
    return (place.folder / "samples/tickets/OPS-1.md").read_text()


def kinds(place: Place, first: str) -> list[str]:
    every = [entry.kind for entry in place.look(lambda view: view.entries(0))]
    return every[every.index(first) :]


def test_a_server_has_an_intent_cosigned_before_the_effect_and_does_nothing_without(
    place: Place, tmp_path: Path
) -> None:
    with witnessing(tmp_path / "w1", verifier_of(place)) as witness:
        required(place, witness)
        assert ask_first(place).code == 0
        with site(place) as running:
            answer = running.envelope(place.token, "update_ticket", **HELLO)
            assert (answer["status"], ticket(place).count("Hello.")) == ("succeeded", 1)
            intent, end = place.entries("execution.started")[0].seq, place.entries("execution.finished")[0].seq
            having = [entry for entry in recorded(place, "w1") if entry.facts["size"] == intent + 1]
            assert [intent < entry.seq < end for entry in having] == [True]
            assert running.stop() == 0
        report = json.loads(verb(place, "audit", "verify", "--witness", witness[1], "--json").out)
        assert report["anchored_before"] == {"actions": 1, "cosigned": 1}
    with site(place) as running:  # the witness is gone
        answer = running.envelope(
            place.token, "rollback_deployment", deployment="web", environment="staging", to="previous"
        )
        assert answer["status"] == "failed", answer
        assert "anchor w1 (witness)" in json.dumps(answer)
        assert "nothing was done: its intent has to be anchored first" in json.dumps(answer)
    (last,) = [entry for entry in place.entries("execution.finished") if entry.facts["outcome"] == "failed"]
    assert last.facts["effect"] is False


def test_a_worker_has_an_intent_cosigned_before_the_effect(place: Place, tmp_path: Path) -> None:
    with witnessing(tmp_path / "w1", verifier_of(place)) as witness:
        required(place, witness)
        assert ask_first(place).code == 0
        with place.gateway() as gate:
            caller = authenticate(gate, place.token, transport="stdio", client="x")
            asked = anyio.run(call, replace(gate, start_worker=nobody), caller, Incoming("update_ticket", HELLO, 60))
        assert asked.envelope["status"] == "approved"
        with subprocess.Popen([*KEYTURN, "--home", str(place.folder), "worker"], stderr=subprocess.PIPE) as worker:
            until(lambda: place.entries("execution.finished"))
            worker.terminate()
            worker.communicate(timeout=SECONDS)
        assert ticket(place).count("Hello.") == 1
        found = kinds(place, "execution.started")
        assert found.index("anchor.recorded") < found.index("execution.finished")
        assert verb(place, "audit", "verify").code == 0


@contextmanager
def silence() -> Iterator[str]:
    """Listen, and never answer."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_witness_that_never_answers_is_waited_for_no_longer_than_its_deadline(place: Place, tmp_path: Path) -> None:
    with witnessing(tmp_path / "w1", verifier_of(place)) as (_, key):
        pass
    with silence() as url:
        required(place, (url, key))
        assert ask_first(place).code == 0
        with site(place) as running:
            answer = running.envelope(place.token, "update_ticket", **HELLO)
            until(lambda: place.entries("execution.finished"))
            assert running.stop() == 0
    assert (answer["status"], ticket(place).count("Hello.")) in {("failed", 0), ("running", 0)}
    assert place.entries("execution.finished")[0].facts["effect"] is False


def test_without_an_anchor_for_it_such_a_policy_is_neither_activated_nor_served(place: Place) -> None:
    refused = ask_first(place)
    assert refused.code == 1, refused
    assert 'anchor: "before" needs an anchor that must have each intent' in refused.err
    checked = verb(place, "policy", "check")
    assert checked.code != 0
    assert "required = true" in checked.out + checked.err
    wiring = place.folder / "keyturn.toml"
    text = wiring.read_text()
    (place.folder / "mount").mkdir()
    declared = '[anchors.m]\nkind = "file"\npath = "mount"\nsame_filesystem = true\nrequired = true\n'
    wiring.write_text(f"{text}\n{declared}")
    policy = place.folder / "policy.toml"
    assert activate(place).code == 0
    wiring.write_text(text)
    assert BEFORE in policy.read_text()
    for words in (("serve", "--http", "127.0.0.1:0"), ("worker",)):
        done = keyturn("--home", place.folder, *words)
        assert done.returncode == 1, (words, done)
        assert "the policy in force: grants[" in done.stderr
    assert "required = true" in keyturn("--home", place.folder, "status").stdout
