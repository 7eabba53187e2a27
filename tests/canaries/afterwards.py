"""Looks, after the whole test run, whether a credential of the test bed is where none belongs.

A plug-in of pytest, loaded by `tests/conftest.py`. Where it looks:

- what tests wrote to standard output, standard error and the log, as pytest captured it;
- every file below a folder `state` in the run's temporary folders: ledgers and their logs, locks, workers' logs,
  copies of git remotes. That is where homes keep what Keyturn writes; configuration and credentials lie beside it.

Under pytest-xdist the controller does it, once all workers are gone: their folders lie below its own. It reads at
most `MOST` bytes and says so where there was more. A finding makes the run fail.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.canaries.marks import JWT, MARK, sought

MOST = 8 << 30
"""Bytes that are read; a whole run leaves about a third of that."""
CHUNK = 16 << 20
_OVERLAP = 256
_STATE = "state"
_WANTED = sought([MARK])


@dataclass(slots=True, eq=False)
class Afterwards:
    """What was found in one run."""

    found: list[str] = field(default_factory=list)
    files: int = 0
    read: int = 0
    cut: bool = False

    def output(self, report: pytest.TestReport) -> None:
        """Look at what a test said."""
        for title, text in report.sections:
            if gives_away(text.encode("utf-8", "replace")):
                self.found.append(f"{report.nodeid}: {title}")

    def folder(self, root: Path) -> None:
        """Look at all files of homes below a folder."""
        for path in states(root):
            if self.read >= MOST:
                self.cut = True
                return
            self._file(path)

    def _file(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                self.files += 1
                kept = b""
                while data := file.read(CHUNK):
                    self.read += len(data)
                    if gives_away(kept + data):
                        self.found.append(str(path))
                        return
                    kept = data[-_OVERLAP:]
        except OSError:
            return  # gone meanwhile, or not for us: a test took its rights away

    def words(self) -> str:
        """Return what is said at the end of the run."""
        more = ", and there was more than is looked at" if self.cut else ""
        return f"{len(self.found)} credentials of the test bed in {self.files} files of homes and in the output{more}"


def gives_away(data: bytes) -> bool:
    """Say whether bytes hold a credential of the test bed in some form, or a token that one of its Apps signed."""
    return JWT in data or _WANTED.search(data) is not None


def states(root: Path) -> Iterator[Path]:
    """Yield the plain files below every folder called `state`; links are not followed."""
    for folder, below, names in os.walk(root, onerror=lambda _: None):
        if _STATE not in Path(folder).relative_to(root).parts:
            continue
        below.sort()
        for name in names:
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink():
                yield path


_AFTERWARDS = pytest.StashKey[Afterwards]()


def pytest_configure(config: pytest.Config) -> None:
    """Begin, in the process that sees all reports."""
    if not hasattr(config, "workerinput"):
        config.stash[_AFTERWARDS] = Afterwards()
        config.pluginmanager.register(_Reports(config.stash[_AFTERWARDS]), "canaries")


@dataclass(frozen=True, eq=False)
class _Reports:
    """What sees each report; a plug-in has to be hashable."""

    afterwards: Afterwards

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "teardown" or report.failed:
            self.afterwards.output(report)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Look at the files, once everything is over."""
    afterwards = session.config.stash.get(_AFTERWARDS, None)
    if afterwards is None:
        return
    factory: pytest.TempPathFactory = session.config._tmp_path_factory  # type: ignore[attr-defined]  # as xdist does
    afterwards.folder(factory.getbasetemp())
    if (afterwards.found or afterwards.cut) and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Tell what was found."""
    afterwards = config.stash.get(_AFTERWARDS, None)
    if afterwards is None:
        return
    bad = bool(afterwards.found or afterwards.cut)
    if bad or config.get_verbosity() >= 0:
        terminalreporter.write_line(afterwards.words(), red=bad)
    for place in afterwards.found[:50]:
        terminalreporter.write_line(f"  {place}", red=True)
