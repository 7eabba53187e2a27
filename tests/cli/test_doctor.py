"""`keyturn doctor`: what is wrong is found, what follows is said, and nothing is changed."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from keyturn.assembly import boundary
from keyturn.assembly.doctor.finding import GROUPS, Check, Finding
from keyturn.assembly.doctor.machine import check_machine
from keyturn.assembly.doctor.running import notices
from keyturn.assembly.notifier import Failure, Record
from keyturn.assembly.outside import environment, moment
from keyturn.assembly.wiring import Notify
from keyturn.gateway.events import Told
from tests.cli.operator import Operator, tell
from tests.cli.test_terminal import Terminal, bare
from tests.gateway.world import Founded, World, files_under


def findings(operator: Operator, code: int = 0) -> dict[str, list[dict[str, Any]]]:
    said = operator.tell("doctor", "--json")
    assert said.code == code, said.out + said.err
    found: dict[str, list[dict[str, Any]]] = {}
    for finding in said.json:
        found.setdefault(finding["check"], []).append(finding)
    return found


def one(operator: Operator, check: str, code: int = 0) -> dict[str, Any]:
    [finding] = findings(operator, code)[check]
    return finding


def test_a_fresh_home_is_well_but_for_its_log_key(operator: Operator) -> None:
    before = files_under(operator.home / "samples"), operator.tell("audit", "log").out
    found = findings(operator)
    told = {check for check, each in found.items() if any(one["level"] != "ok" for one in each)}
    assert told - {"account"} == {"log key"}
    assert {one["told"] for one in found["back end"]} >= {
        "deployments.web staging can be read",
        "tickets.ops can be read",
    }
    assert (files_under(operator.home / "samples"), operator.tell("audit", "log").out) == before
    rows = operator.tell("doctor").rows
    assert all(len(row) == 5 for row in rows)
    assert rows[0][:2] == ["ok", "python"]


def test_a_log_key_that_was_taken_away_is_well_and_what_needs_it_is_said(operator: Operator) -> None:
    assert "checkpoints, changes of keys and the end of the log need it" in one(operator, "log key")["mend"]
    inside = (operator.home / "state/keys/log.key").rename(operator.home / "log.key")
    found = one(operator, "log key")
    assert (found["level"], "need it" in found["told"]) == ("ok", True)
    with (operator.home / "keyturn.toml").open("a") as wiring:
        wiring.write('\n[log]\nkey = "file:log.key"\n')
    assert one(operator, "log key")["told"] == f"{inside} still lies in the home"
    outside = inside.rename(operator.home.parent / "log.key")
    wiring_file = operator.home / "keyturn.toml"
    wiring_file.write_text(wiring_file.read_text().replace("file:log.key", f"file:{outside}"))
    assert one(operator, "log key")["told"] == f"not in the home: file:{outside}"


def test_an_account_people_log_in_to_is_told_with_what_follows(operator: Operator) -> None:
    if not boundary.people_log_in(os.geteuid()):
        pytest.skip("the tests run under an account without a shell to log in with")
    finding = one(operator, "account")
    assert finding["level"] == "warn"
    assert "people log in to" in finding["told"]
    assert finding["follows"] == boundary.SAME_ACCOUNT
    assert finding["mend"] == "docs/how-to/install-under-its-own-account.md"


def test_an_assistants_client_that_runs_under_the_homes_account_is_named(operator: Operator) -> None:
    command = [sys.executable, "-m", "keyturn", "--home", str(operator.home), "serve"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env={**os.environ, "KEYTURN_TOKEN": operator.token}
    ) as server:
        try:
            deadline = time.monotonic() + 30
            while not any(one.kind == "stdio" for one in boundary.running(operator.home)):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            found = findings(operator)
        finally:
            server.terminate()
    assert f"(pid {os.getpid()}) started a server of this home and runs as" in found["account"][0]["told"]
    assert f"stdio (pid {server.pid}," in found["processes"][0]["told"]


def test_assistants_that_came_in_over_stdio_lately_are_told(tmp_path: Path, populated: Founded) -> None:
    world = World(tmp_path / "home", populated)
    try:
        world.held()
        [finding] = [
            one for one in tell("--home", world.home.folder, "doctor", "--json").json if one["check"] == "account"
        ]
    finally:
        world.close()
    assert "assistants came in over stdio lately" in finding["told"]


def test_what_others_can_write_to_fails_with_the_command_that_mends_it(operator: Operator) -> None:
    (operator.home / "policy.toml").chmod(0o666)
    finding = one(operator, "modes", code=1)
    assert (finding["level"], finding["mend"]) == ("fail", f"chmod go-w {operator.home / 'policy.toml'}")


def test_a_state_folder_that_others_may_enter_fails(operator: Operator) -> None:
    (operator.home / "state").chmod(0o755)
    found = findings(operator, code=1)
    assert "chmod 700" in found["state"][0]["told"]


def test_a_home_of_another_account_says_who_should_look(operator: Operator) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a home away")
    os.chown(operator.home, 65534, 65534)
    finding = one(operator, "owner", code=1)
    assert one(operator, "account", code=1)["told"].startswith("nobody is Keyturn's own account")
    assert "belongs to nobody, and this runs as root" in finding["told"]
    assert "sudo -u nobody keyturn doctor" in finding["mend"]


def test_a_ledger_that_was_cut_fails_and_the_rest_is_still_looked_at(operator: Operator) -> None:
    (operator.home / "state/head").write_text("nonsense\n")
    found = findings(operator, code=1)
    assert found["ledger"][0]["mend"] == "keyturn audit verify"
    assert "clock" not in found
    assert {"python", "account", "processes", "back end"} <= set(found)


def test_a_home_whose_ledger_is_gone_fails_and_what_is_no_home_is_said(operator: Operator, tmp_path: Path) -> None:
    shutil.rmtree(operator.home / "state")
    assert one(operator, "ledger", code=1)["level"] == "fail"
    (tmp_path / "empty").mkdir()
    said = tell("--home", tmp_path / "empty", "doctor")
    assert (said.code, "is no Keyturn home" in said.err) == (1, True)


def test_a_policy_file_that_differs_or_does_not_load_is_told(operator: Operator) -> None:
    operator.edit("[people.bob]", "[principals.other]\n\n[people.bob]")
    assert one(operator, "policy")["level"] == "warn"
    operator.edit("version = 1", "version = 9")
    finding = one(operator, "policy", code=1)
    assert "does not load" in finding["told"]


def test_an_assistant_without_an_owner_is_told_as_four_eyes(operator: Operator) -> None:
    operator.edit('owner = "bob"', "")
    assert operator.activate().code == 0
    finding = one(operator, "four eyes")
    assert "principals.claude" in finding["told"]
    assert "may review what it asks" in finding["follows"]


def test_tokens_that_end_soon_and_none_at_all_are_told(operator: Operator) -> None:
    said = operator.tell("token", "issue", "claude", "--expires", "3d", "--key", operator.key)
    assert said.code == 0
    assert "ends in 2 days" in one(operator, "tokens")["told"]
    assert operator.tell("token", "revoke", "claude").code == 0
    assert one(operator, "tokens")["follows"] == "no assistant can come in"


def test_what_is_suspended_is_told(operator: Operator) -> None:
    assert operator.tell("suspend", "--all", "-m", "drill").code == 0
    assert "everything is suspended" in one(operator, "suspended")["told"]


def test_a_wrong_clock_and_lost_outcomes_are_told(tmp_path: Path, populated: Founded) -> None:
    world = World(tmp_path / "home", populated)
    try:
        world.clock.run(hours=5)
        world.held()
        said = tell("--home", world.home.folder, "doctor", "--json")
    finally:
        world.close()
    [clock] = [one for one in said.json if one["check"] == "clock"]
    assert clock["level"] == "fail"
    assert "governed action is refused" in clock["follows"]


def test_systems_that_cannot_be_read_are_told(operator: Operator) -> None:
    shutil.rmtree(operator.home / "samples/tickets")
    failed = [one for one in findings(operator, code=1)["back end"] if one["level"] == "fail"]
    assert [one["follows"] for one in failed] == ["its actions fail"]
    (operator.home / "keyturn.toml").write_text("version = 1\n")
    assert "declares no system" in findings(operator)["back end"][0]["told"]
    (operator.home / "keyturn.toml").write_text("version = 2\n")
    assert findings(operator, code=1)["wiring"][0]["follows"] == "its systems are not reached"


def level_of(finding: Finding) -> tuple[str, str]:
    return finding.level, finding.told


def test_the_notice_command_is_looked_for_and_not_run(tmp_path: Path) -> None:
    here = {"PATH": os.environ["PATH"]}
    assert level_of(notices(None, here))[0] == "ok"
    assert level_of(notices(Notify(command=("true",)), here))[0] == "ok"
    assert level_of(notices(Notify(command=(str(tmp_path / "away"),)), here))[0] == "fail"
    level, told = level_of(notices(Notify(command=("sh", str(tmp_path / "script"))), here))
    assert (level, "cannot be read" in told) == ("warn", True)


def test_notices_that_failed_in_a_row_are_a_warning_with_the_last_failure() -> None:
    here, last = (
        {"PATH": os.environ["PATH"]},
        Failure(at=moment().wall, place="held of 7k2m", why="it ended with status 1"),
    )
    record = Record(log="x", told=Told(0), sent=2, failed=3, consecutive=2, last=last)
    level, told = level_of(notices(Notify(command=("true",)), here, record))
    assert (level, told) == ("warn", "failed 2 times in a row; the last one, held of 7k2m: it ended with status 1")
    assert level_of(notices(Notify(command=("true",)), here, replace(record, consecutive=0)))[0] == "ok"


def test_a_machine_without_git_or_openssh_says_what_follows(tmp_path: Path) -> None:
    found = {finding.check: finding for finding in check_machine({"PATH": str(tmp_path)})}
    assert (found["git"].level, found["openssh"].level) == ("warn", "warn")
    assert "nobody can sign" in found["openssh"].follows
    for name, text in (("ssh-keygen", "exit 0"), ("ssh", "echo OpenSSH_8.0p1, x >&2"), ("git", "exec sleep 60")):
        (tmp_path / name).write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{text}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "git").unlink()
    found = {finding.check: finding for finding in check_machine({"PATH": str(tmp_path)})}
    assert found["openssh"].told == "OpenSSH_8.0p1, without hardware keys (sk-)"
    assert all(finding.level != "fail" for finding in check_machine(environment()))


def test_processes_that_end_or_are_others_do_not_disturb(tmp_path: Path) -> None:
    for name, words in (("1", b"keyturn.server\0--home\0/a\0"), ("2", b"keyturn\0worker\0/h\0"), ("3", b"")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cmdline").write_bytes(words)
    (tmp_path / "2/stat").write_text("2 (a ) b) S 77 2")
    (tmp_path / "self").mkdir()
    [worker] = boundary.running(Path("/h"), tmp_path)
    assert (worker.kind, worker.parent) == ("worker", "a program (pid 77)")
    assert boundary.name_of(2**31 - 7) == f"uid-{2**31 - 7}"


def screen_of(world: World, *options: str) -> str:
    terminal = Terminal(world, "doctor", *options)
    assert terminal.end() == 0
    return bare(terminal.screen)


def test_on_a_terminal_it_is_one_screen_with_what_is_not_well_spelled_out(tmp_path: Path, populated: Founded) -> None:
    world = World(tmp_path / "home", populated)
    try:
        screen, verbose = screen_of(world), screen_of(world, "--verbose")
    finally:
        world.close()
    assert "machine    ✓ python, sqlite, git, openssh\n" in screen
    assert "around     ✓ anchors, processes, notices, 4 back ends\n" in screen
    assert "  → docs/how-to/install-under-its-own-account.md" in screen
    assert screen.rstrip().endswith("0 to mend")
    assert all(len(line) <= 80 for line in screen.splitlines())
    assert len(screen.splitlines()) <= 24
    assert "python     ✓ Python 3." in verbose
    assert verbose.splitlines()[-1] == screen.splitlines()[-1]


def test_each_check_stands_in_one_group_of_the_screen() -> None:
    assert Counter(check for checks in GROUPS.values() for check in checks) == Counter(get_args(Check))


def test_it_takes_less_than_two_seconds_of_computing(operator: Operator) -> None:
    """The best of three, and not by the clock: a test run shares its machine."""
    command = [sys.executable, "-m", "keyturn", "--home", str(operator.home), "doctor"]
    times = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(times) < 2
