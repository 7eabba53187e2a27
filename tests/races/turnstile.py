"""A place where git is held right before it writes refs: others act, then it goes on."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_SCRIPT = """#!/bin/sh
case " $* " in
*" update-ref "*) if mv "{folder}/armed" "{folder}/used" 2>/dev/null; then
    echo there >"{folder}/there"
    read -r word <"{folder}/onward"
fi ;;
esac
exec "{git}" "$@"
"""


@dataclass(frozen=True, slots=True)
class Turnstile:
    """A folder for `PATH` whose `git` is the real one, but for that one moment."""

    folder: Path

    @classmethod
    def made(cls, folder: Path) -> Turnstile:
        folder.mkdir()
        git = shutil.which("git")
        assert git is not None
        script = folder / "git"
        script.write_text(_SCRIPT.format(folder=folder, git=git), encoding="utf-8")
        script.chmod(0o755)
        for name in ("there", "onward"):
            os.mkfifo(folder / name)
        return cls(folder)

    def strike(self, deed: Callable[[], object]) -> None:
        """Do the deed when git is about to write refs next."""
        (self.folder / "armed").touch()
        threading.Thread(target=self._meet, args=(deed,), daemon=True).start()

    def _meet(self, deed: Callable[[], object]) -> None:
        (self.folder / "there").read_text(encoding="ascii")
        try:
            deed()
        finally:
            (self.folder / "onward").write_text("on\n", encoding="ascii")
