"""`keyturn audit close` and `succeed`: a log ends for good, another goes on from it, and both prove it."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from keyturn.assembly.home import Home
from keyturn.assembly.standing import open_ledger
from keyturn.assembly.writing import log_signer, log_verifier
from keyturn.gateway.acts import ActDraft, sign_act
from keyturn.gateway.ending import draft_closing
from keyturn.log.checkpoint import parse_checkpoint
from keyturn.log.note import parse_note
from keyturn.sshsig.signing import sign
from tests.assembly.people import public
from tests.cli.operator import Operator, Said, tell
from tests.cli.test_anchors import mount
from tests.evidence.bundling import asked

__all__ = ["mount"]  # a fixture of those tests, used here


@pytest.fixture
def heir(operator: Operator, tmp_path: Path) -> Operator:
    """A home that was only just founded, to go on from the operator's."""
    said = tell("init", tmp_path / "new", "--principal", "claude=bob", "--reviewer", f"alice={public(operator.key)}")
    assert said.code == 0, said.err
    return Operator(tmp_path / "new", operator.key, "")


def verifier(of: Operator) -> str:
    return str(log_verifier(Home(of.home)))


def close(operator: Operator, *more: str | Path) -> Said:
    return operator.tell("audit", "close", *more, "--key", operator.key, "--json")


def verdict(of: Operator, *more: str | Path) -> dict[str, Any]:
    return dict(of.tell("audit", "verify", "--json", *more).json)


def test_a_log_ends_for_another_that_goes_on_from_it(operator: Operator, heir: Operator, tmp_path: Path) -> None:
    done = close(operator, "--successor", heir.home, "--out", tmp_path / "old.note")
    assert done.code == 0, done.err
    assert (done.json["log"], done.json["successor"]) == (verifier(operator), verifier(heir))
    assert "audit succeed" in done.err
    end = parse_checkpoint(parse_note((tmp_path / "old.note").read_bytes()).text)
    old = verdict(operator)
    assert old["verdict"] == "PASS-UNANCHORED"
    assert (old["closed"]["seq"], old["closed"]["successor"], old["closed"]["by"]) == (
        end.size - 1,
        verifier(heir),
        "alice",
    )
    assert verdict(operator, "--against", tmp_path / "old.note")["verdict"] == "PASS"

    said = heir.tell("audit", "succeed", operator.home, "--json")
    assert said.code == 0, said.err
    assert said.json["size"] == end.size
    new = verdict(heir)
    assert (new["succeeds"]["log"], new["succeeds"]["size"], new["succeeds"]["agreed"]) == (
        verifier(operator),
        end.size,
        [],
    )
    both = verdict(heir, "--against", tmp_path / "old.note")
    assert both["first_bad"] is None
    assert both["succeeds"]["agreed"] == [str(tmp_path / "old.note")]
    again = heir.tell("audit", "succeed", operator.home, "--json")
    assert (again.code, again.json["entry"]) == (0, None)
    for of, words in ((operator, "alice closed the log"), (heir, "the log goes on from")):
        assert words in of.tell("audit", "log").out
        told = of.tell("audit", "verify").out
        assert ("closed at entry" in told) == (of is operator)
        assert ("goes on from keyturn/" in told) == (of is heir)


def test_bundles_of_both_logs_verify_with_the_program_alone(
    operator: Operator, heir: Operator, tmp_path: Path
) -> None:
    close(operator, "--successor", verifier(heir), "--out", tmp_path / "old.note")
    assert heir.tell("audit", "succeed", operator.home).code == 0
    for of, name in ((operator, "old.zip"), (heir, "new.zip")):
        assert of.tell("audit", "export", "--out", tmp_path / name).code == 0
    old = asked(tmp_path / "old.zip", verifier(operator))
    assert (old["verdict"], old["closed"]["successor"]) == ("PASS-UNANCHORED", verifier(heir))
    new = asked(tmp_path / "new.zip", verifier(heir), "--against", str(tmp_path / "old.note"))
    assert new["first_bad"] is None
    assert (new["succeeds"]["log"], len(new["succeeds"]["agreed"])) == (verifier(operator), 1)
    # From a bundle as from the home itself: what somebody far away has is enough to go on.
    third = heir.home.parent / "third"
    tell("init", third, "--principal", "claude=bob", "--reviewer", f"alice={public(operator.key)}")
    said = tell("--home", third, "audit", "succeed", tmp_path / "old.zip")
    assert (said.code, f"closed in favour of {verifier(heir)}" in said.err) == (6, True)


def test_nothing_is_written_to_a_log_that_was_closed(operator: Operator) -> None:
    assert close(operator).code == 0
    size = verdict(operator)["size"]
    for words in (
        ["suspend", "--all", "-m", "x"],
        ["token", "revoke", "claude"],
        ["audit", "keys", "rotate", "--key", str(operator.key)],
        ["audit", "erase", "0", "--field", "reason", "--basis", "x", "--key", str(operator.key)],
        ["audit", "anchor"],
    ):
        said = operator.tell(*words)
        assert said.code == 1, (words, said)
        assert "the log was closed at entry" in said.err
        assert "no log goes on in its place" in said.err
    served = subprocess.run(
        [sys.executable, "-m", "keyturn", "--home", str(operator.home), "serve"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60,
        env={"KEYTURN_TOKEN": operator.token, "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert served.returncode == 1
    assert "the log was closed" in served.stderr
    stands = operator.tell("status", "--json")
    assert stands.code == 1
    assert any("was closed" in obstacle for obstacle in stands.json["obstacles"])
    assert operator.tell("inbox").code == 0
    assert operator.tell("audit", "checkpoint").code == 0
    assert operator.tell("audit", "backup", operator.home.parent / "copy.db").code == 0
    report = verdict(operator, "--ledger", operator.home.parent / "copy.db")
    assert (report["size"], report["closed"]["successor"]) == (size, None)


def test_a_process_that_has_the_log_open_writes_nothing_after_its_end(operator: Operator) -> None:
    with closing(open_ledger(Home(operator.home), "tests")) as ledger:
        assert close(operator).code == 0
        facts: dict[str, Any] = {"scope": {"type": "all", "name": None}, "mode": "suspended"}
        facts["by"] = {"type": "account", "name": "root"}
        with pytest.raises(Exception, match="nothing follows"):
            ledger.transact(lambda tx: tx.append("suspension.set", facts))
    assert verdict(operator)["verdict"] == "PASS-UNANCHORED"


def test_the_anchors_see_the_end_and_one_that_did_not_is_brought_it_again(operator: Operator, mount: Path) -> None:
    mount.rename(mount.with_name("away"))
    first = close(operator)
    assert first.code == 0
    assert "mount" in first.json["problems"][0]
    mount.with_name("away").rename(mount)
    again = close(operator)
    assert (again.code, again.json["problems"], again.json["entry"]) == (0, [], first.json["entry"])
    (note,) = mount.glob("*/checkpoint")
    assert verdict(operator, "--against", note)["verdict"] == "PASS"


def test_what_was_interrupted_after_the_end_was_recorded_is_finished_by_the_same_command(operator: Operator) -> None:
    home = Home(operator.home)
    log_key = log_signer(home)
    assert log_key is not None
    with closing(open_ledger(home, "tests")) as ledger:
        draft: ActDraft = draft_closing(ledger, None, log_key, "alice")
        sign_act(ledger, draft, lambda data, space: sign(data, key=operator.key, namespace=space, environment={}))
    # As a process leaves it that is killed now: the end is there, and no checkpoint of it.
    kept = verdict(operator)["checkpoints"]
    done = close(operator)
    assert done.code == 0, done.err
    report = verdict(operator)
    assert report["checkpoints"] == kept + 1
    assert report["closed"]["seq"] == report["size"] - 1 == done.json["entry"]


def test_a_log_is_not_closed_for_good_where_its_last_checkpoint_cannot_be_written(
    operator: Operator, tmp_path: Path
) -> None:
    (tmp_path / "old.note").write_text("of another log")
    said = close(operator, "--out", tmp_path / "old.note")
    assert said.code == 1
    assert "exists; name another with --out FILE; nothing was done" in said.err
    assert verdict(operator)["closed"] is None


def test_a_closed_log_is_not_closed_for_another(operator: Operator, heir: Operator) -> None:
    close(operator)
    said = close(operator, "--successor", heir.home)
    assert (said.code, "was closed at entry" in said.err) == (6, True)


@pytest.mark.parametrize("named", ["nobody", "acme+00000000+AAAA"])
def test_a_successor_that_is_no_log_is_refused(operator: Operator, named: str) -> None:
    said = close(operator, "--successor", named)
    assert said.code == 1
    assert "--successor" in said.err
    assert verdict(operator)["closed"] is None


def test_no_log_succeeds_itself_or_one_that_is_open(operator: Operator, heir: Operator) -> None:
    assert close(operator, "--successor", operator.home).code == 6
    said = heir.tell("audit", "succeed", operator.home)
    assert (said.code, "is not closed" in said.err) == (6, True)


def test_only_a_log_that_has_not_begun_goes_on_from_another(operator: Operator, heir: Operator) -> None:
    close(operator, "--successor", heir.home)
    assert heir.tell("suspend", "--all", "-m", "x").code == 0
    said = heir.tell("audit", "succeed", operator.home)
    assert (said.code, "this log has begun" in said.err) == (6, True)
    assert verdict(heir)["succeeds"] is None


def test_a_log_that_does_not_verify_has_no_successor(operator: Operator, heir: Operator, tmp_path: Path) -> None:
    close(operator, "--successor", heir.home)
    file = operator.home / "state" / "ledger.db"
    data = file.read_bytes()
    file.write_bytes(data.replace(b'"kind":"log.closed"', b'"kind":"log.clozed"'))
    said = heir.tell("audit", "succeed", file)
    assert said.code == 7
    assert "nothing was changed" in said.err


def test_checkpoints_of_other_ends_and_other_logs_are_told_apart(
    operator: Operator, heir: Operator, tmp_path: Path
) -> None:
    early, stranger = tmp_path / "early.note", tmp_path / "stranger.note"
    assert operator.tell("audit", "checkpoint", "--out", early).code == 0
    close(operator, "--successor", heir.home)
    assert heir.tell("audit", "succeed", operator.home).code == 0
    said = heir.tell("audit", "verify", "--against", early)
    assert (said.code, "bring its last one" in said.err) == (1, True)
    tell("init", tmp_path / "third", "--principal", "claude=bob", "--reviewer", f"alice={public(operator.key)}")
    tell("--home", tmp_path / "third", "audit", "checkpoint", "--out", stranger)
    report = verdict(heir, "--against", stranger)
    assert (report["verdict"], report["first_bad"]["proof"]) == ("FAIL", 15)
    assert "of another log" in report["first_bad"]["reason"]
    assert heir.tell("audit", "export", "--out", tmp_path / "new.zip").code == 0
    assert asked(tmp_path / "new.zip", verifier(heir), "--against", str(stranger))["first_bad"]["proof"] == 15


def test_without_its_log_key_a_log_neither_ends_nor_goes_on(operator: Operator, heir: Operator) -> None:
    for of in (operator, heir):
        (of.home / "state" / "keys" / "log.key").rename(of.home / "log.key")
    assert "the log key is not at hand" in close(operator).err
    assert "the log key is not at hand" in heir.tell("audit", "succeed", operator.home).err
