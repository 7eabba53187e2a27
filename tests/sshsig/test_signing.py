"""Signing runs the real ssh-keygen, with files, agents and terminals, and says what to do when it cannot."""

import json
import os
import select
import shutil
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from keyturn.model.sshkey import PublicKey
from keyturn.sshsig import verify
from keyturn.sshsig.signing import SigningError, list_agent_keys, public_key_of, sign
from tests.sshsig.keys import HardwareKey, add_to_agent, agent, environment, make_key, public_key, stock_accepts

MESSAGE = b"line one\nline two without an end"
NAMESPACE = "keyturn.review.v1"
PASSPHRASE = "correct horse"

# Signs in a process of its own: argv is the key, and whether to take standard input as controlling terminal.
CHILD = """
import os, sys
from pathlib import Path
from keyturn.sshsig import verify
from keyturn.sshsig.signing import SigningError, sign
if sys.argv[2] == "terminal":
    os.open(os.ttyname(0), os.O_RDWR)
try:
    blob = sign(b"message", key=Path(sys.argv[1]), namespace="n", environment=dict(os.environ))
except SigningError as error:
    print("refused:", error)
else:
    print("signed by", verify(b"message", blob, "n").key.fingerprint)
"""


def signing(key: Path, **more: str) -> str:
    """The reason why signing with this key fails."""
    with pytest.raises(SigningError) as refused:
        sign(MESSAGE, key=key, namespace=NAMESPACE, environment=environment(key.parent, **more))
    return str(refused.value)


def hide(key: Path) -> Path:
    """Leave only the public half of a key pair on disk, and return it."""
    key.unlink()
    return key.with_name(f"{key.name}.pub")


def program(folder: Path, body: str) -> dict[str, str]:
    """An environment in which `ssh-keygen` is a shell script of ours, standing for a program gone wrong."""
    folder.mkdir()
    script = folder / "ssh-keygen"
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(0o700)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def test_a_private_key_file_signs_and_stock_verifies(tmp_path: Path) -> None:
    key = make_key(tmp_path)
    blob = sign(MESSAGE, key=key, namespace=NAMESPACE, environment=environment(tmp_path))
    assert verify(MESSAGE, blob, NAMESPACE).key == public_key(key)
    assert stock_accepts(MESSAGE, blob, public_key(key), NAMESPACE)


def test_the_public_file_signs_with_the_private_one_beside_it(tmp_path: Path) -> None:
    key = make_key(tmp_path)
    public = key.with_name(f"{key.name}.pub")
    blob = sign(MESSAGE, key=public, namespace=NAMESPACE, environment=environment(tmp_path))
    assert verify(MESSAGE, blob, NAMESPACE).key == public_key(key)


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa256", "rsa2048"])
def test_a_public_key_signs_with_its_private_half_in_the_agent(tmp_path: Path, kind: str) -> None:
    key = make_key(tmp_path, kind)
    expected = public_key(key)
    with agent(tmp_path) as reaching:
        add_to_agent(key, reaching)
        blob = sign(MESSAGE, key=hide(key), namespace=NAMESPACE, environment=reaching)
    assert verify(MESSAGE, blob, NAMESPACE).key == expected
    assert stock_accepts(MESSAGE, blob, expected, NAMESPACE)


def test_a_key_the_agent_does_not_hold_is_refused_with_the_way_to_load_it(tmp_path: Path) -> None:
    held, other = make_key(tmp_path), hide(make_key(tmp_path))
    with agent(tmp_path) as reaching:
        add_to_agent(held, reaching)
        reason = signing(other, SSH_AUTH_SOCK=reaching["SSH_AUTH_SOCK"])
    assert f"{other} is neither beside it nor in an ssh-agent" in reason
    assert "ssh-add" in reason


def test_a_public_key_without_any_agent_is_refused(tmp_path: Path) -> None:
    assert "neither beside it nor in an ssh-agent" in signing(hide(make_key(tmp_path)))
    assert "neither beside it" in signing(hide(make_key(tmp_path)), SSH_AUTH_SOCK="/nowhere")


def test_an_agent_that_asks_and_hears_no_refuses(tmp_path: Path) -> None:
    key = make_key(tmp_path)
    with agent(tmp_path) as reaching:
        # -c: the agent asks before each use; with nobody to ask it refuses.
        subprocess.run(["ssh-add", "-q", "-c", str(key)], env=reaching, check=True)
        reason = signing(hide(key), SSH_AUTH_SOCK=reaching["SSH_AUTH_SOCK"])
    assert "the ssh-agent refused to sign" in reason


def test_a_hardware_key_whose_token_is_away_is_refused(tmp_path: Path) -> None:
    public = tmp_path / "token.pub"
    public.write_text(HardwareKey().public_line)
    assert "neither beside it nor in an ssh-agent" in signing(public)


def test_a_passphrase_that_cannot_be_asked_for_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    key = make_key(tmp_path, passphrase=PASSPHRASE)
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(key), "none"],
        env=environment(tmp_path),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        start_new_session=True,  # no controlling terminal, even when the tests are run on one
        timeout=30,
        check=True,
    )
    assert f"refused: the passphrase for {key} was wrong, or there was no terminal" in done.stdout.decode()
    assert f"ssh-add {key}" in done.stdout.decode()


@contextmanager
def on_a_terminal(key: Path) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Sign in a child that has a terminal of its own; gives our end of that terminal."""
    ours, theirs = os.openpty()
    try:
        with subprocess.Popen(
            [sys.executable, "-c", CHILD, str(key), "terminal"],
            env=environment(key.parent),
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=theirs,
            start_new_session=True,
        ) as child:
            try:
                yield ours, child
            finally:
                child.kill()
    finally:
        os.close(ours)
        os.close(theirs)


def wait_for_prompt(terminal: int) -> None:
    seen = b""
    while b"Enter passphrase" not in seen:
        assert select.select([terminal], [], [], 30)[0], seen
        seen += os.read(terminal, 1000)


@pytest.mark.parametrize(
    ("typed", "outcome"),
    [
        (f"{PASSPHRASE}\n", "signed by "),
        ("wrong\n", "refused: the passphrase for "),
        ("\x03", "refused: interrupted: nothing was signed"),
    ],
    ids=["passphrase", "wrong passphrase", "control-c"],
)
def test_a_passphrase_is_asked_for_on_the_persons_terminal(tmp_path: Path, typed: str, outcome: str) -> None:
    key = make_key(tmp_path, passphrase=PASSPHRASE)
    with on_a_terminal(key) as (terminal, child):
        wait_for_prompt(terminal)
        os.write(terminal, typed.encode())
        said, _ = child.communicate(timeout=30)
        assert termios.tcgetattr(terminal)[3] & termios.ECHO, "the terminal must echo again"
    assert said.decode().startswith(outcome)


def test_a_path_that_looks_like_an_option_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_key(tmp_path).rename(tmp_path / "-Y")
    monkeypatch.chdir(tmp_path)
    home = environment(tmp_path)
    blob = sign(MESSAGE, key=Path("-Y"), namespace=NAMESPACE, environment=home)
    assert verify(MESSAGE, blob, NAMESPACE).key == public_key_of(Path("-Y"), environment=home)


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    assert f"there is no key file {tmp_path / 'none'}" in signing(tmp_path / "none")
    assert "there is no key file" in signing(tmp_path)
    assert "NUL" in signing(tmp_path / "a\0b")
    assert "cannot be looked at" in signing(tmp_path / ("x" * 300))


def test_a_file_that_is_no_key_is_refused(tmp_path: Path) -> None:
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"\xff\xfe not a key")
    assert f"{garbage} holds no usable SSH key" in signing(garbage)
    broken = tmp_path / "broken"
    broken.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n")
    broken.chmod(0o600)
    assert f"ssh-keygen could not use {broken}: " in signing(broken)


def test_a_key_others_can_read_is_refused_with_the_command_that_mends_it(tmp_path: Path) -> None:
    key = make_key(tmp_path).rename(tmp_path / "key with space")
    key.chmod(0o644)
    assert f"chmod 600 '{key}'" in signing(key)


def test_a_key_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    key = Path("/proc/self/mem")  # a file by its looks, and unreadable at its start even to root
    with pytest.raises(SigningError, match="cannot be read"):
        public_key_of(key, environment=environment(tmp_path))


def test_without_openssh_the_error_says_what_to_install(tmp_path: Path) -> None:
    key = make_key(tmp_path)
    assert "apt install openssh-client" in signing(key, PATH=str(tmp_path))
    with pytest.raises(SigningError, match="ssh-add is not installed"):
        list_agent_keys(environment(tmp_path, PATH=str(tmp_path)))


def test_a_temporary_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert "TMPDIR" in signing(make_key(tmp_path), TMPDIR=str(tmp_path / "none"))


def test_nothing_is_left_in_the_temporary_folder(tmp_path: Path) -> None:
    key = make_key(tmp_path)
    folder = tmp_path / "tmp"
    folder.mkdir()
    sign(MESSAGE, key=key, namespace=NAMESPACE, environment=environment(tmp_path, TMPDIR=str(folder)))
    key.chmod(0o644)
    signing(key, TMPDIR=str(folder))
    assert list(folder.iterdir()) == []


def test_a_weak_key_is_refused_with_and_without_its_public_file(tmp_path: Path) -> None:
    key = tmp_path / "weak"
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-b", "1024", "-N", "", "-f", str(key)], check=True)
    assert "holds no usable SSH key: RSA keys need at least 2048 bits" in signing(key)
    (tmp_path / "weak.pub").unlink()
    assert "would not be accepted: RSA keys need at least 2048 bits" in signing(key)


def test_a_public_file_of_another_key_is_refused(tmp_path: Path) -> None:
    key, other = make_key(tmp_path), make_key(tmp_path)
    shutil.copy(f"{other}.pub", f"{key}.pub")
    assert f"ssh-keygen could not use {key}" in signing(key)


def test_a_signature_by_another_key_than_the_one_asked_for_is_not_returned(tmp_path: Path) -> None:
    key, other = make_key(tmp_path), make_key(tmp_path)
    real = shutil.which("ssh-keygen")
    swapped = program(tmp_path / "bin", f'exec {real} -Y sign -n {NAMESPACE} -f {other} "$7"')
    reason = signing(key, **swapped)
    assert public_key(other).fingerprint in reason
    assert public_key(key).fingerprint in reason


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('echo no > "$7.sig"', "would not be accepted: an armoured signature begins"),
        ('printf "\\377" > "$7.sig"', "would not be accepted"),
        ("true", "cannot be run on a temporary file"),
        ("exit 3", "see what it said above"),
        ("printf 'first\\nevil \\033[2J words\\n' >&2; exit 1", "could not use {key}: evil ?[2J words"),
        ("kill -INT $$", "interrupted: nothing was signed"),
    ],
)
def test_a_misbehaving_ssh_keygen_yields_a_reason_and_no_signature(tmp_path: Path, body: str, reason: str) -> None:
    key = make_key(tmp_path)
    assert reason.format(key=key) in signing(key, **program(tmp_path / "bin", body))


def test_an_interrupted_person_gets_no_signature(tmp_path: Path) -> None:
    # In a process of its own: an interrupt that came a moment late would end the test run.
    key = make_key(tmp_path)
    interrupting = program(tmp_path / "bin", "sleep 0.5; kill -INT $PPID; exec sleep 30")
    person = (
        "import json, signal, sys\n"
        "from pathlib import Path\n"
        "from keyturn.sshsig.signing import SigningError, sign\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "try:\n"
        "    sign(b'x', key=Path(sys.argv[1]), namespace='n', environment=json.loads(sys.argv[2]))\n"
        "except SigningError as error:\n"
        "    print(error)\n"
    )
    whole = {**environment(tmp_path), **interrupting}
    done = subprocess.run(
        [sys.executable, "-c", person, str(key), json.dumps(whole)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == "interrupted: nothing was signed", done.stderr


def test_the_public_half_is_read_from_the_file_beside_or_derived(tmp_path: Path) -> None:
    key = make_key(tmp_path, comment="alice@laptop")
    home = environment(tmp_path)
    public = tmp_path / f"{key.name}.pub"
    expected = PublicKey.parse(public.read_text())
    assert public_key_of(key, environment=home) == expected
    assert public_key_of(public, environment=home).comment == "alice@laptop"
    public.unlink()
    assert public_key_of(key, environment=home) == expected


def test_the_public_half_of_a_locked_key_is_read_without_its_passphrase(tmp_path: Path) -> None:
    key = make_key(tmp_path, passphrase=PASSPHRASE)
    assert public_key_of(key, environment=environment(tmp_path)) == public_key(key)


def test_the_agents_keys_are_listed_without_the_kinds_that_are_refused(tmp_path: Path) -> None:
    ed25519, ecdsa, weak = make_key(tmp_path), make_key(tmp_path, "ecdsa256"), tmp_path / "weak"
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-b", "1024", "-N", "", "-f", str(weak)], check=True)
    with agent(tmp_path) as reaching:
        assert list_agent_keys(reaching) == ()
        for key in (ed25519, weak, ecdsa):
            add_to_agent(key, reaching)
        assert set(list_agent_keys(reaching)) == {public_key(ed25519), public_key(ecdsa)}


def test_without_an_agent_no_keys_are_listed(tmp_path: Path) -> None:
    assert list_agent_keys(environment(tmp_path)) == ()
    assert list_agent_keys(environment(tmp_path, SSH_AUTH_SOCK="/nowhere")) == ()
