"""Works out what a rollback does: the patch, the facts it depends on, and the preview, by the cluster where it can.

The patch is the one of `kubectl rollout undo` (DeploymentRollbacker in kubectl's pkg/polymorphichelpers/rollback.go):
the pod template of the ReplicaSet, and its annotations but for those that stay the Deployment's. Before it stands a
`test` of resourceVersion, so that it is applied to the very object that was compared, or not at all; behind it stand
our marks, which go with the annotations.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from keyturn.canon import Json
from keyturn.connectors.deployments import FileChange, Preview, Rollback
from keyturn.connectors.deployments.kubernetes.marks import REHEARSED, Marks
from keyturn.connectors.deployments.kubernetes.objects import KEPT_BY_THE_DEPLOYMENT, Kept, Live, digest_of
from keyturn.connectors.deployments.kubernetes.owners import instance_note, owner_of
from keyturn.connectors.deployments.kubernetes.seeing import Seen, Subject, foreign, images_of, shown
from keyturn.connectors.deployments.kubernetes.showing import FILE, difference
from keyturn.connectors.kubernetes import Missed
from keyturn.model.errors import ConnectorError

CLUSTER: Final = "the cluster's own dry run"
_NOT_PERMITTED: Final = 403
_UNSUPPORTED: Final = (400, "does not support dry run")  # what is said for an admission webhook with side effects
_NEWEST_WITHOUT: Final = (1, 17)  # `dryRun` is stable since 1.18, and unknown, so ignored, to servers before 1.12
_VERSION: Final = re.compile(r"v(\d{1,3})\.(\d{1,3})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A rollback worked out on one reading of the cluster."""

    seen: Seen
    current: Kept
    target: Kept
    preview: Preview


class Moved(Exception):
    """The object was changed between two of our requests: whatever was read of it has to be read again."""


def patch_of(seen: Seen, target: Kept, written: Mapping[str, str]) -> list[Json]:
    """Return the operations that put a revision back; `written` are our own annotations."""
    live = seen.live
    kept = {name: text for name, text in live.annotations.items() if name in KEPT_BY_THE_DEPLOYMENT}
    annotations = {**kept, **foreign(target.annotations), **written}
    return [
        {"op": "test", "path": "/metadata/resourceVersion", "value": live.version},
        {"op": "replace", "path": "/spec/template", "value": target.template},
        {"op": "add" if live.bare else "replace", "path": "/metadata/annotations", "value": annotations},
    ]


def fence_of(live: Live, marks: Marks) -> list[Json]:
    """Return the operations that leave `marks` and change nothing else but the version of the object."""
    annotations: dict[str, Json] = {**live.annotations, **marks.written()}
    return [
        {"op": "test", "path": "/metadata/resourceVersion", "value": live.version},
        {"op": "add", "path": "/metadata/annotations", "value": annotations},
    ]


async def work_out(subject: Subject, seen: Seen, rollback: Rollback, *, dry: bool) -> Preview:
    """Return what a rollback does to what was read, with the facts as they are.

    `dry`: the cluster may be asked to go through it. Raises `Moved`, and `ConnectorError` for what the cluster would
    refuse.
    """
    current, target = seen.revision(rollback.current), seen.revision(rollback.target)
    if current is None or target is None:
        raise ConnectorError(f"{seen.place}: one of the two revisions is not there any more", kind="conflict")
    source, made = await _made(subject, seen, target, dry=dry)
    before, after = shown(seen.live.template, seen.live.annotations), shown(*made)
    diff = difference(before, after)
    return Preview(
        rollback=Rollback(
            environment=rollback.environment,
            current=rollback.current,
            target=rollback.target,
            facts={**facts_of(seen, target), "result": digest_of(after), "template": digest_of(made[0])},
            location=rollback.location,
        ),
        diff=f"# 1 object differs; every change is shown, values that run are hidden.\n{diff.text}",
        files=(FileChange(FILE, "modified"),),
        added=diff.counted_added,
        removed=diff.counted_removed,
        summarised=0,
        guard={"resource_version": seen.live.version, "replicas": seen.live.rollout.wanted},
        source=source,
        notes=_notes(seen, target, after),
    )


def facts_of(seen: Seen, target: Kept) -> dict[str, Json]:
    """Return what effect and diff depend on, but for `result` and `template`, for which the cluster is asked."""
    owner = owner_of(seen.live)
    return {
        "uid": seen.live.uid,
        "current": "" if seen.current is None else str(seen.current.revision),
        "target": str(target.revision),
        "manifest": digest_of(shown(target.template, target.annotations)),
        "manifest_from": digest_of(shown(seen.live.template, seen.live.annotations)),
        "strategy": seen.live.strategy,
        "owner": "" if owner is None else owner.name,
        "paused": seen.live.paused,
    }


async def _made(
    subject: Subject, seen: Seen, target: Kept, *, dry: bool
) -> tuple[str, tuple[Mapping[str, Any], Mapping[str, str]]]:
    """Return whose word the outcome is, and the template and annotations that come out."""
    ours = target.template, foreign(target.annotations)
    if not dry:
        return "worked out by Keyturn, as dry_run = false asks", ours
    version = await subject.cluster.version()
    number = _VERSION.match(version)
    if number is None or (int(number[1]), int(number[2])) <= _NEWEST_WITHOUT:
        return f"worked out by Keyturn: the server ({version or 'of no version'}) is not known to have dry runs", ours
    answer = await _rehearsed(subject, patch_of(seen, target, {**seen.marks.written(), REHEARSED: ""}))
    if isinstance(answer, Missed):
        return await _without(subject, seen, answer), ours
    result = subject.read(answer)
    await _still(subject, seen)
    return CLUSTER, (result.template, result.annotations)


async def _rehearsed(subject: Subject, operations: list[Json]) -> Mapping[str, Any] | Missed:
    """Ask for the dry run. What is doubtful about a change is not about this one: it may simply be asked again."""
    try:
        return await subject.cluster.patch(subject.path, operations, dry=True)
    except ConnectorError as error:
        problem, kind = str(error), "retry" if error.kind == "unknown" else error.kind
    raise ConnectorError(problem, kind=kind)


async def _without(subject: Subject, seen: Seen, missed: Missed) -> str:
    """Return why there is no dry run, if a preview of ours can stand for it. Raises `Moved` or `ConnectorError`."""
    if missed.status == _NOT_PERMITTED:
        return "worked out by Keyturn: this account may not patch, not even in a dry run"
    status, words = _UNSUPPORTED
    if missed.status == status and words in missed.words.lower():
        return "worked out by Keyturn: an admission webhook of the cluster has no dry run"
    await unmoved(subject, seen)
    raise ConnectorError(f"{seen.place}: the cluster would not do it: {missed.words or missed.status}")


async def unmoved(subject: Subject, seen: Seen) -> None:
    """Raise `Moved` if the object is not the version that was read."""
    live = await subject.live()
    if live is None or live.version != seen.live.version:
        raise Moved


async def _still(subject: Subject, seen: Seen) -> None:
    """Read after a dry run whether it was one. Raises `ConnectorError` where the server carried it out."""
    live = await subject.live()
    if live is not None and REHEARSED in live.annotations and REHEARSED not in seen.live.annotations:
        raise ConnectorError(
            f"{seen.place}: this server carries dry runs out: it has put the revision back; set dry_run = false"
        )
    if live is None or live.uid != seen.live.uid or digest_of(live.template) != digest_of(seen.live.template):
        raise Moved


def _notes(seen: Seen, target: Kept, after: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what a reviewer should know beside the diff: all of it follows from the reviewed facts."""
    notes = [*_images(seen.live.template, after["spec"]["template"]), f"Strategy: {seen.live.strategy}."]
    if digest_of(after) != digest_of(shown(target.template, target.annotations)):
        notes.append(f"The cluster changes what revision {target.revision} held when it takes it up; see the diff.")
    owner = owner_of(seen.live)
    if owner is not None:
        notes.append(f"{owner.name} manages it too, is not told of this, and may change it again.")
    if seen.live.history == 0:
        notes.append("It keeps no old revisions (revisionHistoryLimit: 0), so this cannot be undone afterwards.")
    note = instance_note(seen.live)
    return (*notes, note) if note is not None else tuple(notes)


def _images(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    before, after = images_of(old), images_of(new)
    return [
        f"Container {name}: {before.get(name, 'none')} -> {after.get(name, 'none')}."
        for name in [*before, *(name for name in after if name not in before)]
        if before.get(name) != after.get(name)
    ]
