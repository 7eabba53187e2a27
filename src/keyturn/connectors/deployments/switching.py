"""Makes one switch of a folder of releases once, under its lock, or settles whether it was made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from keyturn.canon import Json
from keyturn.connectors.deployments import Objection, Rollback, Switch
from keyturn.connectors.deployments.history import append_history, read_history
from keyturn.connectors.deployments.layout import (
    CURRENT,
    link_to,
    live_version,
    missing_releases,
    work_out,
)
from keyturn.connectors.files import Folder
from keyturn.connectors.journal import FENCED, Journal, Mark
from keyturn.model.errors import ConnectorError
from keyturn.model.outcome import CannotHappen, Failed, Outcome, Stale, Unknown, differing
from keyturn.model.time import action_time, format_timestamp
from keyturn.model.tool import ActionRef


@dataclass(frozen=True, slots=True)
class Switching:
    """One action on one environment, under the lock."""

    deployment: str
    rollback: Rollback
    action: ActionRef
    objection: Objection | None = None

    def run(self, root: Folder, held: Journal) -> Outcome | dict[str, Json]:
        """Make the switch unless it was made; return its result, or the outcome if there is none.

        Crash by crash: before `intend` nothing counts. After it, `journal` tells from the staged link whether the
        rename happened, so this method or `settle` goes on from there. History and the `done` mark come after the
        switch, each written only where it is missing.
        """
        mark = self._mark(root, held)
        match mark.state:
            case "done" | "moved":
                return self._recorded(root, held, mark)
            case "fenced":
                return Failed(FENCED)
            case _:
                pass
        unfit = self._unfit(root)
        if unfit is not None:
            if mark.state == "prepared":
                held.fence(self.action.action, mark, body_of(self.rollback))
            return unfit
        held.stage_link(self.action.action, link_to(self.rollback.target))
        if mark.state == "absent":
            held.intend(self.action.action, body_of(self.rollback))
        try:
            held.move(self.action.action, root, CURRENT)
        except ConnectorError as error:
            return Unknown(f"the switch was begun, then: {error}")
        return self._recorded(root, held, Mark("moved"))

    def _unfit(self, root: Folder) -> Stale | Failed | None:
        """Return why the switch must not be made: reviewed facts that moved, or the caller's objection.

        `current` is compared last, as close to the rename as can be: reading two releases may take seconds.
        """
        gone = missing_releases(root, self.rollback)
        preview = None if gone else work_out(root, self.rollback, read_history(root))
        moved = gone if preview is None else differing(preview.rollback.facts, self.rollback.facts)
        refused = self.objection(preview) if self.objection and preview and not moved else None
        if root.link_text(CURRENT) != link_to(self.rollback.current):
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
                held.fence(self.action.action, mark, body_of(self.rollback))
                return CannotHappen("it was not done, and a fence keeps a late attempt from doing it")
            case "fenced":
                return CannotHappen(FENCED)

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
        held.finish(self.action.action, body_of(self.rollback, result))
        return result

    def _line(self) -> Switch:
        return Switch(
            new=self.rollback.target,
            old=self.rollback.current,
            principal=self.action.principal,
            at=format_timestamp(action_time(self.action.action)),
            action=self.action.action,
        )


def body_of(rollback: Rollback, result: Mapping[str, Json] | None = None) -> dict[str, Json]:
    """Return what a mark says of a switch, with its result once there is one."""
    body: dict[str, Json] = {"change": _change(rollback)}
    return body if result is None else {**body, "result": result}


def _change(rollback: Rollback) -> dict[str, Json]:
    return {"from": rollback.current, "to": rollback.target}
