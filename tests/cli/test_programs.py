"""`init`, `client-config`, `version`, `serve` and `worker` as programs of their own, and where the token is not."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from keyturn.assembly.clients import CLIENTS
from tests.assembly.people import public
from tests.cli.operator import Operator, Said
from tests.server.home import until


def program(*arguments: str | Path, **variables: str) -> Said:
    """Run `keyturn` as a process whose standard input is at its end; it inherits no token and no home."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KEYTURN_")}
    done = subprocess.run(
        [sys.executable, "-m", "keyturn", *map(str, arguments)],
        env={**kept, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return Said(done.returncode, done.stdout, done.stderr)


def test_a_token_is_shown_once_and_kept_nowhere(tmp_path: Path, alice: Path) -> None:
    home = tmp_path / "home"
    said = program("init", home, "--principal", "claude=bob", "--reviewer", f"alice={public(alice)}")
    assert said.code == 0, said.err
    [token] = re.findall(r"kt_[A-Za-z0-9_-]{43}", said.out)
    assert "kt_" not in said.err
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert home / "state" / "ledger.db" in files
    for path in files:
        assert token.encode() not in path.read_bytes(), path
    for verb in (("status",), ("token", "list"), ("audit", "log"), ("client-config", "cursor")):
        for form in ((), ("--json",)):
            assert "kt_" not in program("--home", home, *verb, *form).out


@pytest.mark.parametrize("client", CLIENTS)
def test_what_is_pasted_goes_to_stdout_and_where_it_goes_to_stderr(operator: Operator, client: str) -> None:
    told = operator.tell("client-config", client, "--json").json
    assert list(told) == ["client", "place", "paste", "then"]
    said = operator.tell("client-config", client)
    assert (said.code, said.out, said.err) == (
        0,
        told["paste"],
        f"\nPaste it into {told['place']}.\n{told['then']}\n",
    )


def test_version_is_one_line() -> None:
    assert re.fullmatch(
        r"keyturn \d+\.\d+\.\d+ \(ledger format keyturn-ledger/v1, Python 3\.\d+\.\d+\)\n", program("version").out
    )


def test_serve_without_a_token_says_where_to_put_one(operator: Operator) -> None:
    said = program("--home", operator.home, "serve")
    assert (said.code, said.out) == (4, "")
    assert said.err == (
        "keyturn: no token: set KEYTURN_TOKEN in the client's configuration of this server, or give --token-file "
        "PATH; make one with: keyturn token issue PRINCIPAL\n"
    )


def test_serve_with_a_token_nobody_issued_does_not_repeat_it(operator: Operator) -> None:
    said = program("--home", operator.home, "serve", KEYTURN_TOKEN="kt_guessed")
    assert (said.code, said.out) == (4, "")
    assert said.err.startswith("keyturn: ")
    assert "kt_guessed" not in said.err


def test_serve_refuses_a_token_file_that_others_can_read(operator: Operator, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(operator.token)
    file.chmod(0o644)
    said = program("--home", operator.home, "serve", "--token-file", file)
    assert (said.code, said.out) == (4, "")
    assert (
        said.err == f"keyturn: {file} can be read by others: make it this account's own and run: chmod 600 {file}\n"
    )
    file.chmod(0o600)
    assert program("--home", operator.home, "serve", "--token-file", file) == Said(0, "", "")


def test_serve_and_worker_refuse_a_home_whose_ledger_is_gone(operator: Operator) -> None:
    (operator.home / "state" / "ledger.db").unlink()
    for verb in ("serve", "worker"):
        said = program("--home", operator.home, verb, KEYTURN_TOKEN=operator.token)
        assert (said.code, said.out) == (1, "")
        assert said.err.startswith("keyturn: ")
        assert "Traceback" not in said.err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_works_until_it_is_told_to_stop(operator: Operator, number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "keyturn", "--home", str(operator.home), "worker"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as worker:
        until(lambda: worker.poll() is not None or _minds_signals(worker.pid))
        worker.send_signal(number)
        out, _ = worker.communicate(timeout=60)
    assert (worker.returncode, out) == (0, "")


def _minds_signals(pid: int) -> bool:
    """Say whether a process has handlers for both signals, from the mask in its status."""
    [mask] = re.findall(r"^SigCgt:\s*([0-9a-f]+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return all(int(mask, 16) >> (number - 1) & 1 for number in (signal.SIGTERM, signal.SIGINT))


def program_on_full_disk(*arguments: str | Path) -> Said:
    """Run `keyturn` with a standard output that takes nothing."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "keyturn", *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )
    return Said(done.returncode, "", done.stderr)


def test_an_answer_that_cannot_be_written_is_one_message(operator: Operator) -> None:
    said = program_on_full_disk("--home", operator.home, "log")
    assert (said.code, said.err) == (1, "keyturn: the answer cannot be written: No space left on device\n")


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_home_whose_token_cannot_be_shown_says_how_to_make_another(
    tmp_path: Path, alice: Path, form: tuple[str, ...]
) -> None:
    home = tmp_path / "home"
    said = program_on_full_disk("init", home, "--reviewer", f"alice={public(alice)}", *form)
    assert said.code == 1
    assert said.err == (
        f"keyturn: the home {home} is there, but what to say of it cannot be written: No space left on device\n"
        f"keyturn: make a token with: keyturn --home {home} token issue claude\n"
    )


def test_a_token_that_cannot_be_shown_is_named_for_revoking(operator: Operator) -> None:
    said = program_on_full_disk("--home", operator.home, "token", "issue", "claude", "--key", operator.key)
    assert said.code == 1
    found = re.search(r"revoke it: keyturn token revoke ([0-9a-f]{12})\n", said.err)
    assert found
    assert operator.tell("token", "revoke", found[1]).code == 0


@pytest.mark.parametrize("arguments", [(), ("policy",)])
def test_without_a_verb_the_help_is_shown_once_and_alone(arguments: tuple[str, ...]) -> None:
    said = program(*arguments)
    assert (said.code, said.out) == (2, "")
    assert said.err == program(*arguments, "--help").out


@pytest.mark.parametrize("group", ["", "action", "audit", "limit", "policy", "token"])
def test_no_line_of_help_about_a_verb_is_cut(group: str) -> None:
    said = program(*group.split(), "--help", COLUMNS="80")
    assert said.code == 0
    assert "..." not in said.out.partition("Commands:")[2]


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (("aprove",), "no such verb 'aprove'; did you mean approve?"),
        (("policy", "chek"), "no such verb 'chek'; did you mean check?"),
        (("limit", "zzz"), "no such verb 'zzz'; there are: list"),
    ],
)
def test_a_misspelt_verb_is_told_what_it_may_have_been(typed: tuple[str, ...], told: str) -> None:
    said = program(*typed)
    assert said.code == 2
    assert said.err.endswith(f"keyturn: {told}\n")
