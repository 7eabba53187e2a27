"""A deployment on real folders, as an operator would have laid it out."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import anyio

from keyturn.connectors.deployments import Deployments, Rollback, Switch
from keyturn.connectors.deployments.history import history_line
from keyturn.connectors.deployments.releases import Settings, build
from keyturn.connectors.files import Disk
from keyturn.model.outcome import Failed, Succeeded
from keyturn.model.tool import ActionRef
from tests.connectors.deployments.processes import DyingDisk, SwiftDisk, together
from tests.connectors.surroundings import world_at

VERSIONS = ("2.2.0", "2.3.1", "2.4.0")


def lay_out(home: Path, *environments: str) -> None:
    for environment in environments:
        root = home / environment
        for version in VERSIONS:
            release = root / "releases" / version
            (release / "bin").mkdir(parents=True)
            (release / "app.py").write_text(f"VERSION = {version!r}\n\n\ndef run():\n    return VERSION\n")
            (release / "bin" / "start").write_text("#!/bin/sh\nexec python app.py\n")
            (release / "bin" / "start").chmod(0o755)
        (root / "current").symlink_to("releases/2.4.0")
        lines = [
            Switch(new=new, old=old, principal="deploy", at=f"2026-11-0{day}T08:00:00.000000Z")
            for day, old, new in [(1, None, "2.2.0"), (2, "2.2.0", "2.3.1"), (3, "2.3.1", "2.4.0")]
        ]
        (root / "history.jsonl").write_bytes(b"".join(history_line(line) for line in lines))


def open_port(home: Path, disk: Disk | None = None, **settings: Any) -> Deployments:
    environments = {path.name: path.name for path in sorted(home.iterdir()) if (path / "releases").is_dir()}
    parsed = Settings.model_validate({"kind": "releases", "environments": environments, **settings})
    return build("web", parsed, world_at(home, {"PATH": os.defpath}), disk=disk)


class Placed(Protocol):
    """A deployment somewhere, looked at and moved without the code under test.

    shows        lines of the diff from 2.4.0 to 2.3.1
    superseded   what an action that was done is answered once something else is live
    racer        applies in a process of its own; `handle` says to it where
    """

    port: Deployments
    shows: tuple[str, ...]
    superseded: type[Succeeded] | type[Failed]

    @property
    def racer(self) -> Callable[..., str]: ...
    @property
    def handle(self) -> Any: ...
    def named(self, version: str) -> str: ...
    def live(self) -> str: ...
    def history(self) -> list[Mapping[str, Any]]: ...
    def switches_of(self, action: ActionRef) -> int: ...
    def move(self, version: str) -> None: ...
    def alter(self, version: str) -> None: ...


class World:
    """The folders of one deployment, looked at and moved without the code under test."""

    shows: tuple[str, ...] = ("-VERSION = '2.4.0'\n+VERSION = '2.3.1'\n",)
    superseded: type[Succeeded] | type[Failed] = Succeeded

    def __init__(self, home: Path) -> None:
        self.home = home
        self.root = home / "staging"
        lay_out(home, "staging")
        self.port = open_port(home, SwiftDisk())

    @property
    def racer(self) -> Callable[..., str]:
        return apply_and_say

    @property
    def handle(self) -> Path:
        return self.home

    def named(self, version: str) -> str:
        return version

    def live(self) -> str:
        return str((self.root / "current").readlink()).removeprefix("releases/")

    def history(self) -> list[Mapping[str, Any]]:
        return [json.loads(line) for line in (self.root / "history.jsonl").read_text().splitlines()]

    def switches_of(self, action: ActionRef) -> int:
        return sum(line["action"] == action.action for line in self.history())

    def move(self, version: str) -> None:
        """Deploy as an operator's script does."""
        with (self.root / "history.jsonl").open("ab") as file:
            file.write(history_line(Switch(new=version, old=self.live(), principal="deploy", at="later")))
        (self.root / "next").symlink_to(f"releases/{version}")
        (self.root / "next").rename(self.root / "current")

    def alter(self, version: str) -> None:
        (self.root / "releases" / version / "app.py").write_text("VERSION = 'other'\n")

    def marks(self) -> dict[str, str]:
        folder = self.root / ".keyturn" / "actions"
        return {path.stem: json.loads(path.read_text())["state"] for path in folder.glob("*.json")}

    def staged(self) -> list[str]:
        return sorted(path.name for path in (self.root / ".keyturn" / "staged").iterdir())


def apply_and_say(home: Path, rollback: Rollback, action: ActionRef) -> str:
    port = open_port(home)
    together()
    return type(anyio.run(port.apply, rollback, action)).__name__


def apply_until(home: Path, rollback: Rollback, action: ActionRef, step: int) -> None:
    anyio.run(open_port(home, DyingDisk(step, half=True)).apply, rollback, action)


def probe_until(home: Path, rollback: Rollback, action: ActionRef, step: int) -> None:
    anyio.run(open_port(home, DyingDisk(step, half=True)).probe, rollback, action)
