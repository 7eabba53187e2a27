"""Servers and workers with real witnesses: cosigned while they run and at their end, refused where they went back."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest

from keyturn import canon
from keyturn.log.entry import Entry
from keyturn.log.note import parse_note, parse_note_key, verify_note
from tests.cli.operator import Said, tell
from tests.connectors.forge.remote.served import served
from tests.server.home import SECONDS, Place, found, until
from tests.server.test_witness import KEYTURN, keyturn
from tests.server.web import site

NAMES = ("w1", "w2")


@pytest.fixture
def places(tmp_path: Path) -> Iterator[list[Place]]:
    """Two homes of two logs, and a folder that keeps notes of both."""
    places = [found(tmp_path / name) for name in ("one", "two")]
    (tmp_path / "mount").mkdir()
    yield places
    for place in places:
        place.end_workers()


def verifier_of(place: Place) -> str:
    return str(place.look(lambda view: view.head.verifier))


@contextmanager
def witnessing(folder: Path, *logs: str) -> Iterator[tuple[str, str]]:
    """Serve a witness of these logs; yields its URL and verifier key."""
    if not folder.exists():
        given = [word for log in logs for word in ("--log", log)]
        made = keyturn("witness", "init", folder, "--name", f"{folder.name}.example/w", *given)
        assert made.returncode == 0, made.stderr
    command = [*KEYTURN, "witness", "serve", str(folder), "--http", "127.0.0.1:0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            address = re.search(r"http://127\.0\.0\.1:\d+", process.stderr.readline())
            assert address is not None
            yield address[0], _verifier(folder)
        finally:
            process.kill()


def _verifier(folder: Path) -> str:
    from keyturn.assembly.witness import verifier_of as key_of  # noqa: PLC0415 - as an operator would ask later

    return key_of(folder)


def declare(place: Place, witnesses: dict[str, tuple[str, str]], mount: Path | None, every: str = "1s") -> None:
    text = ""
    for name, (url, key) in witnesses.items():
        text += f'\n[anchors.{name}]\nkind = "witness"\nurl = "{url}"\nverifier = "{key}"\n'
        text += f'private = true\ndeadline = 3\nevery = "{every}"\n'
    if mount is not None:
        text += f'\n[anchors.mount]\nkind = "file"\npath = "{mount}"\nsame_filesystem = true\nevery = "{every}"\n'
    with (place.folder / "keyturn.toml").open("a") as wiring:
        wiring.write(text)


def recorded(place: Place, name: str) -> list[Entry]:
    return [entry for entry in place.entries("anchor.recorded") if entry.facts["anchor"] == name]


def more_than(place: Place, count: int) -> bool:
    return len(place.entries("anchor.recorded")) > count


def note_of(place: Place, entry: Entry) -> bytes:
    payload = place.look(lambda view: view.payload(entry, "anchor.note"))
    text = canon.decode(payload)
    assert isinstance(text, str)
    return text.encode()


def verb(place: Place, *words: str) -> Said:
    return tell("--home", place.folder, *words)


def suspend(place: Place, tool: str) -> int:
    return verb(place, "suspend", "--tool", tool, "-m", "x").code


def copied(place: Place, to: Path) -> Path:
    shutil.copytree(place.folder / "state", to, symlinks=True)
    return to


def roll_back(place: Place, to: Path) -> None:
    shutil.rmtree(place.folder / "state")
    shutil.copytree(to, place.folder / "state", symlinks=True)


def test_two_witnesses_cosign_two_ledgers_and_reject_the_rollback_of_each(
    places: list[Place], tmp_path: Path
) -> None:
    logs = [verifier_of(place) for place in places]
    with ExitStack() as stack:
        witnesses = {name: stack.enter_context(witnessing(tmp_path / name, *logs)) for name in NAMES}
        for place in places:
            declare(place, witnesses, None)
            before = copied(place, place.folder.parent / "before")
            assert suspend(place, "create_ticket") == 0
            done = verb(place, "audit", "anchor")
            assert done.code == 0, done.err + done.out
            for name, (_, key) in witnesses.items():
                (entry,) = recorded(place, name)
                note = parse_note(note_of(place, entry))
                signed = verify_note(note, [parse_note_key(verifier_of(place)), parse_note_key(key)])
                assert len(signed) == 2
            assert verb(place, "audit", "verify").code == 0
            roll_back(place, before)
            refused = verb(place, "audit", "anchor")
            assert refused.code == 1
            assert refused.out.count("the ledger went backwards") == 2
            assert recorded(place, "w1") == []
            for tool in ("update_ticket", "merge_pull_request"):
                assert suspend(place, tool) == 0
            forked = verb(place, "audit", "anchor")
            assert forked.code == 1
            assert recorded(place, "w2") == []


def test_a_server_anchors_while_it_runs_and_when_it_ends(places: list[Place], tmp_path: Path) -> None:
    place = places[0]
    with witnessing(tmp_path / "w1", verifier_of(place)) as witness:
        declare(place, {"w1": witness}, tmp_path / "mount", every="1h")
        assert suspend(place, "create_ticket") == 0
        with site(place) as running:
            until(lambda: recorded(place, "w1") and recorded(place, "mount"))
            assert suspend(place, "update_ticket") == 0
            assert running.stop() == 0
            assert running.said() == []
        sizes = {name: [entry.facts["size"] for entry in recorded(place, name)] for name in ("w1", "mount")}
        assert len(sizes["w1"]) == len(sizes["mount"]) == 2
        last = place.entries("suspension.set")[-1].seq
        assert all(int(str(found[-1])) > last for found in sizes.values())


def test_a_witness_that_is_gone_stops_neither_the_server_nor_its_end(places: list[Place], tmp_path: Path) -> None:
    place = places[0]
    with witnessing(tmp_path / "w1", verifier_of(place)) as witness:
        declare(place, {"w1": witness}, tmp_path / "nowhere")
    assert suspend(place, "create_ticket") == 0
    with site(place) as running:
        until(lambda: "anchor w1 (witness)" in running.errors.read_text())
        assert running.envelope(place.token, "get_ticket", ticket="OPS-1")["status"] == "succeeded"
        assert running.stop() == 0
        said = running.errors.read_text()
    assert said.count("nothing listens there") == 1
    assert "anchor mount (file)" in said


def test_a_rolled_back_home_is_neither_served_nor_worked_for(places: list[Place], tmp_path: Path) -> None:
    place = places[0]
    declare(place, {}, tmp_path / "mount")
    before = copied(place, tmp_path / "before")
    assert suspend(place, "create_ticket") == 0
    assert verb(place, "audit", "anchor").code == 0
    roll_back(place, before)
    environment = {**os.environ, "KEYTURN_TOKEN": place.token}
    for words in (("serve", "--http", "127.0.0.1:0"), ("serve",), ("worker",)):
        done = subprocess.run(
            [sys.executable, "-m", "keyturn", "--home", str(place.folder), *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
            env=environment,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 1, (words, done)
        assert "the ledger went backwards; nothing is written" in done.stderr


def test_a_server_whose_ledger_is_contradicted_while_it_runs_ends_with_that(
    places: list[Place], tmp_path: Path
) -> None:
    place = places[0]
    declare(place, {}, tmp_path / "mount")
    fork = copied(place, tmp_path / "fork")
    assert suspend(place, "create_ticket") == 0
    with site(place) as running:
        until(lambda: recorded(place, "mount"))
        # The same log goes on elsewhere, and anchors there first.
        other = Place(tmp_path / "other", place.token, place.key)
        shutil.copytree(place.folder, other.folder, symlinks=True, ignore=shutil.ignore_patterns("state"))
        shutil.copytree(fork, other.folder / "state", symlinks=True)
        shutil.rmtree(tmp_path / "mount")
        (tmp_path / "mount").mkdir()
        assert suspend(other, "update_ticket") == 0
        assert verb(other, "audit", "anchor").code == 0
        assert suspend(place, "merge_pull_request") == 1
        before = [path.read_bytes() for path in (tmp_path / "mount").glob("*/checkpoint")]
        assert running.envelope(place.token, "get_ticket", ticket="OPS-1")["status"] == "succeeded"
        assert running.stop() == 1
        assert "here are not those it saw" in running.errors.read_text()
    assert [path.read_bytes() for path in (tmp_path / "mount").glob("*/checkpoint")] == before


def test_a_kill_around_anchoring_leaves_a_ledger_that_goes_on(places: list[Place], tmp_path: Path) -> None:
    place = places[0]
    with witnessing(tmp_path / "w1", verifier_of(place)) as witness:
        declare(place, {"w1": witness}, tmp_path / "mount")
        for round_, tool in enumerate(("create_ticket", "update_ticket", "merge_pull_request")):
            assert suspend(place, tool) == 0
            with site(place) as running:
                if round_ % 2:
                    until(partial(more_than, place, len(place.entries("anchor.recorded"))))
                running.process.send_signal(signal.SIGKILL)
                running.process.wait(SECONDS)
        done = verb(place, "audit", "anchor")
        assert done.code == 0, done.err + done.out
        verified = verb(place, "audit", "verify")
        assert verified.code == 0, verified.out
        newest = {name: recorded(place, name)[-1].facts["size"] for name in ("w1", "mount")}
        assert newest["w1"] == newest["mount"]


def test_a_repository_elsewhere_keeps_a_rolled_back_home_from_being_served(
    places: list[Place], tmp_path: Path
) -> None:
    place = places[0]
    notes = tmp_path / "git" / "notes.git"
    notes.mkdir(parents=True)
    subprocess.run(["git", "init", "-q", "--bare", str(notes)], check=True)
    subprocess.run(["git", "-C", str(notes), "config", "http.receivepack", "true"], check=True)
    with served(tmp_path / "git") as git:
        with (place.folder / "keyturn.toml").open("a") as wiring:
            wiring.write(f'\n[anchors.notes]\nkind = "git"\nurl = "{git.url("notes.git")}"\nprivate = true\n')
        before = copied(place, tmp_path / "before")
        assert suspend(place, "create_ticket") == 0
        assert verb(place, "audit", "anchor").code == 0
        roll_back(place, before)
        for words in (("serve", "--http", "127.0.0.1:0"), ("worker",)):
            done = keyturn("--home", place.folder, *words)
            assert done.returncode == 1, (words, done)
            assert "anchor notes (git): it saw" in done.stderr
