"""Sample systems for a new home: a git repository, releases of a deployment, and tickets, all real files."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from keyturn.assembly.outside import environment
from keyturn.connectors.deployments import Switch
from keyturn.connectors.deployments.history import HISTORY, history_line
from keyturn.model.errors import ConfigurationError
from keyturn.model.time import format_timestamp

SAMPLES = "samples"
"""The folder of a home that holds them."""

REPOSITORY = "shop"
DEPLOYMENT = "web"
ENVIRONMENTS = ("staging", "production")
TICKET = "OPS-1"
BASE = "main"

_VERSIONS = ("2.2.0", "2.3.1", "2.4.0")
_FILES = {
    "README.md": "# shop\n\nA small sample repository. Keyturn opens pull requests here.\n",
    "app/settings.py": 'TIMEOUT_SECONDS = 30\nRETRIES = 3\nGREETING = "hello"\n',
    "app/main.py": "from app import settings\n\n\ndef main() -> None:\n    print(settings.GREETING)\n",
    ".github/workflows/test.yml": "name: test\non: [push]\n",
}
_TICKETS = {
    "OPS-1": (
        "Checkout is slow since the last release",
        "open",
        "p95 went from 300 ms to 1.2 s at 14:02, right after 2.4.0 went live.\n",
    ),
    "OPS-2": ("Rotate the staging certificate", "open", "It ends next week.\n"),
}


@dataclass(frozen=True, slots=True)
class Samples:
    """Where the samples of a home are."""

    folder: Path

    @property
    def repository(self) -> Path:
        """The bare git repository."""
        return self.folder / "shop.git"

    def to_json(self) -> dict[str, object]:
        """Return what a newcomer or a test needs to try them."""
        return {
            "repository": REPOSITORY,
            "repository_path": str(self.repository),
            "base": BASE,
            "deployment": DEPLOYMENT,
            "environments": list(ENVIRONMENTS),
            "ticket": TICKET,
        }


def make_samples(folder: Path, now: datetime) -> Samples:
    """Make the sample systems in a new folder. Raises `ConfigurationError` when git cannot make the repository."""
    samples = Samples(folder)
    folder.mkdir()
    _make_repository(samples.repository, now)
    for name in ENVIRONMENTS:
        _make_releases(folder / DEPLOYMENT / name, now)
    _make_tickets(folder / "tickets")
    return samples


def _make_releases(folder: Path, now: datetime) -> None:
    for version in _VERSIONS:
        release = folder / "releases" / version
        release.mkdir(parents=True)
        (release / "app.py").write_text(f'VERSION = "{version}"\nWORKERS = {8 if version == "2.4.0" else 6}\n')
        (release / "manifest.txt").write_text(f"web {version}\n")
    (folder / "current").symlink_to(f"releases/{_VERSIONS[-1]}")
    lines, before = [], None
    for days, version in zip((21, 9, 1), _VERSIONS, strict=True):
        at = format_timestamp(now - timedelta(days=days))
        lines.append(history_line(Switch(new=version, old=before, principal="release-train", at=at)))
        before = version
    (folder / HISTORY).write_bytes(b"".join(lines))


def _make_tickets(folder: Path) -> None:
    folder.mkdir()
    for ticket, (title, status, text) in _TICKETS.items():
        head = f"---\nid: {ticket}\ntitle: {title}\nstatus: {status}\nwatchers: [sre@example.org]\n---\n\n"
        (folder / f"{ticket}.md").write_text(head + text)


def _make_repository(path: Path, now: datetime) -> None:
    path.mkdir()
    _git(path, "init", "--quiet", "--bare", f"--initial-branch={BASE}")
    at = f"{int(now.timestamp())} +0000"
    stream = [f"commit refs/heads/{BASE}", f"committer Sample <sample@example.org> {at}", "data 12", "First commit"]
    for name, text in _FILES.items():
        stream += [f"M 100644 inline {name}", f"data {len(text.encode())}", text]
    _git(path, "fast-import", "--quiet", stdin="\n".join(stream) + "\n")


def _git(path: Path, *arguments: str, stdin: str = "") -> None:
    variables = {
        "PATH": environment().get("PATH", "/usr/bin:/bin"),
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TEMPLATE_DIR": "",
        "LC_ALL": "C",
    }
    try:
        subprocess.run(
            ["git", "-C", str(path), *arguments],
            input=stdin.encode(),
            env=variables,
            capture_output=True,
            check=True,
            timeout=60,
        )
    except FileNotFoundError as error:
        raise ConfigurationError("there is no git on PATH; install git") from error
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip()
        raise ConfigurationError(f"git could not make the sample repository: {said}") from error
