"""A stand-in for systemctl where systemd does not run: it starts and stops what a unit says, under its accounts.

It keeps to User, Group, UMask, the unit's folders, NoNewPrivileges, the empty capability set and KillSignal. What it
cannot do (the confinement of file system, network and system calls) is looked at with `systemd-analyze`.
"""

from __future__ import annotations

import grp
import os
import pwd
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

UNITS = Path("/etc/systemd/system")
STARTED = Path("/run/systemctl")  # the process id of each unit that was started
SECONDS = 30.0


def settings(unit: Path) -> dict[str, list[str]]:
    """Read the assignments of a unit's `[Service]` section."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    section = ""
    for line in unit.read_text().splitlines():
        if line.startswith("["):
            section = line
        elif section == "[Service]" and "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found[name].append(value)
    return found


def start(name: str) -> None:
    """Start a unit and wait until it listens."""
    service = settings(UNITS / f"{name}.service")
    user, group = service["User"][0], service["Group"][0]
    for place, root in (("RuntimeDirectory", "/run"), ("StateDirectory", "/var/lib")):
        folder = Path(root, service[place][0])
        folder.mkdir(exist_ok=True)
        os.chown(folder, pwd.getpwnam(user).pw_uid, grp.getgrnam(group).gr_gid)
        folder.chmod(int(service[f"{place}Mode"][0], 8))
    os.umask(int(service["UMask"][0], 8))
    confined = ["--init-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
    command = shlex.split(service["ExecStart"][0])
    errors = os.open(f"/run/{name}.log", os.O_WRONLY | os.O_CREAT, 0o600)
    process = subprocess.Popen(
        ["setpriv", f"--reuid={user}", f"--regid={group}", *confined, *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=errors,
        start_new_session=True,
        env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
        cwd="/",
    )
    STARTED.mkdir(exist_ok=True)
    (STARTED / name).write_text(str(process.pid))
    listening = command[command.index("--socket") + 1]
    deadline = time.monotonic() + SECONDS
    with socket.socket(socket.AF_UNIX) as probe:
        while probe.connect_ex(listening) != 0:
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"{name} does not listen:\n{Path(f'/run/{name}.log').read_text()}")
            time.sleep(0.05)


def stop(name: str) -> None:
    """Stop a unit as its KillSignal says, and wait until it has left."""
    pid = int((STARTED / name).read_text())
    os.kill(pid, signal.Signals[settings(UNITS / f"{name}.service")["KillSignal"][0]])
    deadline = time.monotonic() + SECONDS
    while Path(f"/proc/{pid}").exists() and ") Z " not in Path(f"/proc/{pid}/stat").read_text():
        if time.monotonic() > deadline:
            sys.exit(f"{name} does not leave")
        time.sleep(0.05)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["daemon-reload"]:
            pass
        case ["enable", "--now", name]:
            start(name)
        case ["stop", name]:
            stop(name)
        case other:
            sys.exit(f"the stand-in for systemctl does not know {shlex.join(other)}")
