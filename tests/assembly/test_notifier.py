"""Telling people: a real command, once for each event, by one process at a time, and harm to nobody when it fails."""

from __future__ import annotations

import errno
import json
import logging
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.from_thread import start_blocking_portal

import keyturn.assembly.notifier
from keyturn.assembly.home import Home
from keyturn.assembly.notifier import LOCK, RECORD, notify_state, tell_people
from keyturn.assembly.restoring import back_up, restore
from keyturn.ledger.lock import take_instance
from keyturn.model.errors import ConfigurationError
from tests.assembly.test_worker import until
from tests.gateway import conftest as gateway
from tests.gateway.test_restores import closed, signer_of
from tests.gateway.world import World

founded = gateway.founded
world = gateway.world

EXAMPLE = Path(__file__).parents[2] / "docs/examples/notify-with-apprise.py"
KEEP = 'exec cat >> "$SAID"'
"""What the command does unless a test wants something else: it keeps the line it was given."""


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for seconds here, except where a command is to be waited for."""
    for name, seconds in {"LOOK_EVERY": 0.02, "LOOK_ANYWAY": 0.2, "TURN_EVERY": 0.05, "A_MOMENT": 1.0}.items():
        monkeypatch.setattr(keyturn.assembly.notifier, name, seconds)


class Ear:
    """A home's command: a script, and what it was given."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.script = world.home.folder / "tell"
        self.said = world.home.folder / "said"
        with world.home.wiring.open("a") as wiring:
            wiring.write('\n[notify]\ncommand = ["./tell", "a b", "$HOME"]\nenvironment = ["SAID", "UNSET"]\n')
        self.does(KEEP)

    def does(self, *lines: str) -> None:
        """Put another script in place, whole: one that runs goes on as it was."""
        new = self.script.with_name("tell.new")
        new.write_text("\n".join(("#!/bin/sh", *lines, "")))
        new.chmod(0o755)
        new.rename(self.script)

    def heard(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.said.read_text().splitlines()] if self.said.exists() else []

    def events(self) -> list[tuple[str, str]]:
        return [(told["event"], told["action_id"]) for told in self.heard()]

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Tell people in the background from the ledger's end on, or from where it was left."""
        with start_blocking_portal() as portal:
            task = portal.start_task_soon(tell_people, self.world.home)
            until(lambda: self.counts() is not None)
            yield
            task.cancel()
            with suppress(CancelledError):
                task.result(20)

    def counts(self) -> tuple[int, int, int] | None:
        """How many were sent, how many failed, and how many of these since the last that did not."""
        state = notify_state(self.world.home)
        assert state is not None
        if not state.active or state.record is None:
            return None
        return state.record.sent, state.record.failed, state.record.consecutive


@pytest.fixture
def ear(world: World, monkeypatch: pytest.MonkeyPatch) -> Ear:
    ear = Ear(world)
    monkeypatch.setenv("SAID", str(ear.said))
    return ear


def test_without_a_command_nobody_is_told_anything(world: World) -> None:
    anyio.run(tell_people, world.home)
    assert notify_state(world.home) is None
    assert not (world.home.place.folder / RECORD).exists()


def test_the_command_gets_each_event_once_as_one_line_of_json(world: World, ear: Ear) -> None:
    world.held()
    with ear.telling():
        action = world.held(title="New")
        until(lambda: ear.counts() == (1, 0, 0))
        world.approve(action)
        world.drain()
        until(lambda: ear.counts() == (3, 0, 0))
    assert ear.events() == [("held", action), ("approved", action), ("succeeded", action)]
    record = world.home.place.folder / RECORD
    assert stat.S_IMODE(record.stat().st_mode) == 0o600


def test_the_command_runs_in_the_home_with_little_of_the_environment(
    world: World, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYTURN_TOKEN", "kt_secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    ear.does('env > seen; pwd >> seen; printf "%s\\n" "$@" >> seen', KEEP)
    with ear.telling():
        world.held()
        until(ear.heard)
    seen = (world.home.folder / "seen").read_text().splitlines()
    names = {line.partition("=")[0] for line in seen if "=" in line}
    assert names - {"PWD", "OLDPWD", "SHLVL", "_"} <= {"PATH", "HOME", "LANG", "SAID"}
    assert seen[-3:] == [str(world.home.folder), "a b", "$HOME"]


def test_who_comes_later_goes_on_where_telling_ended(world: World, ear: Ear) -> None:
    with ear.telling():
        first = world.held()
        until(lambda: len(ear.heard()) == 1)
    second = world.held(title="Another")
    with ear.telling():
        until(lambda: len(ear.heard()) == 2)
    assert ear.events() == [("held", first), ("held", second)]


def test_of_several_processes_one_tells_and_another_takes_over(world: World, ear: Ear) -> None:
    with start_blocking_portal() as others:
        with ear.telling():
            task = others.start_task_soon(tell_people, world.home)
            first = world.held()
            until(ear.heard)
        second = world.held(title="Another")
        until(lambda: len(ear.heard()) == 2)
        task.cancel()
    assert ear.events() == [("held", first), ("held", second)]


def test_time_alone_brings_reminders(world: World, ear: Ear) -> None:
    ttl = 'approval = { quorum = 1, from = ["group:sre"], expires = "4h" }'
    world.activate((ttl, ttl.replace("4h", "3s")))
    with ear.telling():
        action = world.held()
        until(lambda: len(ear.heard()) == 4)
    assert ear.events() == [(event, action) for event in ("held", "half", "nine-tenths", "expired")]


# --- commands that fail -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("does", "why"),
    [
        ("exit 3", "it ended with status 3"),
        ("kill -TERM $$", "it was ended by signal 15"),
        ("rm tell; exec ./tell", "it ended with status 127"),
    ],
)
def test_a_command_that_fails_is_counted_and_the_next_notice_is_sent(
    world: World, ear: Ear, does: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    ear.does(does)
    with ear.telling():
        first = world.held()
        until(lambda: ear.counts() == (0, 1, 1))
        state = notify_state(world.home)
        ear.does(KEEP)
        second = world.held(title="Another")
        until(lambda: ear.counts() == (1, 1, 0))
    assert ear.events() == [("held", second)]
    assert state is not None
    assert state.command == ("./tell", "a b", "$HOME")
    assert state.record is not None
    assert state.record.last is not None
    assert (state.record.last.place, state.record.last.why) == (f"held {first}", why)
    assert f"held {first}" in caplog.text


def test_a_command_that_is_not_there_is_a_failure_like_any_other(world: World, ear: Ear) -> None:
    ear.script.unlink()
    with ear.telling():
        world.held()
        until(lambda: ear.counts() == (0, 1, 1))
    state = notify_state(world.home)
    assert state is not None
    assert not state.active
    assert state.record is not None
    assert state.record.last is not None
    assert state.record.last.why == "it could not be started: No such file or directory"


def test_a_command_that_hangs_is_killed_with_all_its_children_and_holds_up_nobody(
    world: World, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyturn.assembly.notifier, "COMMAND_TAKES", 1.5)
    ear.does("sleep 1000 & echo $! > child", "echo $$ > parent", "wait")
    child, parent = world.home.folder / "child", world.home.folder / "parent"
    with ear.telling():
        action = world.held()
        until(lambda: parent.exists() and parent.read_text().strip())
        assert alive(parent)
        world.approve(action)  # commits while the command hangs
        world.drain()
        assert ear.counts() == (0, 0, 0)
        ear.does(KEEP)
        until(lambda: ear.counts() == (2, 1, 0))
        until(lambda: not alive(child))
        assert not alive(parent)
    assert [event for event, _ in ear.events()] == ["approved", "succeeded"]


def alive(file: Path) -> bool:
    with suppress(ProcessLookupError):
        os.kill(int(file.read_text()), 0)
        return b"sleep" in Path(f"/proc/{int(file.read_text())}/cmdline").read_bytes() or file.name == "parent"
    return False


def test_output_goes_nowhere_and_what_a_command_leaves_running_ends_with_it(world: World, ear: Ear) -> None:
    ear.does("head -c 50000000 /dev/zero", "head -c 5000000 /dev/zero >&2", "sleep 1000 & echo $! > child", KEEP)
    with ear.telling():
        world.held()
        until(lambda: ear.counts() == (1, 0, 0))
        until(lambda: not alive(world.home.folder / "child"))


def test_more_than_people_read_is_told_in_one_notice(world: World, ear: Ear, monkeypatch: pytest.MonkeyPatch) -> None:
    """An assistant may ask and cancel as often as it likes, for what is cancelled counts in no limit."""
    monkeypatch.setattr(keyturn.assembly.notifier, "AT_ONCE", 4)
    monkeypatch.setattr(keyturn.assembly.notifier, "ONE_MORE_EVERY", 1.0)
    with ear.telling():
        for number in range(12):
            action = world.held(title=f"Number {number}")
            world.call("cancel_action", action_id=action)
        until(lambda: sum(many(told) for told in ear.heard()) == 24)
    told = ear.heard()
    assert len(told) < 12
    assert told[-1]["event"] == "missed"
    assert told[-1]["text"] == "Nothing of it waits for anybody now."


def many(told: dict[str, Any]) -> int:
    """How many events a notice stands for."""
    return sum(told["counts"].values()) if told["event"] == "missed" else 1


def test_a_process_out_of_file_descriptors_tells_the_next_notice_all_the_same(
    world: World, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a server with as many connections as it may have; the command is not left running unseen."""
    really, times = os.pidfd_open, iter([OSError(errno.EMFILE, os.strerror(errno.EMFILE))])

    def scarce(pid: int) -> int:
        if (error := next(times, None)) is not None:
            raise error
        return really(pid)

    monkeypatch.setattr(os, "pidfd_open", scarce)
    ear.does("sleep 5; touch survived")
    with ear.telling():
        world.held()
        until(lambda: ear.counts() == (0, 1, 1))
        ear.does(KEEP)
        second = world.held(title="Another")
        until(lambda: ear.counts() == (1, 1, 0))
    assert ear.events() == [("held", second)]
    state = notify_state(world.home)
    assert state is not None
    assert state.record is not None
    assert state.record.last is not None
    assert "could not be waited for, and was killed" in state.record.last.why


def test_after_a_restore_what_is_asked_for_then_is_told(world: World, ear: Ear, tmp_path: Path) -> None:
    """Though the ledger that is lost was told of as far as that and further."""
    copy = tmp_path / "copy.db"
    back_up(world.home, copy)
    with ear.telling():
        for number in range(4):
            world.call("cancel_action", action_id=world.held(title=f"Number {number}"))
        until(lambda: ear.counts() == (8, 0, 0))
    with closed(world):
        restore(world.home, copy, expected=None, reason="a test", signer=signer_of(world.keys["alice"]))
    new = [world.held(title=f"Again {number}") for number in range(4)]
    world.call("cancel_action", action_id=new[0])
    with ear.telling():
        until(lambda: len(ear.heard()) == 8 + 5)
    assert [action for event, action in ear.events()[8:] if event == "held"] == new
    with ear.telling():
        last = world.held(title="One more")
        until(lambda: ("held", last) in ear.events())
    assert len(ear.heard()) == 8 + 5 + 1


def test_a_command_need_not_read_what_it_is_given(world: World, ear: Ear) -> None:
    ear.does("exec true")
    with ear.telling():
        world.held(reason="x" * 2000)
        until(lambda: ear.counts() == (1, 0, 0))


# --- ends and new beginnings --------------------------------------------------------------------------------------


def test_a_command_that_is_nearly_done_when_all_ends_is_not_run_again(world: World, ear: Ear) -> None:
    ear.does("touch begun; sleep 0.3", KEEP)
    with ear.telling():
        world.held()
        until((world.home.folder / "begun").exists)
    assert len(ear.heard()) == 1
    ear.does(KEEP)
    with ear.telling():
        other = world.held(title="Another")
        until(lambda: len(ear.heard()) == 2)
    assert ear.events()[1] == ("held", other)


def test_what_an_end_cut_off_is_told_again(world: World, ear: Ear, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyturn.assembly.notifier, "A_MOMENT", 0.05)
    ear.does("echo $$ > parent; exec sleep 1000")
    with ear.telling():
        action = world.held()
        until((world.home.folder / "parent").exists)
    until(lambda: not alive(world.home.folder / "parent"))
    ear.does(KEEP)
    with ear.telling():
        until(ear.heard)
    assert ear.events() == [("held", action)]


@pytest.mark.parametrize(
    "record",
    [
        "",
        "{",
        '{"log": "x", "told": {"seq": -1, "moments": []}}',
        '{"log": "another/00", "told": {"seq": 0, "moments": []}}',
    ],
)
def test_a_record_that_is_not_this_logs_lets_telling_begin_anew_at_the_end(
    world: World, ear: Ear, record: str
) -> None:
    world.held()
    (world.home.place.folder / RECORD).write_text(record)
    with ear.telling():
        until(lambda: ear.counts() == (0, 0, 0))
        action = world.held(title="New")
        until(ear.heard)
    assert ear.events() == [("held", action)]


def test_a_record_that_cannot_be_written_stops_no_telling(
    world: World, ear: Ear, caplog: pytest.LogCaptureFixture
) -> None:
    (world.home.place.folder / RECORD).mkdir()
    with start_blocking_portal() as portal:
        task = portal.start_task_soon(tell_people, world.home)
        until(lambda: "what was told may be told again" in caplog.text)
        action = world.held()
        until(ear.heard)
        task.cancel()
    assert ear.events() == [("held", action)]


def test_a_home_that_is_away_for_a_while_is_waited_for(
    world: World, ear: Ear, caplog: pytest.LogCaptureFixture
) -> None:
    away = world.home.place.run.rename(world.home.place.folder / "away")
    with start_blocking_portal() as portal:
        task = portal.start_task_soon(tell_people, world.home)
        until(lambda: "cannot be told at present" in caplog.text)
        away.rename(world.home.place.run)
        until(lambda: ear.counts() is not None)
        world.held()
        until(ear.heard)
        task.cancel()


def test_a_ledger_that_cannot_be_trusted_ends_telling_and_nothing_else(
    world: World, ear: Ear, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    world.tamper("DELETE FROM entry WHERE seq = (SELECT max(seq) FROM entry)")
    anyio.run(tell_people, world.home)
    assert "people are told nothing any more" in caplog.text
    assert ear.heard() == []


def test_whatever_goes_wrong_in_telling_ends_telling_alone(caplog: pytest.LogCaptureFixture) -> None:
    anyio.run(tell_people, Home(Path("no\0place")))
    assert caplog.messages == ["people are told nothing any more: ValueError"]


def test_the_state_says_whether_somebody_tells(world: World, ear: Ear) -> None:
    lock = take_instance(world.home.place.run, LOCK)
    assert lock is not None
    state = notify_state(world.home)
    assert state is not None
    assert (state.active, state.record) == (True, None)
    lock.release()
    assert ear.counts() is None


@pytest.mark.parametrize("program", ["worker", "serve", "serve --socket"])
def test_every_program_that_stays_tells(world: World, ear: Ear, program: str, tmp_path: Path) -> None:
    words = [*program.split(), *([str(tmp_path / "socket")] if "--socket" in program else [])]
    command = [sys.executable, "-m", "keyturn", "--home", str(world.home.folder), *words]
    environment = {**os.environ, "KEYTURN_TOKEN": world.tokens["claude"]}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment) as running:
        try:
            until(lambda: ear.counts() is not None)
            action = world.held()
            until(ear.heard)
        finally:
            running.terminate()
            running.wait(30)
    assert ear.events() == [("held", action)]


# --- settings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ("command = []", "notify.command: "),
        ('command = [""]', "notify.command.0: "),
        ('command = ["a\\u0000b"]', "notify.command.0: "),
        ('command = "mail root"', "notify.command: "),
        ('command = ["x"]\nenvironment = ["KEYTURN_TOKEN"]', "KEYTURN_TOKEN is passed on to nothing"),
        ('command = ["x"]\nenvironment = ["A=B"]', "notify.environment.0: "),
        ('command = ["x"]\nshell = true', "notify.shell: "),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(world: World, table: str, problem: str) -> None:
    with world.home.wiring.open("a") as wiring:
        wiring.write(f"\n[notify]\n{table}\n")
    with pytest.raises(ConfigurationError, match=problem):
        notify_state(world.home)


# --- the example --------------------------------------------------------------------------------------------------


def test_the_example_sends_through_apprise_to_those_who_may_act(world: World, tmp_path: Path) -> None:
    posts: list[tuple[str, dict[str, Any]]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            posts.append((self.path, json.loads(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        config = tmp_path / "apprise.conf"
        people = ("alice", "bob", "carol")
        config.write_text("".join(f"{who}=json://127.0.0.1:{server.server_port}/{who}\n" for who in people))
        with world.home.wiring.open("a") as wiring:
            wiring.write(f'\n[notify]\ncommand = ["{sys.executable}", "{EXAMPLE}", "{config}"]\n')
        ear = Ear.__new__(Ear)
        ear.world = world
        with ear.telling():
            action = world.held(title="Raise “it”")
            until(lambda: ear.counts() == (1, 0, 0))
            world.review(action, "alice", "reject", "no")
            until(lambda: ear.counts() == (2, 0, 0))
        server.shutdown()
    assert sorted(path for path, _ in posts) == ["/alice", "/carol"]  # bob's assistant asked; nobody can act later
    for _, post in posts:
        assert post["title"] == "Waiting for a review: open_pull_request on forge:shop/main (production)"
        assert f"approve {action} -m REASON" in post["message"]


def test_the_example_fails_when_somebody_cannot_be_reached(tmp_path: Path) -> None:
    config = tmp_path / "apprise.conf"
    config.write_text("alice=json://127.0.0.1:1/\n")
    notice = {"to": ["carol"], "title": "T", "text": "B", "event": "held"}
    done = subprocess.run(
        [sys.executable, EXAMPLE, config], input=json.dumps(notice).encode(), capture_output=True, check=False
    )
    assert done.returncode == 1
