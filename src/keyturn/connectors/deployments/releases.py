"""Deployments as folders of releases: `releases/<version>/`, a `current` symlink, and a history of its switches.

    releases/2.3.1/…        one folder per version
    current                 a relative symlink, `releases/2.4.0`
    history.jsonl           one line per switch: {"action", "at", "from", "principal", "to"}
    .keyturn/               the lock and what became of each action (see `keyturn.connectors.journal`)

A deploy script that shares the folder should hold `.keyturn/lock` (flock) while it re-points `current`, and append
its own line to the history: without one, "previous" is refused. Between the last comparison and the rename there is
no compare-and-swap for symlinks; the lock is what closes that gap.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import anyio.to_thread
from pydantic import BaseModel, ConfigDict, Field, field_validator

from keyturn.canon import Json
from keyturn.connectors.checking import Finding
from keyturn.connectors.deployments import Objection, Preview, Rollback, Snapshot
from keyturn.connectors.deployments.environments import check_names, member, way_back
from keyturn.connectors.deployments.health import Check, run_check
from keyturn.connectors.deployments.history import order_revisions, read_history
from keyturn.connectors.deployments.layout import (
    CURRENT,
    RELEASES,
    deserted,
    is_version,
    live_version,
    resolve,
    work_out,
)
from keyturn.connectors.deployments.switching import Switching, body_of
from keyturn.connectors.files import Disk, Folder
from keyturn.connectors.journal import journal
from keyturn.connectors.world import World
from keyturn.model.errors import ConfigurationError, ConnectorError
from keyturn.model.outcome import (
    CannotTell,
    Failed,
    Happened,
    Outcome,
    Probe,
    Succeeded,
)
from keyturn.model.plan import Backend, Inverse
from keyturn.model.text import visible
from keyturn.model.time import parse_duration
from keyturn.model.tool import ActionRef

LONGEST_CHECK = 600  # seconds

Text = Annotated[str, Field(min_length=1, max_length=1000)]


class Settings(BaseModel):
    """`[deployments.<name>]` of the wiring: folders by environment, and an optional health command."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["releases"]
    environments: dict[str, Text] = Field(min_length=1, max_length=50)
    health: tuple[Text, ...] = ()
    health_timeout: str = "60s"

    @field_validator("environments")
    @classmethod
    def _named(cls, value: dict[str, str]) -> dict[str, str]:
        check_names(value)
        return value

    @field_validator("health_timeout")
    @classmethod
    def _bounded(cls, value: str) -> str:
        if parse_duration(value).total_seconds() > LONGEST_CHECK:
            raise ValueError(f"a health check may take at most {LONGEST_CHECK} s")
        return value


def build(name: str, settings: Settings, world: World, *, disk: Disk | None = None) -> ReleaseFolders:
    """Build the back end; relative folders are below the home.

    The health command gets PATH, HOME and the locale of this process's environment. Raises `ConfigurationError` when
    two environments are one folder.
    """
    folders = {env: world.home / path for env, path in settings.environments.items()}
    seen: dict[str, str] = {}
    for env, folder in folders.items():
        twin = seen.setdefault(os.path.realpath(folder), env)
        if twin != env:
            place = f"deployments.{name}.environments.{env}"
            raise ConfigurationError(f'{place}: is the same folder as "{twin}"; give each its own')
    return ReleaseFolders(
        name=name,
        folders=folders,
        health=settings.health,
        timeout=parse_duration(settings.health_timeout).total_seconds(),
        passed_on=dict(world.environment),
        disk=disk or Disk(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseFolders:
    """One deployment whose environments are release folders; implements `Deployments`."""

    name: str
    folders: Mapping[str, Path]
    health: tuple[str, ...] = ()
    timeout: float = 60.0
    passed_on: Mapping[str, str] = field(default_factory=dict, repr=False)
    disk: Disk = field(default_factory=Disk)

    @property
    def environments(self) -> tuple[str, ...]:
        """The environments, in the order of the wiring."""
        return tuple(self.folders)

    def backend(self, environment: str) -> Backend:
        """Identify an environment by the real path of its folder."""
        location = os.path.realpath(self._path(environment))
        return Backend(port="deployments", name=self.name, kind="releases", location=location)

    async def snapshot(self, environment: str) -> Snapshot:
        """Read what runs and what could."""
        return await anyio.to_thread.run_sync(self._snapshot, environment)

    async def preview(self, environment: str, to: str) -> Preview:
        """Work out going back to `to`; nothing is written, not even the lock file."""
        return await anyio.to_thread.run_sync(self._preview, environment, to)

    async def apply(self, rollback: Rollback, action: ActionRef, objection: Objection | None = None) -> Outcome:
        """Switch once and check health. The thread is never abandoned: cancelling the task waits for it."""
        return await anyio.to_thread.run_sync(self._apply, rollback, action, objection)

    async def probe(self, rollback: Rollback, action: ActionRef) -> Probe:
        """Settle an action, finishing the records of one that died after its switch."""
        return await anyio.to_thread.run_sync(self._probe, rollback, action)

    def inverse(self, rollback: Rollback) -> Inverse:
        """Going back is itself a rollback, to what was live."""
        return way_back(self.name, rollback, rollback.current)

    async def check(self) -> tuple[Finding, ...]:
        """Look at each folder: what is live, what "previous" would mean, and whether we may switch there."""
        return await anyio.to_thread.run_sync(self._look)

    def _path(self, environment: str) -> Path:
        return member(self.name, self.folders, environment)

    def _open(self, environment: str, location: str = "") -> Folder:
        return Folder.open(self._path(environment), f"{self.name}/{environment}", self.disk, location)

    def _snapshot(self, environment: str) -> Snapshot:
        with self._open(environment) as root:
            current, history = live_version(root), read_history(root)
            with root.child(RELEASES) as releases:
                # What is not a release folder under a sane name is left out here, and refused when asked for.
                versions = [n for n in releases.names() if is_version(n) and releases.kind(n) == "folder"]
        return Snapshot(
            environment=environment,
            current=current,
            previous=history.previous(current),
            revisions=order_revisions(versions, history),
            history=history.switches,
        )

    def _look(self) -> tuple[Finding, ...]:
        found = [finding for environment in self.folders for finding in self._look_at(environment)]
        if self.health and shutil.which(self.health[0], path=self.passed_on.get("PATH", "")) is None:
            text = f"{self.name}: the health command {visible(self.health[0])} is not there or cannot be run"
            found.append(Finding("wrong", text, "mend `health`; every rollback would fail with an effect"))
        return tuple(found)

    def _look_at(self, environment: str) -> list[Finding]:
        place = f"{self.name}/{environment}"
        try:
            snapshot = self._snapshot(environment)
            with self._open(environment) as root:
                may = os.access(".", os.W_OK | os.X_OK, dir_fd=root.fd, effective_ids=True)
        except ConnectorError as error:
            return [Finding("wrong", str(error), f"mend the folder, or deployments.{self.name} in keyturn.toml")]
        count = len(snapshot.revisions)
        text = f"{place}: {snapshot.current} is live; {count} release{'' if count == 1 else 's'}"
        found = [Finding("ok", text)]
        if not may:
            advice = "let the account that Keyturn runs as write there, or leave it at looking"
            found.append(Finding("wrong", f"{place}: this account cannot write in the folder", advice))
        if snapshot.previous is None:
            advice = "let the deploy script append to history.jsonl; until then name the version to go back to"
            found.append(Finding("note", f"{place}: the history does not say what was live before", advice))
        return found

    def _preview(self, environment: str, to: str) -> Preview:
        with self._open(environment) as root:
            current, history = live_version(root), read_history(root)
            target = resolve(root, to, current, history)
            preview = work_out(root, Rollback(environment=environment, current=current, target=target), history)
            if live_version(root) != current:
                raise ConnectorError(f"{root.at(CURRENT)}: moved while planning", kind="retry", retry_after=5)
        return preview

    def _apply(self, rollback: Rollback, action: ActionRef, objection: Objection | None) -> Outcome:
        with self._open(rollback.environment, rollback.location) as root, journal(root) as held:
            done = Switching(self.name, rollback, action, objection).run(root, held)
        if not isinstance(done, dict):
            return done
        return _judged(rollback, self._checked(rollback, action, done))

    def _probe(self, rollback: Rollback, action: ActionRef) -> Probe:
        try:
            with self._open(rollback.environment, rollback.location) as root:
                if deserted(root):
                    return CannotTell(f"{root.at(CURRENT)}: nothing of the deployment is here; is the disk mounted?")
                with journal(root) as held:
                    settled = Switching(self.name, rollback, action).settle(root, held)
            if not isinstance(settled, dict):
                return settled
            outcome = _judged(rollback, self._checked(rollback, action, settled))
            return Happened(outcome.result, outcome.reason if isinstance(outcome, Failed) else None)
        except ConnectorError as error:
            return CannotTell(str(error))

    def _checked(self, rollback: Rollback, action: ActionRef, result: dict[str, Json]) -> dict[str, Json]:
        """Return the result with its health, checked now unless it was already.

        The check runs after the lock is let go. It may take a minute and may itself look at this folder; held, the
        lock would make every probe and every other change of this folder wait or give up, although the switch they
        would compare against is complete and recorded. The price: the folder may move on during the check. So what is
        live is read again, and a verdict about another version is not passed off as one about this switch.
        """
        if "health" in result:
            return result
        if self.health:
            action.progress(f"{rollback.target} is live; its health is checked, for at most {self.timeout:g} s")
        verdict = self._check(rollback) if self.health else Check("not configured", "")
        told: dict[str, Json] = {**result, "health": verdict.verdict}
        if verdict.output:
            told["health_output"] = verdict.output
        self._remember(rollback, action, told)
        return told

    def _check(self, rollback: Rollback) -> Check:
        path = self._path(rollback.environment)
        verdict = run_check(self.health, path, self.passed_on, self.timeout)
        try:
            with self._open(rollback.environment, rollback.location) as root:
                now = live_version(root)
        except ConnectorError as error:
            return Check(f"does not count: {error}", verdict.output)
        if now == rollback.target:
            return verdict
        return Check(f"does not count: {now} is live instead", verdict.output)

    def _remember(self, rollback: Rollback, action: ActionRef, told: Mapping[str, Json]) -> None:
        """Keep the verdict in the mark, for whoever asks again."""
        try:
            with self._open(rollback.environment, rollback.location) as root, journal(root) as held:
                held.finish(action.action, body_of(rollback, told))
        except ConnectorError:
            # The switch is recorded and the verdict goes back to the caller; only a later asker checks once more.
            return


def _judged(rollback: Rollback, result: Mapping[str, Json]) -> Succeeded | Failed:
    """Turn a result into an outcome: a check that did not pass is a failure with an effect."""
    health = result["health"]
    if result["current"] != rollback.target:
        reason = f"{rollback.target} was made live and {result['current']} replaced it at once, from outside Keyturn"
        return Failed(reason, effect=True, result=result)
    if health in {"passed", "not configured"}:
        return Succeeded(result)
    return Failed(f"{rollback.target} was made live, but its health check {health}", effect=True, result=result)
