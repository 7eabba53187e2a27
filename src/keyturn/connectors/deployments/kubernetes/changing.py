"""Puts a revision back in service once, waits until it runs, and settles whether an action did so.

What keeps it at once, whoever runs it how often:

1. Every patch of ours begins with a `test` of the resourceVersion that was read together with the marks; the server
   applies it to that very version or not at all. So between "no mark, no fence, facts as reviewed" and the change
   nothing can happen.
2. The mark is part of the patch: it is there exactly if the change is.
3. A fence is written under the same `test`. Once it is there, the version is another, so a patch that is still under
   way fails; whoever reads again finds the fence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import anyio

from keyturn.canon import Json
from keyturn.connectors.deployments import Objection, Rollback
from keyturn.connectors.deployments.kubernetes.health import Health, health_of
from keyturn.connectors.deployments.kubernetes.marks import Mark, mark_of
from keyturn.connectors.deployments.kubernetes.objects import digest_of
from keyturn.connectors.deployments.kubernetes.owners import owner_of
from keyturn.connectors.deployments.kubernetes.seeing import Seen, Subject, images_of, replicas_of
from keyturn.connectors.deployments.kubernetes.working import Moved, facts_of, fence_of, patch_of, unmoved, work_out
from keyturn.connectors.kubernetes import Missed
from keyturn.model.errors import ConnectorError
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
    differing,
)
from keyturn.model.tool import ActionRef

ATTEMPTS: Final = 6
"""Readings of one object that keeps changing before an action gives up."""
FENCED: Final = "a fence that an earlier probe wrote keeps it from being done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rolling:
    """One action on one Deployment.

    patience  seconds that the rollout may take until it counts as failed
    poll      seconds between two looks at it
    dry       whether the cluster is asked to go through it first
    """

    deployment: str
    subject: Subject
    rollback: Rollback
    action: ActionRef
    patience: float
    poll: float
    dry: bool
    objection: Objection | None = None

    async def run(self) -> Outcome:
        """Make the change unless it was made, and wait until the rollout is over."""
        for _ in range(ATTEMPTS):
            try:
                ended = await self._once()
            except Moved:
                continue
            return ended if not isinstance(ended, Mark) else await self._watched(ended)
        raise ConnectorError(
            f"{self.subject.place}: it kept changing while it was to be changed; nothing was done", kind="retry"
        )

    async def settle(self) -> Probe:
        """Find the mark, or see to it that there will never be one."""
        for _ in range(ATTEMPTS):
            try:
                return await self._settled()
            except Moved:
                continue
        return CannotTell(f"{self.subject.place}: it keeps changing, so no fence could be written")

    async def _once(self) -> Outcome | Mark:
        """Try once, and return the mark where the change is made, now or earlier. Raises `Moved`."""
        seen = await self.subject.seen()
        if seen is None or seen.live.uid != self.rollback.facts.get("uid"):
            return Stale(("uid",))
        mark = seen.marks.of(self.action.action)
        if mark is not None:
            return mark
        if self.action.action in seen.marks.fenced:
            return Failed(FENCED)
        if seen.marks.forgotten(self.action.action):
            return Unknown(_FORGOTTEN)
        unfit = await self._unfit(seen)
        if isinstance(unfit, Stale):
            # The ReplicaSets were read after the Deployment: what moved in between may be this very action's doing.
            await unmoved(self.subject, seen)
        return unfit or await self._patched(seen)

    async def _unfit(self, seen: Seen) -> Stale | Failed | None:
        """Return why the change must not be made: reviewed facts that moved, or the caller's objection."""
        target = seen.revision(self.rollback.target)
        if target is None:
            return Stale(("target",))
        moved = self._moved(facts_of(seen, target))
        if moved:
            return Stale(moved)
        preview = await work_out(self.subject, seen, self.rollback, dry=self.dry)
        if differing(preview.rollback.facts, self.rollback.facts):
            return Stale(("result",))
        refused = self.objection(preview) if self.objection else None
        return None if refused is None else Failed(refused)

    def _moved(self, facts: dict[str, Json]) -> tuple[str, ...]:
        """Name the facts that differ. What the live revision holds is another matter once another is live."""
        moved = [name for name in sorted(facts) if facts[name] != self.rollback.facts.get(name)]
        if facts["current"] != self.rollback.current and "current" not in moved:
            moved.append("current")
        return tuple(name for name in moved if name != "manifest_from" or "current" not in moved)

    async def _patched(self, seen: Seen) -> Outcome | Mark:
        """Send the patch and read back whether it is there. Raises `Moved` where another was first."""
        target = seen.revision(self.rollback.target)
        if target is None:
            raise Moved
        condition = seen.live.rollout.progressing
        spoken = "" if condition is None else condition.updated
        mark = mark_of(self.action, self.rollback.current, self.rollback.target, spoken)
        answer = await self.subject.cluster.patch(
            self.subject.path, patch_of(seen, target, seen.marks.with_done(mark).written())
        )
        if isinstance(answer, Missed):
            return await self._missed(seen, answer)
        found = await self.subject.seen()
        if found is None or found.live.uid != seen.live.uid:
            return Unknown("the cluster took the change, and then the Deployment was gone")
        if found.marks.of(self.action.action) is None:
            return Unknown("the cluster said that the change was made, and it is not there")
        return mark

    async def _missed(self, seen: Seen, missed: Missed) -> Failed:
        """Tell a failed `test` from a refusal: the answer is the same, but only then the version is another."""
        live = await self.subject.live()
        if live is None or live.version != seen.live.version:
            raise Moved
        return Failed(f"the cluster refused the change: {missed.words or missed.status}")

    async def _watched(self, mark: Mark) -> Outcome:
        """Wait until the rollout is over, or its time is; the change is made, so every failure has an effect."""
        said = ""
        until = anyio.current_time() + self.patience
        while True:
            seen, health = await self._looked(mark)
            words = health.words
            over = health.state != "waiting" or anyio.current_time() + self.poll > until
            if over:
                break
            if words != said:
                self.action.progress(words)
                said = words
            await anyio.sleep(self.poll)
        return self._outcome(seen, health)

    async def _looked(self, mark: Mark) -> tuple[Seen | None, Health]:
        """Look at the rollout once. That it cannot be read is no answer, and looked at again."""
        try:
            seen = await self.subject.seen()
        except ConnectorError as error:
            return None, Health("waiting", f"its health cannot be read: {error}")
        if seen is None or seen.live.uid != self.rollback.facts.get("uid"):
            return None, Health("failed", "the Deployment was deleted meanwhile")
        if not self._is_live(seen):
            now = "something else" if seen.current is None else f"revision {seen.current.revision}"
            return seen, Health("failed", f"{now} is live instead by now, so its health does not count")
        return seen, health_of(seen.live, mark.spoken)

    def _is_live(self, seen: Seen) -> bool:
        """Whether the Deployment still wants what the action made of it, whatever its annotations became since."""
        if digest_of(seen.live.template) == self.rollback.facts.get("template"):
            return True
        current, to = seen.current, self.rollback.target
        return current is not None and to in {str(current.revision), *map(str, current.was[-1:])}

    def _outcome(self, seen: Seen | None, health: Health) -> Outcome:
        result = self._result(seen, health)
        if health.state == "passed":
            return Succeeded(result)
        return Failed(self._shortfall(health), effect=True, result=result)

    def _shortfall(self, health: Health) -> str:
        late = "" if health.state == "failed" else f" within {self.patience:g} s"
        return f"revision {self.rollback.target} was put back, but it did not get healthy{late}: {health.words}"

    def _result(self, seen: Seen | None, health: Health) -> dict[str, Json]:
        result: dict[str, Json] = {
            "deployment": self.deployment,
            "environment": self.rollback.environment,
            "from": self.rollback.current,
            "to": self.rollback.target,
            "current": None if seen is None or seen.current is None else str(seen.current.revision),
            "health": health.state if health.state == "passed" else f"{health.state}: {health.words}",
        }
        if seen is not None:
            result["images"] = images_of(seen.live.template)
            result["replicas"] = replicas_of(seen.live)
        return result

    async def _settled(self) -> Probe:
        """Settle on one reading. Raises `Moved`."""
        seen = await self.subject.seen()
        if seen is None or seen.live.uid != self.rollback.facts.get("uid"):
            return CannotTell(
                f"{self.subject.place}: the reviewed Deployment was deleted, and its marks with it; look into the "
                "cluster's audit log whether it was rolled back before"
            )
        mark = seen.marks.of(self.action.action)
        if mark is not None:
            return await self._happened(mark)
        if self.action.action in seen.marks.fenced:
            return CannotHappen(FENCED)
        if seen.marks.forgotten(self.action.action):
            return CannotTell(_FORGOTTEN)
        if self._somebody_did(seen):
            return CannotTell(
                f"revision {self.rollback.target} was made live again, and nothing tells by whom; look at "
                f"`kubectl rollout history` and at the cluster's audit log"
            )
        return await self._fenced(seen)

    async def _happened(self, mark: Mark) -> Happened:
        """Return what came of a change that was made, as it stands: a rollout under way is a shortfall so far."""
        seen, health = await self._looked(mark)
        shortfall = None if health.state == "passed" else self._so_far(health)
        return Happened(self._result(seen, health), shortfall)

    def _so_far(self, health: Health) -> str:
        if health.state == "waiting":
            return f"revision {self.rollback.target} was put back and is still being rolled out: {health.words}"
        return self._shortfall(health)

    def _somebody_did(self, seen: Seen) -> bool:
        """Whether the target was rolled back to, and no mark of another action explains it.

        Marks can be lost: `kubectl replace` writes annotations anew. Numbers cannot: a revision that goes live again
        is renumbered, so one that still has its number has not been put back since. The reviewed revision, still
        live under its number, says the same: it would have another by now if anything had been live in between.
        """
        if seen.current is not None and str(seen.current.revision) == self.rollback.current:
            return False
        kept = seen.revision(self.rollback.target)
        if kept is not None and kept is not seen.current:
            return False
        return not any(mark.to == self.rollback.target for mark in seen.marks.done)

    async def _fenced(self, seen: Seen) -> Probe:
        """Write the fence and read it back. Raises `Moved` where anything happened to the object meanwhile."""
        marks = seen.marks.with_fence(self.action.action)
        answer = await self.subject.cluster.patch(self.subject.path, fence_of(seen.live, marks))
        if isinstance(answer, Missed):
            live = await self.subject.live()
            if live is None or live.version != seen.live.version:
                raise Moved
            return CannotTell(f"the cluster refused the fence: {answer.words or answer.status}")
        found = await self.subject.seen()
        if found is None or self.action.action not in found.marks.fenced:
            return CannotTell("the cluster said that the fence was written, and it is not there")
        if found.marks.of(self.action.action) is not None:
            raise Moved
        return CannotHappen("it was not done, and a fence keeps a late attempt from doing it")


_FORGOTTEN: Final = (
    "it is older than all actions that the Deployment still tells of; look into the cluster's audit log"
)


def refuse_owned(seen: Seen) -> None:
    """Refuse what somebody else would undo. Raises `ConnectorError` naming who, and where to do it instead."""
    owner = owner_of(seen.live)
    if owner is not None and owner.advice:
        raise ConnectorError(f"{seen.place}: {owner.name} manages this Deployment: {owner.advice}")
