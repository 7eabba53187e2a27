"""All that a campaign left behind, by where it was found: texts, bytes, and the files of a home."""

from __future__ import annotations

import gc
import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.canaries.marks import JWT, Canaries


@dataclass(slots=True)
class Evidence:
    """What was said and written, by kind: `kept["errors"]` is a list of texts."""

    kept: dict[str, list[bytes]] = field(default_factory=dict)

    def add(self, kind: str, said: str | bytes) -> None:
        """Keep what was said."""
        data = said if isinstance(said, bytes) else said.encode("utf-8", "surrogateescape")
        self.kept.setdefault(kind, []).append(data)

    def files(self, kind: str, folder: Path) -> None:
        """Keep every file of a folder with its name; links are not followed."""
        for path in sorted(folder.rglob("*")):
            if path.is_symlink():
                self.add(kind, f"{path} -> {path.readlink()}")
            elif path.is_file():
                self.add(kind, f"{path}\0".encode() + path.read_bytes())

    def sightings(self, canaries: Canaries, kind: str) -> list[tuple[str, bytes]]:
        """Return each credential that is in what was kept of a kind, with the beginning of where it is."""
        found: list[tuple[str, bytes]] = []
        for data in self.kept.get(kind, []):
            names = [*canaries.sightings(data), *(["a signed token"] if JWT in data else [])]
            found += [(name, data[:200]) for name in names]
        return found


def shown(error: BaseException, *, frames: bool = True) -> str:
    """Return all that an error and whatever hangs on it show; `frames`: with the locals of every frame of ours."""
    seen: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        found = waiting.pop()
        if found is not None and not any(found is one for one in seen):
            seen.append(found)
            waiting += [found.__cause__, found.__context__]
            waiting += list(found.exceptions) if isinstance(found, BaseExceptionGroup) else []
    texts = [f"{found!r} {found} {found.args!r} {vars(found)!r}" for found in seen]
    for found in seen if frames else []:
        summary = traceback.TracebackException.from_exception(found, capture_locals=True)
        texts += [str(frame.locals) for frame in summary.stack if "/src/keyturn/" in frame.filename]
    return "\n".join(texts)


def live() -> Iterator[str]:
    """Yield the `repr` of every object of ours that is alive."""
    for found in gc.get_objects():
        if str(type(found).__module__).startswith("keyturn."):
            yield repr(found)


class _Keeping(logging.Handler):
    def __init__(self, evidence: Evidence) -> None:
        super().__init__(logging.DEBUG)
        self._evidence = evidence

    def emit(self, record: logging.LogRecord) -> None:
        self._evidence.add("log", f"{record.name} {record.getMessage()} {vars(record)!r}")
        if record.exc_info and record.exc_info[1] is not None:
            self._evidence.add("log", shown(record.exc_info[1]))


@contextmanager
def logged(evidence: Evidence) -> Iterator[None]:
    """Keep every line of every logger, the most talkative level of libraries included, as long as the block lasts."""
    names = [
        "",
        "keyturn",
        "httpcore2",
        "httpcore2.connection",
        "httpcore2.http11",
        "httpcore2.proxy",
        "httpx2",
        "asyncio",
    ]
    before = {name: logging.getLogger(name).level for name in names}
    keeping = _Keeping(evidence)
    logging.getLogger().addHandler(keeping)
    for name in names:
        logging.getLogger(name).setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(keeping)
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
