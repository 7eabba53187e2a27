"""Deployments as folders of releases: `releases/<version>/`, a `current` symlink, and a history of its switches.

    releases/2.3.1/…        one folder per version
    current                 a relative symlink, `releases/2.4.0`
    history.jsonl           one line per switch: {"action", "at", "from", "principal", "to"}
    .keyturn/               the lock and what became of each action (see `keyturn.connectors.files`)

A deploy script that shares the folder should hold `.keyturn/lock` (flock) while it re-points `current`, and append
its own line to the history: without one, "previous" is refused. Between the last comparison and the rename there is
no compare-and-swap for symlinks; the lock is what closes that gap.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import anyio.to_thread
from pydantic import BaseModel, ConfigDict, Field, field_validator

from keyturn.canon import Json
from keyturn.connectors.deployments import PREVIOUS, Objection, Preview, Rollback, Snapshot, Switch
from keyturn.connectors.deployments.changes import compare_trees
from keyturn.connectors.deployments.health import Check, run_check
from keyturn.connectors.deployments.history import History, append_history, order_revisions, read_history
from keyturn.connectors.deployments.tree import Tree, read_entry, scan_tree, tree_digest
from keyturn.connectors.files import STATE_FOLDER, Disk, Folder, Journal, Mark, journal
from keyturn.model.errors import ConfigurationError, ConnectorError
from keyturn.model.outcome import (
    CannotHappen,
    CannotTell,
    Failed,
    Happened,
    Outcome,
    Probe,
    Stale,
    Succeeded,
    Unknown,
)
from keyturn.model.plan import Backend, Inverse
from keyturn.model.text import visible
from keyturn.model.time import action_time, format_timestamp, parse_duration
from keyturn.model.tool import ActionRef

RELEASES = "releases"
CURRENT = "current"
LONGEST_CHECK = 600  # seconds

_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_FENCED = "a probe found it not done and fenced it; it can never be done under this id"

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
        for name in value:
            if not _NAME.fullmatch(name):
                raise ValueError(f"{visible(name)!r} is not a name (letters, digits, `.`, `_`, `-`; at most 64)")
        return value

    @field_validator("health_timeout")
    @classmethod
    def _bounded(cls, value: str) -> str:
        if parse_duration(value).total_seconds() > LONGEST_CHECK:
            raise ValueError(f"a health check may take at most {LONGEST_CHECK} s")
        return value


def build(
    name: str, settings: Settings, *, home: Path, environment: Mapping[str, str], disk: Disk | None = None
) -> ReleaseFolders:
    """Build the back end; relative folders are below `home`.

    `environment` is this process's: the health command gets PATH, HOME and the locale of it. Raises
    `ConfigurationError` when two environments are one folder.
    """
    folders = {env: home / path for env, path in settings.environments.items()}
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
        passed_on=dict(environment),
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
        return Inverse(
            summary=f"Put {rollback.current} back in service in {rollback.environment}.",
            tool="rollback_deployment",
            arguments={
                "deployment": self.name,
                "environment": rollback.environment,
                "to": rollback.current,
            },
        )

    def _path(self, environment: str) -> Path:
        if environment not in self.folders:
            raise ConnectorError(f'deployment "{self.name}" has no environment "{visible(environment)}"')
        return self.folders[environment]

    def _open(self, environment: str, location: str = "") -> Folder:
        return Folder.open(self._path(environment), f"{self.name}/{environment}", self.disk, location)

    def _snapshot(self, environment: str) -> Snapshot:
        with self._open(environment) as root:
            current, history = live_version(root), read_history(root)
            with root.child(RELEASES) as releases:
                # What is not a release folder under a sane name is left out here, and refused when asked for.
                versions = [n for n in releases.names() if _is_version(n) and releases.kind(n) == "folder"]
        return Snapshot(
            environment=environment,
            current=current,
            previous=history.previous(current),
            revisions=order_revisions(versions, history),
            history=history.switches,
        )

    def _preview(self, environment: str, to: str) -> Preview:
        with self._open(environment) as root:
            current, history = live_version(root), read_history(root)
            target = _resolve(root, to, current, history)
            preview = _work_out(root, Rollback(environment=environment, current=current, target=target), history)
            if live_version(root) != current:
                raise ConnectorError(f"{root.at(CURRENT)}: moved while planning", kind="retry", retry_after=5)
        return preview

    def _apply(self, rollback: Rollback, action: ActionRef, objection: Objection | None) -> Outcome:
        with self._open(rollback.environment, rollback.location) as root, journal(root) as held:
            done = _Switching(self.name, rollback, action, objection).run(root, held)
        if not isinstance(done, dict):
            return done
        return _judged(rollback, self._checked(rollback, action, done))

    def _probe(self, rollback: Rollback, action: ActionRef) -> Probe:
        try:
            with self._open(rollback.environment, rollback.location) as root:
                if _deserted(root):
                    return CannotTell(f"{root.at(CURRENT)}: nothing of the deployment is here; is the disk mounted?")
                with journal(root) as held:
                    settled = _Switching(self.name, rollback, action).settle(root, held)
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
                held.finish(action.action, _body(rollback, told))
        except ConnectorError:
            # The switch is recorded and the verdict goes back to the caller; only a later asker checks once more.
            return


@dataclass(frozen=True, slots=True)
class _Switching:
    """One action on one environment, under the lock."""

    deployment: str
    rollback: Rollback
    action: ActionRef
    objection: Objection | None = None

    def run(self, root: Folder, held: Journal) -> Outcome | dict[str, Json]:
        """Make the switch unless it was made; return its result, or the outcome if there is none.

        Crash by crash: before `intend` nothing counts. After it, `files` tells from the staged link whether the
        rename happened, so this method or `settle` goes on from there. History and the `done` mark come after the
        switch, each written only where it is missing.
        """
        mark = self._mark(root, held)
        match mark.state:
            case "done" | "moved":
                return self._recorded(root, held, mark)
            case "fenced":
                return Failed(_FENCED)
            case _:
                pass
        unfit = self._unfit(root)
        if unfit is not None:
            if mark.state == "prepared":
                held.fence(self.action.action, mark, _body(self.rollback))
            return unfit
        held.stage_link(self.action.action, _link(self.rollback.target))
        if mark.state == "absent":
            held.intend(self.action.action, _body(self.rollback))
        try:
            held.move(self.action.action, root, CURRENT)
        except ConnectorError as error:
            return Unknown(f"the switch was begun, then: {error}")
        return self._recorded(root, held, Mark("moved"))

    def _unfit(self, root: Folder) -> Stale | Failed | None:
        """Return why the switch must not be made: reviewed facts that moved, or the caller's objection.

        `current` is compared last, as close to the rename as can be: reading two releases may take seconds.
        """
        gone = _gone(root, self.rollback)
        preview = None if gone else _work_out(root, self.rollback, read_history(root))
        moved = gone if preview is None else _differing(preview.rollback.facts, self.rollback.facts)
        refused = self.objection(preview) if self.objection and preview and not moved else None
        if root.link_text(CURRENT) != _link(self.rollback.current):
            moved = (*moved, "current") if "current" not in moved else moved
        if moved:
            return Stale(moved)
        return None if refused is None else Failed(refused)

    def settle(self, root: Folder, held: Journal) -> dict[str, Json] | CannotHappen:
        """Return the result of a switch that was made; fence one that was not."""
        mark = self._mark(root, held)
        match mark.state:
            case "done" | "moved":
                return self._record(root, held, mark)
            case "absent" | "prepared":
                held.fence(self.action.action, mark, _body(self.rollback))
                return CannotHappen("it was not done, and a fence keeps a late attempt from doing it")
            case "fenced":
                return CannotHappen(_FENCED)

    def _mark(self, root: Folder, held: Journal) -> Mark:
        """Find the action's mark; a line of history stands in for one that was lost with `.keyturn/`."""
        mark = held.find(self.action.action)
        if mark.state == "absent" and read_history(root).of(self.action.action) is not None:
            return Mark("moved")
        if mark.body and mark.body.get("change") != _change(self.rollback):
            raise ConnectorError(f"action {self.action.action} is marked for another change in {root.place}")
        return mark

    def _recorded(self, root: Folder, held: Journal, mark: Mark) -> Unknown | dict[str, Json]:
        try:
            return self._record(root, held, mark)
        except ConnectorError as error:
            # The switch stands. A probe finishes its record once what is in the way is gone.
            return Unknown(f"the switch was made, then: {error}")

    def _record(self, root: Folder, held: Journal, mark: Mark) -> dict[str, Json]:
        """Write what is missing of the record of a switch that happened, and return its result."""
        told = mark.body.get("result")
        if mark.state == "done" and isinstance(told, Mapping):
            return dict(told)
        live = live_version(root)
        history = read_history(root)
        if history.of(self.action.action) is None and live == self.rollback.target:
            # Not when something else is live by now: its line may stand there already, and lines keep their order.
            append_history(root, history, self._line())
        result: dict[str, Json] = {
            "deployment": self.deployment,
            "environment": self.rollback.environment,
            "from": self.rollback.current,
            "to": self.rollback.target,
            "current": live,
        }
        held.finish(self.action.action, _body(self.rollback, result))
        return result

    def _line(self) -> Switch:
        return Switch(
            new=self.rollback.target,
            old=self.rollback.current,
            principal=self.action.principal,
            at=format_timestamp(action_time(self.action.action)),
            action=self.action.action,
        )


def live_version(root: Folder) -> str:
    """Return the version that `current` names. Refuses every link that is not `releases/<version>` as written."""
    text = root.link_text(CURRENT)
    if text is None:
        raise ConnectorError(f"{root.at(CURRENT)}: is missing; point it at a release: ln -s {RELEASES}/VERSION")
    folder, _, version = text.partition("/")
    if folder != RELEASES or not _is_version(version):
        raise ConnectorError(f"{root.at(CURRENT)}: points to {visible(text)!r}, not to {RELEASES}/VERSION")
    return version


def _is_version(text: str) -> bool:
    return _VERSION.fullmatch(text) is not None and ".." not in text and text != PREVIOUS


def _release(releases: Folder, version: str) -> Folder:
    if not _is_version(version):
        raise ConnectorError(f"{visible(version)!r} is not a version (letters, digits, `.`, `_`, `+`, `-`; no `..`)")
    match releases.kind(version):
        case "folder":
            return releases.child(version)
        case None:
            raise ConnectorError(f"there is no release {version} in {releases.place}")
        case kind:
            raise ConnectorError(f"{releases.at(version)}: is a {kind}, not a folder")


def _resolve(root: Folder, to: str, current: str, history: History) -> str:
    target = to
    if to == PREVIOUS:
        previous = history.previous(current)
        if previous is None:
            place = root.at("history.jsonl")
            raise ConnectorError(f"{place}: does not say what was live before {current}; name the version instead")
        target = previous
    if target == current:
        raise ConnectorError(f"{current} is live already: nothing to do")
    return target


def _work_out(root: Folder, rollback: Rollback, history: History) -> Preview:
    """Read both releases whole and return what the switch changes, with the facts as they are."""
    with ExitStack() as stack:
        releases = stack.enter_context(root.child(RELEASES))
        live, wanted = (stack.enter_context(_release(releases, v)) for v in (rollback.current, rollback.target))
        before, after = scan_tree(live), scan_tree(wanted)
        changes = compare_trees(before, after, partial(read_entry, live), partial(read_entry, wanted))
    return Preview(
        rollback=replace(rollback, facts=_facts(rollback, before, after)),
        diff=changes.diff,
        files=changes.files,
        added=changes.added,
        removed=changes.removed,
        summarised=changes.summarised,
        guard={"current_link": _link(rollback.current), "history_length": len(history.switches)},
    )


def _gone(root: Folder, rollback: Rollback) -> tuple[str, ...]:
    """Name the reviewed facts that cannot hold because a release is not there any more."""
    with root.child(RELEASES) as releases:
        versions = {"target": rollback.target, "manifest_from": rollback.current}
        return tuple(name for name, version in versions.items() if releases.kind(version) != "folder")


def _facts(rollback: Rollback, before: Tree, after: Tree) -> dict[str, Json]:
    """Return what effect and diff depend on: both versions, and what each of the two releases holds."""
    return {
        "current": rollback.current,
        "target": rollback.target,
        "manifest": tree_digest(after),
        "manifest_from": tree_digest(before),
    }


def _differing(seen: Mapping[str, Json], reviewed: Mapping[str, Json]) -> tuple[str, ...]:
    return tuple(name for name in sorted(seen.keys() | reviewed.keys()) if seen.get(name) != reviewed.get(name))


def _link(version: str) -> str:
    return f"{RELEASES}/{version}"


def _change(rollback: Rollback) -> dict[str, Json]:
    return {"from": rollback.current, "to": rollback.target}


def _body(rollback: Rollback, result: Mapping[str, Json] | None = None) -> dict[str, Json]:
    body: dict[str, Json] = {"change": _change(rollback)}
    return body if result is None else {**body, "result": result}


def _deserted(root: Folder) -> bool:
    """Say whether the folder holds no trace of a deployment: then its silence proves nothing."""
    return all(root.kind(name) is None for name in (CURRENT, RELEASES, STATE_FOLDER))


def _judged(rollback: Rollback, result: Mapping[str, Json]) -> Succeeded | Failed:
    """Turn a result into an outcome: a check that did not pass is a failure with an effect."""
    health = result["health"]
    if result["current"] != rollback.target:
        reason = f"{rollback.target} was made live and {result['current']} replaced it at once, from outside Keyturn"
        return Failed(reason, effect=True, result=result)
    if health in {"passed", "not configured"}:
        return Succeeded(result)
    return Failed(f"{rollback.target} was made live, but its health check {health}", effect=True, result=result)
