"""The installed program on a real terminal of 80 columns: tables, colours, the pager, watching, and no prompts."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import resource
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from tests.gateway.world import Founded, World
from tests.sshsig.keys import agent

PROGRAM = str(Path(sys.executable).with_name("keyturn"))
COLUMNS = 80
ESCAPE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
HOSTILE = {"title": "Raise " + "x" * 150, "reason": "a\nDigest     sha256:0 \x1b[2J\u202e\u200b"}


class Terminal:
    """The program on a pseudo-terminal of its own."""

    def __init__(self, world: World, *arguments: str, **variables: str) -> None:
        self._said = b""
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, COLUMNS, 0, 0))
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(world.home.folder.parent),
            "TERM": "xterm-256color",
            "KEYTURN_HOME": str(world.home.folder),
            "LC_ALL": "C.UTF-8",
            **variables,
        }
        # setsid makes the terminal the program's own, so that Ctrl-C and questions for a passphrase work.
        self.process = subprocess.Popen(
            ["setsid", "--ctty", PROGRAM, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
        )
        os.close(slave)

    def read_until(self, text: str | None = None, seconds: float = 20) -> str:
        """Read until `text` is on the screen, or to the end; fail after `seconds`."""
        end = time.monotonic() + seconds
        while text is None or text not in self.screen:
            ready, _, _ = select.select([self._master], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"timed out; on the screen: {self.screen}"
            try:
                data = os.read(self._master, 65536)
            except OSError:
                data = b""
            if not data:
                break
            self._said += data
        return self.screen

    @property
    def screen(self) -> str:
        return self._said.decode("utf-8", errors="replace").replace("\r\n", "\n")

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def end(self) -> int:
        """Read to the end and return the exit code."""
        self.read_until()
        os.close(self._master)
        return self.process.wait(timeout=20)


def shown(world: World, *arguments: str, code: int = 0, **variables: str) -> str:
    terminal = Terminal(world, *arguments, **variables)
    assert terminal.end() == code, terminal.screen
    return terminal.screen


def bare(text: str) -> str:
    return ESCAPE.sub("", text)


def test_a_table_has_a_heading_and_stays_inside_the_terminal(world: World) -> None:
    action = world.held(**HOSTILE)
    screen = bare(shown(world, "inbox"))
    assert screen.splitlines()[0].split() == ["ID", "REVIEWS", "ASKED", "LEFT", "BY", "ENV", "WHAT"]
    assert action[-6:] in screen
    assert all(len(line) <= COLUMNS for line in screen.splitlines())
    assert f"keyturn action show {action[-6:]}" in screen


def test_limits_and_tokens_can_be_read_on_80_columns(world: World) -> None:
    limits = bare(shown(world, "limit", "list")).splitlines()
    assert all(len(line) <= COLUMNS for line in limits)
    assert any(re.search(r" 0 of 50 +calls in 1h ", line) for line in limits)
    tokens = bare(shown(world, "token", "list")).splitlines()
    assert re.match(r"[0-9a-f]{12} ", tokens[1])  # an id in one piece, to be copied


def test_an_empty_inbox_says_so(world: World) -> None:
    assert "nothing waits for a review" in shown(world, "inbox")
    assert "no actions" in shown(world, "action", "list")


def test_the_sheet_is_complete_folded_and_coloured(world: World) -> None:
    action = world.held(**HOSTILE)
    raw = shown(world, "action", "show", action[-6:])
    screen = bare(raw)
    assert "\x1b[2J" not in raw
    assert "\u202e" not in raw
    assert "\x1b[2m" in raw
    assert "x" * 150 in screen.replace("\n", "").replace(" ", "")
    assert "\nDigest     sha256:0 " not in screen
    assert all(len(line) <= COLUMNS for line in screen.splitlines())


def test_no_color_leaves_no_colour(world: World) -> None:
    action = world.held()
    for arguments in (("action", "show", action[-6:]), ("action", "diff", action[-6:]), ("inbox",), ("status",)):
        screen = shown(world, *arguments, NO_COLOR="1", PAGER="cat")
        assert not re.search(r"\x1b\[(3|4|9)[0-9]", screen), arguments


def test_a_diff_goes_through_the_pager_whole_and_coloured(world: World) -> None:
    content = "\n".join(f"line {number} {'y' * 100}" for number in range(200)) + "\n"
    action = world.held(files=[{"path": "docs/long.md", "content": content}])
    screen = shown(world, "action", "diff", action[-6:], PAGER="cat")
    assert "\x1b[32m+line 199" in screen
    assert bare(screen).count("↪") == 200
    assert all(len(line) <= COLUMNS for line in bare(screen).splitlines())


def test_the_usual_pager_shows_colours_and_leaves_what_fits(world: World) -> None:
    if shutil.which("less") is None:
        pytest.skip("less is not installed")
    action = world.held()
    screen = shown(world, "action", "diff", action[-6:])
    assert "\x1b[32m+TIMEOUT_SECONDS = 60" in screen


def test_without_a_pager_the_diff_is_printed(world: World) -> None:
    action = world.held()
    assert "+TIMEOUT_SECONDS = 60" in bare(shown(world, "action", "diff", action[-6:], PAGER="/nowhere/pager"))


def test_json_on_a_terminal_is_spread_out(world: World) -> None:
    action = world.held()
    assert f'{{\n  "action_id": "{action}"\n}}' in shown(world, "action", "show", action, "--json=action_id")


def test_the_status_is_one_screen(world: World) -> None:
    world.held()
    (world.home.folder / "policy.toml").write_text("version = 1\n")
    screen = bare(shown(world, "status"))
    assert len(screen.splitlines()) <= 24
    assert "1 pending" in screen
    assert "policy.toml on disk: differs" in screen
    assert "! principals.codex: no owner is set" in screen


def test_an_untrusted_clock_and_lost_outcomes_are_loud(world: World) -> None:
    world.held()
    world.clock.run(hours=5)
    world.drain()
    world.held(title="in the future")
    screen = bare(shown(world, "status"))
    assert "governed actions are refused" in screen


def test_words_are_said_in_sentences(world: World) -> None:
    first, second, third = (world.held(title=f"Title {number}") for number in range(3))
    key = str(world.keys["alice"])
    assert f"✓ {first[-6:]}: 1 of 1 reviews: approved" in shown(world, "approve", first, "-m", "ok", "--key", key)
    assert f"✗ {second[-6:]}: rejected by alice" in shown(world, "deny", second, "-m", "no", "--key", key)
    assert f"✗ {third[-6:]}: cancelled" in shown(world, "action", "cancel", third[-6:])
    assert "this does not count" in shown(world, "approve", third, "-m", "ok", "--key", key, code=6)


def test_watching_shows_what_comes_and_ends_with_ctrl_c(world: World) -> None:
    terminal = Terminal(world, "inbox", "-w")
    terminal.read_until("nothing waits")
    action = world.held()
    terminal.read_until(action[-6:])
    terminal.press("\x03")
    assert terminal.end() == 130


def test_in_a_pipe_watching_prints_each_action_once(world: World) -> None:
    first = world.held()
    command = [PROGRAM, "--home", str(world.home.folder), "inbox", "-w"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        assert watching.stdout.readline().startswith(first)
        second = world.held(title="Another")
        assert watching.stdout.readline().startswith(second)
        watching.send_signal(signal.SIGINT)
        assert watching.wait(timeout=20) == 130


def test_a_passphrase_is_asked_for_on_the_terminal_and_never_after_no_input(world: World, tmp_path: Path) -> None:
    action = world.held()
    key = str(tmp_path / "locked")
    for end in ("", ".pub"):
        shutil.copy(f"{world.keys['alice']}{end}", f"{key}{end}")
    subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", "secret", "-f", key], check=True)
    terminal = Terminal(world, "approve", action, "-m", "ok", "--key", key, "--as", "alice")
    terminal.read_until("passphrase")
    terminal.press("wrong\n")
    assert terminal.end() == 1
    screen = shown(world, "--no-input", "approve", action, "-m", "ok", "--key", key, "--as", "alice", code=1)
    assert "load the key with `ssh-add" in " ".join(screen.split())


def test_a_key_that_only_the_agent_holds_signs(world: World, tmp_path: Path) -> None:
    action = world.held()
    with agent(tmp_path) as variables:
        subprocess.run(["ssh-add", "-q", str(world.keys["carol"])], env={**os.environ, **variables}, check=True)
        screen = shown(world, "approve", action, "-m", "ok", SSH_AUTH_SOCK=variables["SSH_AUTH_SOCK"])
    assert "approved" in screen
    assert world.gate.ledger.look(lambda view: view.state.actions[action]).reviews[0].reviewer == "carol"


def test_approving_starts_the_worker_that_carries_it_out(world: World, tmp_path: Path, populated: Founded) -> None:
    other = World(tmp_path / "other", populated)
    try:
        action = other.held()
        shown(other, "approve", action, "-m", "ok", "--key", str(other.keys["alice"]))
        assert "succeeded" in shown(other, "action", "wait", action, "--timeout", "20s")
        assert shown(other, "status", "--json=worker") == '{\n  "worker": true\n}\n'
    finally:
        _end_worker(other)
        other.close()


def _end_worker(world: World) -> None:
    """End the worker of this home and no other: the process whose command line names it."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if str(world.home.folder).encode() in words and b"worker" in words:
            os.kill(int(folder.name), signal.SIGTERM)


LIGHT = ("pydantic", "cryptography", "rich", "anyio", "mcp", "keyturn.ledger", "keyturn.policy")
READING = ("anyio", "mcp", "keyturn.tools", "keyturn.connectors", "keyturn.server", "keyturn.verifier")


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        (("--help",), LIGHT),
        (("version",), LIGHT),
        (("approve", "--help"), LIGHT),
        (("inbox",), READING),
        (("action", "list"), READING),
        (("audit", "log"), READING),
    ],
)
def test_verbs_load_nothing_heavy_that_they_do_not_need(
    world: World, arguments: tuple[str, ...], heavy: tuple[str, ...]
) -> None:
    """What makes them answer before a person notices, on a busy machine too."""
    code = (
        "import sys\nfrom keyturn.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit as ended:\n    assert not ended.code\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, "--home", str(world.home.folder), *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_inbox_is_there_about_as_soon_as_python_is(world: World) -> None:
    """In processor time, and the better of two: a test run shares its machine."""
    times = []
    for _ in range(2):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([PROGRAM, "--home", str(world.home.folder), "inbox"], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(times) < 1


def test_what_is_silent_by_nature_says_so_to_a_person(world: World) -> None:
    assert "to a client that starts it, not to a person" in shown(world, "serve", code=4)
    worker = Terminal(world, "worker", "--on-demand")
    assert "executing what is approved; Ctrl-C ends it" in worker.read_until("ends it")
    assert worker.end() == 0


def test_a_list_without_rows_says_what_was_looked_for(world: World) -> None:
    world.held()
    assert "no unknown actions of codex among the newest 1000" in " ".join(
        shown(world, "action", "list", "--status", "unknown", "--principal", "codex").split()
    )


def test_a_table_keeps_bold_off_when_no_style_is_wanted(world: World) -> None:
    world.held()
    assert "\x1b[" not in shown(world, "inbox", NO_COLOR="1")
