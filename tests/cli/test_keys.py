"""`keyturn audit keys`: the keys of the log and their changes; the log key in a file, an agent, behind a program."""

from __future__ import annotations

import base64
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from keyturn.assembly.home import Home
from keyturn.assembly.log_key import find_log_key
from keyturn.assembly.writing import log_verifier
from keyturn.ledger.keys import load_key
from keyturn.ledger.lock import take_instance
from keyturn.log.keys import parse_verifier
from keyturn.model.errors import ConfigurationError, LedgerError
from keyturn.sshsig.agent import fingerprint
from tests.cli.operator import Operator
from tests.sshsig.keys import agent

PROGRAM = """
import base64, sys
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
key = load_ssh_private_key(open(sys.argv[1], "rb").read(), None)
print(base64.b64encode(key.sign(sys.stdin.buffer.read())).decode())
"""


def rotate(operator: Operator) -> dict[str, Any]:
    said = operator.tell("audit", "keys", "rotate", "--key", operator.key, "--json")
    assert said.code == 0, said.err
    return dict(json.loads(said.out))


def rows(operator: Operator) -> list[dict[str, Any]]:
    said = operator.tell("audit", "keys", "list", "--json")
    assert said.code == 0, said.err
    return list(json.loads(said.out))


def keep(operator: Operator, where: str) -> None:
    """Say where the log key is."""
    wiring = operator.home / "keyturn.toml"
    wiring.write_text(f"{wiring.read_text()}\n[log]\nkey = {json.dumps(where)}\n")


def verdict(operator: Operator) -> dict[str, Any]:
    return dict(operator.tell("audit", "verify", "--json").json)


def test_a_new_home_has_a_log_key_and_an_entry_key(operator: Operator) -> None:
    log, entry = rows(operator)
    assert (log["duty"], log["since"], log["state"]) == ("log", 0, "signs")
    assert (entry["duty"], entry["since"], entry["state"], entry["private"]) == ("entry", 1, "signs", "entry.key")


def test_a_key_is_changed_by_a_reviewer_and_the_log_verifies(operator: Operator) -> None:
    before = rows(operator)[1]["kid"]
    done = rotate(operator)
    assert (done["by"], done["revoked"]) == ("alice", before)
    _, old, new = rows(operator)
    assert (old["kid"], old["state"], old["private"]) == (before, f"rotated at entry {done['entry']}", "")
    assert (new["kid"], new["state"], new["private"]) == (done["added"], "signs", "entry.key")
    report = verdict(operator)
    assert report["verdict"] == "PASS-UNANCHORED"
    assert report["checkpoints"]
    [change] = report["key_changes"]
    assert (change["revoked"], change["reason"], change["by"]) == (before, "rotated", "alice")
    told = operator.tell("audit", "verify").out
    assert f"entry key changed: {before} signs nothing from entry {done['entry']}" in told
    assert f"alice ended the entry key {before}: rotated" in operator.tell("audit", "log").out


def test_a_compromised_key_is_named_by_the_beginning_of_its_id(operator: Operator) -> None:
    kid: str = rows(operator)[1]["kid"]

    def revoke(named: str, *more: str) -> int:
        return operator.tell("audit", "keys", "revoke", named, "--key", str(operator.key), *more).code

    assert revoke(kid) == 2
    assert revoke(kid[:4], "--compromised") == 2
    assert revoke("0123456789", "--compromised") == 5
    assert revoke(kid[:10], "--compromised") == 0
    assert revoke(kid, "--compromised") == 6
    assert [row["state"].split()[0] for row in rows(operator)[1:]] == ["compromised", "signs"]
    assert verdict(operator)["verdict"] == "PASS-UNANCHORED"


def test_who_is_no_reviewer_changes_no_key_and_leaves_nothing_behind(operator: Operator, mallory: Path) -> None:
    before = rows(operator)
    said = operator.tell("audit", "keys", "rotate", "--key", mallory)
    assert said.code != 0
    assert rows(operator) == before
    assert [path.name for path in (operator.home / "state" / "keys").glob("entry*")] == ["entry.key"]


def test_without_the_log_key_no_key_is_changed(operator: Operator) -> None:
    (operator.home / "state" / "keys" / "log.key").unlink()
    said = operator.tell("audit", "keys", "rotate", "--key", operator.key)
    assert said.code == 1
    assert "the log key is not at hand (file:state/keys/log.key)" in said.err
    assert rows(operator)[0]["private"] == ""


def test_one_process_at_a_time_changes_keys(operator: Operator) -> None:
    lock = take_instance(operator.home / "state" / "run", "keys")
    assert lock is not None
    said = operator.tell("audit", "keys", "rotate", "--key", operator.key)
    lock.release()
    assert said.code == 1
    assert "another process is changing the keys" in said.err


def test_a_log_key_in_an_agent_signs_and_none_is_left_in_the_home(
    operator: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = operator.home / "state" / "keys" / "log.key"
    keep(operator, f"agent:{fingerprint(load_key(file).public.raw)}")
    with agent(tmp_path) as environment:
        monkeypatch.setenv("SSH_AUTH_SOCK", environment["SSH_AUTH_SOCK"])
        refused = operator.tell("audit", "keys", "rotate", "--key", operator.key)
        assert refused.code == 1
        assert "does not hold the key" in refused.err
        # The key as `init` wrote it is one that OpenSSH takes.
        subprocess.run(["ssh-add", "-q", str(file)], env=environment, check=True)
        file.unlink()
        done = rotate(operator)
        assert done["checkpoint"] == done["entry"] + 1
        assert operator.tell("audit", "checkpoint").code == 0
    assert verdict(operator)["verdict"] == "PASS-UNANCHORED"


def test_an_agents_key_that_is_not_the_logs_is_refused(operator: Operator) -> None:
    keep(operator, f"agent:{fingerprint(bytes([3]) * 32)}")
    said = operator.tell("audit", "keys", "rotate", "--key", operator.key)
    assert said.code == 1
    assert "the key of this log is SHA256:" in said.err


def test_a_log_key_behind_a_program_signs(operator: Operator, tmp_path: Path) -> None:
    file = operator.home / "state" / "keys" / "log.key"
    (tmp_path / "sign.py").write_text(PROGRAM)
    moved = file.rename(tmp_path / "elsewhere")
    keep(operator, f"command:{shlex.join([sys.executable, str(tmp_path / 'sign.py'), str(moved)])}")
    done = rotate(operator)
    assert done["checkpoint"] == done["entry"] + 1
    assert verdict(operator)["verdict"] == "PASS-UNANCHORED"


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("import sys; sys.stdin.read()", "printed no signature"),
        ("print('A' * 88)", "printed no signature"),
        ("print('=' * 5000)", "printed no signature"),
        ("import sys; sys.exit(3)", "printed no signature"),
        ("import time; time.sleep(60)", "took longer than 0.5 s"),
        ("import base64; print(base64.b64encode(bytes(64)).decode())", ""),
    ],
    ids=["silent", "other length", "endless", "failing", "slow", "wrong"],
)
def test_a_program_that_does_not_sign_is_not_believed(
    operator: Operator, program: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keyturn.assembly.log_key.RUNS", 0.5 if "sleep" in program else 10.0)
    keep(operator, f"command:{shlex.join([sys.executable, '-c', program])}")
    home = Home(operator.home)
    signer = find_log_key(home, log_verifier(home), asked=True)
    assert signer is not None
    if words:
        with pytest.raises(LedgerError, match=words):
            signer.sign(b"message")
        return
    assert signer.sign(b"message") == bytes(64)
    said = operator.tell("audit", "keys", "rotate", "--key", operator.key)
    assert said.code == 1
    assert "the signature is not key" in said.err
    assert len(rows(operator)) == 2


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("command:'unclosed", "cannot be split"),
        ("command:''", "names no program"),
    ],
)
def test_a_command_that_names_no_program_is_refused(operator: Operator, where: str, words: str) -> None:
    keep(operator, where)
    home = Home(operator.home)
    with pytest.raises(ConfigurationError, match=words):
        find_log_key(home, log_verifier(home), asked=True)
    assert find_log_key(home, log_verifier(home), asked=False) is None


def test_a_program_that_is_not_there_is_named(operator: Operator) -> None:
    keep(operator, "command:/nowhere/sign")
    home = Home(operator.home)
    signer = find_log_key(home, log_verifier(home), asked=True)
    assert signer is not None
    with pytest.raises(LedgerError, match="/nowhere/sign cannot be run"):
        signer.sign(b"message")


def test_a_wiring_that_names_no_place_of_the_log_key_is_refused(operator: Operator) -> None:
    keep(operator, "env:LOG_KEY")
    said = operator.tell("audit", "keys", "list")
    assert said.code == 1
    assert "log" in said.err


def test_the_verifier_string_of_a_home_stays_through_changes_of_its_entry_key(operator: Operator) -> None:
    before = (operator.home / "state" / "keys" / "log.vkey").read_text()
    rotate(operator)
    rotate(operator)
    assert (operator.home / "state" / "keys" / "log.vkey").read_text() == before
    assert verdict(operator)["log"] == str(parse_verifier(before.strip()))
    assert len(base64.b64decode(before.strip().split("+", 2)[2])) == 33


def test_a_copy_from_before_a_change_is_restored_with_the_key_that_was_kept_with_it(
    operator: Operator, tmp_path: Path
) -> None:
    keys = operator.home / "state" / "keys"
    before = rows(operator)[1]["kid"]
    assert operator.tell("audit", "backup", tmp_path / "copy.db").code == 0
    kept = (keys / "entry.key").read_bytes()
    after = rotate(operator)["added"]

    def restore() -> int:
        said = operator.tell("audit", "restore", tmp_path / "copy.db", "-m", "test", "--key", operator.key)
        assert said.code == 0 or f"entry-{before}.key would hold" in said.err
        return said.code

    assert restore() == 1
    assert [row["kid"] for row in rows(operator)][1:] == [before, after]
    named = keys / f"entry-{before}.key"
    named.touch(mode=0o600)
    named.write_bytes(kept)
    assert restore() == 0
    _, entry, stranger = rows(operator)
    assert (entry["kid"], entry["state"], entry["private"]) == (before, "signs", named.name)
    assert (stranger["kid"], stranger["state"]) == (after, "unknown to this log")
    assert rotate(operator)["revoked"] == before
    assert verdict(operator)["verdict"] == "PASS-UNANCHORED"
